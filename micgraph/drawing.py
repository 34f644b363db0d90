"""What figures share: colours, an empty one, files and SVG for pages; needs matplotlib, the extra ``report``."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from micgraph.schema import MissingExtraError

INK, MUTED, GREY, GRID = "#1b2430", "#5b6673", "#9aa5b1", "#e6e9ed"
PALETTE = ("#2f6fde", "#d9822b", "#2a9d6f", "#8a4fbf", "#c2495b", "#5b8c85")
VARIABLES = {INK: "--ink", MUTED: "--muted", GREY: "--grey", GRID: "--grid"}
"""Colour of a figure -> the page's CSS variable in its place, so that a figure follows the page into the dark."""


def canvas(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """An empty figure that no window shows, and its axes [rows, columns].

    Args:
        rows, columns: of panels.
        size: width and height in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        remedy = 'pip install "micgraph[report]"'
        raise MissingExtraError("figure", "the package matplotlib", "no such package", remedy) from error
    figure = Figure(figsize=size, dpi=150)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(color=GRID, zorder=0)
        axis.margins(0.12)
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure, axes


def save(figure: Any, path: Path) -> Path:
    """Write a figure on white; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _any_script():
        figure.tight_layout()
        figure.savefig(path, facecolor="white")
    return path


def svg(figure: Any, name: str) -> str:
    """A figure as an ``<svg>`` element to stand in an HTML page: no background, the page's colours, nothing external.

    Args:
        figure: what :func:`canvas` made.
        name: distinct in the page; the ids of the element's parts begin with it.
    """
    import matplotlib

    out = StringIO()
    with _any_script(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.tight_layout()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # else a block of metadata with addresses
        figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)  # HTML knows the names; they only look like addresses
    text = re.sub(r'(?<= )id="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    text = re.sub(r' width="[^"]*pt"| height="[^"]*pt"', "", text, count=2)  # as wide as its place: it has a viewBox
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text.strip()


@contextmanager
def _any_script() -> Iterator[None]:
    """Without a warning for each character of a title that matplotlib's own font lacks; a page's font may have it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
