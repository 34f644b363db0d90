"""The sections of gpu.py that measure speed, memory and host syncs."""

from __future__ import annotations

import itertools
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from gpu_bench import Bench, Model

from micgraph import knn
from micgraph.graph.recgraph import RecGraph
from micgraph.knn import topk
from micgraph.sampling.khop import EdgeType, khop
from micgraph.schema import CLICKS, CO_OCCURS, ITEM, USER

FANOUT, WIDTH = [10, 10], 32
MODELS = ("youtube_dnn", "gru4rec", "gru4rec+mic", "ican+micrec")
PACKAGE = str(Path(knn.__file__).parents[1])


def limits(bench: Bench) -> None:
    """What the device can do at the best: a large copy, and a matrix product in float32."""
    size = 1 << (24 if bench.small else 31)
    source, target = (torch.empty(size, dtype=torch.uint8, device=bench.device) for _ in range(2))
    bench.bandwidth = 2 * size / bench.seconds(lambda: target.copy_(source))
    side = 512 if bench.small else 8192
    left, right = (torch.randn(side, side, device=bench.device) for _ in range(2))
    bench.flops = 2 * side**3 / bench.seconds(lambda: left @ right)
    bench.tell("copy, GB/s read and written", bench.bandwidth / 1e9)
    bench.tell("float32 matrix product, TFLOP/s", bench.flops / 1e12)


def sampler(bench: Bench) -> None:
    """khop [10, 10] over clicks, reverse clicks and co-occurrence with features, as in sampler.py.

    Bytes are those that must be read and written: of an edge 4 to read and 24 to write (source, target, offset), of a
    node 8 for its number and its features twice.
    """
    for name, graph in bench.local.items():
        if not bench.due(name):
            continue
        edges, nodes, seconds, users = _sampled(bench, graph)
        moved = 28 * edges + (8 + 8 * WIDTH) * nodes
        bench.tell(f"{name}, seeds a second", users / seconds)
        bench.tell(f"{name}, edges a second", edges / seconds)
        bench.tell(f"{name}, share of the bandwidth", moved / seconds / bench.bandwidth)


def _sampled(bench: Bench, graph: RecGraph) -> tuple[int, int, float, int]:
    """Edges, nodes, seconds and seeds of some batches."""
    size = 64 if bench.small else 4096
    features = {kind: torch.randn(graph.n_nodes[kind], WIDTH, device=bench.device) for kind in (USER, ITEM)}
    relations = {
        (USER, CLICKS, ITEM): graph.relation(CLICKS, reverse=True),
        (ITEM, f"rev_{CLICKS}", USER): graph.relation(CLICKS),
        (ITEM, CO_OCCURS, ITEM): graph.relation(CO_OCCURS),
    }
    fanouts: dict[EdgeType, list[int]] = dict.fromkeys(relations, FANOUT)
    generator = torch.Generator().manual_seed(0)
    parts = torch.randperm(graph.n_users, generator=generator).to(bench.device).split(size)[: 2 if bench.small else 20]
    counts: list[tuple[int, int]] = []

    def epoch() -> None:
        counts.clear()
        for step, seeds in enumerate(parts):
            out = khop(relations, {USER: seeds}, fanouts, step)
            for kind, found in out.node.items():
                features[kind].index_select(0, found)
            counts.append((sum(map(len, out.row.values())), sum(map(len, out.node.values()))))

    seconds = bench.seconds(epoch, repeats=3, warm_up=1)
    return sum(e for e, _ in counts), sum(n for _, n in counts), seconds, sum(map(len, parts))


def batches(bench: Bench) -> None:
    """What a batch takes to make, for the task sets of MODELS and for pieces of histories."""
    sets: list[tuple[str, str, dict[str, Any]]] = [(name, name, clicks(bench, 4096)) for name in MODELS]
    sets.append(("gru4rec+mic, pieces", "gru4rec+mic", {"sampling": {"batch_size": 32 if bench.small else 256}}))
    for label, name, settings in sets:
        if not bench.due(label):
            continue
        model = Model.make(name, settings, bench.local[next(iter(bench.graphs))])
        steps = itertools.count()
        seconds = bench.seconds(lambda model=model, steps=steps: model.batch(next(steps)), 2 if bench.small else 20)
        bench.tell(f"{label}, batch of {model.sampler.config.batch_size}, ms", 1000 * seconds)


