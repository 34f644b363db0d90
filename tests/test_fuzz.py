"""300 inputs of the fuzzer with a fixed seed, and that the fuzzer itself sees what it must see."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from micgraph.schema import InputError
from tests.fuzz import registry, settings
from tests.fuzz.__main__ import main
from tests.fuzz.inputs import Input, make
from tests.fuzz.oracle import expected
from tests.fuzz.supervisor import Worker
from tests.fuzz.world import Broken, Outcome, World, check_message, refused, tree

assert registry.LOADED


def test_three_hundred_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--inputs", "300", "--seed", "20", "--failures", str(tmp_path)])
    shown = capsys.readouterr().out
    found = json.loads(shown.splitlines()[-1])
    assert (code, found["failures"], found["inputs"]) == (0, 0, 300), shown
    assert found["built"] >= 0.2 * 300


def shown(made: Input) -> list[str]:
    parts = (made.tables, made.arguments, made.config, made.split, made.dialect, made.types, settings.rendered(made))
    return [repr(part) for part in parts]


def test_an_input_is_the_same_again_and_another_one_for_another_seed() -> None:
    for index in range(40):
        one, again, other = (shown(make(seed, index)) for seed in (3, 3, 4))
        assert one == again
        assert one != other


def test_without_a_mutation_the_others_stay() -> None:
    differ = 0
    for index in (index for index in range(60) if len(make(5, index).mutations) == 2):
        both, one, none = make(5, index), make(5, index, keep=[1]), make(5, index, keep=[])
        assert both.mutations == one.mutations == none.mutations
        assert shown(make(5, index, keep=[0, 1])) == shown(both)
        differ += len({tuple(shown(made)) for made in (both, one, none)}) == 3
    assert differ >= 3


def test_a_worker_that_hangs_or_ends_is_followed_by_another(tmp_path: Path) -> None:
    with Worker(tmp_path / "worker", 60.0, "tests.fuzz.bad_worker") as worker:
        assert worker.run(0, 0)["kind"] == "built"
        ended = worker.run(0, 2)
        assert ended["kind"] == "FAILED"
        assert ended["detail"] == "crash: the process ended with 7\nlast words"
        assert worker.run(0, 3)["kind"] == "built"
        worker.patience = 0.5
        hung = worker.run(0, 1)
        assert (hung["kind"], hung["detail"]) == ("FAILED", "hang\nlast words")
        worker.patience = 60.0
        assert worker.run(0, 4)["kind"] == "built"


def test_what_an_error_has_changed_is_seen(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.clean("nothing")

    def fails() -> None:
        world.out.mkdir()
        raise InputError("log", "a file", "none", "write one")

    with pytest.raises(Broken, match="graph"):
        refused(Outcome(""), world, fails)
    assert tree(world.place)["graph"] == "folder"


def test_a_message_without_a_remedy_is_seen() -> None:
    error = InputError("log", "a file", "none", "write one")
    check_message(error)
    error.remedy = ""
    with pytest.raises(Broken):
        check_message(error)


def test_the_slow_count() -> None:
    log = {"user_id": ["u0", "u0", None, "u1", "u1", "u1"], "item_id": ["i1", "i1", "i1", None, "i2", "i2"]}
    times = [*["2024-03-01 10:00:00"] * 4, None, math.nan]
    made = Input(0, 0, "parquet", {"log": {**log, "timestamp": times}}, {"log": "parquet"})
    reasons = {"duplicate (same user, item and second)": 1, "null user_id": 1, "null item_id": 1, "null timestamp": 1}
    assert expected(made) == (1, {**reasons, "unparsable timestamp": 1})
    made.tables["log"]["timestamp"][0] = "yesterday"
    assert expected(made) is None
