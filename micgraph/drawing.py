"""What figures share: colours, an empty one, files and SVG for pages; needs matplotlib, the extra ``report``."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from micgraph.disk import room
from micgraph.extras import missing

INK, MUTED, GREY, GRID = "#1b2430", "#5b6673", "#9aa5b1", "#e6e9ed"
SIZE = (3.6, 2.7)
"""Inches; narrower than a phone, so that a page there need not shrink the words."""
PALETTE = ("#2f6fde", "#d9822b", "#2a9d6f", "#8a4fbf", "#c2495b", "#5b8c85")
SERIES = ("#0072b2", "#d55e00", "#00896b", "#b5478d", "#b07d00", "#3f9fd8", "#7b2d43", "#6d6a2f")
"""What a page tells its runs or categories by: apart for the colour-blind too, the first six above all."""
MARKS = "osD^vPX*"
"""A mark beside each of these colours, so that no colour says a thing alone."""
VARIABLES = {INK: "--ink", MUTED: "--muted", GREY: "--grey", GRID: "--grid"}
VARIABLES |= {colour: f"--s{place}" for place, colour in enumerate(SERIES)}
"""Colour of a figure -> the page's CSS variable in its place, so that a figure follows the page into the dark."""


def require_matplotlib() -> None:
    """Refuse, before work is begun, to draw where that is not possible.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise missing("figure", "matplotlib")


def canvas(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """An empty figure that no window shows, and its axes [rows, columns].

    Args:
        rows, columns: of panels.
        size: width and height in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=150)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(color=GRID, zorder=0)
        axis.margins(0.12)
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure, axes


def panel(x_name: str, y_name: str, size: tuple[float, float] = SIZE) -> tuple[Any, Any]:
    """A figure of one panel, in colours that a dark page can replace, and its axis.

    Args:
        x_name, y_name: of the axes.
        size: width and height in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = canvas(1, 1, size)
    axis = axes[0][0]
    axis.set_xlabel(x_name, color=MUTED, fontsize=9)
    axis.set_ylabel(y_name, color=MUTED, fontsize=9)
    axis.tick_params(which="both", color=GREY, labelcolor=MUTED)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(GREY)
    return figure, axis


def save(figure: Any, path: Path) -> Path:
    """Write a figure on white; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _any_script(), room(path):
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
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.S)
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), text)  # a hundredth of a point
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text.strip()


@contextmanager
def _any_script() -> Iterator[None]:
    """Without a warning for each character of a title that matplotlib's own font lacks; a page's font may have it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
