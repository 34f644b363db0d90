"""Gains by popularity of the clicked items: against loops over users, and what a table and its figure show of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

import micgraph as mg
from micgraph.evaluation import DECILES
from micgraph.experiments import Plan, Report, Row, figures, fill, held_out_users
from micgraph.experiments.deciles import cells, gains
from micgraph.experiments.record import Line, Record, place
from micgraph.significance import paired_bootstrap

USERS = 12


def line_of(rng, weights):
    per_user = {f"{name}@5": rng.random(USERS).astype(np.float32) * (weights[name] > 0) for name in DECILES}
    return Line({}, per_user, weights)


@pytest.fixture
def groups():
    """Two lines of two seeds; nobody clicked an item of decile 1, one user of decile 2, and decile 10 gains."""
    rng = np.random.default_rng(0)
    weights = {name: rng.integers(0, 3, USERS).astype(np.float32) for name in DECILES}
    weights[DECILES[0]][:] = 0
    weights[DECILES[1]][:] = [3, *[0] * (USERS - 1)]
    found = {name: [line_of(rng, weights) for _ in range(2)] for name in ("base", "mine")}
    for line in found["mine"]:
        line.per_user[f"{DECILES[9]}@5"] += 1
    return found


def test_gains_are_those_of_a_loop_over_users(groups):
    (one,) = gains(groups, [("mine", "base")], 5)
    assert (one.line, one.base, one.metric) == ("mine", "base", "hit@5")
    for at, name in enumerate(DECILES):
        weight = groups["base"][0].weights[name]
        assert one.clicks[at] == sum(weight)
        if at == 0:
            assert one.reached[at] is one.difference[at] is one.low[at] is one.high[at] is None
            continue
        reached = {}
        for side, lines in groups.items():
            seeds = [sum(w * v for w, v in zip(weight, line.per_user[f"{name}@5"], strict=True)) for line in lines]
            reached[side] = sum(seeds) / len(seeds) / sum(weight)
        assert one.reached[at] == pytest.approx(reached["base"], rel=1e-5)
        assert one.difference[at] == pytest.approx(reached["mine"] - reached["base"], rel=1e-4, abs=1e-6)
    assert one.low[1] is None and one.high[1] is None
    clicked = groups["base"][0].weights[DECILES[4]] > 0
    mine, base = (np.mean([x.per_user[f"{DECILES[4]}@5"] for x in groups[side]], axis=0) for side in ("mine", "base"))
    users = paired_bootstrap(mine[clicked], base[clicked], groups["base"][0].weights[DECILES[4]][clicked], 1000)
    assert (one.low[4], one.high[4]) == (users.low, users.high)
    head, clicks, row = cells([one])
    assert head[1:] == [str(n) for n in range(1, 11)] and clicks[:3] == ["test clicks", "0", "3"]
    assert row[:2] == ["mine against base", "-"] and row[10] == f"{one.difference[9]:+.4f} *"
    assert row[2] == f"{one.difference[1]:+.4f}"  # no star without an interval


def test_results_without_figures_by_decile_are_left_out(groups):
    old = Line({}, {"recall@5": np.zeros(USERS, np.float32)}, {})
    groups["old"] = [old, groups["base"][0]]
    assert [one.base for one in gains(groups, [("mine", "old"), ("mine", "base")], 5)] == ["base"]
    assert not gains(groups, [("mine", "base")], 6)


def test_a_table_has_the_gains_of_its_comparisons(tiny_log, tmp_path):
    bench = held_out_users(mg.read_log(tiny_log.clicks, items=tiny_log.items), "toy", (5, 10))
    rows = [Row("popularity", baseline="popularity"), Row("ease", baseline="ease", base="popularity")]
    fill(rows, bench, Plan(tmp_path))
    table = Report.of(tmp_path, rows, "toy", ("recall@5",), "recall@10")
    (gain,) = table.gains
    known = int((bench.test.clicks.items < bench.test.n_items).sum())
    assert gain.metric == "hit@10" and sum(gain.clicks) == known
    lines = [Record.load(place(tmp_path, row.slug, 0)).lines[row.name] for row in rows]
    total = sum(n * d for n, d in zip(gain.clicks, gain.difference, strict=True) if d is not None)
    whole = [line.values["hit_known@10"] for line in lines]
    assert total / known == pytest.approx(whole[1] - whole[0], abs=1e-6)
    assert "| ease against popularity | " in table.markdown() and "rarest items first" in table.markdown()
    table.write(tmp_path, "table")
    assert json.loads((tmp_path / "table.json").read_text())["gains"][0]["clicks"] == list(gain.clicks)
    pytest.importorskip("matplotlib", reason="the figure needs matplotlib (the extra report)")
    assert figures.by_popularity(table, tmp_path / "gains.png").stat().st_size > 5_000
