"""micgraph's own loop, Trainer. Run by train.py.

A step's computing goes from the start of its forward pass to the end of its update; all else is overhead: making the
batch, logging, the loop itself.
"""

from __future__ import annotations

import time
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tqdm import tqdm
from turns import Stopped, Turns, settings

from micgraph.assembly import assemble
from micgraph.graph.reading import stretch
from micgraph.graph.recgraph import RecGraph
from micgraph.presets import resolve
from micgraph.sampling.batch import BatchSampler
from micgraph.training import Trainer


def main() -> None:
    """Train as long as there are turns."""
    given = settings()
    turns = Turns(given["steps"], given["warm"])
    torch.set_num_threads(given["threads"])
    graph = RecGraph.load(given["graph"])
    resolved = resolve(given["encoder"], config(given), graph.n_items)
    with TemporaryDirectory(prefix="micgraph-benchmark-") as folder:
        run, objective, sampler = assemble(resolved, graph, torch.device("cpu"), folder)

        def progress(steps: Any, title: str) -> Any:
            return turns.over(tqdm(steps, desc=title, leave=False, mininterval=1.0))

        trainer = Trainer(objective, sampler, resolved.training, run.directory, progress=progress)
        watch(trainer, turns)
        scores = 1 + given["negatives"] if given["encoder"] == "youtube_dnn" else graph.n_items
        turns.ready(parameters=sum(p.numel() for p in objective.parameters()), scores=scores, **_sums(sampler))
        trainer.run()


def config(given: dict[str, Any]) -> dict[str, Any]:
    """Our settings for the same model."""
    model = {"dim": given["dim"], "history": given["history"], "item_fields": ["item_id"], "user_fields": []}
    if given["encoder"] == "youtube_dnn":
        model |= {"similarity": "cosine", "temperature": given["temperature"], "options": {"hidden": [given["hidden"]]}}
        matching = {"negatives": "uniform", "count": given["negatives"]}
    else:
        model |= {"dropout": given["dropout"], "options": {"hidden": given["hidden"]}}
        matching = {"negatives": "full"}
    return {
        "model": model,
        "sampling": {"samples": "clicks", "strict": False, "batch_size": given["batch"]},
        "tasks": {"matching": matching},
        "training": {"epochs": 1_000},
    }


def watch(trainer: Trainer, turns: Turns) -> None:
    """Tell how long the steps compute."""
    began: list[float] = []

    def begins(*_: Any) -> None:
        if not began:
            began.append(time.perf_counter())

    def ends(*_: Any) -> None:
        if began:  # an optimiser that calls the one it derives from ends twice
            turns.add("computing", time.perf_counter() - began.pop())

    trainer.objective.register_forward_pre_hook(begins)
    trainer.optimizer.register_step_post_hook(ends)


def _sums(sampler: BatchSampler) -> dict[str, int]:
    """As histories.sums, of items counted from 1."""
    samples, targets, histories = sampler.samples, 0, 0
    for pick in torch.arange(len(samples)).split(100_000):
        cut = samples.cut(pick, 0)
        targets += int((sampler.clicks.col[cut.target].long() + 1).sum())
        read, mask = stretch(sampler.clicks.col, cut.first, cut.stop, cut.size)
        histories += int((read + 1)[mask].sum())
    return {"samples": len(samples), "targets": targets, "histories": histories}


if __name__ == "__main__":
    with suppress(Stopped):
        main()
