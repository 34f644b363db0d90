"""A page as tests read it: its tags, words and tables, and whether it needs anything beside itself."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "br", "img", "link", "path", "use", "rect", "line", "circle", "stop"}


class Page(HTMLParser):
    """Tags with their attributes and the text in them; every tag that is opened must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.tables: dict[str, list[list[list[str]]]] = {}
        """Id of the innermost section with one -> tables, rows, cells."""
        self._open: list[str] = []
        self._section = ""
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "section":
            self._section = dict(attrs).get("id") or self._section
        elif tag == "table":
            self.tables.setdefault(self._section, []).append([])
        elif tag == "tr":
            self.tables[self._section][-1].append([])
        elif tag in ("td", "th"):
            self.tables[self._section][-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._open and self._open[-1] in ("td", "th"):
            self.tables[self._section][-1][-1][-1] += data

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]


def needs_nothing(text: str) -> Page:
    """The page of a text without scripts, addresses and references to what it does not hold itself."""
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "image"} & {tag for tag, _ in page.tags}
    assert "//" not in re.sub(r"</?[\w]+", "", text), "no address of any kind"
    assert "@import" not in text and "data:" not in text
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "action", "data"} & attributes.keys(), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("href", "xlink:href"):
            target = attributes.get(name)
            assert target is None or target[0] == "#" and target[1:] in page.ids()
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids())
    assert [name for name, n in Counter(page.ids()).items() if n > 1] == []
    return page
