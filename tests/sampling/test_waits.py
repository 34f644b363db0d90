"""Batches made by the programs of a GPU are those of the CPU, and wait for the GPU once a stage."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch

from micgraph.graph.relation import locate, window
from micgraph.graph.tickets import draw
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.khop import khop
from micgraph.sampling.plan import Requires
from micgraph.sampling.samples import SamplingConfig
from tests.toy import random_rows, toy_graph
from tests.waits import as_on_a_gpu, waits_of

GRAPH = toy_graph(random_rows(60, 25, seed=3), 25)
CLICKS = GRAPH.relation("clicks")
MASKED = Requires(negatives=("popularity", 20), target_mask="negatives")
NEIGHBOURS = Requires(negatives=("uniform", 9), positives="co_occurs")
SIMILAR = Requires(negatives=("uniform", 9), positives="similar", block="neighbours")
WINDOW = Requires(target_mask="batch", window=3, other_stretch=True, item_anchors=True)
ASKED = {"clicks": [MASKED, NEIGHBOURS, SIMILAR], "users": [MASKED, WINDOW], "positions": [MASKED, WINDOW, NEIGHBOURS]}


def sampler(samples: Any, strict: bool = True) -> BatchSampler:
    config = SamplingConfig(samples=samples, batch_size=12, strict=strict, anchors_per_query=2, anchors="uniform")
    return BatchSampler(GRAPH, config, ASKED[samples], 6)


def parts(value: Any, where: str = "") -> dict[str, Any]:
    """Whatever is in a batch, by its place; tensors as lists."""
    if isinstance(value, torch.Tensor):
        return {where: value.tolist()}
    if is_dataclass(value):
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, dict):
        return {k: v for name, one in value.items() for k, v in parts(one, f"{where}.{name}").items()}
    return {where: value}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("samples", ASKED)
def test_both_programs_make_the_same_batches(samples: str, strict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [parts(sampler(samples, strict).batch(0, step)) for step in range(3)]
    as_on_a_gpu(monkeypatch)
    assert [parts(sampler(samples, strict).batch(0, step)) for step in range(3)] == ours


def test_draws_and_windows_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    rows, pairs = torch.arange(25), GRAPH.relation("co_occurs")
    for rel in (CLICKS, pairs):
        assert rel.longest == max(rel.degree().tolist())  # asked for once

    def calls() -> None:
        for weighted in (False, True):
            for replace in (False, True):
                draw(pairs, rows, 4, 1, weighted=weighted, exclude=rows - 1, replace=replace)
        window(CLICKS, rows, locate(CLICKS, rows, rows), 5)

    assert not waits_of(calls)


@pytest.mark.parametrize(
    ("samples", "most"),
    [
        # distinct targets and item anchors, distinct items, the clicks of the users for each mask
        ("clicks", {"_unique2": 1, "nonzero": 2, "repeat_interleave": 1}),
        ("users", {"_unique2": 1, "nonzero": 2, "repeat_interleave": 2}),
        # and the longest piece, its pairs, and those that are anchors
        ("positions", {"_unique2": 1, "nonzero": 4, "repeat_interleave": 2, "_local_scalar_dense": 1}),
    ],
)
def test_a_batch_waits_once_a_stage(samples: str, most: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    made = sampler(samples)
    order = made.order(0)
    made.batch(0, 0, order)  # the longest rows are asked for once
    assert waits_of(lambda: made.batch(0, 1, order)) == most


def test_a_hop_waits_for_the_number_of_edges_and_of_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    relations = {("user", "clicks", "item"): GRAPH.relation("clicks", reverse=True), ("item", "rev", "user"): CLICKS}
    seeds = {"user": torch.arange(0, 60, 2)}
    found = waits_of(lambda: khop(relations, seeds, dict.fromkeys(relations, [3, 3]), 1))
    assert found == {"tolist": 4, "nonzero": 4}  # two relations, two hops


def test_what_waits_is_seen() -> None:
    x = torch.arange(4)
    waiting = [
        lambda: x[x > 1],
        lambda: x.nonzero(),
        lambda: torch.unique(x),
        lambda: torch.bincount(x),
        lambda: torch.repeat_interleave(x, x),
        lambda: int(x[0]),
        lambda: bool((x > 1).any()),
        lambda: x.tolist(),
        lambda: x.clone().index_put_((x > 1,), x[:2]),
    ]
    for call in waiting:
        assert sum(waits_of(call).values()) == 1
    assert not waits_of(lambda: (x[x], torch.where(x > 1, x, 0), torch.repeat_interleave(x, x, output_size=6)))
