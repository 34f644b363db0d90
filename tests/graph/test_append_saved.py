"""What append does to the directory of a graph, what it leaves alone, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import micgraph as mg
from micgraph import artifact
from micgraph.graph import appending
from micgraph.schema import ArtifactError, ConfigError, InputError, SchemaError

MIDNIGHT = 1_700_006_400
CONFIG = {"co_occurs_top_k": 4}


def clicks(*rows: tuple[Any, Any, int], **columns: Any) -> pa.Table:
    user, item, time = zip(*rows, strict=True)
    return pa.table({"user_id": user, "item_id": item, "timestamp": [MIDNIGHT + t for t in time], **columns})


FIRST = (("u", "b", -300), ("u", "c", -10), ("v", "c", -9_000), ("v", "d", -8_990))
ITEMS = pa.table(
    {"item_id": ["b", "c", "d", "e"], "title": ["one", "two", "one more", "two more"], "year": [1, 2, 3, 4]}
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    mg.build(mg.read_log(clicks(*FIRST), items=ITEMS), out=tmp_path / "graph")
    return tmp_path / "graph"


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def sessions(graph: mg.RecGraph) -> list[list[str]]:
    assert graph.items is not None
    names, rel = graph.items.values.to_pylist(), graph.relation("contains")
    bounds = rel.indptr.tolist()
    return [[names[c] for c in rel.col[a:b].tolist()] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def test_a_session_that_is_open_at_midnight_goes_on(saved: Path) -> None:
    graph = mg.append(saved, clicks(("u", "a", 5), ("w", "d", 30), ("v", "b", -8_995)))
    assert sessions(graph) == [["b", "c", "a"], ["c", "b", "d"], ["d"]]
    assert graph.items is not None and graph.items.values.to_pylist() == ["b", "c", "d", "a"]


def test_a_row_that_waited_is_found_and_a_later_one_replaces_it(saved: Path) -> None:
    assert mg.RecGraph.load(saved).refused["item row: its id has no event"] == 1
    graph = mg.append(saved, clicks(("u", "e", 60)))
    assert graph.titles([3]) == ["two more"] and "item row: its id has no event" not in graph.refused
    again = pa.table({"item_id": ["e"], "title": ["one more of it"], "length": [2.5]})
    graph = mg.append(saved, mg.read_log(clicks(("u", "e", 90)), items=again))
    assert graph.titles([3]) == ["one more of it"] and list(graph.item_fields) == ["item_id", "year", "length"]
    assert graph.items_table is not None and graph.items_table["year"].to_pylist() == [1, 2, 3, None]


def test_versions_stay_until_told_otherwise(saved: Path) -> None:
    first = artifact.live(saved)
    mg.append(saved, clicks(("u", "a", 5)))
    mg.append(saved, clicks(("u", "a", 50)))
    assert len(artifact.versions(saved)) == 3 and artifact.versions(saved)[0] == first
    sizes = [mg.RecGraph.load(path).relation("clicks").n_edges for path in artifact.versions(saved)]
    assert sizes == [4, 5, 6] and mg.RecGraph.load(saved).relation("clicks").n_edges == 6
    artifact.drop_old(saved)
    assert artifact.versions(saved) == [artifact.live(saved)] and len(list(saved.iterdir())) == 2
    mg.append(saved, clicks(("u", "a", 70)), drop_old=True)
    assert len(artifact.versions(saved)) == 1 and mg.RecGraph.load(saved).relation("clicks").n_edges == 7


def test_only_what_changes_is_made_again(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, counted = mg.RecGraph.load(saved), []

    def recounted(contains: Any, items: Any, *rest: Any) -> Any:
        counted.append(items.tolist())
        return recount(contains, items, *rest)

    recount = appending.recounted
    monkeypatch.setattr(appending, "recounted", recounted)
    monkeypatch.setattr(appending, "semantic_edges", None)
    graph = mg.append(saved, mg.read_log(clicks(("u", "c", 400)), items=ITEMS))  # c again, in the session of b and c
    assert counted == [[True, True, False]]
    assert graph.relation("similar").score is not None
    for part, values in before.relation("similar").tensors().items():
        assert graph.relation("similar").tensors()[part].equal(values)


def test_a_plain_log_costs_nothing(tmp_path: Path) -> None:
    mg.build(clicks(*FIRST), out=tmp_path / "plain")
    assert not (artifact.live(tmp_path / "plain") / "residue").exists()


def test_bounded_builds_can_be_appended_to(tiny_log: Any, tmp_path: Path) -> None:
    log = tiny_log.clicks.assign(session_id="s" + (tiny_log.clicks.index // 4).astype(str), ordinal=3)
    log["timestamp"] += pd.Timedelta(microseconds=250)
    early = log["timestamp"] < log["timestamp"].median()
    made = []
    for limit in (None, "300MB"):
        config = CONFIG | {"memory_limit": limit}
        mg.build(mg.read_log(log[early], memory_limit=limit), config, tmp_path / "graph")
        made.append(mg.append(tmp_path / "graph", log[~early]))
    once = mg.build(log, CONFIG, tmp_path / "once")  # every user and item is in the first half
    assert made[0].fingerprint() == made[1].fingerprint() == once.fingerprint()
    for graph in (*made, mg.RecGraph.load(tmp_path / "once")):
        assert graph.residue is not None and once.residue is not None
        assert graph.residue.sessions.to_pylist() == once.residue.sessions.to_pylist()
        assert set(graph.residue.micros.tolist()) == {250} and set(graph.residue.ordinal.tolist()) == {3}


def test_a_copy_can_be_appended_to(saved: Path, tmp_path: Path) -> None:
    loaded = mg.RecGraph.load(saved)
    shutil.rmtree(saved)
    loaded.save(tmp_path / "copy")
    assert mg.append(tmp_path / "copy", clicks(("u", "e", 60))).titles([3]) == ["two more"]


def test_an_encoder_that_is_a_function(tmp_path: Path) -> None:
    def lengths(texts: list[str]) -> list[list[float]]:
        return [[1.0, float(len(text))] for text in texts]

    log = mg.read_log(clicks(*FIRST), items=ITEMS)
    mg.build(log, mg.BuildConfig(semantic=("title",), encode=lengths), tmp_path / "graph")
    for wrong in (None, "tfidf", str):
        with pytest.raises(ConfigError, match=r"^encode: expected .*lengths"):
            mg.append(tmp_path / "graph", clicks(("u", "e", 60)), encode=wrong)
    graph = mg.append(tmp_path / "graph", clicks(("u", "e", 60)), encode=lengths)
    assert graph.relation("similar").degree().tolist() == [3, 3, 3, 3]


def test_a_graph_without_its_residue(saved: Path) -> None:
    graph = mg.RecGraph.load(saved)
    graph.residue = None  # as earlier versions saved it
    graph.save(saved)
    before = snapshot(saved)
    with pytest.raises(ArtifactError, match=r"without its residue; build it again"):
        mg.append(saved, clicks(("u", "e", 60)))
    assert snapshot(saved) == before


def test_a_graph_that_changes_in_the_meantime(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: Any) -> mg.RecGraph:
        mg.RecGraph.load(saved).save(saved)
        return appended(*arguments)

    appended = appending._appended
    monkeypatch.setattr(appending, "_appended", slow)
    with pytest.raises(ArtifactError, match="a later one"):
        mg.append(saved, clicks(("u", "e", 60)))
    assert len(artifact.versions(saved)) == 1


BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda: clicks((1, "b", 5)), SchemaError, "log.user_id: expected ids of the graph's type, string, got int64"),
    (lambda: clicks(("u", 7, 5)), SchemaError, "log.item_id: expected ids of the graph's type, string"),
    (lambda: clicks(("u", "b", 5)).drop_columns("timestamp"), SchemaError, "a column 'timestamp'"),
    (lambda: clicks(("u", "b", 2**31)), InputError, "68 years"),
    (lambda: mg.read_log(clicks(("u", "b", 5))).filter("user_id = 'x'"), InputError, "at least one event"),
    (lambda: mg.split(mg.read_log(clicks(*FIRST)), "temporal", test="1h", valid=None), InputError, "pass split.train"),
    (
        lambda: mg.read_log(clicks(("u", "b", 5)), items=pa.table({"item_id": ["b"], "year": ["new"]})),
        SchemaError,
        "year: expected int64 as in the graph, got string",
    ),
]


def test_codes_of_another_column_are_refused_and_digits_that_were_read_as_numbers_are_not(tmp_path: Path) -> None:
    """A file whose categories are all digits is read as numbers, though the graph's one had texts too."""
    rows = pa.table({"item_id": ["a", "b", "c"], "category": ["7", "crime", "9"]})
    mg.build(mg.read_log(clicks(*FIRST), items=rows), out=tmp_path / "graph")
    before = snapshot(tmp_path / "graph")
    strange = mg.read_log(clicks(("u", "b", 5)), items=pa.table({"item_id": ["e"], "category": [1]}))
    with pytest.raises(SchemaError, match="category: expected string as in the graph, got int64, none of whose values"):
        mg.append(tmp_path / "graph", strange)
    assert snapshot(tmp_path / "graph") == before
    digits = pa.table({"item_id": ["e", "f"], "category": [7, 8]})
    graph = mg.append(tmp_path / "graph", mg.read_log(clicks(("u", "e", 70), ("u", "f", 71)), items=digits))
    found = dict(zip(graph.items_table["item_id"].to_pylist(), graph.items_table["category"].to_pylist(), strict=True))
    assert (found["b"], found["e"], found["f"]) == ("crime", "7", "8")


