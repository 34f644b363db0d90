"""What each channel is worth: what it finds alone, what is lost without it, what it shares with the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from micgraph.evaluation.data import EvalData, prepared
from micgraph.evaluation.ranking import evaluate_ranker
from micgraph.evaluation.result import Result, grid
from micgraph.graph.split import Holdout
from micgraph.knn import Ragged
from micgraph.metrics import places
from micgraph.retrieval.channels import ChannelName
from micgraph.retrieval.contracts import TrainedRun
from micgraph.retrieval.rankers import FusedRanker
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import InputError


@dataclass(frozen=True)
class ChannelReport:
    """Figures of each channel on one holdout; prints as a table.

    Attributes:
        fused: the lists of all channels, popular items filling them up as in ``recommend``.
        alone: of each channel what it alone gives, in its own order and with nothing to fill up.
        without: the fused lists of the other channels; without entries where there is one channel.
        overlap: (a, b) -> float [len(ks)], the share of a's items that b's list of the same length has too, mean over
            users to whom a gives anything.
        found_by: channels -> int [len(ks)], the test clicks whose item is in the lists of exactly these channels; of
            no channel: those that none finds. Together they are all test clicks.
    """

    fused: Result
    alone: dict[ChannelName, Result]
    without: dict[ChannelName, Result]
    overlap: dict[tuple[ChannelName, ChannelName], list[float]]
    found_by: dict[tuple[ChannelName, ...], list[int]]

    def lost(self, channel: ChannelName, metric: str) -> float:
        """How much of a metric such as ``"recall@50"`` the fused lists lose without a channel (its marginal recall).

        Raises:
            InputError: no such channel or metric, or the only channel.
        """
        if channel not in self.without:
            got = repr(channel)
            raise InputError("channel", f"one of {list(self.without)}", got, "name one of several channels")
        return self.fused[metric] - self.without[channel][metric]

    def __str__(self) -> str:
        return "\n\n".join(grid(self._rows(at, k)) for at, k in enumerate(self.fused.ks))

    def _rows(self, at: int, k: int) -> list[list[str]]:
        names = list(self.alone)
        head = [f"at {k}", "recall", "hit", "lost recall", "lost hit", "coverage", *(f"also in {b}" for b in names)]
        rows = [head]
        for name, one in self.alone.items():
            figures = [one[f"recall@{k}"], one[f"hit@{k}"]]
            lost = [self.lost(name, f"{m}@{k}") if self.without else None for m in ("recall", "hit")]
            shared = [self.overlap[name, other][at] if other != name else None for other in names]
            rows.append([name, *map(_number, [*figures, *lost, one[f"coverage@{k}"], *shared])])
        figures = [self.fused[f"{m}@{k}"] for m in ("recall", "hit")]
        return [
            *rows,
            ["fused", *map(_number, [*figures, None, None, self.fused[f"coverage@{k}"], *[None] * len(names)])],
        ]


def channel_report(
    run: TrainedRun | Recommender,
    holdout: Holdout | EvalData,
    ks: Sequence[int] = (50, 200),
    filter_seen: bool = True,
) -> ChannelReport:
    """Judge each channel of a run alone, and the fused lists with and without it.

    Args:
        run: a trained run, or a recommender with the fusion that is to be judged.
        holdout: the test or validation part of the split that made the graph.
        ks: lengths at which lists are cut.
        filter_seen: leave out what each user has already clicked.

    Raises:
        InputError: see :func:`micgraph.evaluate`.
        LeakageError: held-out clicks are edges of the graph.
    """
    recommender = run if isinstance(run, Recommender) else Recommender(run)
    data = prepared(holdout, recommender.graph)
    config = recommender.retriever.config

    def judged(ranker: FusedRanker | _Remembering) -> Result:
        return evaluate_ranker(ranker, data, ks, filter_seen)

    own = recommender.with_fusion(replace(config, fusion="rrf"))  # of one channel: its own order
    kept = {name: _Remembering(FusedRanker(own, (name,), name, fill=False)) for name in config.channels}
    fused = judged(FusedRanker(recommender))
    alone = {name: judged(ranker) for name, ranker in kept.items()}
    others = {name: tuple(c for c in config.channels if c != name) for name in config.channels}
    without = {name: judged(FusedRanker(recommender, rest, f"without {name}")) for name, rest in others.items() if rest}
    lists = {name: torch.cat(ranker.lists) for name, ranker in kept.items()}
    pairs = [(a, b) for a in lists for b in lists if a != b]
    shared = {(a, b): [_shared(lists[a][:, :k], lists[b][:, :k]) for k in fused.ks] for a, b in pairs}
    return ChannelReport(fused, alone, without, shared, _found_by(lists, data.clicks, fused.ks))


class _Remembering:
    """A ranker that keeps its lists, as int32."""

    def __init__(self, ranker: FusedRanker) -> None:
        self.ranker, self.name = ranker, ranker.name
        self.lists: list[Tensor] = []

    def rank(self, histories: Ragged, users: Tensor, k: int, exclude: Ragged | None = None) -> Tensor:
        found = self.ranker.rank(histories, users, k, exclude)
        self.lists.append(found.to(torch.int32))
        return found


def _found_by(
    lists: Mapping[ChannelName, Tensor], clicks: Ragged, ks: Sequence[int]
) -> dict[tuple[ChannelName, ...], list[int]]:
    """How many clicks are on items of exactly these channels' lists int32 [B, K], cut at each of ``ks``."""
    owner, names = clicks.owner(), tuple(lists)
    place = torch.stack([places(found.long(), owner, clicks.items) for found in lists.values()])
    code = torch.stack([((place < k) * 2 ** torch.arange(len(names))[:, None]).sum(0) for k in ks])
    counts = torch.stack([torch.bincount(row, minlength=2 ** len(names)) for row in code], 1).tolist()
    return {tuple(n for at, n in enumerate(names) if some >> at & 1): row for some, row in enumerate(counts)}


def _shared(one: Tensor, other: Tensor) -> float:
    """Of the items in the rows of ``one`` int32 [B, k] the share that is in ``other``'s, mean over rows with any."""
    ends = torch.arange(len(other) + 1) * other.shape[1]
    both = Ragged(ends, other.reshape(-1).long()).contains(one.long()).sum(1)
    length = (one >= 0).sum(1)
    return float((both[length > 0] / length[length > 0]).mean()) if bool((length > 0).any()) else 0.0


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
