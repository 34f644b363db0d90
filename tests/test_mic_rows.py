"""Every row of MIC's ablation (Table 4) is one line of config over ``encoder+mic``."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from micgraph.assembly import make_objective, make_towers
from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.recgraph import RecGraph
from micgraph.pipeline import train
from micgraph.presets import resolve
from micgraph.retrieval.recommender import Recommender
from micgraph.sampling.batch import BatchSampler
from micgraph.schema import ConfigError
from micgraph.tasks.objective import Objective
from tests.conftest import TinyLog

SMALL = {"model": {"dim": 16, "history": 8}, "mining": {"start": 1, "clusters": 5}, "sampling": {"batch_size": 256}}
WEIGHTS = {"matching": 0.7, "ui": 0.3, "uu": 0.3, "ii": 0.3}


@pytest.fixture
def graph(tiny_log: TinyLog) -> RecGraph:
    return build(read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users))


def objective_of(graph: RecGraph, model: str, config: dict[str, Any]) -> tuple[Objective, BatchSampler]:
    settings = {name: {**SMALL.get(name, {}), **config.get(name, {})} for name in {**SMALL, **config}}
    resolved = resolve(model, settings, graph.n_items)
    objective = make_objective(resolved, make_towers(resolved, graph), graph)
    requires = [task.requires for task in objective.tasks.values()]
    return objective, BatchSampler(graph, resolved.sampling, requires, resolved.model.history)


@pytest.mark.parametrize(
    ("model", "config", "tasks", "mines"),
    [
        ("mic_dnn+mic", {}, ["ui", "uu", "ii"], ["uu", "ii", "ui", "iu"]),
        ("mic_dnn+ui", {}, ["ui"], ["ui", "iu"]),
        ("mic_dnn+uu", {}, ["uu"], ["uu"]),
        ("mic_dnn+ii", {}, ["ii"], ["ii"]),
        ("mic_dnn+uu+ii", {}, ["uu", "ii"], ["uu", "ii"]),
        ("mic_dnn+ui+ii", {}, ["ui", "ii"], ["ii", "ui", "iu"]),
        ("mic_dnn+ui+uu", {}, ["ui", "uu"], ["uu", "ui", "iu"]),
        ("mic_dnn+mic", {"mining": {"mode": "none"}}, ["ui", "uu", "ii"], []),
        ("mic_dnn+mic", {"perturb": {"sides": "none"}}, ["ui", "uu", "ii"], ["uu", "ii", "ui", "iu"]),
        ("mic_dnn+mic", {"perturb": {"sides": "items"}}, ["ui", "uu", "ii"], ["uu", "ii", "ui", "iu"]),
        ("mic_dnn", {}, [], []),
    ],
)
def test_rows_of_the_ablation(
    graph: RecGraph, model: str, config: dict[str, Any], tasks: list[str], mines: list[str]
) -> None:
    objective, sampler = objective_of(graph, model, config)
    assert list(objective.tasks) == ["matching", *tasks]
    assert (objective.mining is None) == (not mines)
    assert objective.mining is None or list(objective.mining.directions) == mines
    if tasks:
        assert {name: task.weight for name, task in objective.tasks.items()} == {n: WEIGHTS[n] for n in objective.tasks}
    assert objective.towers.config.shared_space == ("ui" in tasks)
    objective.train().begin_epoch(0, sampler.clicks, seed=0)
    total, parts = objective(sampler.batch(0, 0))
    total.backward()
    assert torch.isfinite(total) and list(parts) == ["matching", *tasks]


@pytest.mark.parametrize("samples", ["clicks", "positions"])
@pytest.mark.parametrize(
    ("sides", "queries", "items"),
    [("both", True, True), ("queries", True, False), ("items", True, True), ("none", False, False)],
)
def test_which_views_differ(graph: RecGraph, sides: str, queries: bool, items: bool, samples: str) -> None:
    """With ``items`` a query's view differs by the items of its history, whose fields are masked, and by no place of
    it that is read as unknown: where no item field is masked, nothing is."""
    for rate, changed in ((0.4, True), (0.0, False)):
        config = {"perturb": {"sides": sides, "mask_rate": rate, "dropout": 0.0}, "sampling": {"samples": samples}}
        objective, sampler = objective_of(graph, "mic_dnn+mic", config)
        batch = sampler.batch(0, 0)
        with torch.no_grad():
            reps = objective.eval().encode(batch)
        clean = (reps.queries[batch.anchor], reps.items.vectors[batch.item_anchor])
        views = (reps.query_views[0], reps.item_views[0])
        differ = [not torch.allclose(a, b, atol=1e-6) for a, b in zip(clean, views, strict=True)]
        assert differ == [queries and changed, items and changed]


def test_the_plug_in_form_perturbs_the_items_of_histories(graph: RecGraph) -> None:
    """With every item field masked each query's view is that of somebody who read unknown items, but with his own
    user fields: those belong to the queries' side."""
    config = {"perturb": {"sides": "items", "mask_rate": 1.0, "dropout": 0.0}, "model": {"user_fields": None}}
    objective, sampler = objective_of(graph, "mic_dnn+uu", config)
    batch = sampler.batch(0, 0)
    towers = objective.eval().towers
    with torch.no_grad():
        reps = objective.encode(batch)
        user = {name: field.take(batch.user) for name, field in graph.user_fields.items()}
        read = towers.query_input(reps.items, torch.full_like(batch.history, -1), batch.mask, user)
        want = towers.encoder(read)[batch.pair_row][batch.anchor]
    torch.testing.assert_close(reps.query_views[0], want)


def test_inference_without_a_channel(graph: RecGraph) -> None:
    """-U2U, -U2I and -I2I of Table 4: the config names the channels, a call may name others."""
    config = {"model": {"dim": 16, "history": 8}, "training": {"epochs": 1}, "sampling": {"batch_size": 256}}
    run = train(graph, "mic_dnn+mic", config=config, device="cpu", progress=False)
    for left in (["u2i", "u2u"], ["u2i", "i2i"], ["u2u", "i2i"], ["i2i"]):
        rec = Recommender(run, {"channels": left})
        frame = rec.recommend(["u1", "u2"], k=10)
        found = set(",".join(frame["channels"]).split(",")) - {"popular"}
        assert found and found <= set(left)
        named = Recommender(run).recommend(["u1", "u2"], k=10, channels=left)
        assert frame.equals(named)
        assert set(rec.recommend(["u1"], k=5, channels="u2i")["channels"]) == {"u2i"}
    for wrong in ([], ["u2x"]):
        with pytest.raises(ConfigError, match="channels"):
            Recommender(run, {"channels": wrong})
