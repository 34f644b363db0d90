"""Draws docs/figures/schema.png: the graph's schema, the three channels, and the way data goes.

Run it as ``python docs/figures/make_schema.py`` after a change of the schema. The picture brings its own light
background, so that it reads the same on light and dark pages.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

INK, MUTED, PAPER, PANEL, LINE = "#1f2733", "#5b6675", "#f7f8fa", "#ffffff", "#d5dae1"
USER, ITEM, SESSION = "#3b6fb6", "#d9772b", "#3f9470"
CHANNELS = {"U2I": "#7a4fa3", "U2U": USER, "I2I": ITEM}

Point = tuple[float, float]


def main() -> None:
    plt.rcParams.update({"font.family": "DejaVu Sans", "text.color": INK})
    figure = plt.figure(figsize=(13, 7.7), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 130), ylim=(0, 77), aspect="equal")
    axes.axis("off")
    draw_schema(axes)
    draw_channels(axes)
    draw_pipeline(axes)
    figure.savefig(Path(__file__).with_name("schema.png"), dpi=150, facecolor=PAPER)


def draw_schema(axes: Axes) -> None:
    panel(axes, 3, 28, 60, 46, "The graph")
    user, session, item = (14, 56), (32, 38.5), (44, 56)
    arrow(axes, user, item, INK, 5.2)
    label(axes, (29, 60.4), "clicks", "time")
    arrow(axes, user, session, INK, 5.2)
    label(axes, (16.4, 46.2), "has", "time")
    arrow(axes, session, item, INK, 5.2)
    label(axes, (44.5, 45.2), "contains", "time")
    loop(axes, (45.4, 60.6), (48.6, 58.6), 2.6)
    label(axes, (55, 64.4), "co_occurs", "count")
    loop(axes, (48.6, 53.4), (45.4, 51.4), 2.6)
    label(axes, (55, 49.3), "similar", "cosine")
    node(axes, user, USER, "user", 5)
    node(axes, session, SESSION, "session", 5)
    node(axes, item, ITEM, "item", 5)
    small(axes, (14, 64.4), "country, age, …")
    small(axes, (37, 67), "category, tags, provider, …")
    small(axes, (32, 31), "as given in the log, or cut at a gap or a span of 1 h")


def draw_channels(axes: Axes) -> None:
    panel(axes, 67, 28, 60, 46, "A recall: three channels, one list")
    start, end = 75.5, 101
    for y, name, words in ((66, "U2I", "nearest items"), (52, "U2U", "similar user"), (38, "I2I", "clicked item")):
        colour = CHANNELS[name]
        arrow(axes, (start, 52), (end, y), colour, 3.6, 2.2 if name == "U2I" else 1.6, to_gap=2.6)
        if name == "U2I":
            small(axes, (85, 62.6), words)
        else:
            middle = (88.3, 52 + (y - 52) / 2)
            node(axes, middle, USER if name == "U2U" else ITEM, "", 1.9)
            small(axes, (middle[0], middle[1] + (3.4 if name == "U2U" else -3.6)), words)
        node(axes, (end, y), ITEM, "", 2.2)
        axes.text(end + 4, y, name, color=colour, weight="bold", fontsize=13, va="center")
    node(axes, (start, 52), USER, "user", 3.7)
    for y in (66, 52, 38):
        arrow(axes, (end + 9, y), (115.5, 52), MUTED, 0, 1.2, to_gap=1.2)
    for rank, colours in enumerate((("U2I", "U2U", "I2I"), ("U2I", "I2I"), ("U2U",), ("U2I",), ("I2I",))):
        y = 58 - rank * 3
        box(axes, 115.6, y - 1.1, 8.6, 2.3, PANEL, LINE)
        for place, name in enumerate(colours):
            axes.add_patch(Circle((117.2 + place * 2.2, y), 0.75, color=CHANNELS[name], lw=0))
    small(axes, (119.9, 61.7), "fused list,\nbest first")
    small(axes, (97, 31), "every row says which channels brought it, and which item or user")


def draw_pipeline(axes: Axes) -> None:
    panel(axes, 3, 3, 124, 22, "The way data goes")
    width, pitch, y = 16, 20.6, 11.2
    step(axes, (5.5, y), width, "logs", "Parquet, CSV,\npandas, polars, Arrow")
    step(axes, (5.5 + pitch, y), width, "read_log", "clean events,\nrefusals counted")
    step(axes, (5.5 + 2 * pitch, y), width, "split", "held-out clicks leave\nbefore the graph")
    step(axes, (5.5 + 3 * pitch, y), width, "build", "the graph,\nmemory-mapped")
    step(axes, (5.5 + 4 * pitch, y), width, "train", "two towers +\ncontrastive tasks")
    last, above, below = 5.5 + 5 * pitch, y + 3.6, y - 3.6
    step(axes, (last, above), width, "evaluate", "beside reference rows", 5.8)
    step(axes, (last, below), width, "Recommender", "lists with reasons", 5.8)
    for place in range(1, 5):
        arrow(axes, (5.5 + place * pitch - pitch + width, y), (5.5 + place * pitch, y), INK, 0.4)
    for end in (above, below):
        arrow(axes, (last - pitch + width, y), (last, end), INK, 0.4)
    # What the split holds out goes past the graph and the model.
    start, end, height = 5.5 + 2 * pitch + width / 2, last + width / 2, y + 9
    axes.plot([start, start, end], [y + 4.8, height, height], color=MUTED, lw=1.3, ls=(0, (4, 3)))
    arrow(axes, (end, height), (end, above + 2.9), MUTED, 0, 1.3, to_gap=0.1)
    small(axes, ((start + end) / 2, height + 1.6), "held-out histories and targets")


def step(axes: Axes, left: Point, width: float, name: str, words: str, height: float = 9.6) -> None:
    x, y = left
    given = name == "logs"
    up, down = (2.4, -1.6) if "\n" in words else (1.2, -1.4)
    box(axes, x, y - height / 2, width, height, PANEL if given else "#eef1f5", LINE)
    family = "DejaVu Sans" if given else "DejaVu Sans Mono"
    axes.text(x + width / 2, y + up, name, ha="center", va="center", fontsize=12, weight="bold", family=family)
    words_at = (x + width / 2, y + down)
    axes.text(*words_at, words, ha="center", va="center", fontsize=9, color=MUTED, linespacing=1.35)


def panel(axes: Axes, x: float, y: float, width: float, height: float, title: str) -> None:
    box(axes, x, y, width, height, PANEL, LINE, rounding=1.6)
    axes.text(x + 2.4, y + height - 3.2, title, fontsize=13.5, weight="bold", va="center")


def box(
    axes: Axes, x: float, y: float, width: float, height: float, face: str, edge: str, rounding: float = 0.9
) -> None:
    style = f"round,pad=0,rounding_size={rounding}"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=face, edgecolor=edge, lw=1.1))


def node(axes: Axes, at: Point, colour: str, name: str, radius: float) -> None:
    axes.add_patch(Circle(at, radius, facecolor=colour, edgecolor=PANEL, lw=1.8, zorder=3))
    axes.text(*at, name, color="white", weight="bold", fontsize=12, ha="center", va="center", zorder=4)


def arrow(
    axes: Axes, start: Point, end: Point, colour: str, gap: float, width: float = 1.6, to_gap: float | None = None
) -> None:
    """A straight arrow that keeps ``gap`` free of its start and ``to_gap`` (or ``gap``) of its end."""
    length = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
    step = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    back = gap if to_gap is None else to_gap
    tail = (start[0] + step[0] * gap, start[1] + step[1] * gap)
    head = (end[0] - step[0] * back, end[1] - step[1] * back)
    style = {"arrowstyle": "-|>", "mutation_scale": 14, "shrinkA": 0, "shrinkB": 0, "lw": width}
    axes.add_patch(FancyArrowPatch(tail, head, color=colour, zorder=2, **style))


def loop(axes: Axes, start: Point, end: Point, bend: float) -> None:
    """An arrow from a node to itself, outwards."""
    style = {"arrowstyle": "-|>", "mutation_scale": 14, "shrinkA": 0, "shrinkB": 0, "lw": 1.6}
    axes.add_patch(FancyArrowPatch(start, end, connectionstyle=f"arc3,rad=-{bend}", color=INK, zorder=2, **style))


def label(axes: Axes, at: Point, name: str, data: str = "") -> None:
    axes.text(*at, name, fontsize=11.5, family="DejaVu Sans Mono", weight="bold", ha="center", va="center")
    if data:
        axes.text(at[0], at[1] - 2.6, data, fontsize=9.5, color=MUTED, ha="center", va="center")


def small(axes: Axes, at: Point, text: str) -> None:
    axes.text(*at, text, fontsize=9.5, color=MUTED, ha="center", va="center")


if __name__ == "__main__":
    main()
