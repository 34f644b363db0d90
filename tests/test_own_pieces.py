"""Encoders and tasks of a user's own: named, trained, saved, loaded, refused with a name where they cannot be used."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import micgraph as mg
from micgraph.nn.query import QueryEncoder, QueryInput, last_valid
from micgraph.nn.registry import ENCODERS
from micgraph.sampling.plan import Batch, Requires
from micgraph.schema import ConfigError, InputError
from micgraph.tasks.base import Reps, Task
from tests.cli.commands import lines_of, refusal_of
from tests.nn import test_encoders as contract

SMALL: dict[str, Any] = {"model": {"dim": 8, "history": 10}, "training": {"epochs": 1}}


class Latest(QueryEncoder):
    """The latest click through one layer; ``shape`` breaks the contract on demand."""

    every_position = True

    def __init__(self, dim: int, user_width: int = 0, shape: str = "right") -> None:
        super().__init__()
        self.out, self.shape = nn.Linear(dim, dim), shape
        self.user = nn.Linear(user_width, dim) if user_width else None

    def forward(self, query: QueryInput) -> Tensor:
        last = self.out(last_valid(query.vectors, query.mask))
        last = last if self.user is None else last + self.user(query.user)
        return {"right": last, "wide": torch.cat([last, last], 1), "flat": last[:, 0], "few": last[:1]}[self.shape]

    def positions(self, query: QueryInput) -> Tensor:
        if self.shape == "wide":
            return self.out(query.vectors)[..., :3]
        found = self.out(query.vectors)
        return found if self.user is None else found + self.user(query.user)[:, None]


@dataclass(frozen=True)
class SmallConfig:
    weight: float = 0.5
    power: int = 2


class Small(Task):
    """Item vectors shall be short."""

    reads = "items"

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.weight, self.power, self.requires = config.weight, config.power, Requires(item_anchors=True)

    def forward(self, batch: Batch, reps: Reps) -> Tensor:
        norms = reps.items.vectors[batch.item_anchor].norm(dim=1) ** self.power
        return norms if self.power == 3 else norms.mean()


@pytest.fixture(autouse=True)
def _registered() -> None:
    mg.register_encoder("latest", Latest, {"sampling": {"samples": "positions", "batch_size": 16}})
    mg.register_task("small", Small, SmallConfig, {"weight": 0.25})


@pytest.fixture
def graph(tiny_log: Any) -> mg.RecGraph:
    return mg.build(mg.read_log(tiny_log.clicks, users=tiny_log.users))


class TestContract(contract.TestContract):
    """An encoder of one's own is held to what the built-in ones are held to."""

    @pytest.fixture(params=["latest", "latest, cosine, shared"])
    def settings(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        more = {"similarity": "cosine", "shared_space": True} if "cosine" in request.param else {}
        return {"encoder": "latest", **more}


def train(graph: mg.RecGraph, name: str, out: Path | None = None, **config: Any) -> mg.Run:
    settings = {**SMALL, **config}
    return mg.train(graph, name, config=settings, out=out, device="cpu", progress=False)


def test_both_train_save_and_load(graph: mg.RecGraph, tmp_path: Path) -> None:
    run = train(graph, "latest+small+mic", tmp_path / "run")
    assert run.name == "latest+mic+small"
    assert run.config.sampling.samples == "positions" and run.config.task_config("small").weight == 0.25
    assert run.metrics[0]["loss/small"] > 0
    again = mg.load_run(tmp_path / "run")
    assert isinstance(again.towers.encoder, Latest)
    mg.Recommender(run).save(tmp_path / "serving")
    served = mg.Recommender.load(tmp_path / "serving").recommend(["u1"], k=5)
    assert served.equals(mg.Recommender(again).recommend(["u1"], k=5))


def test_a_task_moves_what_it_weighs(graph: mg.RecGraph) -> None:
    sizes = []
    for weight in (0.0, 50.0):
        training = {"epochs": 3, "lr": 0.02}
        run = train(graph, "latest+small", tasks={"small": {"weight": weight}}, training=training)
        sizes.append(float(run.model.item_vectors()[1].norm(dim=1).mean()))
    assert sizes[1] < 0.9 * sizes[0]


def test_a_run_of_something_unregistered_names_the_module(graph: mg.RecGraph, tmp_path: Path) -> None:
    run = train(graph, "latest+small", tmp_path / "run")
    mg.Recommender(run).save(tmp_path / "serving")
    known = dict(ENCODERS)
    ENCODERS.pop("latest")
    try:
        for load in (lambda: mg.load_run(tmp_path / "run"), lambda: mg.Recommender.load(tmp_path / "serving")):
            with pytest.raises(ConfigError, match=f"import {Latest.__module__} before loading") as caught:
                load()
            assert "'latest'" in caught.value.got
    finally:
        ENCODERS.update(known)
    setup = json.loads(next((tmp_path / "run").glob("setup/*/run.json")).read_text())
    assert setup["towers"]["registered_by"] == Latest.__module__


def test_built_in_ones_name_no_module(graph: mg.RecGraph, tmp_path: Path) -> None:
    train(graph, "mic_dnn", tmp_path / "run")
    setup = json.loads(next((tmp_path / "run").glob("setup/*/run.json")).read_text())
    assert setup["towers"]["registered_by"] is None and setup["channels"] == {}


NOT_NAMES = ["my+gru", "", "a b", 3, "class", "None", "true", "Null", "YES", "no", "on", "off", "none"]


@pytest.mark.parametrize("name", ["gru4rec", "GRU4Rec", "LATEST", *NOT_NAMES])
def test_names_that_cannot_be_had(name: Any) -> None:
    with pytest.raises(ConfigError, match="name: expected"):
        mg.register_encoder(name, Latest)


@pytest.mark.parametrize("name", ["fea", "MIC", "Items", "SMALL", *NOT_NAMES])
def test_names_of_tasks_that_cannot_be_had(name: Any) -> None:
    with pytest.raises(ConfigError, match="name: expected"):
        mg.register_task(name, Small, SmallConfig)


def test_what_breaks_the_contract_is_refused_when_it_is_registered() -> None:
    with pytest.raises(ConfigError, match=r"encoder layer: expected a subclass of micgraph.nn.query.QueryEncoder"):
        mg.register_encoder("layer", nn.Linear)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="encoder number: .* got a int"):
        mg.register_encoder("number", 3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="training.epoch:.*did you mean 'epochs'"):
        mg.register_encoder("other", Latest, {"training": {"epoch": 3}})
    assert "other" not in ENCODERS and "layer" not in ENCODERS
    with pytest.raises(ConfigError, match="task layer: expected a subclass of micgraph.tasks.base.Task"):
        mg.register_task("layer", nn.Linear, SmallConfig)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="task plain: expected a dataclass as its config, got dict"):
        mg.register_task("plain", Small, dict)
    with pytest.raises(ConfigError, match="mic.*taken"):
        mg.register_task("mic", Small, SmallConfig)
    with pytest.raises(ConfigError, match="'items', which is taken"):  # torch keeps it for itself
        mg.register_task("items", Small, SmallConfig)
    with pytest.raises(ConfigError, match="tasks.slim.heaviness"):
        mg.register_task("slim", Small, SmallConfig, {"heaviness": 1})


