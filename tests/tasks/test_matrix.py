"""Every encoder with no task, MicRec's and MIC's: it trains, is saved and loaded, and its vectors rank as it scores."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from micgraph.assembly import make_towers
from micgraph.graph.fields import take
from micgraph.knn import Ragged
from micgraph.nn.registry import ENCODERS
from micgraph.pipeline import train
from micgraph.retrieval.rankers import U2IRanker
from micgraph.run import Run, load_run
from tests.toy import random_rows, toy_graph

N_ITEMS, HISTORY = 14, 5
ROWS = random_rows(n_items=N_ITEMS)
TASKS = {"": set(), "+micrec": {"fea", "sem", "sess"}, "+mic": {"ui", "uu", "ii"}}
SMALL = {"model": {"dim": 16, "history": HISTORY}, "training": {"epochs": 1}}


@pytest.mark.parametrize("tasks", TASKS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_it_trains_saves_loads_and_ranks_as_it_scores(
    encoder: str, tasks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)  # a third of the time, and nobody pulls the plug here
    graph = toy_graph(ROWS, N_ITEMS)
    run = train(graph, encoder + tasks, config=SMALL, out=tmp_path / "run", device="cpu", progress=False)
    (row,) = run.metrics
    losses = {name.removeprefix("loss/"): value for name, value in row.items() if name.startswith("loss/")}
    assert set(losses) == {"matching", *TASKS[tasks]} and all(math.isfinite(value) for value in losses.values())
    fresh = make_towers(run.config, graph).state_dict()
    same = {name for name, value in run.towers.state_dict().items() if torch.equal(fresh[name], value)}
    assert not any(name.startswith("item_fields.") for name in same), "every field of the items learns"
    encoder_weights = {name for name in fresh if name.startswith("encoder.")}
    assert not encoder_weights or encoder_weights - same

    loaded = load_run(tmp_path / "run")
    for new, old in zip(loaded.model.item_vectors(), run.model.item_vectors(), strict=True):
        assert torch.equal(new, old)
    clicks = graph.relation("clicks")
    histories = Ragged(clicks.indptr, clicks.col.long())
    found = U2IRanker(loaded.model, loaded.graph).rank(histories, torch.arange(len(ROWS)), N_ITEMS)
    for user, ranked in enumerate(found):
        score = scores(run, user)
        assert sorted(ranked.tolist()) == list(range(N_ITEMS))
        torch.testing.assert_close(score[ranked], score.sort(descending=True).values, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def scores(run: Run, user: int) -> Tensor:
    """What the model gives every item for one user's latest clicks: float [N], of several interests the largest."""
    towers, items = run.towers.eval(), run.model.items()
    history = torch.tensor([[item for _, item in ROWS[user]][-HISTORY:]], dtype=torch.int64)
    fields = take(run.graph.user_fields, torch.tensor([user]))
    query = towers.query_input(items, history, torch.ones_like(history, dtype=torch.bool), fields)
    own = towers.encoder(query)[0].reshape(-1, towers.config.dim)
    every = [towers.search_items(items)[:-1] @ towers.search_queries(interest) for interest in own]
    return towers.scale * torch.stack(every).amax(0)
