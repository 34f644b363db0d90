"""The page as Chromium shows it: silent, no wider than a phone, and dark where the reader's system is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed: apt install chromium")
QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
QUIET += ["--disable-sync", "--no-sandbox", "--hide-scrollbars", "--enable-logging=stderr", "--v=0"]
PHONE = 390
FRAME = """<!DOCTYPE html><title></title><iframe style="width: {width}px; height: 800px; border: 0" srcdoc="{page}">
</iframe><script>
addEventListener("load", () => {{
  const shown = document.querySelector("iframe").contentDocument, root = shown.documentElement;
  shown.querySelectorAll("details").forEach(one => one.open = true);
  const beyond = [...shown.querySelectorAll("body *")].filter(
    one => !one.closest(".wide > *") && one.getBoundingClientRect().right > root.clientWidth + 1);
  const scrolls = [...shown.querySelectorAll(".wide")].filter(one => one.scrollWidth > one.clientWidth).length;
  document.title = JSON.stringify({{inner: root.clientWidth, scrolled: root.scrollWidth, scrolls,
    beyond: beyond.map(one => one.tagName), figures: shown.querySelectorAll("svg[role=img]").length}});
}});
</script>"""
"""A page in a frame as wide as a phone: a window of the browser itself may be no narrower than 500."""


def _shown(page: Path, home: Path, *asked: str) -> tuple[str, str]:
    """What Chromium prints and what it logs of a page."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", f"--user-data-dir={home / 'profile'}", *QUIET, *asked, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return done.stdout, done.stderr


def test_nothing_is_wider_than_a_phone(page: str, tmp_path: Path) -> None:
    """Tables may be, in boxes of their own that scroll."""
    path = tmp_path / "framed.html"
    path.write_text(FRAME.format(width=PHONE, page=escape(page)), encoding="utf-8")
    dump, log = _shown(path, tmp_path, "--dump-dom")
    told = json.loads(re.search(r"<title>(\{.*?\})</title>", dump)[1])  # type: ignore[index]
    assert "CONSOLE" not in log and told["figures"] >= 12 and told["scrolls"] > 5
    assert told["scrolled"] <= told["inner"] <= PHONE and not told["beyond"], told


def test_a_dark_system_gets_a_dark_page(page: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture is read by matplotlib")
    from matplotlib.image import imread

    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    backgrounds = []
    for asked in ([], ["--blink-settings=preferredColorScheme=0"]):
        picture = tmp_path / f"{len(backgrounds)}.png"
        _, log = _shown(path, tmp_path, f"--window-size={PHONE},900", f"--screenshot={picture}", *asked)
        assert "CONSOLE" not in log
        backgrounds.append(imread(picture)[3, 3, :3].mean())
    assert backgrounds[0] > 0.95 and backgrounds[1] < 0.2, backgrounds
