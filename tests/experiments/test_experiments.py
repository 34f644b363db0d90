"""Tables over rows and seeds on a toy log: what is stored, what is compared, and that nothing is done twice."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import micgraph as mg
from micgraph.evaluation import evaluate_ranker
from micgraph.experiments import (
    FUSED,
    U2I,
    Plan,
    Report,
    Row,
    View,
    after_a_cut,
    bench,
    chosen,
    fill,
    held_out_users,
    runner,
    spaces,
)
from micgraph.experiments.fusing import choose_fusion
from micgraph.experiments.record import Record, place
from micgraph.experiments.row import FUSED_AGAINST_BOTH, comparisons
from micgraph.pipeline import fit_baseline
from micgraph.retrieval import autoencoder
from micgraph.retrieval.rankers import FusedRanker
from micgraph.schema import ConfigError
from micgraph.significance import paired_bootstrap, welch

SMALL = {"model": {"dim": 8, "history": 6}, "training": {"epochs": 2}, "sampling": {"batch_size": 256}}
ROWS = [
    Row("popularity", baseline="popularity"),
    Row("base", "mic_dnn", views=(U2I, FUSED), fusions=({}, {"basic": "score"})),
    Row("base + UI", "mic_dnn+ui", base="base", views=(U2I, FUSED), fusions=({"fusion": "learned"},) * 2),
]


@pytest.fixture
def users(tiny_log):
    return held_out_users(mg.read_log(tiny_log.clicks, items=tiny_log.items), "toy", (5, 10))


@pytest.fixture
def later(tiny_log):
    log = mg.read_log(tiny_log.clicks, items=tiny_log.items)
    return after_a_cut(log, "toy", "2024-03-12", "2d", "2024-03-10", (5, 10), monitor="recall@20")


def plan(tmp_path, **more):
    return Plan(tmp_path, **{"overrides": SMALL, **more})


def report(tmp_path, rows=ROWS, **more):
    return Report.of(tmp_path, rows, "toy", ("recall@5", "hit@10"), "recall@10", **more)


def test_a_table_has_every_row_seed_and_view(users, tmp_path):
    told = []
    assert fill(ROWS, users, plan(tmp_path, seeds=2), told.append) == {}
    table = report(tmp_path, printed={"base": {"recall@5": 0.5}})
    assert [line.name for line in table.lines] == ["popularity", "base", "base, fused", "base + UI", "base + UI, fused"]
    assert [line.seeds for line in table.lines] == [1, 2, 2, 2, 2] and len(told) == 9
    want = evaluate_ranker(fit_baseline("popularity", users.graph), users.test, (5, 10))
    assert table.lines[0].values["recall@10"] == [want["recall@10"]]
    assert [(one.line, one.base) for one in table.comparisons] == [
        ("base + UI", "base"),
        ("base + UI, fused", "base, fused"),
    ]
    text = table.markdown()
    assert "| 0.5000 |" in text and "recall@5 (paper)" in text and "±" in text
    path = table.write(tmp_path, "table")
    assert path.read_text() == text
    assert json.loads((tmp_path / "table.json").read_text())["lines"][0]["name"] == "popularity"


def test_what_is_there_is_not_trained_again_and_the_rest_goes_on(users, tmp_path, monkeypatch):
    train, names = runner.train, []

    def counting(graph, model, *more, **named):
        names.append(model)
        if len(names) == 2:
            raise KeyboardInterrupt
        return train(graph, model, *more, **named)

    monkeypatch.setattr(runner, "train", counting)
    with pytest.raises(KeyboardInterrupt):
        fill(ROWS, users, plan(tmp_path))
    assert report(tmp_path).missing == {"base + UI": "not run yet"}
    fill(ROWS[2:], users, plan(tmp_path))  # as another process would
    fill(ROWS, users, plan(tmp_path))
    assert names == ["mic_dnn", "mic_dnn+ui", "mic_dnn+ui"] and not report(tmp_path).missing
    fill(ROWS, users, plan(tmp_path, seeds=2))
    assert names[3:] == ["mic_dnn", "mic_dnn+ui"]
    assert not list((tmp_path / "runs").iterdir()), "trained runs are not kept unless asked for"


def test_results_of_other_settings_are_not_taken(users, tmp_path):
    fill(ROWS[:2], users, plan(tmp_path))
    with pytest.raises(ConfigError, match="epochs differ"):
        fill(ROWS[:2], users, plan(tmp_path, epochs=1))
    with pytest.raises(ConfigError, match="fusions differ"):
        fill([replace(ROWS[1], fusions=({},))], users, plan(tmp_path))
    with pytest.raises(ConfigError, match="measure differ"):
        fill(ROWS[1:2], users, plan(tmp_path), measure=spaces)
    with pytest.raises(ConfigError, match="ks differ"):
        fill(ROWS[:1], replace(users, ks=(5,)), plan(tmp_path))


def test_comparisons_are_the_tests_on_the_stored_numbers(users, tmp_path):
    fill(ROWS, users, plan(tmp_path, seeds=2))
    found = [[Record.load(place(tmp_path, row.slug, seed)) for seed in (0, 1)] for row in ROWS[1:]]
    base, mine = ([record.lines[row.name] for record in records] for row, records in zip(ROWS[1:], found, strict=True))
    one = report(tmp_path).comparisons[0]
    users_mean = [np.mean([line.per_user["recall@10"] for line in lines], axis=0) for lines in (mine, base)]
    assert one.difference == pytest.approx(np.mean(users_mean[0]) - np.mean(users_mean[1]), abs=1e-6)
    assert one.p == paired_bootstrap(*users_mean).p
    assert one.p_welch == welch(*([line.values["recall@10"] for line in lines] for lines in (mine, base))).p
    other = report(tmp_path).comparisons[1]
    low, high = sorted([one.p, other.p])
    assert sorted([one.p_holm, other.p_holm]) == pytest.approx([min(2 * low, 1), min(max(2 * low, high), 1)])


def test_a_record_comes_back_as_it_was(users, tmp_path):
    fill(ROWS[:2], users, plan(tmp_path), measure=spaces)
    path = place(tmp_path, "base", 0)
    one = Record.load(path)
    one.save(tmp_path / "again.json")
    again = Record.load(tmp_path / "again.json")
    assert again.lines["base"].values == one.lines["base"].values and again.extra == one.extra
    for name, column in one.lines["base, fused"].per_user.items():
        np.testing.assert_array_equal(again.lines["base, fused"].per_user[name], column)
    line = one.lines["base"]
    value, weight = line.per_user["hit@10"], line.weights["hit"]
    assert float((value * weight).sum() / weight.sum()) == pytest.approx(line.values["hit@10"], rel=1e-5)
    assert one.parameters > 0 and one.epochs == 2 and set(one.extra) == {"ui_align", "uu_uniform", "ii_uniform"}


def test_alignment_is_of_directions_not_of_biases(users):
    """A bias that is added to every item's scores moves no vector."""
    run = mg.train(users.graph, "mic_dnn", config={"model": {"item_bias": True}, "training": {"epochs": 1}})
    before = spaces(run, users)
    with torch.no_grad():
        for weight in run.model.towers.item_bias.parameters():
            weight.add_(7.0)
    run.model.refresh()
    assert spaces(run, users) == pytest.approx(before)


