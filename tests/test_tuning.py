"""The search for settings: what it tries, what it keeps, and that an interruption changes nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
import yaml
from typer.testing import CliRunner

import micgraph as mg
from micgraph.cli import app
from micgraph.config import nested
from micgraph.presets import resolve
from micgraph.schema import ConfigError, InputError, MissingExtraError
from micgraph.tuning import Choice, Span, read_space, space, study

pytest.importorskip("optuna", reason="the extra tune is not installed")

SMALL = {"model": {"dim": 8, "history": 6}, "training": {"epochs": 2}, "sampling": {"batch_size": 256}}
SPACE = {
    "training.lr": {"low": 1e-3, "high": 1e-1, "log": True},
    "model.dropout": {"values": [0.0, 0.2]},
    "model.history": {"low": 5, "high": 9},
}


@pytest.fixture
def data(tiny_log):
    parts = mg.split(mg.read_log(tiny_log.clicks), "temporal", test="2d")
    return mg.build(parts.train), parts


def tune(data, out, trials=3, **more):
    graph, parts = data
    arguments = {"search": SPACE, "config": SMALL, "progress": False, **more}
    return mg.tune(graph, "mic_dnn", parts.valid, trials=trials, out=out, **arguments)


def kept(tuned):
    """The trials without what a clock says."""
    return [replace(trial, seconds=0.0) for trial in tuned.trials]


def test_a_space_is_read_from_plain_values_and_files(tmp_path):
    found = read_space(SPACE)
    assert found["training.lr"] == Span(1e-3, 1e-1, True) and found["model.dropout"] == Choice((0.0, 0.2))
    file = tmp_path / "my.yaml"
    file.write_text(yaml.safe_dump({"training": {"epochs": 3}, "search": SPACE}))
    assert read_space(file) == found == read_space(found)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3, "search.training.lr: expected values, or low and high, got 3"),
        ({"low": 1}, "search.training.lr: expected values, or low and high, got {'low': 1}; write it as"),
        ({"value": [1]}, "search.training.lr: expected values, or low and high"),
        ({"values": []}, "search.training.lr.values: expected at least one value"),
        ({"low": 2, "high": 1}, "low < high"),
        ({"low": 0, "high": 1, "log": True}, "low > 0 with log"),
        ({"low": 1, "high": 2, "step": 1}, "search.training.lr.step"),
    ],
)
def test_entries_that_are_no_space_are_named(entry, message):
    with pytest.raises(ConfigError, match=message):
        read_space({"training.lr": entry})


def test_suggestions_depend_on_the_seed_and_on_what_was_told_only():
    entries = read_space({**SPACE, "model.item_hidden": {"values": [None, [8, 4]]}})
    told = [({"training.lr": 0.01 * n, "model.dropout": 0.2, "model.history": 5 + n}, n / 10) for n in range(1, 5)]
    told = [({**settings, "model.item_hidden": (8, 4)}, score) for settings, score in told]
    drawn = [space.suggest(entries, told, seed) for seed in range(30)]
    assert drawn == [space.suggest(entries, told, seed) for seed in range(30)]
    for settings in drawn:
        assert 1e-3 <= settings["training.lr"] <= 1e-1 and settings["model.dropout"] in (0.0, 0.2)
        assert isinstance(settings["model.history"], int) and 5 <= settings["model.history"] <= 9
        assert settings["model.item_hidden"] in (None, [8, 4])
    assert len({settings["training.lr"] for settings in drawn}) > 5
    # the best history told is 9: an estimator that listens proposes large ones more often than chance (mean 7)
    assert sum(settings["model.history"] for settings in drawn) / 30 > 7.5


def test_the_first_trial_is_the_defaults_and_the_best_is_the_best(data, tmp_path):
    tuned = tune(data, tmp_path / "t")
    config = resolve("mic_dnn", SMALL, data[0].n_items)
    first = {"training.lr": config.training.lr, "model.dropout": config.model.dropout, "model.history": 6}
    assert tuned.trials[0].settings == first and len(tuned.trials) == 3
    assert tuned.best.score == max(trial.score for trial in tuned.trials)
    assert len({json.dumps(trial.settings) for trial in tuned.trials}) == 3
    rows = [row["valid/recall@50"] for row in tuned.run().metrics]
    assert tuned.best.score == max(rows) and rows[tuned.best.epoch - 1] == max(rows)
    assert [path.name for path in (tmp_path / "t" / "runs").iterdir()] == [f"{tuned.best.number:03d}"]
    assert f"{tuned.best.number} *" in str(tuned) and "training.lr" in str(tuned)


def test_the_best_settings_train_the_same_model_again(data, tmp_path):
    tuned = tune(data, tmp_path / "t")
    graph, parts = data
    again = mg.train(graph, config=tmp_path / "t" / "best.yaml", validation=parts.valid, progress=False)
    assert again.config == tuned.run().config
    assert max(row["valid/recall@50"] for row in again.metrics) == tuned.best.score


def test_a_search_goes_on_as_if_nothing_had_stopped_it(data, tmp_path, monkeypatch):
    whole = tune(data, tmp_path / "whole", trials=4)
    calls, train = [], study.train

    def stopping(*arguments, **more):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*arguments, **more)

    monkeypatch.setattr(study, "train", stopping)
    with pytest.raises(KeyboardInterrupt):
        tune(data, tmp_path / "parts", trials=3)
    tune(data, tmp_path / "parts", trials=3)
    assert len(calls) == 4, "ended trials are read, not trained again"
    assert kept(tune(data, tmp_path / "parts", trials=4)) == kept(whole)


def test_a_small_space_ends_the_search(data, tmp_path):
    told = []
    tuned = tune(data, tmp_path, 9, search={"model.dropout": {"values": [0.0, 0.2]}}, on_trial=told.append)
    assert [trial.settings for trial in tuned.trials] == [{"model.dropout": 0.0}, {"model.dropout": 0.2}]
    assert list(tuned.trials) == told


def test_another_search_in_the_same_place_is_refused(data, tmp_path):
    tune(data, tmp_path, 1)
    for other in ({"seed": 1}, {"config": {**SMALL, "training": {"epochs": 1}}}, {"filter_seen": False}):
        with pytest.raises(ConfigError, match=r"out: .*whose (seed|defaults|filter_seen) differ"):
            tune(data, tmp_path, 2, **other)


def test_settings_that_no_run_takes_are_refused_before_the_first_trial(data, tmp_path):
    for search in ({"model.depth": {"values": [1]}}, {"model.dropout": {"values": [0.1, 1.5]}}):
        with pytest.raises(ConfigError, match=r"model\.(depth|dropout)"):
            tune(data, tmp_path / "t", search=search)
    with pytest.raises(ConfigError, match="a mapping of dotted settings"):
        tune(data, tmp_path / "t", search={})
    with pytest.raises(InputError, match="held-out events to score trials on"):
        mg.tune(data[0], "mic_dnn", None, SPACE)
    with pytest.raises(ConfigError, match="trials"):
        tune(data, tmp_path / "t", 0)
    assert not (tmp_path / "t").exists()


def test_a_trial_that_diverges_scores_nothing(data, tmp_path, monkeypatch):
    train = study.train

    def diverging(graph, model, data, config, *more, **named):
        if config.get("model", {}).get("dropout") == 0.2:
            raise ConfigError("training", "a finite loss", "nan", "lower training.lr")
        return train(graph, model, data, config, *more, **named)

    monkeypatch.setattr(study, "train", diverging)
    tuned = tune(data, tmp_path, 2, search={"model.dropout": {"values": [0.0, 0.2]}})
    assert tuned.trials[1].score is None and tuned.best.number == 0 and "diverged" in str(tuned)


def test_a_search_whose_trials_all_diverge_says_what_may_help(data, tmp_path, monkeypatch):
    def diverging(*given, **named):
        raise ConfigError("training", "a finite loss", "nan at epoch 1, step 2", "lower training.lr")

    monkeypatch.setattr(study, "train", diverging)
    wanted = "trials: .*got 2 that all diverged, the first with the loss nan at epoch 1, step 2; lower training.lr"
    for _ in range(2):  # the second time the trials are read
        with pytest.raises(ConfigError, match=wanted):
            tune(data, tmp_path, 2, search={"model.dropout": {"values": [0.0, 0.2]}})
    assert not (tmp_path / "best.yaml").exists()


def test_settings_of_several_tasks_are_searched_as_one(data, tmp_path):
    graph, parts = data
    search = {"tasks.ui,ii.weight": {"values": [0.02, 0.5]}}
    tuned = mg.tune(graph, "mic_dnn+ui+ii", parts.valid, search, 2, tmp_path, {**SMALL, "perturb": {"sides": "none"}})
    preset = resolve("mic_dnn+ui+ii", SMALL, graph.n_items).task_config("ui").weight
    assert tuned.trials[0].settings == {"tasks.ui,ii.weight": preset}
    weight = tuned.trials[1].settings["tasks.ui,ii.weight"]
    tried = resolve("mic_dnn+ui+ii", nested({"tasks.ui,ii.weight": weight}), graph.n_items)
    assert tried.task_config("ui").weight == tried.task_config("ii").weight == weight in (0.02, 0.5)
    best = mg.load_run(tmp_path / "runs" / f"{tuned.best.number:03d}").config
    assert best.task_config("ui").weight == tuned.best.settings["tasks.ui,ii.weight"] == best.task_config("ii").weight


def test_the_best_settings_name_each_task_once_and_none_that_is_left_out(data, tmp_path):
    graph, parts = data
    config = {**SMALL, "tasks": {"mic": {"tau": 0.2}, "uu": False}, "perturb": {"sides": "none"}}
    tuned = mg.tune(graph, "mic_dnn+mic", parts.valid, None, 1, tmp_path, config, progress=False)
    assert tuned.config["tasks"] == {"matching": {}, "ui": {"tau": 0.2}, "ii": {"tau": 0.2}}
    assert resolve(None, tmp_path / "best.yaml", graph.n_items) == tuned.run().config
    assert tuned.run().name == "mic_dnn+ui+ii"


def test_without_optuna_one_trial_runs_and_more_name_the_extra(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert len(tune(data, tmp_path / "one", 1).trials) == 1
    with pytest.raises(MissingExtraError, match=r"micgraph\[tune\]"):
        tune(data, tmp_path / "two", 2)


def test_the_command(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph, parts = data
    graph.save("graph")
    parts.valid.save("graph-valid")
    with open("my.yaml", "w") as file:
        yaml.safe_dump({**SMALL, "search": SPACE}, file)
    command = ["tune", "graph", "--model", "mic_dnn", "--config", "my.yaml", "--trials", "2", "--out", "t"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("trial 0: 0.") and lines[1].startswith("trial 1: 0.")
    assert lines[-1] == "best settings: t/best.yaml"
    assert kept(tune(data, tmp_path / "t", 2)) == kept(tune(data, tmp_path / "again", 2))
