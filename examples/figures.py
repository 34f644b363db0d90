"""Figures that the examples share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from micgraph.evaluation import Result

INK, MUTED, GREY = "#1b2430", "#5b6673", "#9aa5b1"
PALETTE = ["#2f6fde", "#d9822b", "#2a9d6f", "#8a4fbf"]
REFERENCES = ("popularity", "popularity 6h", "itemknn", "ease")


def recall_against_coverage(results: Sequence[Result], accuracy: str, coverage: str, path: Path) -> Path:
    """One mark a row of the table: how much of what people took was found, against how much of the catalogue was shown.

    Reference rows are grey, a model's fused row is a ring in the model's colour.

    Args:
        results: the rows.
        accuracy: the metric on the vertical axis, such as ``"hit@200"``.
        coverage: the metric on the horizontal axis, such as ``"coverage@50"``.
        path: the picture's file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=150)
    models = [r.name.removesuffix(", fused") for r in results if r.name not in REFERENCES]
    colours = dict(zip(dict.fromkeys(models), PALETTE * len(models), strict=False))
    for result, marker in zip(results, "osD^vPX*" * len(results), strict=False):
        colour = colours.get(result.name.removesuffix(", fused"), GREY)
        fill = "white" if result.name.endswith(", fused") else colour
        style = {"marker": marker if colour == GREY else "o", "color": fill, "edgecolor": colour, "linewidth": 2}
        axes.scatter(result[coverage], result[accuracy], s=70, zorder=3, label=result.name, **style)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8, labelcolor=INK)
    axes.set_xlabel(f"{coverage}: share of the catalogue that anybody is shown", color=MUTED, fontsize=9)
    axes.set_ylabel(accuracy, color=MUTED, fontsize=9)
    axes.grid(color="#e6e9ed", zorder=0)
    axes.margins(0.1)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, facecolor="white")
    plt.close(figure)
    return path
