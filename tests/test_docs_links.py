"""Links between the pages lead somewhere, and every page can be reached."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages import PAGES, REPOSITORY, anchors, links

INDEX = REPOSITORY / "docs" / "README.md"


def broken(page: Path, text: str) -> list[str]:
    """The targets of a page's links that are not there."""
    found = []
    for target in links(text):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        there = file.exists() and (not anchor or anchor in anchors(file.read_text(encoding="utf-8")))
        if not there:
            found.append(target)
    return found


def test_anchors_are_those_of_github() -> None:
    text = "# What `degraded` means\n## Two?\n## Two?\n### [MIC](x.md)'s rows\n```python\n# none\n```\n"
    assert anchors(text) == {"what-degraded-means", "two", "two-1", "mics-rows"}


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    text = "# Here\n[x](a.md#here) [x](#here) [x](b.md) [x](a.md#there) [x](#there) [x](https://example.org/no)\n"
    page.write_text(text)
    assert broken(page, text) == ["b.md", "a.md#there", "#there"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    assert not broken(page, page.read_text(encoding="utf-8"))


def test_the_index_names_every_page() -> None:
    named = {(INDEX.parent / target).resolve() for target in links(INDEX.read_text(encoding="utf-8"))}
    missing = {page.name for page in PAGES if page.parent == INDEX.parent and page != INDEX and page not in named}
    assert not missing, f"docs/README.md does not list {sorted(missing)}"


def test_pages_that_the_code_names_exist() -> None:
    sources = [*(REPOSITORY / "micgraph").rglob("*.py"), *(REPOSITORY / "examples").glob("*.py")]
    for file in sources:
        for name in re.findall(r"docs/[\w-]+\.md", file.read_text(encoding="utf-8")):
            assert (REPOSITORY / name).is_file(), f"{file} names {name}"
