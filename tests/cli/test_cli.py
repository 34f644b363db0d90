"""The command line from end to end: logs, graphs, recalls, overrides, and errors of one line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

import micgraph
from tests.cli.commands import lines_of, refusal_of


def _columns(lines: list[str]) -> list[str]:
    return lines[0].split()


def test_from_log_to_recalls(here: Path) -> None:
    built = lines_of("build", "--config", "x.yaml", "--out", "graph")
    assert built[-3:] == ["graph: graph", "valid: graph-valid", "test: graph-test"]
    assert built[0].startswith("Split: temporal(")
    graph, test = micgraph.RecGraph.load("graph"), micgraph.Holdout.load("graph-test")
    assert graph.manifest is not None
    assert graph.manifest["split"] == test.manifest["split"]
    assert (graph.config["semantic_k"], test.manifest["part"]) == (3, "test")
    assert lines_of("inspect", "graph") == str(micgraph.inspect(graph)).splitlines()

    lines = lines_of("train", "graph", "--config", "x.yaml", "--set", "training.epochs=1", "--device", "cpu")
    assert lines[0].startswith("epoch 1: loss ")
    assert "recall@20" in lines[0], "the validation part beside the graph is used"
    assert lines[1:] == ["run gru4rec+mic: runs/gru4rec+mic-1"]
    run = micgraph.load_run("runs/gru4rec+mic-1")
    assert (run.config.training.epochs, run.config.model.dim, len(run.metrics)) == (1, 16, 1)

    table = lines_of(
        "evaluate", str(run.directory), "--holdout", "graph-test", "--baselines", "popularity,ease", "--k", "5,20"
    )
    assert _columns(table) == [f"{metric}@{k}" for metric in ("recall", "hr", "ndcg", "coverage") for k in (5, 20)]
    assert [row.split()[0] for row in table[1:5]] == ["popularity", "ease", "gru4rec+mic", "gru4rec+mic,"]
    expected = micgraph.evaluate(run, test, ks=(5, 20), baselines=["popularity", "ease"])
    assert table == str(expected).splitlines()

    rows = lines_of("recommend", str(run.directory), "--users", "u1, u2", "--k", "3")
    assert _columns(rows)[:4] == ["user_id", "item_id", "title", "rank"]
    assert [row.split()[0] for row in rows[1:]] == ["u1"] * 3 + ["u2"] * 3
    frame = micgraph.Recommender(run).recommend(["u1", "u2"], k=3)
    assert [row.split()[1] for row in rows[1:]] == list(frame["item_id"])
    assert all("story part" in row for row in rows[1:])

    near = lines_of("similar", str(run.directory), "--items", "i7", "--k", "4")
    assert _columns(near) == ["item_id", "similar_id", "title", "rank", "score"]
    assert [row.split()[1] for row in near[1:]] == list(micgraph.Recommender(run).similar_items("i7", 4)["similar_id"])


def test_inspect_a_user_and_a_held_out_part_and_write_a_page(here: Path) -> None:
    lines_of("build", "--config", "x.yaml", "--out", "graph")
    lines = lines_of("inspect", "graph", "--user", "u3", "--holdout", "graph-test")
    assert lines == str(micgraph.inspect("graph", user="u3", holdout="graph-test")).splitlines()
    assert lines[0].startswith("user u3 ") and lines[-1] == "No leak."
    pytest.importorskip("matplotlib", reason="the page needs matplotlib (the extra report)")
    lines = lines_of("inspect", "graph", "--item", "i7", "--html", "pages/i7.html")
    assert lines[0].startswith("item i7 (") and lines[-2:] == ["", "page: pages/i7.html"]
    assert Path("pages/i7.html").read_text(encoding="utf-8").count("<svg") == 9


def test_inspect_reads_ids_in_the_type_of_the_graph(trained: Path) -> None:
    assert lines_of("inspect", str(trained / "graph"), "--user", "3")[0].startswith("user 3 ")
    lines = lines_of("inspect", str(trained / "graph"), "--holdout", str(trained / "leak"))
    assert "The graph has clicks that the split keeps out of it." in lines


def test_a_new_day_is_appended(here: Path) -> None:
    clicks = pd.read_parquet("clicks.parquet")
    late = clicks["timestamp"] > clicks["timestamp"].median()
    clicks[~late].to_parquet("early.parquet")
    clicks[late].rename(columns={"item_id": "article"}).to_parquet("late.parquet")
    lines_of("build", "early.parquet", "--out", "graph")
    lines = lines_of(
        "append", "graph", "late.parquet", "--items", "items.parquet", "--set", "log.columns.item_id=article"
    )
    assert lines[-2] == "graph: graph" and lines[-1].startswith("earlier version: graph")
    assert micgraph.RecGraph.load("graph").relation("clicks").n_edges == len(clicks)
    assert len(micgraph.RecGraph.load(lines[-1].split()[-1]).relation("clicks").col) == (~late).sum()
    lines = lines_of("append", "graph", "late.parquet", "--set", "log.columns.item_id=article", "--drop-old")
    assert lines[-1] == "graph: graph"


def test_without_a_split_there_is_nothing_held_out(here: Path) -> None:
    lines = lines_of("build", "clicks.parquet", "--out", "graph", "--items", "items.parquet")
    assert lines[-1] == "graph: graph"
    assert not [path.name for path in here.iterdir() if path.name.startswith("graph-")]
    assert micgraph.RecGraph.load("graph").relation("clicks").n_edges == len(micgraph.read_log("clicks.parquet"))
    assert micgraph.RecGraph.load("graph").items_table is not None


def test_arguments_go_before_overrides_and_those_before_the_file(here: Path) -> None:
    Path("x.yaml").write_text(yaml.safe_dump({"log": {"source": "nowhere.csv"}, "build": {"session_gap": "2h"}}))
    pd.read_parquet("clicks.parquet").head(50).to_csv("head.csv", index=False)
    lines_of(
        "build",
        "head.csv",
        "--config",
        "x.yaml",
        "--out",
        "graph",
        "--set",
        "log.source=no.csv",
        "--set",
        "build.session_gap=3h",
    )
    graph = micgraph.RecGraph.load("graph")
    assert (graph.relation("clicks").n_edges, graph.config["session_gap"]) == (50, "3h")


def test_columns_events_and_times_come_from_the_log_section(here: Path) -> None:
    clicks = pd.read_parquet("clicks.parquet").rename(columns={"item_id": "article"})
    clicks["event"] = ["view"] * 100 + ["click"] * (len(clicks) - 100)
    clicks.to_csv("named.csv", index=False)
    lines_of(
        "build",
        "named.csv",
        "--out",
        "graph",
        "--set",
        "log.columns.item_id=article",
        "--set",
        "log.positive_events=[click]",
    )
    assert micgraph.RecGraph.load("graph").refused == {"not a positive event": 100}


def test_a_validation_part_of_another_split_is_not_taken_by_itself(here: Path) -> None:
    lines_of("build", "--config", "x.yaml", "--out", "graph")
    lines_of("build", "--config", "x.yaml", "--out", "other", "--set", "split.test=1d")
    micgraph.Holdout.load("other-valid").save("graph-valid")
    small = ("--model", "gru4rec", "--set", "model.dim=8", "--set", "training.epochs=1", "--device", "cpu")
    (epoch, _) = lines_of("train", "graph", *small)
    assert "recall" not in epoch
    (epoch, _) = lines_of("train", "graph", *small, "--set", "training.monitor=recall@20", "--valid", "graph-test")
    assert "recall@20" in epoch


def test_ids_are_read_in_the_type_of_the_graph(trained: Path) -> None:
    run = str(trained / "run")
    rows = lines_of("recommend", run, "--users", "3", "--k", "2", "--keep-seen")
    assert _columns(rows)[:3] == ["user_id", "item_id", "rank"], "no titles, no column of them"
    assert {row.split()[0] for row in rows[1:]} == {"3"}
    rows = lines_of("recommend", run, "--histories", "100 101;;107", "--k", "2", "--channels", "u2i,i2i")
    assert [row.split()[0] for row in rows[1:]] == ["0", "0", "1", "1", "2", "2"]
    assert "integers such as 0, as in the log, got 'u3'" in refusal_of("recommend", run, "--users", "u3")
    assert "integers" in refusal_of("similar", run, "--items", "x")
    assert "--histories" in refusal_of("recommend", run, "--histories", "100 x")


def test_seen_items_are_left_out_unless_kept(trained: Path) -> None:
    history = "100 101 102 103 104 105 106 107 108"
    rows = lines_of("recommend", str(trained / "run"), "--histories", history, "--k", "2")
    assert {row.split()[1] for row in rows[1:]} == {"109", "110"}
    kept = lines_of("recommend", str(trained / "run"), "--histories", history, "--k", "11", "--keep-seen")
    assert len(kept) == 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("build --out g", "log.source: expected the path of a log"),
        ("build nothing.parquet --out g", "nothing.parquet; check the path"),
        ("build clicks.parquet --out g --config no.yaml", "no.yaml: No such file"),
        ("build clicks.parquet --out g --set training.epochs", "--set: expected name=value"),
        ("build clicks.parquet --out g --set spilt.kind=temporal", "did you mean 'split'?"),
        ("build clicks.parquet --out g --set log.sorce=x", "log.sorce: "),
        ("build clicks.parquet --out g --set build.semantik_k=2", "did you mean 'semantic_k'?"),
        ("build clicks.parquet --out g --set split.kind=random", "one of temporal, user_holdout, leave_last_out"),
        ("build clicks.parquet --out g --set split.test=2d", "got None"),
        ("build clicks.parquet --out g --set split=temporal", "split: expected a valid dictionary"),
        ("build clicks.parquet --out g --set split.kind=temporal --set split.tset=2d", "parameters of temporal"),
        ("build clicks.parquet --out g --set split.kind=user_holdout --set split.min_item=[1]", "an integer"),
        ("build clicks.parquet --out g --set log.columns.item_id=article", "a column 'article'"),
        ("inspect nothing", "nothing: expected a directory saved by micgraph"),
        ("inspect .", "without the file 'current'"),
        ("inspect GRAPH --user 77", "got 77; take an id of graph.users.values"),
        ("inspect GRAPH --user u7", "--user: expected integers such as 0, as in the log, got 'u7'"),
        ("inspect GRAPH --item 99", "item: expected integers such as 100"),
        ("inspect GRAPH --user 1 --item 100", "user, item: expected one of the two, got both"),
        ("inspect GRAPH --holdout nothing", "nothing: expected a directory"),
        ("inspect GRAPH --holdout GRAPH", "a saved holdout, got a saved graph"),
        ("train nothing --model gru4rec", "nothing: expected a directory"),
        ("train GRAPH --model gru4rec --config x.yaml", "without the task 'ui', the task 'uu', the task 'ii' of the"),
        ("train GRAPH --model ican+mic --config x.yaml", "the encoder 'gru4rec' of the config; leave model out"),
        ("train GRAPH --model gru4rec --out HELD", "a directory that holds something else; choose another path"),
        ("train GRAPH --model gru", "'gru'"),
        ("train GRAPH --model gru4rec+mix", "['mix']"),
        ("train GRAPH --model gru4rec --set training.epoch=3", "did you mean 'epochs'?"),
        ("train GRAPH --model gru4rec --device qpu", "device: expected auto, cpu"),
        ("train GRAPH --model gru4rec --valid GRAPH", "a saved holdout, got a saved graph"),
        ("evaluate RUN --holdout nothing", "nothing: expected a directory"),
        ("evaluate GRAPH --holdout nothing", "graph/setup: expected a directory"),
        ("evaluate RUN --holdout HELD --k 0", "--k: expected numbers above 0"),
        ("evaluate RUN --holdout HELD --k ten", "--k: expected numbers above 0"),
        ("evaluate RUN --holdout HELD --baselines pop", "baselines: expected some of"),
        ("evaluate RUN --holdout HELD --columns recall@7", "metric: expected one of"),
        ("evaluate RUN --holdout LEAK", "holdout: expected no target among the graph's clicks"),
        ("recommend RUN --k 3", "users, histories: expected one of the two, got neither"),
        ("recommend RUN --users 1 --histories 100 --k 3", "got both"),
        ("recommend RUN --users 77 --k 3", "got 77; pass what the person clicked as --histories"),
        ("recommend RUN --users 1 --k 99", "k: expected a number from 1 to 11"),
        ("recommend RUN --users 1 --channels u2x", "channels: expected 'all' or some of"),
        ("similar RUN --items 7", "got 7"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(arguments: str, words: str, trained: Path, here: Path) -> None:
    places = {
        "GRAPH": str(trained / "graph"),
        "RUN": str(trained / "run"),
        "HELD": str(trained / "held"),
        "LEAK": str(trained / "leak"),
    }
    before = sorted(here.rglob("*"))
    assert words in refusal_of(*(places.get(word, word) for word in arguments.split()))
    assert [path for path in sorted(here.rglob("*")) if path.name != "runs"] == before
