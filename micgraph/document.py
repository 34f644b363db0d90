"""HTML pages that need nothing beside themselves (no script, font or address), for phones, dark where readers are."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from micgraph.disk import write_text
from micgraph.drawing import svg
from micgraph.schema import InputError

STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1b2430; --muted: #5b6673; --grey: #9aa5b1; --grid: #e6e9ed;
  --s0: #0072b2; --s1: #d55e00; --s2: #00896b; --s3: #b5478d; --s4: #b07d00; --s5: #3f9fd8;
  --s6: #7b2d43; --s7: #6d6a2f; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --ink: #e8ecf1; --muted: #a9b4c0; --grey: #6b7682; --grid: #2b323a;
  --s0: #4aa8e8; --s1: #f08a3c; --s2: #2fc29c; --s3: #e387bf; --s4: #e3b341; --s5: #8fd0f5;
  --s6: #d0798f; --s7: #b9b56a; }
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
section { break-inside: avoid; }
section:first-child h2 { margin-top: .4rem; }
figure { margin: 0; max-width: 40rem; min-width: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); }
"""
"""What all pages look like; the colours are those that :data:`micgraph.drawing.VARIABLES` names."""


@dataclass(frozen=True)
class Picture:
    """A figure with its name, which a file may have, and the sentence below it."""

    name: str
    caption: str
    figure: Any


def document(title: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
        title: text, which is also the first heading.
        body: HTML below it.
        style: CSS beside :data:`STYLE`.
    """
    name = escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<h1>{name}</h1>\n{body}\n"
        "</body>\n</html>\n"
    )


def figure(picture: Picture) -> str:
    """A drawn figure as SVG above its caption; who cannot see it is told the caption."""
    caption = escape(picture.caption)
    drawn = svg(picture.figure, picture.name).replace("<svg", f'<svg role="img" aria-label="{caption}"', 1)
    return (
        f'<figure id="{picture.name}">\n<div class="wide">{drawn}</div>\n<figcaption>{caption}</figcaption>\n</figure>'
    )


def refuse_directory(path: Path) -> None:
    """Refuse a place where no page can be written.

    Raises:
        InputError: ``path`` is a directory.
    """
    if path.is_dir():
        raise InputError(str(path), "a file to write", "a directory", "name a file in it, such as page.html")


def save(path: str | Path, text: str) -> Path:
    """Write a page; a page that was there before is replaced when the new one is whole, and stays otherwise.

    Args:
        path: the file; its folder is made where it is missing.
        text: of the page.

    Raises:
        InputError: ``path`` is a directory.
        ArtifactError: nothing can be written there.
    """
    path = Path(path)
    refuse_directory(path)
    write_text(path, text)
    return path
