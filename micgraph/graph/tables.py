"""Small tables of texts, for terminals and for pages."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from html import escape

_NUMBER = set("0123456789,.+-%")


@dataclass(frozen=True)
class Table:
    """Rows under a title; columns of numbers stand to the right.

    Attributes:
        title: of the table, and the head of its first column.
        heads: of the other columns.
        rows: cells, as many as there are columns.
        note: a sentence below it, may be empty.
        marked: (row, column of ``heads``) of the cells that a page shows in bold, with the class ``best``.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    marked: frozenset[tuple[int, int]] = frozenset()

    def text(self) -> str:
        """Aligned lines without trailing blanks; the note comes last."""
        columns = list(zip((self.title, *self.heads), *self.rows, strict=True))
        padded = [
            [cell.rjust(width) if right else cell.ljust(width) for cell in column]
            for column, width, right in zip(columns, (max(map(len, c)) for c in columns), self._right(), strict=True)
        ]
        lines = ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
        return "\n".join(lines + ([self.note] if self.note else []))

    def html(self, title: bool = True) -> str:
        """An HTML table, in which cells of columns of numbers have the class ``n``; the note is left to the page.

        Args:
            title: whether the first column's head is the title, or empty where the page has it above.
        """
        right = self._right()
        head = self._cells("th", (self.title if title else "", *self.heads), right)
        best = [{column + 1 for line, column in self.marked if line == at} for at in range(len(self.rows))]
        rows = zip(self.rows, best, strict=True)
        body = "".join(f"<tr>{self._cells('td', row, right, some)}</tr>" for row, some in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _right(self) -> list[bool]:
        """Of each column but the first whether it holds numbers only."""
        others = [[row[place] for row in self.rows] for place in range(1, len(self.heads) + 1)]
        return [False, *(bool(cells) and all(set(cell) <= _NUMBER for cell in cells) for cells in others)]

    @staticmethod
    def _cells(tag: str, cells: tuple[str, ...], right: list[bool], best: Collection[int] = ()) -> str:
        kinds = [["n"] * number + ["best"] * (at in best) for at, number in enumerate(right)]
        return "".join(
            f'<{tag} class="{" ".join(kind)}">{escape(cell)}</{tag}>' if kind else f"<{tag}>{escape(cell)}</{tag}>"
            for cell, kind in zip(cells, kinds, strict=True)
        )
