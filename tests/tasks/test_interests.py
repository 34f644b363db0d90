"""Several interests a query (DECISIONS 24): the target's nearest one is trained, their mean stands for the user."""

from __future__ import annotations

import pytest
import torch

from micgraph.nn.export import BoundModel
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Batch
from micgraph.sampling.samples import SamplingConfig
from micgraph.tasks.augment import PerturbConfig
from micgraph.tasks.mining import MiningConfig
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS
from micgraph.tasks.tables import Tables
from tests.toy import random_rows, toy_graph

CASES = [("comirec_sa", "clicks"), ("comirec_sa", "positions"), ("comirec_dr", "clicks"), ("comirec_dr", "users")]
MODELS = [{}, {"similarity": "cosine", "shared_space": True}, {"item_bias": True}]


def made(encoder: str, samples: str, **model) -> tuple[Objective, Batch, list[torch.Tensor]]:
    """An objective, a batch, and the interests [K, d] of each pair, encoded one history at a time."""
    torch.manual_seed(3)
    graph = toy_graph(random_rows(), 14)
    towers = TwoTower(ModelConfig(encoder=encoder, dim=8, history=5, **model), graph.item_fields, graph.user_fields)
    with torch.no_grad():
        for bias in () if towers.item_bias is None else towers.item_bias.parameters():
            bias.normal_()
    tasks = {n: TASKS[n].make(TASKS[n].config(), towers, graph.item_fields) for n in ("matching", "ui", "uu")}
    objective = Objective(towers, tasks, graph.item_fields, graph.user_fields, PerturbConfig(0.0, 0.0)).eval()
    config = SamplingConfig(samples=samples, batch_size=12, strict=samples != "positions")
    batch = BatchSampler(graph, config, [t.requires for t in tasks.values()], 5).batch(0, 0)
    items = towers.items({name: f.take(batch.items) for name, f in graph.item_fields.items()})
    alone = []
    for pair, row in enumerate(batch.pair_row.tolist()):
        length = int(batch.mask[row].sum()) if batch.pair_at is None else int(batch.pair_at[pair]) + 1
        user = {name: f.take(batch.user[row : row + 1]) for name, f in graph.user_fields.items()}
        history = batch.history[row : row + 1, :length]
        alone.append(
            towers.encoder(towers.query_input(items, history, torch.ones_like(history, dtype=torch.bool), user))[0]
        )
    return objective, batch, alone


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("encoder", "samples"), CASES)
def test_tasks_read_the_nearest_interest_and_the_mean(encoder: str, samples: str, model: dict) -> None:
    objective, batch, alone = made(encoder, samples, **model)
    with torch.no_grad():
        reps, towers = objective.encode(batch), objective.towers
        assert reps.queries.shape == (len(alone), 8)
        chosen = set()
        for pair, interests in enumerate(alone):
            searched = [towers.search_queries(x) for x in interests]
            target = reps.search_items[batch.target[pair]]
            scores = [sum(a * b for a, b in zip(x.tolist(), target.tolist(), strict=True)) for x in searched]
            nearest = max(range(4), key=scores.__getitem__)
            chosen.add(nearest)
            torch.testing.assert_close(reps.search_queries[pair], searched[nearest], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(reps.queries[pair], sum(interests) / 4, rtol=1e-4, atol=1e-5)
        assert len(chosen) > 1, "not always the same interest"
        torch.testing.assert_close(reps.query_views[0], reps.queries[batch.anchor])


@pytest.mark.parametrize("k", [1, 3, 99])
def test_an_item_finds_different_users_each_by_his_nearest_interest(k: int) -> None:
    torch.manual_seed(3)
    rows = random_rows()
    graph = toy_graph(rows, 14)
    towers = TwoTower(ModelConfig(encoder="comirec_sa", dim=8, history=5), graph.item_fields, graph.user_fields)
    tables = Tables(MiningConfig(mode="tables", start=1, k=k, clusters=2, hard=1), ("iu",))
    model = BoundModel(towers, graph.item_fields, graph.user_fields)
    tables.begin_epoch(0, model, graph.relation("clicks"), 1)
    items, best = model.item_vectors()[0], {}
    for user, row in enumerate(rows):
        if row:
            history = torch.tensor([[item for _, item in row[-5:]]])
            interests = model.encode_queries(history, history >= 0, torch.tensor([user]))[0][0]
            best[user] = torch.cosine_similarity(items[:, None], interests[None], dim=2).amax(1)
    found = tables._near("iu", torch.arange(14), items, torch.arange(14), tables.pool("user_search"))
    for item, line in enumerate(found.tolist()):
        users = [int(tables.user_search_id[row]) for row in line if row >= 0]
        assert users == sorted(best, key=lambda user: -float(best[user][item]))[:k]


@pytest.mark.parametrize(("encoder", "samples"), CASES)
def test_only_the_nearest_interest_learns_from_a_target(encoder: str, samples: str) -> None:
    objective, batch, _ = made(encoder, samples)
    found: list[torch.Tensor] = []
    pairs = objective._pairs

    def kept(*given):
        found.append(pairs(*given))
        found[-1].retain_grad()
        return found[-1]

    objective._pairs = kept
    objective.tasks["matching"](batch, objective.encode(batch)).backward()
    moved = found[0].grad.abs().sum(2) > 0
    assert torch.equal(moved.sum(1), torch.ones(len(moved), dtype=torch.int64))
