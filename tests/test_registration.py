"""Who registered a name: what is built in stays, another's is not replaced unseen, a run names the module to import."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import micgraph as mg
from micgraph.nn.attention import SASRec
from micgraph.nn.registry import ENCODERS
from micgraph.nn.sequential import GRU4Rec
from micgraph.presets import ENCODER_PRESETS
from micgraph.registration import Names, call
from micgraph.schema import ConfigError
from micgraph.tasks.matching import Matching, MatchingConfig
from micgraph.tasks.registry import TASKS, TaskType

CONFIG: dict[str, Any] = {"model": {"dim": 8, "history": 10}, "training": {"epochs": 1}}


def test_what_is_built_in_stays() -> None:
    before, preset = dict(ENCODERS), dict(ENCODER_PRESETS["sasrec"])
    for name, encoder in (("sasrec", SASRec), ("gru4rec", partial(GRU4Rec, layers=7)), ("gru4rec", GRU4Rec)):
        with pytest.raises(ConfigError, match=f"'{name}', which is taken by micgraph"):
            mg.register_encoder(name, encoder)
    with pytest.raises(ConfigError, match="'matching', which is taken by micgraph"):
        mg.register_task("matching", Matching, MatchingConfig)
    assert dict(ENCODERS) == before and ENCODER_PRESETS["sasrec"] == preset != {}


def closure(number: int) -> Any:
    def make() -> int:
        return number

    return make


def local(number: int) -> Any:
    class Made:
        value = number

    return Made


@pytest.mark.parametrize("make", [closure, local, lambda n: partial(closure, n), lambda n: lambda: n])
def test_two_of_one_factory_are_two(make: Any) -> None:
    names: Names[Any] = Names("channel")
    first, second = make(1), make(2)
    names.add("abc", first, first)
    names.add("abc", first, first)  # the same object
    with pytest.raises(ConfigError, match="'abc', which is taken by"):
        names.add("abc", second, second)
    assert names["abc"] is first


OWN = """
import micgraph as mg
from micgraph.nn.sequential import GRU4Rec

class Mine(GRU4Rec):
    pass

def function(dim):
    return GRU4Rec(dim)

mg.register_encoder("my_gru", GRU4Rec)
mg.register_encoder("mine", Mine)
mg.register_encoder("by_function", function)
"""

LOAD = "import sys, micgraph as mg\nmg.load_run(sys.argv[1])"


def test_a_built_in_class_by_an_own_name_names_the_module_that_registered_it(
    tiny_log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_names_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("own_names_of_a_test")
    first = ENCODERS["mine"]
    importlib.reload(module)
    assert ENCODERS["mine"] is module.Mine is not first
    graph = mg.build(mg.read_log(tiny_log.clicks))
    mg.train(graph, "my_gru", config=CONFIG, out=tmp_path / "run", device="cpu", progress=False)
    failed = subprocess.run([sys.executable, "-c", LOAD, str(tmp_path / "run")], capture_output=True, text=True)
    assert "'my_gru', which own_names_of_a_test registered; import own_names_of_a_test" in failed.stderr
    load = "import own_names_of_a_test\n" + LOAD
    subprocess.run([sys.executable, "-c", load, str(tmp_path / "run")], check=True, cwd=tmp_path)


def breaks(dim: int = 1, **_: Any) -> Any:
    raise TypeError("its own mistake")


def test_a_type_error_of_the_users_own_goes_through(tiny_log: Any) -> None:
    mg.register_encoder("breaking", breaks)
    with pytest.raises(TypeError, match="^its own mistake$"):
        mg.train(mg.build(mg.read_log(tiny_log.clicks)), "breaking", config=CONFIG, progress=False)
    with pytest.raises(TypeError, match="^its own mistake$"):
        call(breaks, {"dim": 3}, asked=("model.options", "arguments", "see it"))


def test_a_task_that_asks_for_what_there_is_not_is_named() -> None:
    @dataclass(frozen=True)
    class Config:
        weight: float = 1.0

    built: Any = lambda weather: weather  # noqa: E731
    with pytest.raises(ConfigError, match="task .*: expected a signature with some of config.*'weather'"):
        TaskType(Config, built, {}).make(Config(), None, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^its own mistake$"):
        TaskType(Config, breaks, {}).make(Config(), None, {})  # type: ignore[arg-type]
    assert "weather" not in TASKS


def test_an_option_that_is_given_anyway_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.options: expected arguments, got \['dim'\], which it is given"):
        call(breaks, {"dim": 3}, {"dim": 4}, asked=("model.options", "arguments", "see it"))