def test_the_same_class_may_be_registered_again_and_another_not() -> None:
    mg.register_encoder("latest", Latest)
    other = type("Other", (Latest,), {})
    with pytest.raises(ConfigError, match=r"'latest', which is taken by .*\.Latest"):
        mg.register_encoder("latest", other)


def test_a_function_that_makes_no_encoder_is_named(graph: mg.RecGraph) -> None:
    mg.register_encoder("linear", lambda dim: nn.Linear(dim, dim))  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match="encoder linear: expected a QueryEncoder, got a Linear"):
        train(graph, "linear")


def test_unknown_settings_of_own_pieces_are_refused(graph: mg.RecGraph) -> None:
    with pytest.raises(ConfigError, match="tasks.small.powder:.*did you mean 'power'"):
        train(graph, "latest+small", tasks={"small": {"powder": 1}})
    with pytest.raises(ConfigError, match="model.options: expected arguments of latest"):
        train(graph, "latest", model={"options": {"shade": 1}})
    with pytest.raises(ConfigError, match="model.options"):  # what the towers give is not an option
        train(graph, "latest", model={"options": {"dim": 4}})


@pytest.mark.parametrize(
    ("samples", "shape", "got"),
    [("clicks", "wide", r"\[\d+, 16\]"), ("clicks", "flat", r"\[\d+\]"), ("users", "few", r"\[1, 8\]")],
)
def test_a_wrong_shape_names_the_encoder(samples: str, shape: str, got: str, graph: mg.RecGraph) -> None:
    model = {**SMALL["model"], "options": {"shape": shape}}
    with pytest.raises(InputError, match=rf"encoder latest: expected vectors \[\d+, 8\].*got the shape {got}"):
        train(graph, "latest", model=model, sampling={"samples": samples})


def test_a_wrong_shape_of_positions_names_it_too(graph: mg.RecGraph) -> None:
    with pytest.raises(
        InputError, match=r"encoder latest: .* got the shape \[\d+, 3\]; mend its forward, or positions"
    ):
        train(graph, "latest", model={**SMALL["model"], "options": {"shape": "wide"}})


@pytest.mark.parametrize("micro_batch", [0, 4])
def test_a_loss_that_is_no_number_names_the_task(micro_batch: int, graph: mg.RecGraph) -> None:
    training = {"epochs": 1, "micro_batch": micro_batch}
    with pytest.raises(InputError, match=r"task small: expected a loss without dimensions, got the shape \[\d+\]"):
        train(graph, "latest+small", tasks={"small": {"power": 3}}, training=training)


def test_a_task_without_what_it_requires_is_named(graph: mg.RecGraph) -> None:
    class Bare(Task):
        def __init__(self, config: SmallConfig) -> None:
            super().__init__()
            self.weight = config.weight

    mg.register_task("bare", Bare, SmallConfig)
    with pytest.raises(ConfigError, match="task Bare: expected a Task that has set its weight"):
        train(graph, "latest+bare")


MODULE = """
import micgraph as mg
from micgraph.nn.sequential import PooledMLP

class Mine(PooledMLP):
    pass

mg.register_encoder("mine", Mine, {"model": {"dim": 8}, "training": {"epochs": 1}})
"""


def test_the_command_line_imports_modules(
    tiny_files: Path, monkeypatch: pytest.MonkeyPatch, graph: mg.RecGraph
) -> None:
    monkeypatch.chdir(tiny_files)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("my_models_of_a_test.py").write_text(MODULE)
    Path("broken_one_of_a_test.py").write_text("1 / 0")
    graph.save("graph")
    assert "mine" in refusal_of("train", "graph", "--model", "mine")
    named = ("--import", "my_models_of_a_test")
    lines_of(*named, "train", "graph", "--model", "mine", "--out", "run", "--device", "cpu")
    assert len(lines_of(*named, "recommend", "run", "--users", "u1", "--k", "3")) == 4
    assert "--import: expected a module" in refusal_of("--import", "no_such_module", "recommend", "run")
    assert "ZeroDivisionError" in refusal_of("--import", "broken_one_of_a_test", "recommend", "run")
