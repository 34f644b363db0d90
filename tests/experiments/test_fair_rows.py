"""Rows of a table are comparable: same data and budget, nothing cancelled, nothing judged on what it was fitted on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import micgraph as mg
from micgraph import presets
from micgraph.evaluation import evaluate_ranker
from micgraph.experiments import (
    FUSED,
    U2I,
    Plan,
    Report,
    Row,
    after_a_cut,
    bench,
    fill,
    fusing,
    held_out_users,
    record,
)
from micgraph.experiments.fusing import choose_fusion, halves
from micgraph.experiments.record import Record, place
from micgraph.pipeline import BASELINES, fit_baseline
from micgraph.retrieval.rankers import FusedRanker
from micgraph.schema import ConfigError

SMALL = {"model": {"dim": 8, "history": 6}, "training": {"epochs": 1}, "sampling": {"batch_size": 256}}
POPULARITY = Row("popularity", baseline="popularity")
BASE = Row("base", "mic_dnn")


@pytest.fixture
def log(tiny_log):
    return mg.read_log(tiny_log.clicks, items=tiny_log.items)


@pytest.fixture
def users(log):
    return held_out_users(log, "toy", (5, 10))


@pytest.fixture
def later(log):
    return after_a_cut(log, "toy", "2024-03-12", "2d", "2024-03-10", (5, 10))


def plan(tmp_path, **more):
    return Plan(tmp_path, **{"overrides": SMALL, **more})


def report(tmp_path, rows):
    return Report.of(tmp_path, rows, "toy", ("recall@5",), "recall@10")


def moved(tmp_path, row, given, **more):
    """A row's results of another plan or bench, laid beside those that are there."""
    fill([row], given, plan(tmp_path / "other", **more))
    (tmp_path / "other" / "results" / row.slug).rename(tmp_path / "results" / row.slug)


@pytest.mark.parametrize(
    ("more", "split_seed", "differ"),
    [
        ({"trials": 2}, 1230, "trials"),
        ({"epochs": 2}, 1230, "epochs"),
        ({"overrides": {**SMALL, "model": {"dim": 4}}}, 1230, "overrides"),
        ({}, 7, "graph, test, test_data, validation, develop"),
    ],
)
def test_rows_of_another_budget_or_data_are_not_compared(users, log, tmp_path, more, split_seed, differ):
    other = replace(BASE, name="other", base="base")
    fill([POPULARITY, BASE], users, plan(tmp_path))
    moved(tmp_path, other, held_out_users(log, "toy", (5, 10), split_seed), **more)
    first = "popularity" if split_seed != 1230 else "base"
    with pytest.raises(ConfigError, match=f"rows of the same data.*{first} and other, whose {differ} differ"):
        report(tmp_path, [POPULARITY, BASE, other])
    with pytest.raises(ConfigError, match=f"these settings and other, whose {differ} differ"):
        fill([BASE], users, plan(tmp_path))
    assert [line.name for line in report(tmp_path, [POPULARITY, BASE]).lines] == ["popularity", "base"]


def test_seeds_of_one_row_have_the_same_setup(users, tmp_path):
    fill([BASE], users, plan(tmp_path))
    one = Record.load(place(tmp_path, "base", 0))
    replace(one, seed=1, setup={**one.setup, "resolved": {}}).save(place(tmp_path, "base", 1))
    with pytest.raises(ConfigError, match="base and base, seed 1, whose resolved differ"):
        report(tmp_path, [BASE])


def test_the_test_users_are_part_of_what_results_agree_in(users):
    first, _ = halves(users.test)
    assert set(users.describe()) == set(record.SHARED)
    fewer = replace(users, test=first).describe()
    assert {name for name, value in users.describe().items() if fewer[name] != value} == {"test_data"}
    histories = users.test.histories._replace(items=users.test.histories.items.flip(0))
    assert bench.fingerprint(replace(users.test, histories=histories)) != bench.fingerprint(users.test)
    assert bench.fingerprint(replace(users.test)) == bench.fingerprint(users.test)


def test_a_changed_preset_is_noticed(later, tmp_path, monkeypatch):
    fill([BASE], later, plan(tmp_path))
    changed = {**presets.ENCODER_PRESETS["mic_dnn"], "sampling": {"batch_size": 256, "anchors_per_query": 3}}
    monkeypatch.setitem(presets.ENCODER_PRESETS, "mic_dnn", changed)
    with pytest.raises(ConfigError, match="resolved differ"):
        fill([BASE], later, plan(tmp_path))
    place(tmp_path, "base", 0).unlink()
    with pytest.raises(ConfigError, match=r"frozen with, got .*base\.json, whose resolved differ"):
        fill([BASE], later, plan(tmp_path))


def test_settings_frozen_on_other_validation_users_are_not_taken(later, tmp_path):
    fill([BASE], later, plan(tmp_path))
    place(tmp_path, "base", 0).unlink()
    graph, valid = later.develop
    with pytest.raises(ConfigError, match=r"base\.json, whose validation differ"):
        fill([BASE], replace(later, develop=(graph, halves(valid)[0])), plan(tmp_path))


def test_lists_that_may_repeat_the_history_are_judged_beside(users, tmp_path):
    fill([POPULARITY, replace(BASE, views=(U2I, FUSED))], users, plan(tmp_path))
    values = Record.load(place(tmp_path, "popularity", 0)).lines["popularity"].values
    ranker = fit_baseline("popularity", users.graph)
    for name, filter_seen in (("recall@10", True), ("recall@10, seen too", False)):
        assert values[name] == evaluate_ranker(ranker, users.test, (5, 10), filter_seen)["recall@10"]
    assert values["recall@10"] != values["recall@10, seen too"]
    for line in Record.load(place(tmp_path, "base", 0)).lines.values():
        assert {f"{name}, seen too" for name in line.values if "," not in name} < set(line.values)
    columns = ("recall@10", "recall@10, seen too")
    table = Report.of(tmp_path, [POPULARITY], "toy", columns, "recall@10", {"popularity": {columns[1]: 0.25}})
    head, _, row = (line.split(" | ") for line in table.markdown().splitlines() if line.startswith("|"))
    assert head[1:4] == ["recall@10", "recall@10, seen too", "recall@10, seen too (paper)"]
    assert row[1:4] == [f"{values[name]:.4f}" for name in columns] + ["0.2500"]


