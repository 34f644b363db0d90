"""Text files replaced as a whole, and locks that go with whoever took them."""

from __future__ import annotations

import os
import signal
import stat
import threading
from pathlib import Path

import pytest

from micgraph import disk


def test_a_link_stays_a_link_and_a_file_keeps_its_mode(tmp_path: Path) -> None:
    real, link = tmp_path / "real.html", tmp_path / "link.html"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    disk.write_text(link, "new")
    assert link.is_symlink() and real.read_text() == "new" and stat.S_IMODE(real.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.html", "real.html"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
def test_what_is_no_file_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    disk.write_text(pipe, "through")
    reader.join(10)
    assert read == ["through"] and pipe.is_fifo()


@pytest.mark.skipif(disk.fcntl is None or not hasattr(os, "fork"), reason="needs locks on folders, and fork")
def test_a_forked_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    with disk.held(tmp_path):
        child = os.fork()
        if not child:
            signal.pause()
    try:
        assert not disk.is_held(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
