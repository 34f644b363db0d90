"""Every row of docs/bad-input.md, through the public API: a named error, a counted row, or a result that says so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import micgraph
from micgraph.graph.semantic import NOT_SIMILAR
from micgraph.schema import MicgraphError
from tests.bad_input import directories, logs, serving
from tests.bad_input.table import CASES, ROWS, Counted, World

REGISTERED = (logs, directories, serving)  # importing them has filled CASES


@pytest.fixture(scope="session")
def good_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("good") / "graph"


@pytest.fixture
def world(tiny_log: Any, good_graph: Path, tmp_path: Path) -> World:
    made = World(tiny_log.clicks, tiny_log.items, tmp_path)
    if not good_graph.exists():
        micgraph.build(micgraph.read_log(made.clicks, items=made.items), out=good_graph)
    shutil.copytree(good_graph, made.out)
    return made


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_table_and_the_tests_name_the_same_rows() -> None:
    assert set(ROWS) == set(CASES)
    assert {row.answer for row in ROWS.values()} - {"counted", "works"} <= set(micgraph.__all__)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.answer not in ("counted", "works")])
def test_an_error_is_named_and_changes_nothing(name: str, world: World) -> None:
    row, attempts = ROWS[name], 0
    for attempt in CASES[name](world):
        before = _contents(world.folder)
        with pytest.raises(MicgraphError) as caught:
            attempt()
        error, attempts = caught.value, attempts + 1
        assert type(error).__name__ == row.answer, error
        if row.place != "its path":
            assert error.argument == row.place or error.argument.startswith(f"{row.place}.")
        else:
            assert str(world.folder) in str(error)
        assert str(error) == f"{error.argument}: expected {error.expected}, got {error.got}; {error.remedy}"
        assert all(str(part).strip() for part in (error.argument, error.expected, error.got, error.remedy))
        assert "\n" not in str(error)
        for words in row.remedy:
            assert words in error.remedy
        assert _contents(world.folder) == before
    assert attempts


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.answer == "counted"])
def test_rows_left_out_are_counted_and_reported(name: str, world: World) -> None:
    attempts = 0
    for attempt in CASES[name](world):
        assert isinstance(attempt, Counted)
        attempts += 1
        attempt.build()
        graph = micgraph.RecGraph.load(world.out).validate()
        # a row that is not there also leaves its item without what similar items are found by
        rows = {reason: count for reason, count in graph.refused.items() if NOT_SIMILAR not in reason}
        assert rows == {ROWS[name].place: attempt.count}
        assert ROWS[name].place in str(graph.summary())
    assert attempts


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.answer == "works"])
def test_what_is_too_small_still_works_and_says_so(name: str, world: World) -> None:
    results = [attempt() for attempt in CASES[name](world) if callable(attempt)]
    assert results
    assert all(rows[ROWS[name].place].all() for rows in results)
