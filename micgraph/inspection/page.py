"""One HTML page that needs nothing beside itself: no script, no font, no address."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from micgraph.drawing import svg
from micgraph.graph.tables import Table
from micgraph.inspection.figures import Picture

_STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1b2430; --muted: #5b6673; --grey: #9aa5b1; --grid: #e6e9ed; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --ink: #e8ecf1; --muted: #a9b4c0; --grey: #6b7682; --grid: #2b323a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; overflow-wrap: anywhere; }
p, figcaption { color: var(--muted); font-size: .85rem; margin: .3rem 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid); }
th { color: var(--muted); font-weight: 600; }
td { white-space: pre; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
.figures { display: grid; gap: 1.2rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.tables { columns: 24rem; column-gap: 2rem; margin-bottom: 1.5rem; }
section { break-inside: avoid; }
section:first-child h2 { margin-top: .4rem; }
figure { margin: 0; max-width: 40rem; min-width: 0; }
svg { display: block; width: 100%; height: auto; }
#ego svg { min-width: 30rem; }
svg text { fill: var(--ink); }
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
            body += '\n<div class="figures">\n' + "\n".join(map(_figure, pictures)) + "\n</div>\n"
    name = escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n{body}\n</body>\n</html>\n"
    )


def _table(table: Table) -> str:
    note = f"\n<p>{escape(table.note)}</p>" if table.note else ""
    body = f'<div class="wide">{table.html(title=False)}</div>'
    return f"<section>\n<h2>{escape(table.title)}</h2>\n{body}{note}\n</section>"


def _figure(picture: Picture) -> str:
    drawn, caption = svg(picture.figure, picture.name), escape(picture.caption)
    return (
        f'<figure id="{picture.name}">\n<div class="wide">{drawn}</div>\n<figcaption>{caption}</figcaption>\n</figure>'
    )
