"""Warm starts: what was known keeps its vectors whatever its number, what is new begins as the seed has it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from micgraph import warm
from micgraph.assembly import assemble, make_objective, make_towers
from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.recgraph import RecGraph
from micgraph.nn.registry import ENCODERS
from micgraph.pipeline import train
from micgraph.presets import resolve
from micgraph.run import Run, load_run
from micgraph.schema import ArtifactError, ConfigError, InputError
from micgraph.tasks.objective import Objective
from micgraph.training import load_weights

SMALL = {"model": {"dim": 16, "history": 6}, "sampling": {"batch_size": 16}, "training": {"epochs": 1, "lr": 0.05}}
OLD_USERS, OLD_ITEMS = [f"u{n}" for n in range(8)], [f"i{n}" for n in range(12)]
NEW_USERS, NEW_ITEMS = ["a0", "v0", "v1"], ["b0", "b1", "h0", "j0", "j1"]  # before and after the old ones in the order


def clicks(users: list[str], items: list[str], seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    rows = [
        (user, items[int(item)], 10**9 + 5000 * (n + session) + 30 * place)
        for n, user in enumerate(users)
        for session in range(3)
        for place, item in enumerate(random.choice(len(items), 3, replace=False))
    ]
    every = [(users[n % len(users)], item, 10**9 + 10**6 + n) for n, item in enumerate(items)]
    return pd.DataFrame(rows + every, columns=["user_id", "item_id", "timestamp"])


def items(ids: list[str], kind: str = "old") -> pd.DataFrame:
    n = np.arange(len(ids))
    return pd.DataFrame(
        {
            "item_id": ids,
            "category": [("crime", "drama", f"{kind} kind")[k % 3] for k in n],
            "tags": [[f"{kind}{k % 2}", f"{kind}{k % 3}"] for k in n],
            "year": (2000.0 if kind == "old" else 1900.0) + 7 * n,
            "embedding": [[float(k), 1.0, float(k % 2)] for k in n],
        }
    )


def users(ids: list[str], country: str = "jp") -> pd.DataFrame:
    n = np.arange(len(ids))
    return pd.DataFrame({"user_id": ids, "country": [("fr", country)[k % 2] for k in n], "age": 20.0 + 9 * n})


def made(log: pd.DataFrame, item: pd.DataFrame, user: pd.DataFrame) -> RecGraph:
    return build(read_log(log, items=item, users=user), {"semantic": ["tags"]})


@pytest.fixture(scope="module")
def small() -> RecGraph:
    return made(clicks(OLD_USERS, OLD_ITEMS), items(OLD_ITEMS), users(OLD_USERS))


@pytest.fixture(scope="module")
def grown() -> RecGraph:
    """The small graph and beside it people who click other items, with values of their own and old ones: every number
    and every vocabulary is another, and nobody who was there has new neighbours."""
    log = pd.concat([clicks(OLD_USERS, OLD_ITEMS), clicks(NEW_USERS, NEW_ITEMS, seed=1)])
    item = pd.concat([items(OLD_ITEMS), items(NEW_ITEMS, "fresh")])
    return made(log, item, pd.concat([users(OLD_USERS), users(NEW_USERS, country="br")]))


def quick(graph: RecGraph, model: str | None, out: Path | None = None, **more) -> Run:
    model_settings = more.pop("model_settings", {})
    config = {**SMALL, "model": {**SMALL["model"], **model_settings}, **more.pop("config", {})}
    return train(graph, model, config=config, out=out, device="cpu", progress=False, **more)


def begun(run: Run, graph: RecGraph, model: str | None = None, config: dict | None = None) -> tuple[Run, Objective]:
    """A warm-started run before its first step."""
    resolved = resolve(model, warm.settings(run, model, config), graph.n_items)
    new, objective, _ = assemble(resolved, graph, torch.device("cpu"), None)
    new.origin = warm.inherit(objective, run, graph)
    return new, objective


def vectors(run: Run, unknown: bool = False) -> list[torch.Tensor]:
    """Of every old item and of old users by histories of old items, all by their external ids; with ``unknown`` also
    of somebody and of histories with something that no graph has."""
    graph = run.graph
    assert graph.items is not None and graph.users is not None
    item = torch.from_numpy(graph.items.index([*OLD_ITEMS, *["nothing"] * unknown]))
    user = torch.from_numpy(graph.users.index([*OLD_USERS, *["nobody"] * unknown]))
    place = torch.arange(len(user))[:, None] * 5 + torch.arange(6) * 7
    history, mask = item[place % len(item)], torch.arange(6) < 1 + torch.arange(len(user))[:, None] % 6
    gap = torch.tensor([-1, 0, 70, 4000, 300_000, 9]).expand(history.shape)
    items = [found[item[: len(OLD_ITEMS)]] for found in run.model.item_vectors()]
    return [*items, *run.model.encode_queries(history, mask, user, gap=gap)]


VARIANTS = {
    **{name: (name, {}) for name in sorted(ENCODERS)},
    **{f"{name} and tasks": (f"{name}+mic+micrec", {}) for name in sorted(ENCODERS)},
    "every user field": ("gru4rec+mic", {"user_fields": ["user_id", "country", "age"]}),
    "bias, gaps": ("gru4rec+rfm+cfm", {"item_bias": True, "time_gaps": True}),
    "latest users": ("mic_dnn+fea+ii", {"latest_users": 2}),
    "graphsage's items": ("sasrec+mic", {"item_graph": "graphsage", "graph_options": {"relations": ["similar"]}}),
    "cosine": ("youtube_dnn+ui", {"similarity": "cosine", "temperature": 0.1}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_was_known_keeps_its_vectors_in_a_graph_that_numbers_all_anew(
    small: RecGraph, grown: RecGraph, variant: str
) -> None:
    model, settings = VARIANTS[variant]
    run = quick(small, model, model_settings=settings)
    new, objective = begun(run, grown)
    assert new.name == run.name and new.graph.n_items == 17
    for old, now in zip(vectors(run), vectors(new), strict=True):
        torch.testing.assert_close(now, old, rtol=1e-4, atol=1e-5)
    saved = load_weights(run.directory / "best")
    for name, weight in objective.tasks.named_parameters():
        assert torch.equal(weight, saved[f"tasks.{name}"]), name


def test_what_is_unknown_keeps_its_vectors_too_where_no_number_is_missing(small: RecGraph, grown: RecGraph) -> None:
    fields = {"item_fields": ["item_id", "tags"], "user_fields": ["user_id", "country"]}
    run = quick(small, "ican+mic", model_settings=fields)
    new, _ = begun(run, grown)
    for old, now in zip(vectors(run, unknown=True), vectors(new, unknown=True), strict=True):
        torch.testing.assert_close(now, old)


def test_a_missing_number_is_read_as_the_new_mean(small: RecGraph, grown: RecGraph) -> None:
    run = quick(small, "mic_dnn", model_settings={"item_fields": ["year"]})
    new, _ = begun(run, grown)
    year, layer = small.item_vocab["year"].to_pylist(), run.towers.item_fields.embed[0]
    standard = (grown.item_vocab["year"][0].as_py() - year[0]) / year[1]
    with torch.no_grad():
        expected = layer.weight[:, 0] * standard + layer.bias
    torch.testing.assert_close(new.model.items().vectors[-1], expected)


def test_values_of_new_rows_are_those_of_a_fresh_model(small: RecGraph, grown: RecGraph) -> None:
    settings = {"user_fields": ["user_id", "country"], "item_bias": True, "latest_users": 2}
    run = quick(small, "gru4rec", model_settings=settings)
    new, fresh = begun(run, grown)[0].towers, make_towers(run.config, grown)
    for encoders, side in ((("item_fields", "item_bias"), "item"), (("user_fields", "reader.people"), "user")):
        ids, id_name = (grown.items, "item_id") if side == "item" else (grown.users, "user_id")
        fields, vocab = getattr(grown, f"{side}_fields"), getattr(grown, f"{side}_vocab")
        column = {"item": "category", "user": "country"}[side]
        newcomers = NEW_ITEMS if side == "item" else NEW_USERS
        rows = {
            id_name: fields[id_name].values[torch.from_numpy(ids.index(newcomers))].long(),
            column: torch.tensor([vocab[column].to_pylist().index("fresh kind" if side == "item" else "br") + 1]),
        }
        for path, (name, row) in itertools.product(encoders, rows.items()):
            at = new.get_submodule(path).names.index(name)
            table, begin = (towers.get_submodule(path).embed[at].weight for towers in (new, fresh))
            assert torch.equal(table[row], begin[row]), (path, name)
            others = torch.ones(len(table), dtype=torch.bool).index_fill(0, row, False)
            assert not torch.equal(table[others], begin[others]), (path, name)
    other = begun(run, grown, config={"training": {"seed": 1}})[0].towers
    assert not torch.equal(other.item_fields.embed[0].weight, new.item_fields.embed[0].weight)
    same = begun(run, grown)[0].towers
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), new.parameters(), strict=True))


@pytest.mark.parametrize("model", ["gru4rec+mic", "lightgcn+micrec", "comirec_dr"])
def test_with_nothing_new_and_no_step_worth_the_name_the_vectors_are_the_same(small: RecGraph, model: str) -> None:
    run = quick(small, model)
    again = train(small, config={"training": {"lr": 1e-30}}, warm_start=run, device="cpu", progress=False)
    assert all(torch.equal(a, b) for a, b in zip(vectors(run, True), vectors(again, True), strict=True))
    assert len(again.metrics) == 1 and again.name == run.name
    assert again.config.model == run.config.model and again.config.sampling == run.config.sampling


def test_training_goes_on_from_there_and_is_resumed_as_any_other(
    small: RecGraph, grown: RecGraph, tmp_path: Path
) -> None:
    run = quick(small, "gru4rec+mic", tmp_path / "old")

    def interrupt(row: dict) -> None:
        raise KeyboardInterrupt

    def go_on(out: str, warm_start: Run | Path | None = run, **more) -> Run:
        config = {"training": {"epochs": 3}}
        given = {"config": config, "out": tmp_path / out, "device": "cpu", "progress": False, **more}
        return train(grown, warm_start=warm_start, **given)

    with pytest.raises(KeyboardInterrupt):
        go_on("new", on_epoch=interrupt)
    resumed, straight = go_on("new", tmp_path / "old"), go_on("straight")
    assert all(torch.equal(a, b) for a, b in zip(vectors(resumed), vectors(straight), strict=True))
    assert [row["loss"] for row in resumed.metrics] == [row["loss"] for row in straight.metrics]
    loaded = load_run(tmp_path / "new")
    assert loaded.origin == resumed.origin == straight.origin and loaded.origin is not None
    assert repr(loaded).splitlines()[1] == (
        f"  warm start from gru4rec+mic on graph {small.fingerprint()[:8]}; rows kept/new/gone: "
        "item.item_id 12/5/0, item.category 3/1/0, item.tags 3/3/0"
    )
    other = quick(small, "gru4rec+mic", config={"training": {"epochs": 1, "seed": 5}})
    for begin in (None, other):
        with pytest.raises(ConfigError, match="warm_start"):
            go_on("new", begin, config={"model": {"dim": 16, "history": 6}} if begin is None else None)


def test_what_has_gone_is_counted(small: RecGraph, grown: RecGraph) -> None:
    run = quick(grown, "mic_dnn", model_settings={"user_fields": ["user_id"]})
    origin = begun(run, small)[0].origin
    assert origin is not None and origin.rows["item.item_id"] == {"kept": 12, "new": 0, "gone": 5}
    assert origin.rows["user.user_id"] == {"kept": 8, "new": 0, "gone": 3}


def test_tasks_may_come_and_go_and_settings_stay_the_runs(small: RecGraph, grown: RecGraph) -> None:
    run = quick(small, "gru4rec+ii+sess", config={"tasks": {"sess": {"weight": 0.7}}, "mining": {"k": 3}})
    new, objective = begun(run, grown, "gru4rec+sess+fea", {"training": {"lr": 0.01}, "fusion": None})
    assert list(new.config.tasks) == ["matching", "sess", "fea"] and new.config.tasks["sess"] == {"weight": 0.7}
    assert (new.config.training.lr, new.config.training.epochs, new.config.mining.k) == (0.01, 1, 3)
    fresh = make_objective(new.config, make_towers(new.config, grown), grown).tasks["fea"].project.weight
    assert objective.tasks["fea"].project.weight.shape == fresh.shape
    without = begun(run, grown, config={"tasks": {"ii": False}})[0]
    assert without.name == "gru4rec+sess"


def refused(small: RecGraph, graph: RecGraph, named: str, out: Path, run: object = None, **more) -> None:
    """A warm start on the graph is refused, naming what differs, before anything is written."""
    run = quick(small, "gru4rec+fea", model_settings={"user_fields": ["country"]}) if run is None else run
    with pytest.raises((ConfigError, InputError, ArtifactError), match=named):
        train(graph, out=out, warm_start=run, device="cpu", progress=False, **more)  # type: ignore[arg-type]
    assert not out.exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"model": "sasrec+fea"}, r"model\.encoder: expected 'gru4rec' as in the run"),
        ({"config": {"model": {"encoder": "sasrec"}}}, r"model\.encoder"),
        ({"config": {"model": {"dim": 8}}}, r"model\.dim: expected 16 .*got 8; leave it as it was"),
        ({"config": {"model": {"similarity": "cosine"}}}, r"model\.similarity"),
        ({"config": {"model": {"options": {"layers": 2}}}}, r"model\.options"),
        ({"config": {"model": {"item_fields": ["item_id"]}}}, "item fields of its run"),
        ({"config": {"model": {"user_fields": ["age"]}}}, "user fields of its run"),
        ({"config": {"tasks": {"fea": {"through_tower": True}}}}, r"tasks\.fea: .*shape"),
    ],
)
def test_a_model_of_another_shape_is_refused(
    small: RecGraph, grown: RecGraph, tmp_path: Path, given: dict, named: str
) -> None:
    refused(small, grown, named, tmp_path / "out", **given)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda item: item.drop(columns="tags"), r"item fields.*tags \(multi\).*got.*build the graph with the same"),
        (lambda item: item.assign(size=1.5), r"size \(dense\)"),
        (lambda item: item.assign(year=item["year"].astype(str)), r"year \(categorical\)"),
        (lambda item: item.assign(embedding=[[1.0, 2.0]] * len(item)), r"embedding \(embedding 2\)"),
        (lambda item: item[["item_id", "tags", "category", "year", "embedding"]], "in their order"),
    ],
)
def test_other_fields_are_refused(small: RecGraph, tmp_path: Path, change, named: str) -> None:
    other = build(read_log(clicks(OLD_USERS, OLD_ITEMS), items=change(items(OLD_ITEMS)), users=users(OLD_USERS)))
    refused(small, other, named, tmp_path / "out")


def test_columns_in_another_order_or_added_can_be_named(small: RecGraph) -> None:
    run = quick(small, "ican")
    names = ["item_id", "category", "tags", "year", "embedding"]
    table = items(OLD_ITEMS).assign(size=1.5)[["item_id", "size", "year", "tags", "embedding", "category"]]
    new, _ = begun(
        run, made(clicks(OLD_USERS, OLD_ITEMS), table, users(OLD_USERS)), config={"model": {"item_fields": names}}
    )
    for old, now in zip(vectors(run), vectors(new), strict=True):
        torch.testing.assert_close(now, old)


def test_what_is_no_earlier_run_is_refused(small: RecGraph, tmp_path: Path) -> None:
    refused(small, small, "a run or the path of one", tmp_path / "out", run=small)
    refused(small, small, "directory", tmp_path / "out", run=tmp_path / "nothing")
    numbers = clicks(OLD_USERS, OLD_ITEMS).assign(item_id=lambda log: log["item_id"].str[1:].astype(int))
    table = items(OLD_ITEMS).assign(item_id=range(len(OLD_ITEMS)))
    refused(small, made(numbers, table, users(OLD_USERS)), "item_id: expected texts", tmp_path / "out")