def clicks(bench: Bench, size: int, **model: Any) -> dict[str, Any]:
    """Settings of batches of clicks, each with 50 clicks before it."""
    size = size // 64 if bench.small else size
    return {
        "model": {"history": 10 if bench.small else 50, **model},
        "sampling": {"samples": "clicks", "batch_size": size},
    }


def steps(bench: Bench) -> None:
    """A training step by model, precision and batch size. What does not fit in memory is noted, and no failure."""
    sizes = (1024, 65536) if bench.small else (1024, 4096, 16384, 65536)
    for size, name, bf16 in itertools.product(sizes, MODELS, (False, True)):
        label = f"{name}, {'bf16' if bf16 else 'fp32'}, batch {size // 64 if bench.small else size}"
        if not bench.due(label):
            continue
        try:
            _step(bench, label, Model.make(name, clicks(bench, size), bench.local[next(iter(bench.graphs))], bf16))
        except torch.OutOfMemoryError:
            bench.left_out.append(f"{bench.section}: {label} (memory)")
            bench.tell(f"{label}, samples a second", "out of memory")
        if bench.cuda:
            torch.cuda.empty_cache()


def _step(bench: Bench, label: str, model: Model) -> None:
    if bench.cuda:
        torch.cuda.reset_peak_memory_stats(bench.device)
    numbers = itertools.count()
    samples = min(model.sampler.config.batch_size, len(model.order))
    seconds = bench.seconds(lambda: model.step(next(numbers)), 1 if bench.small else 5, 1 if bench.small else 2)
    peak = torch.cuda.max_memory_allocated(bench.device) / 1e9 if bench.cuda else float("nan")
    bench.tell(f"{label}, samples a second", samples / seconds, f"{peak:.2f} GB at peak" if bench.cuda else "")
    if bench.cuda:
        bench.found[bench.section][f"{label}, peak GB"] = round(peak, 2)


def retrieval(bench: Bench) -> None:
    """The 100 best of a million vectors of 64 numbers, exactly."""
    items, users, k = (5_000, 64, 10) if bench.small else (1_000_000, 4096, 100)
    base, queries = (torch.randn(n, 64, device=bench.device) for n in (items, users))
    for chunk in (1 << 24, 1 << 28) if not bench.small else (1 << 20,):
        if bench.due(f"chunk {chunk}"):
            seconds = bench.seconds(lambda chunk=chunk: topk(queries, base, k, chunk=chunk), 3, 1)
            bench.tell(f"{items:,} items, chunk {chunk:,}, users a second", users / seconds)
            share = 2 * users * items * 64 / seconds / bench.flops
            bench.tell(f"{items:,} items, chunk {chunk:,}, share of the product", share)


def host_syncs(bench: Bench) -> None:
    """How often a step waits for the device, and in which lines of micgraph."""
    if not bench.cuda:
        bench.tell("waits a step", "not counted", "only CUDA tells of them")
        return
    for name in MODELS:
        if bench.due(name):
            model = Model.make(name, clicks(bench, 4096), bench.local[next(iter(bench.graphs))])
            model.step(0)  # what is asked for once is not a step's
            for part, lines in _waits(model).items():
                where = ", ".join(f"{line} x{n}" for line, n in lines.most_common())
                bench.tell(f"{name}, {part}", sum(lines.values()), where)
                bench.found[bench.section][f"{name}, {part}, lines"] = where


def _waits(model: Model) -> dict[str, Counter[str]]:
    lines: dict[str, Counter[str]] = {part: Counter() for part in ("batch", "forward", "backward", "update")}
    with _told(lines["batch"]):
        batch = model.batch(1)
    with _told(lines["forward"]):
        loss = model.loss(batch)
    with _told(lines["backward"]):
        model.backward(loss)
    with _told(lines["update"]):
        model.update()
    return lines


@contextmanager
def _told(lines: Counter[str]) -> Iterator[None]:
    """Count the waits by the innermost line of the package that is being run."""

    def note(message: Any, *rest: Any) -> None:
        if "synchronizing" in str(message):
            lines[_line()] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


def _line() -> str:
    own = [f for f in traceback.extract_stack() if f.filename.startswith(PACKAGE)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "elsewhere"


SECTIONS: dict[str, tuple[Callable[[Bench], None], float]] = {
    "limits": (limits, 20),
    "sampler": (sampler, 60),
    "batches": (batches, 60),
    "steps": (steps, 130),
    "retrieval": (retrieval, 30),
    "host syncs": (host_syncs, 40),
}
"""By name: what measures, and its seconds."""
