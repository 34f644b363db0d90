"""The page of an inspection: tables, and figures below them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from micgraph.document import Picture, document, figure
from micgraph.graph.tables import Table

_STYLE = """
.tables { columns: 24rem; column-gap: 2rem; margin-bottom: 1.5rem; }
#ego svg { min-width: 30rem; }
"""


def page(title: str, parts: Sequence[tuple[Sequence[Table], Sequence[Picture]]]) -> str:
    """The page.

    Args:
        title: what is inspected.
        parts: tables, and the figures that come after them.

    Returns:
        HTML for phones too, dark where the reader's system is.
    """
    body = ""
    for tables, pictures in parts:
        if tables:
            body += '\n<div class="tables">\n' + "\n".join(map(_table, tables)) + "\n</div>\n"
        if pictures:
            body += '\n<div class="figures">\n' + "\n".join(map(figure, pictures)) + "\n</div>\n"
    return document(title, body, _STYLE)


def _table(table: Table) -> str:
    note = f"\n<p>{escape(table.note)}</p>" if table.note else ""
    body = f'<div class="wide">{table.html(title=False)}</div>'
    return f"<section>\n<h2>{escape(table.title)}</h2>\n{body}{note}\n</section>"
