"""Figures of a table; they need matplotlib, the extra ``report``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from micgraph.drawing import GREY, INK, MUTED, PALETTE, canvas, save
from micgraph.experiments.report import Report


@dataclass(frozen=True)
class Curve:
    """Points of one colour that belong together, joined in their order.

    Attributes:
        label: in the legend.
        x, y: of the points.
        texts: beside the points, may be empty.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Panel:
    """Points whose colour is a third figure.

    Attributes:
        title, x_name, y_name: of the panel and its axes.
        x, y, value: of the points; value is the colour.
        texts: beside the points.
    """

    title: str
    x_name: str
    y_name: str
    x: Sequence[float]
    y: Sequence[float]
    value: Sequence[float]
    texts: Sequence[str]


def lines(report: Report, metric: str, path: Path) -> Path:
    """A mark a line of the table at its mean, with the standard deviation over seeds, and the paper's figure as a ring.

    Args:
        report: the table.
        metric: what is shown, such as ``"recall@50"``.
        path: the picture's file.
    """
    shown = [line for line in report.lines if line.values.get(metric)][::-1]
    figure, axes = canvas(1, 1, (8, 1.2 + 0.32 * max(len(shown), 1)))
    axis = axes[0][0]
    for place, line in enumerate(shown):
        values = line.values[metric]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        colour = PALETTE[0] if line.parameters else GREY
        axis.errorbar(np.mean(values), place, xerr=spread, fmt="o", color=colour, capsize=3, zorder=3)
        printed = report.printed.get(line.name, {}).get(metric)
        if printed is not None:
            axis.plot(printed, place, "o", mfc="none", mec=PALETTE[1], zorder=2)
    axis.set_yticks(range(len(shown)), [line.name for line in shown], fontsize=8)
    names = f"{metric} (blue: here, mean ± std over seeds; grey: reference rows; rings: the paper)"
    paper = any(metric in figures for figures in report.printed.values())
    axis.set_xlabel(names if paper else f"{metric}, mean ± std over seeds", color=MUTED, fontsize=9)
    return save(figure, path)


def by_popularity(report: Report, path: Path) -> Path:
    """Each comparison's gain by the popularity of the clicked item, the rarest on the left, with its 95% intervals.

    Args:
        report: a table with :attr:`Report.gains`.
        path: the picture's file.
    """
    figure, axes = canvas(1, 1, (11, 4.5))
    axis, count = axes[0][0], len(report.gains)
    for at, (gain, colour) in enumerate(zip(report.gains, PALETTE * count, strict=False)):
        shift = 0.6 * ((at + 0.5) / count - 0.5)  # side by side within a decile
        points = [(x + shift, y) for x, y in enumerate(gain.difference, 1) if y is not None]
        ends = enumerate(zip(gain.low, gain.high, strict=True), 1)
        bars = [(x + shift, low, high) for x, (low, high) in ends if low is not None and high is not None]
        mark = "os^D"[at // len(PALETTE) % 4]  # where colours come again
        axis.plot(
            *np.reshape(points, (-1, 2)).T, mark, color=colour, ms=4, label=f"{gain.line} - {gain.base}", zorder=3
        )
        axis.vlines(*np.reshape(bars, (-1, 3)).T, color=colour, zorder=3)
    axis.axhline(0, color=MUTED, linewidth=0.8, zorder=2)
    axis.set_xticks(range(1, 11))
    axis.set_xlabel("decile of the item's training clicks (1: rarest items)", color=MUTED, fontsize=9)
    axis.set_ylabel(f"gain in {report.gains[0].metric}", color=MUTED, fontsize=9)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=7, labelcolor=INK)
    return save(figure, path)


def curves(given: Sequence[Curve], x_name: str, y_name: str, path: Path) -> Path:
    """Curves in one panel, such as recall against diversity.

    Args:
        given: the curves.
        x_name, y_name: of the axes.
        path: the picture's file.
    """
    figure, axes = canvas(1, 1, (7, 4.5))
    axis = axes[0][0]
    for curve, colour in zip(given, PALETTE * len(given), strict=False):
        axis.plot(curve.x, curve.y, "o-", color=colour, label=curve.label, zorder=3)
        for text, x, y in zip(curve.texts, curve.x, curve.y, strict=False):
            axis.annotate(text, (x, y), textcoords="offset points", xytext=(5, 5), fontsize=7, color=MUTED)
    axis.set_xlabel(x_name, color=MUTED, fontsize=9)
    axis.set_ylabel(y_name, color=MUTED, fontsize=9)
    axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    return save(figure, path)


def panels(given: Sequence[Sequence[Panel]], path: Path) -> Path:
    """A grid of panels, each with its own scale of colours.

    Args:
        given: rows of panels.
        path: the picture's file.
    """
    rows, columns = len(given), max(map(len, given))
    figure, axes = canvas(rows, columns, (4.4 * columns, 3.4 * rows))
    for row, line in enumerate(given):
        for column, panel in enumerate(line):
            axis = axes[row][column]
            marks = axis.scatter(panel.x, panel.y, c=panel.value, s=60, cmap="viridis", zorder=3)
            for text, x, y in zip(panel.texts, panel.x, panel.y, strict=True):
                axis.annotate(text, (x, y), textcoords="offset points", xytext=(5, 4), fontsize=6, color=MUTED)
            figure.colorbar(marks, ax=axis).ax.tick_params(labelsize=7)
            axis.set_title(panel.title, fontsize=9, color=INK)
            axis.set_xlabel(panel.x_name, fontsize=8, color=MUTED)
            axis.set_ylabel(panel.y_name, fontsize=8, color=MUTED)
    return save(figure, path)
