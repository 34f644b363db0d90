"""User-user contrast with another stretch of the user's clicks as the positive."""

from __future__ import annotations

import math

import pytest
import torch

from micgraph.graph.fields import take
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.samples import SamplingConfig
from micgraph.schema import ConfigError
from micgraph.tasks.channel import UserUserConfig
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS
from tests.toy import random_rows, toy_graph


def cos(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


@pytest.mark.parametrize("samples", ["clicks", "positions"])
def test_the_positive_is_the_same_users_other_stretch(samples: str) -> None:
    rows = [*random_rows(n_users=12, n_items=14, most=20), [(1, 3), (2, 5)]]
    graph = toy_graph(rows, 14)
    torch.manual_seed(1)
    towers = TwoTower(ModelConfig(dim=8, history=4, user_fields=()), graph.item_fields, graph.user_fields)
    task = TASKS["uu"].make(UserUserConfig(positive="window", tau=0.5), towers, graph.item_fields)
    objective = Objective(towers, {"uu": task}, graph.item_fields, graph.user_fields).eval()
    config = SamplingConfig(samples=samples, batch_size=60)  # type: ignore[arg-type]
    batch = BatchSampler(graph, config, [task.requires], 4).batch(0, 0)
    assert batch.other is not None and batch.other_mask is not None
    with torch.no_grad():
        reps = objective.encode(batch)
        got = float(task(batch, reps))
    assert reps.other is not None and not reps.query_views
    losses, skipped = [], 0
    users = batch.user[batch.pair_row[batch.anchor]].tolist()
    for i, pair in enumerate(batch.anchor.tolist()):
        line = int(batch.pair_row[pair])
        items = batch.items[batch.other[line][batch.other_mask[line]]].tolist()
        clicked = [item for _, item in rows[int(batch.user[line])]]
        assert any(clicked[k : k + len(items)] == items for k in range(len(clicked)))
        if not items:
            skipped += 1
            continue
        with torch.no_grad():
            encoded = towers.items(take(graph.item_fields, torch.tensor(items)))
            history, mask = torch.arange(len(items))[None], torch.ones(1, len(items), dtype=torch.bool)
            own = towers.encoder(towers.query_input(encoded, history, mask, take(graph.user_fields, batch.user[:1])))[0]
        anchor = reps.queries[pair]
        negatives = [
            math.exp(cos(anchor, reps.queries[batch.anchor[j]]) / 0.5)
            for j, user in enumerate(users)
            if user != users[i]
        ]
        positive = math.exp(cos(anchor, own) / 0.5)
        losses.append(math.log((positive + sum(negatives)) / positive))
    assert skipped and losses
    assert got == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_an_encoder_of_gaps_hears_those_of_the_other_stretch() -> None:
    rows = [[(t * t, t) for t in range(12)], [(3 * t, 13 - t) for t in range(9)]]
    graph = toy_graph(rows, 14)
    model = ModelConfig(dim=8, history=4, user_fields=(), time_gaps=True)
    towers = TwoTower(model, graph.item_fields, graph.user_fields)
    assert towers.gap is not None
    torch.nn.init.normal_(towers.gap.weight)
    task = TASKS["uu"].make(UserUserConfig(positive="window"), towers, graph.item_fields)
    objective = Objective(towers, {"uu": task}, graph.item_fields, graph.user_fields).eval()
    batch = BatchSampler(graph, SamplingConfig(), [task.requires], 4).batch(0, 0)
    assert batch.other is not None and batch.other_mask is not None and batch.other_gap is not None
    with torch.no_grad():
        other, encoded = objective.encode(batch).other, towers.items(graph.item_fields)
    assert other is not None
    told = 0
    for line, user in enumerate(batch.user.tolist()):
        items = batch.items[batch.other[line][batch.other_mask[line]]]
        if not len(items):
            continue
        places = {item: k for k, (_, item) in enumerate(rows[user])}
        times = [rows[user][places[item]][0] for item in items.tolist()]
        first = places[int(items[0])]
        since = [times[0] - rows[user][first - 1][0] if first else -1]
        gap = torch.tensor([since + [b - a for a, b in zip(times, times[1:], strict=False)]])
        with torch.no_grad():
            mask, user_fields = torch.ones(1, len(items), dtype=torch.bool), take(graph.user_fields, batch.user[:1])
            want = towers.encoder(towers.query_input(encoded, items[None], mask, user_fields, gap=gap))[0]
        torch.testing.assert_close(other[line], want)
        told += 1
    assert told > 10


def test_two_views_have_no_window() -> None:
    with pytest.raises(ConfigError, match="views"):
        UserUserConfig(positive="window", views=2)


def test_windows_are_made_only_where_asked_for() -> None:
    graph = toy_graph(random_rows(), 14)
    towers = TwoTower(ModelConfig(dim=8, history=4), graph.item_fields, graph.user_fields)
    task = TASKS["uu"].make(UserUserConfig(), towers, graph.item_fields)
    assert BatchSampler(graph, SamplingConfig(), [task.requires], 4).batch(0, 0).other is None
