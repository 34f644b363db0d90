"""How runs and categories are told apart on the page: one colour and one mark each, in every figure and every key."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from micgraph.drawing import GREY, MARKS, SERIES, VARIABLES

_DASHES = ("-", "--", ":")
_SHAPES = {
    "o": "M8 3a3 3 0 1 0 .01 0z",
    "s": "M5 3h6v6h-6z",
    "D": "M8 2l4 4-4 4-4-4z",
    "^": "M8 2l4 7h-8z",
    "v": "M8 10l4-7h-8z",
    "P": "M6.7 2h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
    "X": "M5 2l3 2.4 3-2.4 1 1-2.4 3 2.4 3-1 1-3-2.4-3 2.4-1-1 2.4-3-2.4-3z",
    "*": "M8 1.5l1.2 3h3.3l-2.6 2 1 3.1-2.9-1.9-2.9 1.9 1-3.1-2.6-2h3.3z",
}
"""Marks of figures as paths in a box of 16 by 12."""


class Look(NamedTuple):
    """Colour, mark and dash, as matplotlib has them."""

    colour: str
    mark: str
    dash: str


def look(place: int) -> Look:
    """How the run or category at this place of its list looks; they begin to share after eight, with other dashes."""
    n = len(SERIES)
    return Look(SERIES[place % n], MARKS[(place + place // n) % n], _DASHES[place // n % len(_DASHES)])


GREY_LOOK = Look(GREY, "o", "-")
"""Of what stands beside the runs or categories."""


def key(names: Sequence[str], lines: bool = True, beside: str = "") -> str:
    """What the colours and marks of a figure mean, as a list.

    Args:
        names: of runs or categories, in their order.
        lines: whether a line goes through the marks.
        beside: the name of what is grey, may be empty.
    """
    rows = [(name, look(place)) for place, name in enumerate(names)] + ([(beside, GREY_LOOK)] if beside else [])
    cells = "".join(f"<li>{_swatch(one, lines)}{escape(name)}</li>" for name, one in rows)
    return f'<ul class="key" aria-label="colours and marks">{cells}</ul>'


def _swatch(one: Look, line: bool) -> str:
    colour = f"var({VARIABLES[one.colour]})"
    dash = {"-": "", "--": ' stroke-dasharray="4 2"', ":": ' stroke-dasharray="1 2"'}[one.dash]
    through = f'<path d="M0 6h16" stroke="{colour}" stroke-width="1.5"{dash}></path>' if line else ""
    shape = f'<path d="{_SHAPES[one.mark]}" fill="{colour}"></path>'
    return f'<svg viewBox="0 0 16 12" aria-hidden="true">{through}{shape}</svg>'