@pytest.mark.parametrize(("bad", "error", "words"), BAD)
def test_bad_input_leaves_the_graph_as_it_was(saved: Path, bad: Any, error: type[Exception], words: str) -> None:
    before = snapshot(saved)
    with pytest.raises(error, match=words):
        mg.append(saved, bad())
    assert snapshot(saved) == before


def test_session_ids_of_another_type(tmp_path: Path) -> None:
    mg.build(clicks(*FIRST, session_id=["x", None, "y", "y"]), out=tmp_path / "graph")
    log = mg.read_log(clicks(("u", "b", 5), session_id=[4]))
    tables = len(log.con.execute("SHOW TABLES").fetchall())
    with pytest.raises(SchemaError, match=r"log.session_id: expected text ids as in the graph, got integer ids"):
        mg.append(tmp_path / "graph", log)
    assert len(log.con.execute("SHOW TABLES").fetchall()) == tables
    graph = mg.append(tmp_path / "graph", clicks(("v", "b", 5), session_id=["y"]))
    assert sessions(graph) == [["b"], ["c"], ["c", "d", "b"]]
    assert graph.residue is not None and graph.residue.sessions.to_pylist() == ["x", None, "y"]


def test_what_is_no_path(saved: Path) -> None:
    with pytest.raises(InputError, match="the directory of a saved graph"):
        mg.append(mg.RecGraph.load(saved), clicks(("u", "b", 5)))  # type: ignore[arg-type]


def test_an_appended_graph_is_one_for_all_stages(tiny_log: Any, tmp_path: Path) -> None:
    log = mg.read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users)
    split = mg.split(log, "temporal", test="2d")
    middle = split.train.scalar("SELECT median(timestamp) FROM {events}")
    manifest = split.train.manifest
    mg.build(split.train.filter(f"timestamp <= {int(middle)}", manifest), out=tmp_path / "graph")
    graph = mg.append(tmp_path / "graph", split.train.filter(f"timestamp > {int(middle)}", manifest))
    assert graph.manifest == manifest
    assert "leak" in str(mg.inspect(graph, holdout=split.test)).lower()
    run = mg.train(graph, "mic_dnn+ui+sess", config={"training": {"epochs": 1}})
    assert len(mg.Recommender(run).recommend(["u42"], k=5)) == 5
    with pytest.raises(mg.LeakageError):
        mg.evaluate(mg.train(mg.append(tmp_path / "graph", split.test.targets), "mic_dnn+ui"), split.test)
