"""Each channel alone beside all of them fused: what is chosen where, and when the fused lists are called better."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import micgraph as mg
from micgraph.evaluation import evaluate_ranker
from micgraph.experiments import Bench, Plan, Report, Row, after_a_cut, channel_views, fill, fusing, runner
from micgraph.experiments.record import Record, place
from micgraph.retrieval.rankers import FusedRanker, U2IRanker
from micgraph.schema import ConfigError
from tests.test_channel_table import ITEMS, USERS, holdout, planted

SMALL = {"model": {"dim": 8, "history": 6}, "training": {"epochs": 1}, "sampling": {"batch_size": 256}}
VIEWS = channel_views(("near",), 2)
LINES = ["m, U2I", "m, U2U", "m, I2I", "m, fused"]


@pytest.fixture
def judged(monkeypatch, tmp_path):
    """The report on a planted model, whose users go on to click what a test says, in lists of some length."""

    def report(clicks: list[list[int]], k: int) -> Report:
        rec, rows = planted()
        run = rec_run(rec)
        data = holdout(rec.graph, rows, clicks)
        first = torch.arange(USERS) < USERS // 2
        valid, test = fusing._some(data, first), fusing._some(data, ~first)
        bench = Bench("toy", rec.graph, valid, test, (rec.graph, valid), (k,), monitor=f"hit@{k}")
        monkeypatch.setattr(runner, "train", lambda *given, **named: run)
        row = Row("m", "mic_dnn", base="m", views=VIEWS)
        fill([row], bench, Plan(tmp_path, keep_runs=True))
        return Report.of(tmp_path, [row], "toy", (f"hit@{k}",), f"hit@{k}")

    return report


def rec_run(rec):
    class Trained:
        graph, model, fusion, learned = rec.graph, rec.retriever.model, rec.retriever.config, None
        metrics, towers = (), torch.nn.Linear(1, 1)

    return Trained()


def test_fused_lists_are_better_where_each_channel_finds_another_half(judged):
    """Even users go on to what U2I finds, odd ones to the neighbour of their first click; U2U finds neither."""
    report = judged([[20 + u] if u % 2 == 0 else [u // 2 * 2 + 1] for u in range(USERS)], 3)
    hit = {line.name: line.values["hit@3"][0] for line in report.lines}
    assert hit == dict(zip(LINES, [0.5, 0.0, 0.5, 1.0], strict=True))
    assert [(one.line, one.base) for one in report.comparisons] == [("m, fused", name) for name in LINES[:3]]
    for one in report.comparisons:
        assert one.difference == pytest.approx(1 - hit[one.base]) and one.low > 0
        assert one.p <= one.p_holm < 0.05 and one.p_welch is None, "one seed"


def test_fused_lists_are_not_better_where_every_list_holds_everything(judged):
    report = judged([[39 - u % 3] for u in range(USERS)], ITEMS)
    assert {line.values[f"hit@{ITEMS}"][0] for line in report.lines} == {1.0}, "popular items fill up every channel"
    assert [(one.difference, one.p, one.p_holm) for one in report.comparisons] == [(0.0, 1.0, 1.0)] * 3


def test_each_view_keeps_what_validation_chose_for_it_before_the_cut(tiny_log, tmp_path):
    log = mg.read_log(tiny_log.clicks, items=tiny_log.items)
    bench = after_a_cut(log, "toy", "2024-03-12", "2d", "2024-03-10", (5, 20), monitor="hit@20")
    bench = replace(bench, fusion_users=30)
    views = tuple(view if view.fusions is None else replace(view, fusions=view.fusions[-3:]) for view in VIEWS)
    row = Row("m", "mic_dnn", base="m", views=views)
    plan = Plan(tmp_path, overrides=SMALL, keep_runs=True)
    fill([row], bench, plan)
    frozen = json.loads((tmp_path / "frozen" / "m.json").read_text())
    assert set(frozen["views"]) == {", U2U", ", I2I", ", fused"} and frozen["fusion"] == {}
    run = mg.load_run(tmp_path / "runs" / "m-seed0")
    lines = Record.load(place(tmp_path, "m", 0)).lines
    for view in views[1:]:
        chosen = frozen["views"][view.label]
        assert [settings for settings, _ in chosen["tried"]] == view.options
        assert [score for settings, score in chosen["tried"] if settings == chosen["settings"]] == [
            max(score for _, score in chosen["tried"])
        ]
        again = evaluate_ranker(FusedRanker(fusing.Fusing(**chosen).recommender(run)), bench.test, (5, 20))
        assert lines[f"m{view.label}"].values["hit@20"] == again["hit@20"], view.label
    assert lines["m, U2I"].values == evaluate_ranker(U2IRanker(run.model, run.graph), bench.test, (5, 20)).values
    place(tmp_path, "m", 0).unlink()
    with pytest.raises(ConfigError, match="fusion_users"):
        fill([row], replace(bench, fusion_users=20), plan)
    with pytest.raises(ConfigError, match="own_fusions"):
        fill([replace(row, views=VIEWS)], bench, plan)


def test_neighbours_that_a_graph_does_not_have_are_not_tried(tiny_log):
    log = mg.read_log(tiny_log.clicks)
    bench = after_a_cut(log, "toy", "2024-03-12", "2d", "2024-03-10", (5,), monitor="hit@20")
    graph, valid = bench.develop
    run = mg.train(graph, "mic_dnn", config=SMALL, progress=False)
    options = [{"neighbors": "similar", "lambda_div": 0.0}, {"neighbors": "near", "lambda_div": 0.0}]
    assert fusing.choose_own(options, run, valid, bench) == fusing.Fusing(options[1])
    with pytest.raises(ConfigError, match="fusions"):
        fusing.choose_own(options[:1], run, valid, bench)
