"""The tables of a report."""

from __future__ import annotations

from collections.abc import Sequence

from micgraph.evaluation import DECILES, Result
from micgraph.graph.tables import Table
from micgraph.reporting.figures import Contribution
from micgraph.reporting.item_map import category_name
from micgraph.reporting.judging import Comparison, Judged
from micgraph.reporting.users import Bucket
from micgraph.retrieval.explaining import label as channel_label

_SHOWN = ("recall", "hit", "ndcg", "coverage", "diversity")


def settings(found: Comparison) -> Table:
    """What the runs are."""
    heads = ("encoder", "tasks", "epochs", "epoch of the weights", "seed", "parameters")
    rows = []
    for run in found.runs:
        encoder, *tasks = run.name.split("+")
        epochs = f"{len(run.epochs)} of {run.planned}"
        about = (epochs, str(run.best_epoch or "-"), str(run.seed), f"{run.parameters:,}")
        rows.append((run.label, encoder, ", ".join(tasks) or "none", *about))
    return Table("run", heads, tuple(rows))


def reached(found: Comparison) -> Table:
    """Metrics of the U2I lists and the fused lists of each run and of popularity; the best of each column is marked."""
    assert found.popularity is not None
    lines: list[tuple[str, str, Result]] = []
    for run in found.runs:
        assert run.channels is not None
        u2i = [(run.label, "U2I alone", one) for name, one in run.channels.alone.items() if name == "u2i"]
        lines += [*u2i, (run.label, "fused", run.channels.fused)]
    lines.append(("popularity", "the same for all", found.popularity))
    names = [f"{name}@{found.k}" for name in _SHOWN if f"{name}@{found.k}" in found.popularity.values]
    rows = tuple((label, lists, *(_cell(result.values.get(name)) for name in names)) for label, lists, result in lines)
    return Table("run", ("lists", *names), rows, marked=best_cells(rows, range(1, len(names) + 1)))


def best_cells(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> frozenset[tuple[int, int]]:
    """Of each of these columns (counted after the first) the cells with the largest number as it is printed."""
    found = set()
    for column in columns:
        values = [float(row[column + 1]) if row[column + 1] != "-" else float("-inf") for row in rows]
        found |= {(at, column) for at, value in enumerate(values) if value == max(values) > float("-inf")}
    return frozenset(found)


def over_lengths(found: Comparison) -> Table:
    """Recall, coverage and diversity of the fused lists by their length."""
    rows, names = [], ("recall", "coverage", "diversity")
    for label, result in _lines(found):
        rows += [(label, str(k), *(_cell(result.values.get(f"{name}@{k}")) for name in names)) for k in result.ks]
    return Table("run", ("k", *names), tuple(rows))


def channels(found: Comparison) -> Table:
    """What each channel finds, alone finds, and shares with the others."""
    rows = []
    names = list(dict.fromkeys(name for run in found.runs if run.channels for name in run.channels.alone))
    for run, (label, name, hits, alone) in of_channels(found):
        assert run.channels is not None
        at = run.channels.fused.ks.index(found.k)
        lost = _cell(run.channels.lost(name, f"recall@{found.k}")) if run.channels.without else "-"
        shared = [
            _cell(run.channels.overlap[name, other][at]) if (name, other) in run.channels.overlap else ""
            for other in names
        ]
        one = run.channels.alone[name]
        figures = (_cell(one[f"recall@{found.k}"]), lost, _cell(one[f"coverage@{found.k}"]))
        rows.append((label, channel_label(name), f"{hits:,}", f"{alone:,}", *figures, *shared))
    heads = ("channel", "hits", "only its own", "recall alone", "recall lost without it", "coverage")
    return Table("run", (*heads, *(f"also in {channel_label(name)}" for name in names)), tuple(rows))


def of_channels(found: Comparison) -> list[tuple[Judged, Contribution]]:
    """Each run with a channel: label, channel, held-out clicks that it finds, those that no other channel finds."""
    rows: list[tuple[Judged, Contribution]] = []
    for run in found.runs:
        assert run.channels is not None
        at = run.channels.fused.ks.index(found.k)
        for name in run.channels.alone:
            hits = sum(counts[at] for some, counts in run.channels.found_by.items() if name in some)
            rows.append((run, (run.label, name, hits, run.channels.found_by[name,][at])))
    return rows


def deciles(found: Comparison) -> Table:
    """Hits by the popularity of the clicked item, and how many clicks there are."""
    assert found.popularity is not None
    clicks = [int(found.popularity.weights[name].sum()) for name in DECILES]
    rows = [(label, *map(_cell, result.by_popularity(found.k))) for label, result in _lines(found)]
    rows = [("held-out clicks", *(f"{n:,}" for n in clicks)), *rows]
    return Table("run", tuple(str(n) for n in range(1, 11)), tuple(rows))


def by_history(found: Comparison, tables: Sequence[Sequence[Bucket]]) -> Table:
    """Recall and hits by the length of the history."""
    rows = [
        (label, one.name, f"{one.users:,}", f"{one.clicks:,}", _cell(one.recall), _cell(one.hit))
        for (label, _), buckets in zip(_lines(found), tables, strict=True)
        for one in buckets
    ]
    return Table("run", ("items in history", "users", "clicks", f"recall@{found.k}", f"hit@{found.k}"), tuple(rows))


def vectors(found: Comparison) -> Table:
    """Alignment and uniformity."""
    rows = tuple((run.label, *(_cell(value) for value in (run.vectors or {}).values())) for run in found.runs)
    return Table("run", ("alignment", "uniformity of users", "uniformity of items"), rows)


def maps(found: Comparison) -> Table:
    """How well item vectors keep categories together."""
    rows = tuple(
        (run.label, f"{run.items.variance:.1%}", *(_share(x) for x in (run.items.together, run.items.chance)))
        for run in found.runs
    )
    heads = ("variance on two axes", "nearest ten of the same category", "by chance")
    return Table("run", heads, rows)


def recalled(found: Comparison, run: Judged, at: int) -> Table:
    """The list of one example user."""
    listed = run.recalls[at]
    titles = found.graph.titles([one.item for one in listed])
    rows = []
    for place, (one, title) in enumerate(zip(listed, titles, strict=True), 1):
        category = category_name(found.graph, int(found.graph.category[one.item]))
        rows.append((str(place), "hit" if one.hit else "", title, one.reason, one.channels, category))
    marked = frozenset((at, column) for at, one in enumerate(listed) if one.hit for column in (0, 1))
    return Table("place", ("", "item", "reason", "channels", "category"), tuple(rows), marked=marked)


def _lines(found: Comparison) -> list[tuple[str, Result]]:
    """The fused lists of each run, and popularity."""
    runs = [(run.label, run.fused) for run in found.runs]
    return [(label, one) for label, one in [*runs, ("popularity", found.popularity)] if one is not None]


def _cell(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4f}"


def _share(value: float) -> str:
    return "-" if value != value else f"{value:.1%}"
