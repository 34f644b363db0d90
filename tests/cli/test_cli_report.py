"""micgraph report: from runs to a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import lines_of, refusal_of
from tests.html_page import needs_nothing

pytest.importorskip("matplotlib", reason="the page needs matplotlib (the extra report)")


def test_a_run_becomes_a_page(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    asked = ["--holdout", str(trained / "held"), "--out", str(out), "--k", "4", "--keep-seen", "--users", "5"]
    assert lines_of("report", str(trained / "run"), *asked) == [f"page: {out}"]
    words = "".join(needs_nothing(out.read_text(encoding="utf-8")).words)
    assert "recall@4" in words and "5 users drawn at random (seed 0) from 9" in words
    assert "items clicked before included" in words


def test_what_cannot_be_compared_is_one_line(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    graph, run = str(trained / "graph"), str(trained / "run")
    assert "expected the directory of a run, got a saved graph" in refusal_of("report", graph, "--out", str(out))
    leaking = refusal_of("report", run, "--holdout", str(trained / "leak"), "--out", str(out))
    assert "no target among the graph's clicks" in leaking
    assert "k: expected at least 1" in refusal_of("report", run, "--k", "0", "--out", str(out))
    assert not out.exists()