def test_an_override_does_not_cancel_what_makes_a_row(users, tmp_path):
    row = Row("- perturbation", "mic_dnn+ui", fixed={"perturb": {"sides": "none"}})
    for overrides in ({"perturb": {"sides": "both"}}, {"perturb": {"sides": "none"}}):
        with pytest.raises(ConfigError, match=r"perturb\.sides as the row '- perturbation' sets it"):
            fill([row], users, Plan(tmp_path, overrides=overrides))
    with pytest.raises(ConfigError, match="as the row"):
        fill([replace(row, search={"perturb.sides": {"values": ["both"]}})], users, plan(tmp_path))
    fill([row], users, plan(tmp_path, overrides={**SMALL, "perturb": {"dropout": 0.1}}))
    resolved = Record.load(place(tmp_path, row.slug, 0)).setup["resolved"]
    assert resolved["perturb"]["sides"] == "none" and resolved["perturb"]["dropout"] == 0.1


def test_no_cosine_where_the_number_of_epochs_is_frozen(later, users, tmp_path):
    falling = replace(BASE, config={"training": {"schedule": "cosine"}})
    searching = replace(BASE, search={"training.schedule": {"values": ["constant", "cosine"]}})
    for row in (falling, searching):
        with pytest.raises(ConfigError, match=r"training\.schedule: expected constant where the number of epochs"):
            fill([row], later, plan(tmp_path))
    fill([falling], users, plan(tmp_path))
    assert Record.load(place(tmp_path, "base", 0)).epochs == 1


@pytest.mark.parametrize("name", ["itemknn", "ease"])
def test_reference_rows_are_tuned_on_validation_where_the_others_are(later, tmp_path, name):
    setting, values = {"itemknn": ("k", [1, 5, 40]), "ease": ("l2", [0.1, 10.0, 1000.0])}[name]
    row, told = Row(name, baseline=name, search={setting: {"values": values}}), []
    later, (graph, valid) = replace(later, monitor="recall@5"), later.develop
    scores = {v: evaluate_ranker(BASELINES[name](v).fit(graph), valid, (5,))["recall@5"] for v in values}
    fill([row], later, plan(tmp_path / "five", trials=2), told.append)
    frozen = json.loads((tmp_path / "five" / "frozen" / f"{name}.json").read_text())
    best = max(values, key=lambda value: scores[value])
    assert frozen["settings"] == {setting: best} and frozen["score"] == scores[best]
    assert len(set(scores.values())) > 1, "the choice is one"
    found = Record.load(place(tmp_path / "five", name, 0)).lines[name].values["recall@5"]
    assert found == evaluate_ranker(BASELINES[name](best).fit(later.graph), later.test, (5,))["recall@5"]
    assert told[0].startswith(f"{name}: frozen {{'{setting}': {best}}}, recall@5 ")
    fill([row], later, plan(tmp_path / "untuned"))
    assert not (tmp_path / "untuned" / "frozen").exists()


def test_a_learned_fusion_is_judged_on_users_that_it_was_not_fitted_on(users):
    run = mg.train(users.graph, "mic_dnn", users.valid, SMALL, progress=False)
    one, other = halves(users.valid)
    ids = [set(part.user_ids.to_pylist()) for part in (one, other)]
    assert not ids[0] & ids[1] and ids[0] | ids[1] == set(users.valid.user_ids.to_pylist())
    learned = {"fusion": "learned", "lambda_div": 0.0}
    scores = []
    for fitted, judged in ((one, other), (other, one)):
        recommender = mg.Recommender(run, {**learned, "fusion": "mic"})
        recommender.fit_fusion(fitted)
        scores.append(evaluate_ranker(FusedRanker(recommender), judged, (50,))["recall@50"] * len(judged))
    row = replace(BASE, views=(FUSED,), fusions=({"lambda_div": 50.0}, learned))
    assert fusing._score(run, learned, users.valid, users) == pytest.approx(sum(scores) / len(users.valid))
    fixed = mg.Recommender(run, row.fusions[0])
    plain = evaluate_ranker(FusedRanker(fixed), users.valid, (50,))["recall@50"]
    better = row.fusions[sum(scores) / len(users.valid) > plain]
    assert choose_fusion(row, run, users.valid, users) == better
    assert choose_fusion(replace(row, fusions=(learned, learned)), run, users.valid, users) == learned
    assert run.learned == mg.Recommender(run, {**learned, "fusion": "mic"}).fit_fusion(users.valid)


def test_halves_keep_each_users_history_and_clicks(users):
    data = users.valid
    rows = {}
    for part in (data, *halves(data)):
        for at, user in enumerate(part.user_ids.to_pylist()):
            events = [r.items[r.indptr[at] : r.indptr[at + 1]].tolist() for r in (part.histories, part.clicks)]
            new = part.new[part.clicks.indptr[at] : part.clicks.indptr[at + 1]].tolist()
            rows.setdefault(user, []).append((events, new, int(part.users[at])))
    assert len(rows) == len(data) and all(len(found) == 2 and found[0] == found[1] for found in rows.values())
    assert torch.equal(halves(data)[0].users, halves(data)[0].users)