def test_after_a_cut_nothing_of_the_test_is_seen_while_settings_are_chosen(later, tiny_log):
    graph, valid = later.develop
    clicks = tiny_log.clicks.drop_duplicates(["user_id", "item_id", "timestamp"])
    day = clicks.timestamp.dt.strftime("%Y-%m-%d")
    assert graph.relations["clicks"].n_edges == (day < "2024-03-10").sum()
    assert later.graph.relations["clicks"].n_edges == (day < "2024-03-12").sum()
    assert len(valid.clicks.items) == ((day >= "2024-03-10") & (day < "2024-03-12")).sum()
    assert len(later.test.clicks.items) == ((day >= "2024-03-12") & (day < "2024-03-14")).sum()
    assert later.valid is None


def test_kept_graphs_are_read_again_and_those_of_other_users_built(tiny_log, tmp_path, monkeypatch):
    log = mg.read_log(tiny_log.clicks)
    first = held_out_users(log, "toy", graphs=tmp_path)
    built, build = [], bench.build
    monkeypatch.setattr(bench, "build", lambda *given: built.append(1) or build(*given))
    assert held_out_users(log, "toy", graphs=tmp_path).describe() == first.describe() and not built
    assert held_out_users(log, "toy", users=0.5, graphs=tmp_path).graph.n_users < first.graph.n_users
    assert held_out_users(log, "toy", split_seed=1, graphs=tmp_path).describe() != first.describe()
    assert len(built) == 2


