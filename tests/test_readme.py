"""The Python code of README.md and docs/*.md runs: top to bottom, one namespace a file, in a folder with a small log.

A block that cannot run in a test has the line ``<!-- not run: reason -->`` before it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import PAGES, REPOSITORY, blocks


def _blocks(text: str) -> list[tuple[int, str]]:
    """(first line, code) of each Python block that is to be run."""
    return blocks(text, "python")


def test_blocks_are_found_and_marked_ones_left_out() -> None:
    text = (
        "# A\n```python\nx = 1\n```\n"
        "<!-- not run: needs a GPU -->\n```python\nx = 2\n```\n"
        "<!-- not run: needs a server -->\n\n```python\nx = 3\n```\n"
        "```bash\nls\n```\n<!-- a note -->\n```python\nx += 4\n\nx\n```\n"
    )
    assert _blocks(text) == [(3, "x = 1\n"), (19, "x += 4\n\nx\n")]


def test_readme_has_code_to_run() -> None:
    assert _blocks(PAGES[0].read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_code_runs(page: Path, tiny_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_files)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, code in _blocks(page.read_text(encoding="utf-8")):
        # blank lines put the code where it stands in the page, so that a traceback names the page's own line
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
