"""The section of gpu.py that compares the device with the CPU: numbers that must be equal, and others nearly so.

On the CPU both sides are the same device: everything is run, and nothing is shown by it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from gpu_bench import Bench, Model
from torch import Tensor

from micgraph.graph.membership import members
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import locate, window
from micgraph.graph.tickets import draw
from micgraph.nn.export import BoundModel
from micgraph.sampling.context import surroundings
from micgraph.sampling.khop import khop
from micgraph.schema import CLICKS, CO_OCCURS, ITEM, SIMILAR, USER

LOSS, VECTORS = 1e-4, 1e-4
"""The largest differences of losses and of exported vectors that pass, relative to the largest number."""
QUIET = {"perturb": {"dropout": 0.0}, "mining": {"mode": "none"}}
"""Torch's dropout is not the same on two devices (masked fields are); k-means may break ties of distances otherwise."""
TASK_SETS = {
    "youtube_dnn": "clicks",
    "gru4rec+mic": "positions",
    "ican+micrec": "clicks",
    "graphsage": "clicks",
}
"""Whose batches and losses are compared, and the samples that they have."""


def parity(bench: Bench) -> None:
    """Primitives and batches number for number, losses and vectors within a tolerance."""
    device = "cpu twice: shows nothing" if not bench.cuda else ""
    name = next(iter(bench.graphs))
    here, there = bench.graphs[name], bench.local[name]
    unequal = []
    for what, left, right in _pairs(here, there):
        different = _unequal(left, right, what)
        bench.tell(what, "equal" if not different else f"{len(different)} DIFFER", device)
        unequal += different
    for task_set, samples in TASK_SETS.items():
        if bench.due(task_set):
            with _whole_float32():
                unequal += _models(bench, task_set, samples, (here, there), device)
    if unequal:
        raise AssertionError(f"not the same on CPU and {bench.device}: {', '.join(unequal[:12])}")


@contextmanager
def _whole_float32() -> Iterator[None]:
    """cuDNN otherwise multiplies with 10 bits of mantissa, the CPU with 23."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _pairs(here: RecGraph, there: RecGraph) -> Iterator[tuple[str, Any, Any]]:
    """What is made on the one and on the other."""
    rows = torch.arange(0, here.n_items, 3)
    for weighted in (False, True):
        for replace in (True, False):
            both = (
                draw(g.relation(CO_OCCURS), _on(g, rows), 8, 7, None, weighted, _on(g, rows + 1), replace)
                for g in (here, there)
            )
            yield (
                f"draw, {'weighted' if weighted else 'uniform'}, {'with' if replace else 'without'} replacement",
                *both,
            )
    users = torch.arange(0, here.n_users, 5)
    yield "locate and window", *(_window(g, users) for g in (here, there))
    for name, row in ((CLICKS, users[:200]), (SIMILAR, rows[:200])):
        yield f"members of {name}", *(members(g.relation(name), _on(g, row), _on(g, rows[:300])) for g in (here, there))
    yield "khop", *(_khop(g, users[:512], False) for g in (here, there))
    yield "khop with times", *(_khop(g, users[:128], True) for g in (here, there))


def _on(graph: RecGraph, values: Tensor) -> Tensor:
    return values.to(graph.relations[CLICKS].device)


def _window(graph: RecGraph, users: Tensor) -> Any:
    clicks = graph.relation(CLICKS)
    assert clicks.time is not None
    row = _on(graph, users)
    stop = locate(clicks, row, clicks.time[clicks.indptr[row + 1] - 1])
    return stop, window(clicks, row, stop, 20)


def _khop(graph: RecGraph, users: Tensor, timed: bool) -> Any:
    relations = {
        (USER, CLICKS, ITEM): graph.relation(CLICKS, reverse=True),
        (ITEM, f"rev_{CLICKS}", USER): graph.relation(CLICKS),
        (ITEM, CO_OCCURS, ITEM): graph.relation(CO_OCCURS),
    }
    before = {USER: _on(graph, torch.full_like(users, graph.last_time // 2))} if timed else None
    out = khop(relations, {USER: _on(graph, users)}, dict.fromkeys(relations, [10, 5]), 3, before)
    return [out.node, out.row, out.col, out.edge, out.batch, out.num_sampled_nodes, out.num_sampled_edges]


def _models(bench: Bench, name: str, samples: str, graphs: tuple[RecGraph, RecGraph], note: str) -> list[str]:
    """Batches, a loss, its gradient and the exported vectors of one model."""
    size = 16 if bench.small else 512
    fields = {"tasks": {"fea": {"augment": "field"}}} if "micrec" in name else {}
    shape = {"model": {"dropout": 0.0, "history": 20}, "sampling": {"samples": samples, "batch_size": size}}
    settings = {**QUIET, **fields, **shape}
    here, there = (Model.make(name, settings, graph) for graph in graphs)
    there.objective.load_state_dict(here.objective.state_dict())
    found = _unequal(here.order, there.order, f"{name}.order")
    for step in range(3):
        ours, theirs = here.batch(step), there.batch(step)
        found += _unequal(ours, theirs, f"{name}.batch")
    bench.tell(f"{name}, order and 3 batches", "equal" if not found else f"{len(found)} DIFFER", note)
    found += _near(bench, f"{name}, loss", *(_losses(m) for m in (here, there)), LOSS, note)
    vectors = (_vectors(m, g) for m, g in zip((here, there), graphs, strict=True))
    return found + _near(bench, f"{name}, exported vectors", *vectors, VECTORS, note)


def _losses(model: Model) -> Tensor:
    """The losses of three steps of plain descent: Adam would make steps of rounding errors where gradients are 0."""
    losses = []
    for step in range(3):
        loss = model.loss(model.batch(step))
        model.backward(loss)
        losses.append(loss.detach())
        with torch.no_grad():
            for weight in model.objective.parameters():
                if weight.grad is not None:
                    weight -= 0.1 * weight.grad
    return torch.stack(losses).cpu()


def _vectors(model: Model, graph: RecGraph) -> Tensor:
    """The search vectors of all items."""
    bound = BoundModel(model.objective.towers, graph.item_fields, graph.user_fields, surroundings(graph))
    return bound.item_vectors()[0].cpu()


def _near(bench: Bench, what: str, left: Tensor, right: Tensor, most: float, note: str) -> list[str]:
    away = float((left - right).abs().max() / right.abs().max().clamp(min=1e-12))
    bench.tell(f"{what}, relative difference", away, note)
    return [] if away <= most else [f"{what} by {away:.2g}"]


def _unequal(left: Any, right: Any, where: str) -> list[str]:
    """The places at which two things differ; floats may by rounding, since logarithms are not the same everywhere."""
    if isinstance(left, Tensor):
        right = right.cpu()
        if left.is_floating_point():
            same = left.shape == right.shape and torch.allclose(left, right, rtol=1e-6, atol=0)
        else:
            same = torch.equal(left.cpu(), right)
        return [] if same else [where]
    if dataclasses.is_dataclass(left):
        return [
            p
            for f in dataclasses.fields(left)
            for p in _unequal(getattr(left, f.name), getattr(right, f.name), f"{where}.{f.name}")
        ]
    if isinstance(left, dict):
        if set(left) != set(right):
            return [where]
        return [p for key in left for p in _unequal(left[key], right[key], f"{where}.{key}")]
    if isinstance(left, (list, tuple)):
        if len(left) != len(right):
            return [where]
        return [p for i, (a, b) in enumerate(zip(left, right, strict=True)) for p in _unequal(a, b, f"{where}.{i}")]
    return [] if left == right else [where]