@pytest.mark.parametrize("part", ["items", "users", "sessions", "format"])
def test_a_kept_graph_is_not_that_of_other_features_or_sessions(tiny_log, tmp_path, monkeypatch, part):
    clicks, items, users = tiny_log.clicks.assign(session_id=1), tiny_log.items, tiny_log.users

    def kept():
        return held_out_users(mg.read_log(clicks, items=items, users=users), "toy", graphs=tmp_path).graph.fingerprint()

    first, built, build = kept(), [], bench.build
    monkeypatch.setattr(bench, "build", lambda *given: built.append(1) or build(*given))
    clicks, items, users = (frame.sample(frac=1, random_state=0) for frame in (clicks, items, users))
    assert kept() == first and not built, "the order of rows changes nothing"
    if part == "items":
        items = items.assign(category=items.category.iloc[0])
    elif part == "users":
        users = users.assign(**{users.columns[-1]: users[users.columns[-1]].iloc[0]})
    elif part == "sessions":
        clicks = clicks.assign(session_id=clicks.index % 3)
    else:
        monkeypatch.setattr(bench, "GRAPHS", "of another version")
    other = kept()
    assert len(built) == 1 and (other == first) == (part == "format")


def test_epochs_settings_and_fusion_are_frozen_before_the_cut_and_used_after_it(later, tmp_path):
    pytest.importorskip("optuna", reason="the extra tune is not installed")
    search = {"model.dropout": {"values": [0.0, 0.3]}}
    row = replace(ROWS[2], search=search, fusions=({}, {"fusion": "learned"}), base=None)
    fill([row], later, plan(tmp_path, trials=2, keep_runs=True, seeds=1))
    frozen = json.loads((tmp_path / "frozen" / "base-+-ui.json").read_text())
    run = mg.load_run(tmp_path / "runs" / "base-+-ui-seed0")
    trials = [json.loads(path.read_text()) for path in sorted((tmp_path / "tuning" / "base-+-ui" / "trials").iterdir())]
    best = max(trials, key=lambda trial: trial["score"])
    assert len(trials) == 2 and frozen["score"] == best["score"]
    assert len(run.metrics) == frozen["epochs"] == best["epoch"]
    assert run.config.model.dropout == best["settings"]["model.dropout"] and run.config.training.seed == 0
    assert not any("valid" in name for row in run.metrics for name in row)
    assert frozen["fusion"] in ({}, {"fusion": "learned"})
    assert (frozen["learned"] is None) == (frozen["fusion"] == {})
    place(tmp_path, row.slug, 0).unlink()
    with pytest.raises(ConfigError, match="the data and settings that the row was frozen with"):
        fill(
            [replace(row, search={**search, "training.lr": {"values": [0.1]}})],
            later,
            plan(tmp_path, trials=2),
        )


def test_rows_that_cannot_be_had_say_why(users, tmp_path, monkeypatch):
    monkeypatch.setattr(autoencoder, "MAX_SIDE", 3)
    rows = [Row("no titles", "ican+sem", missing="there are no titles"), Row("ease", baseline="ease")]
    missing = fill(rows, users, plan(tmp_path))
    assert missing["no titles"] == "there are no titles" and "at most 3 items or users" in missing["ease"]
    assert "- no titles: there are no titles" in report(tmp_path, rows, missing=missing).markdown()


