"""Figures that the examples share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from micgraph.evaluation import Result

INK, MUTED, BLUE, GREY = "#1b2430", "#5b6673", "#2f6fde", "#9aa5b1"


def recall_against_coverage(results: Sequence[Result], accuracy: str, coverage: str, path: Path) -> Path:
    """One dot a row of the table: how much of what people took was found, against how much of the catalogue was shown.

    Args:
        results: the rows; names that belong to reference rows are drawn in grey.
        accuracy: the metric on the vertical axis, such as ``"hit@200"``.
        coverage: the metric on the horizontal axis, such as ``"coverage@50"``.
        path: the picture's file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), dpi=150)
    for result in results:
        reference = result.name in ("popularity", "popularity 6h", "itemknn", "ease")
        x, y = result[coverage], result[accuracy]
        axes.scatter(x, y, s=60, color=GREY if reference else BLUE, zorder=3, edgecolor="white")
        axes.annotate(result.name, (x, y), xytext=(7, 3), textcoords="offset points", fontsize=8, color=INK)
    axes.set_xlabel(f"{coverage}: share of the catalogue that anybody is shown", color=MUTED, fontsize=9)
    axes.set_ylabel(accuracy, color=MUTED, fontsize=9)
    axes.grid(color="#e6e9ed", zorder=0)
    axes.margins(x=0.18, y=0.12)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, facecolor="white")
    plt.close(figure)
    return path
