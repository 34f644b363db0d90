"""The figures of a report, each with a caption that says what is to be read from it; the page has the key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from micgraph.document import Picture
from micgraph.drawing import GREY, INK, MUTED, SIZE, panel
from micgraph.evaluation import DECILES, Result
from micgraph.reporting.item_map import OTHER, UNKNOWN, groups
from micgraph.reporting.judging import Comparison, Judged
from micgraph.reporting.looks import GREY_LOOK, look
from micgraph.reporting.users import Bucket
from micgraph.retrieval.channels import ChannelName
from micgraph.retrieval.explaining import label as channel_label

_CHANNEL_MARKS = {"fused": "o", "u2i": "^", "u2u": "s", "i2i": "D"}
Contribution = tuple[str, ChannelName, int, int]
"""Label of a run, channel, held-out clicks that it finds, those of them that no other channel of the run finds."""
GREY_NAMES = (OTHER, UNKNOWN)
"""Categories that share the grey of what has no colour of its own."""


def losses(runs: Sequence[Judged]) -> Iterator[Picture]:
    """The whole loss and each of its parts over epochs."""
    names = dict.fromkeys(name for run in runs for row in run.epochs for name in row if name.split("/")[0] == "loss")
    parts = [name for name in names if name != "loss"]
    for place, name in enumerate(["loss", *parts] if len(parts) != 1 else parts):
        what = "Loss, all parts together with their weights" if name == "loss" else f"The part {name[5:]} of the loss"
        yield Picture(f"loss_{place}", f"{what}, {_ends(runs, name, min)}.", _over_epochs(runs, name))


def validation(runs: Sequence[Judged]) -> Iterator[Picture]:
    """The metric that chooses the epoch over epochs, and recall, NDCG and coverage at its length."""
    names: dict[str, None] = {}
    for run in runs:
        length = run.monitor.partition("@")[2]
        names |= dict.fromkeys(
            [f"valid/{run.monitor}", *(f"valid/{m}@{length}" for m in ("recall", "ndcg", "coverage"))]
        )
    shown = [name for name in names if any(name in row for run in runs for row in run.epochs)]
    for place, name in enumerate(shown):
        caption = f"{name[6:]} on the validation part, U2I lists, {_ends(runs, name, max)}."
        yield Picture(f"valid_{place}", caption, _over_epochs(runs, name))


def _ends(runs: Sequence[Judged], name: str, best: Callable[..., float]) -> str:
    """Of each run the best value of a metric of its epochs and when that was."""
    found = []
    for run in runs:
        rows = [row for row in run.epochs if name in row]
        if rows:
            value = best(row[name] for row in rows)
            at = next(row["epoch"] for row in rows if row[name] == value)
            found.append(f"{run.label} {value:.4g} in epoch {at}")
    return f"{'lowest' if best is min else 'highest'}: {'; '.join(found)}"


def _over_epochs(runs: Sequence[Judged], name: str) -> Any:
    from matplotlib.ticker import MaxNLocator

    figure, axis = panel("epoch", name.replace("valid/", "").replace("loss/", "loss: "))
    for place, run in enumerate(runs):
        rows = [row for row in run.epochs if name in row]
        if rows:
            every = max(len(rows) // 8, 1)
            _line(axis, [row["epoch"] for row in rows], [row[name] for row in rows], place, every)
    axis.margins(x=0.04)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _line(axis: Any, x: Any, y: Any, place: int | None, every: int = 1) -> None:
    """A line of the run at a place of the report, or of what is grey; the marks of later runs are smaller."""
    one, size = (GREY_LOOK, 3.0) if place is None else (look(place), max(6.5 - 0.8 * place, 3.5))
    style = {"color": one.colour, "marker": one.mark, "linestyle": one.dash, "markevery": every}
    axis.plot(x, y, ms=size, linewidth=1.4, zorder=3, **style)


def trade_off(found: Comparison, against: str) -> Picture:
    """Recall of the fused lists against their coverage or diversity, over the lengths of the lists."""
    figure, axis = panel(f"{against}@k", "recall@k")
    for place, run in enumerate(found.runs):
        _curve(axis, _fused(run), against, place)
    if found.popularity is not None:
        _curve(axis, found.popularity, against, None)
    best = max(found.runs, key=lambda run: _fused(run)[f"{against}@{found.k}"])
    told = f"most {against} at k = {found.k} has {best.label} ({_fused(best)[f'{against}@{found.k}']:.3f})"
    caption = f"Recall against {against} as lists grow (numbers: k); up and to the right is better; {told}."
    return Picture(f"recall_{against}", caption, figure)


def _curve(axis: Any, result: Result, against: str, place: int | None) -> None:
    ks = [k for k in result.ks if f"{against}@{k}" in result.values]
    x, y = ([result[f"{name}@{k}"] for k in ks] for name in (against, "recall"))
    _line(axis, x, y, place)
    for k, *point in zip(ks, x, y, strict=True) if place == 0 else ():
        axis.annotate(str(k), point, textcoords="offset points", xytext=(4, -9), fontsize=7, color=MUTED)


def channels_apart(found: Comparison) -> Picture:
    """Each channel alone and all fused at one length: recall against coverage, a colour a run, a letter a channel."""
    figure, axis = panel(f"coverage@{found.k}", f"recall@{found.k}")
    for place, run in enumerate(found.runs):
        assert run.channels is not None
        rows: list[tuple[str, Result]] = [("fused", run.channels.fused), *run.channels.alone.items()]
        for name, result in rows:
            at = result[f"coverage@{found.k}"], result[f"recall@{found.k}"]
            fill = look(place).colour if name == "fused" else "none"
            axis.plot(*at, _CHANNEL_MARKS.get(name, "P"), color=look(place).colour, mfc=fill, ms=6, zorder=3)
    caption = f"Each channel alone and all fused at k = {found.k}, in the run's colour: filled circles are the fused "
    caption += "lists, triangles U2I, squares U2U, diamonds I2I, crosses others. Alone a channel may give fewer items."
    return Picture("channels_apart", caption, figure)


def contributions(found: Comparison, counts: Sequence[Contribution], clicks: int) -> Picture:
    """Clicks found by each channel, and by it alone, as bars.

    Args:
        found: the runs.
        counts: one of each run and channel.
        clicks: held-out clicks in all.
    """
    figure, axis = panel("share of the held-out clicks", "", (SIZE[0], 0.9 + 0.22 * len(counts)))
    colours = {run.label: look(place).colour for place, run in enumerate(found.runs)}
    for place, (label, _, hits, alone) in enumerate(counts):
        axis.barh(place, alone / clicks, 0.7, color=colours[label], zorder=3)
        axis.barh(place, (hits - alone) / clicks, 0.7, alone / clicks, color=colours[label], alpha=0.35, zorder=3)
    axis.set_yticks(range(len(counts)), [channel_label(name) for _, name, *_ in counts], fontsize=8)
    axis.invert_yaxis()
    axis.margins(y=0.03)
    axis.set_xlim(left=0)
    label, name, _, alone = max(counts, key=lambda row: row[3])
    caption = (
        f"Held-out clicks in the {found.k} items of each channel alone: solid, those that no other channel of the "
    )
    caption += f"run finds; pale, the others. Most of its own has {channel_label(name)} of {label}, {alone:,}."
    return Picture("contributions", caption, figure)


def deciles(found: Comparison) -> Iterator[Picture]:
    """Hits by the popularity of the clicked item, and of several runs what they are above the first."""
    lines = [(place, _fused(run).by_popularity(found.k)) for place, run in enumerate(found.runs)]
    reference = [] if found.popularity is None else [(None, found.popularity.by_popularity(found.k))]
    caption = "Share of held-out clicks that are found, by the popularity of their item: each decile holds about a "
    caption += f"tenth of the training clicks, the rarest items are on the left. {_rarer(found)}"
    yield Picture("deciles", caption, _by_decile(f"hit@{found.k}", [*lines, *reference]))
    if len(found.runs) > 1:
        first = np.array(lines[0][1])
        above = [(place, np.array(hits) - first) for place, hits in lines[1:]]
        caption = f"The same less what {found.runs[0].label} finds: above 0 a run finds more than it of such items."
        yield Picture("deciles_above", caption, _by_decile(f"hit@{found.k} less the first run's", above, zero=True))


def _by_decile(y_name: str, lines: Sequence[tuple[int | None, Any]], zero: bool = False) -> Any:
    figure, axis = panel("decile of the clicked item (1: rarest)", y_name)
    for place, hits in lines:
        points = [(at, hit) for at, hit in enumerate(hits, 1) if hit == hit]
        x, y = np.reshape(points, (-1, 2)).T
        _line(axis, x, y, place)
    if zero:
        axis.axhline(0, color=MUTED, linewidth=0.8, zorder=2)
    axis.set_xticks(range(1, 11))
    return figure


def _rarer(found: Comparison) -> str:
    """Which run finds most of the clicks on the rarer half."""
    shares = {}
    for run in found.runs:
        columns = [_fused(run).column(f"{name}@{found.k}") for name in DECILES[:5]]
        clicks = sum(float(weight.sum()) for _, weight in columns)
        shares[run.label] = sum(float((hit * weight).sum()) for hit, weight in columns) / max(clicks, 1.0)
    label, most = max(shares.items(), key=lambda pair: pair[1])
    return (
        f"Of clicks on the rarer half (1 to 5) {label} finds most of the runs, {most:.2%}."
        if most
        else "None finds the rarer half."
    )


def by_history(found: Comparison, tables: Sequence[Sequence[Bucket]]) -> Picture:
    """Recall by the length of the history, a line a run."""
    names = [bucket.name for bucket in tables[0]]
    figure, axis = panel("known items in the history", f"recall@{found.k}")
    for place, buckets in enumerate(tables):
        points = [(at, bucket.recall) for at, bucket in enumerate(buckets) if bucket.users]
        x, y = np.reshape(points, (-1, 2)).T
        _line(axis, x, y, place if place < len(found.runs) else None)
    axis.set_xticks(range(len(names)), [f"{b.name}\n({b.users:,})" for b in tables[0]], fontsize=7)
    caption = (
        "Recall of users by how many known items their history has, the number of users in brackets: cold users are on "
    )
    caption += "the left; of few users a value says little."
    return Picture("by_history", caption, figure)


def vectors(found: Comparison) -> Picture:
    """Alignment against the uniformity of items, a mark a run."""
    figure, axis = panel("uniformity of items (lower: spread out)", "alignment (lower: nearer)")
    for place, run in enumerate(found.runs):
        assert run.vectors is not None
        one = look(place)
        axis.plot(run.vectors["ii_uniform"], run.vectors["ui_align"], one.mark, color=one.colour, ms=7, zorder=3)
    near = min(found.runs, key=lambda run: (run.vectors or {})["ui_align"])
    caption = (
        "How far users lie from what they click next, against how evenly items fill their sphere; down and to the left "
    )
    caption += f"is better in both, yet no metric of lists. Users and their clicks are nearest in {near.label}."
    return Picture("spaces", caption, figure)


def item_maps(found: Comparison) -> Iterator[Picture]:
    """Each run's items on a plane, in the colours of their categories."""
    for number, run in enumerate(found.runs):
        if not len(run.items.places):
            continue
        figure, axis = panel("", "")
        for place, (name, members) in enumerate(groups(found.graph, run.items.items)):
            one = GREY_LOOK if name in GREY_NAMES else look(place)
            points = run.items.places[members]
            size, order = _size(len(run.items.items)), 2 if name in GREY_NAMES else 3
            axis.plot(*points.T, one.mark, color=one.colour, ms=size, mew=0, alpha=0.8, zorder=order)
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.set_title(run.label, fontsize=9, color=INK, parse_math=False)
        for side in ("left", "bottom"):
            axis.spines[side].set_color(GREY)
        yield Picture(f"map_{number}", f"Item vectors of {run.label}. {_kept(run)}", figure)


def _kept(run: Judged) -> str:
    here = run.items
    if np.isnan(here.together):
        return "No categories to compare with."
    return f"Of an item's nearest ten {here.together:.0%} share its category, by chance {here.chance:.0%}."


def _size(n: int) -> float:
    return float(np.clip(100 / n**0.5, 2.0, 4.5))


def _fused(run: Judged) -> Result:
    assert run.fused is not None, "drawn only where lists were judged"
    return run.fused
