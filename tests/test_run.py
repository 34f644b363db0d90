"""Runs on disk: what train writes, load_run reads back; what does not fit is refused and changes nothing."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from micgraph.epochs import Epochs
from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.split import split
from micgraph.pipeline import train
from micgraph.run import Run, load_run
from micgraph.schema import ArtifactError, ConfigError
from micgraph.training import Trainer

SMALL = {"model": {"dim": 16, "history": 10}, "sampling": {"batch_size": 64}, "training": {"epochs": 2}}


@pytest.fixture
def graph(tiny_log) -> RecGraph:
    return build(read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users))


def quick(graph: RecGraph, out: Path | None, model: str = "gru4rec", **more) -> Run:
    config = {**SMALL, **more.pop("config", {})}
    return train(graph, model, config=config, out=out, device="cpu", progress=False, **more)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def vectors(run: Run) -> list[torch.Tensor]:
    items = torch.tensor([[3, 5, 9], [0, -1, -1], [-1, -1, -1]])
    queries = run.model.encode_queries(
        items, torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]]) > 0, torch.tensor([0, 7, -1])
    )
    return [*run.model.item_vectors(), *queries]


@pytest.mark.parametrize("model", ["gru4rec+mic", "ican+micrec", "youtube_dnn+fea+ii", "mic_dnn"])
def test_a_saved_run_loads_with_equal_vectors(graph: RecGraph, tmp_path: Path, model: str) -> None:
    run = quick(graph, tmp_path / "run", model)
    again = load_run(tmp_path / "run")
    assert again.config == run.config and again.name == run.name
    assert all(torch.equal(a, b) for a, b in zip(vectors(run), vectors(again), strict=True))
    assert again.metrics == run.metrics and [row["epoch"] for row in run.metrics] == [1, 2]
    assert again.graph.n_items == graph.n_items and again.graph.items.values.equals(graph.items.values)


def test_the_seed_decides_the_weights(graph: RecGraph, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> torch.Tensor:
        run = quick(graph, tmp_path / name, config={"training": {"epochs": 1, "seed": seed}})
        return run.model.item_vectors()[0]

    assert torch.equal(weights("a", 0), weights("b", 0)) and not torch.equal(weights("c", 1), weights("d", 0))


def test_validation_selects_and_reports_on_a_small_catalogue(tiny_log, tmp_path: Path) -> None:
    parts = split(read_log(tiny_log.clicks), "temporal", test="2d")
    run = quick(build(parts.train), tmp_path / "run", validation=parts.valid)
    assert all("valid/recall@20" in row and 0 <= row["valid/recall@50"] <= 1 for row in run.metrics)


def test_other_settings_in_the_same_directory_are_refused_and_change_nothing(graph: RecGraph, tmp_path: Path) -> None:
    quick(graph, tmp_path / "run")
    before = listing(tmp_path)
    others = [
        ("gru4rec", {"training": {"epochs": 1}}, "training.epochs"),
        ("gru4rec", {"training": {"epochs": 2, "lr": 0.5}}, "training.lr"),
        ("gru4rec+sess", {}, "tasks.sess"),
        ("mic_dnn", {}, "model.encoder"),
    ]
    for model, config, named in others:
        with pytest.raises(ConfigError, match=f"same settings.*{named}"):
            quick(graph, tmp_path / "run", model, config=config)
        assert listing(tmp_path) == before


def test_another_graph_in_the_same_directory_is_refused_and_changes_nothing(
    graph: RecGraph, tiny_log, tmp_path: Path
) -> None:
    quick(graph, tmp_path / "run")
    before = listing(tmp_path)
    fewer = build(read_log(tiny_log.clicks.iloc[:-5], items=tiny_log.items, users=tiny_log.users))
    with pytest.raises(ConfigError, match="graph"):
        quick(fewer, tmp_path / "run")
    assert listing(tmp_path) == before


def test_the_same_settings_go_on_or_return_at_once(graph: RecGraph, tmp_path: Path) -> None:
    first = quick(graph, tmp_path / "run")
    before = listing(tmp_path)
    again = quick(graph, tmp_path / "run")
    assert listing(tmp_path) == before
    assert all(torch.equal(a, b) for a, b in zip(vectors(first), vectors(again), strict=True))


def test_it_is_told_where_a_run_goes_on(graph: RecGraph, tmp_path: Path, caplog) -> None:
    def told(epochs: int) -> list[str]:
        caplog.clear()
        config = {**SMALL, "training": {"epochs": epochs}}
        with caplog.at_level(logging.INFO, "micgraph"):
            train(graph, "gru4rec", config=config, out=tmp_path / "run", device="cpu")
        return [message for message in caplog.messages if "continuing" in message]

    assert not told(1), "it begins"
    assert not told(1), "it had ended"
    assert told(2) == ["continuing after epoch 1, step 0"]


def test_a_run_goes_on_where_epochs_or_patience_have_grown(graph: RecGraph, tmp_path: Path) -> None:
    quick(graph, tmp_path / "run", config={"training": {"epochs": 1, "patience": 2}})
    more = {"training": {"epochs": 3, "patience": 4}}
    grown, straight = quick(graph, tmp_path / "run", config=more), quick(graph, tmp_path / "straight", config=more)
    assert all(torch.equal(a, b) for a, b in zip(vectors(grown), vectors(straight), strict=True))
    assert [row["loss"] for row in grown.metrics] == [row["loss"] for row in straight.metrics]
    assert load_run(tmp_path / "run").config == grown.config == straight.config


def test_epochs_to_whose_end_the_rate_falls_do_not_grow(graph: RecGraph, tmp_path: Path) -> None:
    def cosine(epochs: int, patience: int) -> dict:
        return {"training": {"epochs": epochs, "patience": patience, "schedule": "cosine"}}

    quick(graph, tmp_path / "run", config=cosine(1, 2))
    before = listing(tmp_path)
    with pytest.raises(ConfigError, match=r"training\.epochs: expected 1, .*cosine.*new directory"):
        quick(graph, tmp_path / "run", config=cosine(3, 2))
    assert listing(tmp_path) == before
    assert quick(graph, tmp_path / "run", config=cosine(1, 4)).config.training.patience == 4


def test_an_interrupted_run_goes_on_exactly_whatever_the_caller_drew(graph: RecGraph, tmp_path: Path) -> None:
    def interrupt(row: dict) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(graph, tmp_path / "run", "gru4rec+mic", on_epoch=interrupt)
    torch.manual_seed(99)
    run, straight = quick(graph, tmp_path / "run", "gru4rec+mic"), quick(graph, tmp_path / "straight", "gru4rec+mic")
    assert all(torch.equal(a, b) for a, b in zip(vectors(run), vectors(straight), strict=True))
    assert [row["loss"] for row in run.metrics] == [row["loss"] for row in straight.metrics]


def test_how_channels_are_fused_may_change_afterwards(graph: RecGraph, tmp_path: Path) -> None:
    first = quick(graph, tmp_path / "run")
    again = quick(graph, tmp_path / "run", config={"fusion": {"k1": 7}})
    assert len(again.metrics) == 2, "no epoch is run again"
    assert load_run(tmp_path / "run").fusion.k1 == again.fusion.k1 == 7
    assert all(torch.equal(a, b) for a, b in zip(vectors(first), vectors(again), strict=True))


def test_another_validation_is_refused_and_changes_nothing(tiny_log, tmp_path: Path) -> None:
    parts = split(read_log(tiny_log.clicks), "temporal", test="2d")
    graph = build(parts.train)
    quick(graph, tmp_path / "run", validation=parts.valid)
    before = listing(tmp_path)
    for other in ({"validation": parts.test}, {"validation": parts.valid, "filter_seen": False}, {}):
        with pytest.raises(ConfigError, match="validation differ"):
            quick(graph, tmp_path / "run", **other)
        assert listing(tmp_path) == before
    assert len(quick(graph, tmp_path / "run", validation=parts.valid).metrics) == 2


def test_before_the_first_epoch_has_ended_settings_may_still_change(
    graph: RecGraph, tiny_log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(trainer: Trainer) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Trainer, "_end_epoch", stop)
        quick(graph, tmp_path / "run")
    assert (tmp_path / "run" / "setup").exists() and not (tmp_path / "run" / "last").exists()
    fewer = build(read_log(tiny_log.clicks.iloc[:-5], items=tiny_log.items, users=tiny_log.users))
    run, other = quick(fewer, tmp_path / "run", "mic_dnn"), quick(fewer, tmp_path / "other", "mic_dnn")
    assert load_run(tmp_path / "run").config == run.config == other.config
    assert load_run(tmp_path / "run").graph.fingerprint() == fewer.fingerprint()
    assert all(torch.equal(a, b) for a, b in zip(vectors(run), vectors(other), strict=True))


def test_what_is_no_run_is_left_as_it_is(graph: RecGraph, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "metrics.jsonl").write_text("mine")
    graph.save(tmp_path / "graph")
    (tmp_path / "empty").mkdir()
    before = listing(tmp_path)
    for taken in ("notes", "notes/metrics.jsonl", "notes/metrics.jsonl/run", "graph"):
        with pytest.raises(ArtifactError, match="choose another path"):
            quick(graph, tmp_path / taken)
        assert listing(tmp_path) == before
    assert quick(graph, tmp_path / "empty").directory == tmp_path / "empty"


def test_a_saved_copy_is_a_whole_run(graph: RecGraph, tmp_path: Path) -> None:
    run = quick(graph, None)
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "new" / "run", tmp_path / "empty"):
        run.save(target)
        assert listing(target) == listing(run.directory)
        assert all(torch.equal(a, b) for a, b in zip(vectors(run), vectors(load_run(target)), strict=True))
    assert len(quick(graph, tmp_path / "empty", config={"training": {"epochs": 3}}).metrics) == 3, "it goes on there"
    (tmp_path / "file").write_text("mine")
    before = listing(tmp_path)
    for taken in ("empty", "new", "file", "file/run"):
        with pytest.raises(ArtifactError, match="choose another path"):
            run.save(tmp_path / taken)
    shutil.rmtree(run.directory)
    with pytest.raises(ArtifactError):
        run.save(tmp_path / "late")
    assert listing(tmp_path) == before


@pytest.mark.parametrize("part", ["setup", "best", "graph"])
def test_a_damaged_run_is_refused(graph: RecGraph, tmp_path: Path, part: str) -> None:
    quick(graph, tmp_path / "run")
    for file in (tmp_path / "run" / part).glob("*/*"):
        if file.is_file() and file.name != "manifest.json":
            file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ArtifactError):
        load_run(tmp_path / "run")


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        load_run(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("model", "config", "named"),
    [
        ("gru5rec", {}, "gru4rec"),
        ("gru4rec+fae", {}, "fae"),
        ("gru4rec", {"training": {"epoch": 3}}, "epochs"),
        ("comirec_dr", {"sampling": {"samples": "positions"}}, "every|whole"),
        ("gru4rec+sem", {}, "similar"),
        ("ican", {"model": {"options": {"tokens": "words"}}}, "tokens"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path: Path, model: str, config: dict, named: str
) -> None:
    log = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 2, 3], "timestamp": [10**9 + i for i in range(4)]})
    with pytest.raises(ConfigError, match=named):
        train(build(read_log(log)), model, config=config, out=tmp_path / "run", device="cpu", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("tasks", [{"fea": {"weight": 0.5}, "sess": None}, {"micrec": {}}])
def test_tasks_may_come_from_the_config_alone(graph: RecGraph, tmp_path: Path, tasks: dict) -> None:
    config = {**SMALL, "model": {"encoder": "mic_dnn", "dim": 16}, "training": {"epochs": 1}, "tasks": tasks}
    run = train(graph, None, config=config, device="cpu", progress=False)
    assert set(run.config.tasks) == {"matching", "fea", "sess"} | ({"sem"} if "micrec" in tasks else set())


def test_a_run_prints_its_best_epoch(graph: RecGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = quick(graph, tmp_path / "run", config={"training": {"epochs": 9, "patience": 2, "monitor": "ndcg@20"}})
    assert repr(run).splitlines()[1:] == ["  epochs: 9 of 9", f"  last epoch 9: loss {run.metrics[-1]['loss']:.4g}"]
    rows = [{"epoch": n, "loss": 3.0 - n, "valid/ndcg@20": v} for n, v in ((1, 0.1), (2, 0.3), (3, 0.2), (4, 0.3))]
    more = {f"valid/{name}@{k}": 0.5 for name in ("recall", "hr", "hit", "coverage") for k in (20, 50, 200)}
    monkeypatch.setattr(Run, "metrics", Epochs(row | more for row in rows))
    assert repr(run).splitlines()[1:] == [
        "  epochs: 4 of 9, stopped early",
        "  best epoch 2: valid/ndcg@20 0.3, valid/recall@20 0.5, valid/coverage@20 0.5, loss 1",
    ]


def test_a_run_without_a_task_that_false_leaves_out_loads_and_goes_on(graph: RecGraph, tmp_path: Path) -> None:
    run = quick(graph, tmp_path / "run", "ican+micrec", config={"tasks": {"sem": False}})
    again = load_run(tmp_path / "run")
    assert run.name == again.name == "ican+fea+sess" and again.config == run.config
    assert list(again.config.tasks) == ["matching", "fea", "sess"]
    assert quick(graph, tmp_path / "run", "ican+fea+sess").metrics == run.metrics


def test_metrics_print_as_a_table_of_the_latest_epochs() -> None:
    rows = [{"epoch": n, "seconds": 1.5, "loss": 1 / n} for n in range(1, 11)]
    rows[-1]["valid/recall@50"] = 0.25
    found = Epochs(rows)
    lines = [line.split() for line in repr(found).splitlines()]
    assert found == rows and lines[0] == ["epoch", *map(str, range(3, 11))]
    assert lines[2] == ["loss", *(f"{1 / n:.4g}" for n in range(3, 11))]
    assert lines[3] == ["valid/recall@50", *["-"] * 7, "0.25"] and lines[4] == ["2", "earlier", "epochs"]
    assert repr(Epochs()) == "no epoch so far"
