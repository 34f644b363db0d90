"""Draws docs/figures/layers.png: the layers of the package, from the bottom to the top, and the import rule.

Run it as ``python docs/figures/make_layers.py``. The layers are those of tests/test_import_rule.py, which it reads, so
that the picture cannot show others. It brings its own light background, as the other figures do.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK, MUTED, PAPER, PANEL, LINE, BARE = "#1f2733", "#5b6675", "#f7f8fa", "#ffffff", "#d5dae1", "#3f9470"
RULE = Path(__file__).parents[2] / "tests" / "test_import_rule.py"
PACKAGE = RULE.parents[1] / "micgraph"
WORDS = {
    "schema": "names, records, errors",
    "artifact": "saved directories, settings,\nrandom numbers",
    "ids": "external ids; top-k search",
    "graph": "logs, splits, relations, the graph;\nlive histories",
    "sampling": "batches; encoders and towers;\npublished data sets",
    "tasks": "losses, augmentation, mining",
    "training": "the loop; channels, fusion,\nserving; scores of lists",
    "evaluation": "protocols, reference rows, tests;\nwhat is in a graph",
    "pipeline": "what wires the stages;\nruns, names, refresh, search",
    "cli": "the command line",
}
RUNS_BARE = {"rng", "ranks", "sampling", "nn", "tasks", "training", "metrics"}


def layers() -> list[list[str]]:
    """The rows of the import rule, from the bottom; of a unit of several modules the names side by side."""
    spec = importlib.util.spec_from_file_location("import_rule", RULE)
    assert spec is not None and spec.loader is not None
    rule: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    return [[name for unit in sorted(row, key=first) for name in names(unit)] for row in rule.LAYERS[:-1]]


def names(unit: str | tuple[str, ...]) -> tuple[str, ...]:
    return (unit,) if isinstance(unit, str) else unit


def first(unit: str | tuple[str, ...]) -> str:
    return names(unit)[0]


def main() -> None:
    plt.rcParams.update({"font.family": "DejaVu Sans", "text.color": INK})
    rows = layers()
    figure = plt.figure(figsize=(11, 0.85 * len(rows) + 1.3), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    height = 8.5 * len(rows) + 13
    axes.set(xlim=(0, 110), ylim=(0, height), aspect="equal")
    axes.axis("off")
    axes.text(4, height - 4.5, "A module imports from lower rows only", fontsize=14, weight="bold", va="center")
    axes.text(4, height - 8, "green: runs with torch, PyG, NumPy, SciPy, numba alone", fontsize=9.5, color=BARE)
    for place, row in enumerate(rows):
        draw_row(axes, 3 + 8.5 * place, row)
    style = {"arrowstyle": "-|>", "mutation_scale": 18, "lw": 1.8, "color": MUTED}
    axes.add_patch(FancyArrowPatch((106.5, height - 12), (106.5, 3), **style))
    axes.text(108.3, height / 2 - 4, "imports", rotation=270, color=MUTED, fontsize=11, va="center", ha="center")
    figure.savefig(Path(__file__).with_name("layers.png"), dpi=120, facecolor=PAPER)


def draw_row(axes: Axes, y: float, row: list[str]) -> None:
    style = "round,pad=0,rounding_size=0.9"
    axes.add_patch(FancyBboxPatch((3, y), 100, 7.3, boxstyle=style, facecolor=PANEL, edgecolor=LINE, lw=1.1))
    words = next((text for name, text in WORDS.items() if name in row), "")
    axes.text(5, y + 3.65, words, fontsize=9.5, color=MUTED, va="center", linespacing=1.3)
    told = [name for name in row if not name.endswith(("_kernel", "_table")) and list(PACKAGE.glob(f"{name}*"))]
    x = 33.0
    for name in told:
        width = 0.8 * len(name) + 2.2
        if x + width > (102 if name == told[-1] else 98):
            axes.text(x + 0.5, y + 3.6, "…", color=MUTED, fontsize=12, va="center")
            break
        ink, edge = (BARE, BARE) if name in RUNS_BARE else (INK, LINE)
        box = FancyBboxPatch((x, y + 1.7), width, 3.9, boxstyle=style, facecolor="#eef1f5", edgecolor=edge, lw=1.3)
        axes.add_patch(box)
        mono = {"family": "DejaVu Sans Mono", "fontsize": 9.5, "ha": "center", "va": "center"}
        axes.text(x + width / 2, y + 3.6, name, color=ink, **mono)
        x += width + 1


if __name__ == "__main__":
    main()