def test_some_users_are_nested_and_the_share_that_was_asked_for(tiny_log):
    log = mg.read_log(tiny_log.clicks)
    few, more = (bench.some_users(log, share, 5) for share in (0.1, 0.4))
    ids = [set(part.sql("SELECT DISTINCT user_id FROM {events}").column(0).to_pylist()) for part in (few, more)]
    assert [len(one) for one in ids] == [6, 24] and ids[0] < ids[1]
    assert bench.some_users(log, 1, 5) is log
    whole = tiny_log.clicks.drop_duplicates()
    assert len(few) == whole.user_id.isin(ids[0]).sum()
    with pytest.raises(ConfigError, match="a share above 0"):
        bench.some_users(log, 0.0, 5)
    reduced = held_out_users(log, "toy", users=0.5)
    full = held_out_users(log, "toy")
    assert reduced.graph.n_users == round(full.graph.n_users / 2) and len(reduced.test) == len(full.test)


def test_rows_are_chosen_by_name_or_file_name():
    assert [row.name for row in chosen(ROWS, "base + UI,popularity")] == ["popularity", "base + UI"]
    assert chosen(ROWS, "base-+-ui") == ROWS[2:] and chosen(ROWS, None) == ROWS
    with pytest.raises(ConfigError, match="'bas'"):
        chosen(ROWS, "bas")


def test_lines_are_compared_with_the_same_view_of_the_base_or_with_the_base():
    rows = [
        Row("a", "mic_dnn", views=(U2I, FUSED)),
        Row("b", "mic_dnn", base="a", views=(U2I, FUSED, View(", 6h", recent="6h"))),
        Row("c", "mic_dnn", views=(View("", FUSED.channels), View(", no U2U", ("u2i",), base="c"))),
        Row("d", "mic_dnn", base="elsewhere"),
    ]
    assert comparisons(rows) == [("b", "a"), ("b, fused", "a, fused"), ("b, 6h", "a"), ("c, no U2U", "c")]
    chain = replace(rows[1], name="e", base=("a", "b"), views=(U2I, FUSED))
    assert comparisons([*rows, chain])[4:] == [
        ("e", "a"),
        ("e", "b"),
        ("e, fused", "a, fused"),
        ("e, fused", "b, fused"),
    ]
    whole = Row("e", "e", base="b", views=(U2I, FUSED_AGAINST_BOTH))
    assert comparisons([*rows, whole])[4:] == [("e", "b"), ("e, fused", "b"), ("e, fused", "b, fused")]
    alone = Row("f", "f", base="c", views=(FUSED_AGAINST_BOTH,))
    assert comparisons([*rows, alone])[4:] == [("f, fused", "c")]


def test_recent_items_only(later, tmp_path):
    recent = View(", last day", recent="1d")
    fill([Row("m", "mic_dnn", views=(U2I, recent))], later, plan(tmp_path))
    lines = Record.load(place(tmp_path, "m", 0)).lines
    fresh = later.graph.popularity(since=later.graph.last_time - 86_400)
    assert lines["m, last day"].values["coverage@10"] <= float((fresh > 0).float().mean())


def test_the_fusion_that_validation_prefers_is_taken(users):
    row = replace(ROWS[1], fusions=({"lambda_div": 50.0}, {"basic": "score", "lambda_div": 0.0}))
    run = mg.train(users.graph, "mic_dnn", users.valid, SMALL, progress=False)
    by_hand = {}
    for at, option in enumerate(row.fusions):
        ranker = FusedRanker(mg.Recommender(run, option))
        by_hand[at] = evaluate_ranker(ranker, users.valid, (50,))["recall@50"]
    best = max(by_hand, key=lambda at: by_hand[at])
    assert choose_fusion(row, run, users.valid, users) == dict(row.fusions[best])
