"""Items that nobody has clicked: from a log with their rows to similar items, recommendations and an evaluation."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
import torch

import micgraph as mg
from micgraph.evaluation.data import prepare
from micgraph.schema import InputError
from tests.conftest import GENRES, TinyLog

NEW = [f"new {genre}" for genre in GENRES]
CONFIG = {"model": {"dim": 16}, "training": {"epochs": 8, "lr": 0.005}, "sampling": {"batch_size": 64}}


def with_new_items(tiny: TinyLog) -> pd.DataFrame:
    """One item of each genre more, of no season; nobody clicks them."""
    new = tiny.items.iloc[: len(GENRES)].assign(item_id=NEW, provider="studio0", year=2005.0)
    new["title"], new["tags"] = [f"a {genre}" for genre in GENRES], [[genre] for genre in GENRES]
    return pd.concat([tiny.items, new], ignore_index=True)


def split_of(tiny: TinyLog) -> mg.Split:
    return mg.split(mg.read_log(tiny.clicks, items=with_new_items(tiny), users=tiny.users), "leave_last_out")


def test_rows_without_clicks_are_nodes_without_an_id_of_their_own(tiny_log: TinyLog, tmp_path: Path) -> None:
    train = split_of(tiny_log).train
    plain, graph = mg.build(train), mg.build(train, {"keep_unclicked": True}, out=tmp_path / "graph")
    assert "item row: its id has no event" in plain.refused and "item row: its id has no event" not in graph.refused
    for made in (graph, mg.RecGraph.load(tmp_path / "graph")):
        made.validate()
        ids = made.items.values.to_pylist()
        assert ids == sorted([*plain.items.values.to_pylist(), *NEW])
        old = torch.tensor([name not in NEW for name in ids])
        code = made.item_fields["item_id"]
        assert code.size == plain.n_items + 1
        assert code.values[old].tolist() == plain.item_fields["item_id"].values.tolist()
        assert not code.values[~old].any() and not made.popularity()[~old].any()
        assert made.popularity()[old].tolist() == plain.popularity().tolist()
        genre = made.items_table["category"].to_pylist()
        similar = made.relation("similar")
        for number in (~old).nonzero()[:, 0].tolist():
            near = similar.col[similar.indptr[number] : similar.indptr[number + 1]].tolist()
            assert near and sum(genre[n] == genre[number] for n in near) > len(near) / 2
        clicks, theirs = (
            [(u, g.items.values[int(i)].as_py()) for u, i in zip(r.row_index().tolist(), r.col, strict=True)]
            for g, r in ((made, made.relation("clicks")), (plain, plain.relation("clicks")))
        )
        assert clicks == theirs


def test_without_rows_nothing_can_be_kept(tiny_log: TinyLog) -> None:
    with pytest.raises(InputError, match="items="):
        mg.build(tiny_log.clicks, {"keep_unclicked": True})


def test_a_new_item_is_near_its_like_and_recommended_to_who_clicks_them(tiny_log: TinyLog, tmp_path: Path) -> None:
    split = split_of(tiny_log)
    graph = mg.build(split.train, {"keep_unclicked": True})
    config = {**CONFIG, "model": {"dim": 16, "item_fields": ["item_id", "category", "tags"]}}
    run = mg.train(graph, "graphsage", None, config, tmp_path / "run", progress=False)
    made = mg.Recommender(run)
    made.save(tmp_path / "serving")
    for rec in (made, mg.Recommender(mg.load_run(tmp_path / "run")), mg.Recommender.load(tmp_path / "serving")):
        for genre, (name, item) in enumerate(zip(GENRES, NEW, strict=True)):
            near = rec.similar_items(item, k=4)["similar_id"]
            assert sum(str(other)[1:].isdigit() and int(other[1:]) % 4 == genre for other in near) >= 3, (name, near)
            history = [f"i{genre + 4 * place}" for place in range(4, 8)]
            assert item in set(rec.recommend(histories=[history], k=16)["item_id"]), name
            assert rec.recommend(histories=[history], k=1, candidates=NEW)["item_id"].tolist() == [item]


def test_losses_do_not_push_away_what_nobody_could_click(tiny_log: TinyLog) -> None:
    """The unknown id, which is all the new items' own, gets no gradient from a softmax over the catalogue."""
    split = split_of(tiny_log)
    graph = mg.build(split.train, {"keep_unclicked": True})
    for negatives in ("full", "uniform"):
        config = {**CONFIG, "training": {"epochs": 1}, "tasks": {"matching": {"negatives": negatives}}}
        run = mg.train(graph, "mic_dnn", config=config, progress=False)
        names = run.model.towers.item_fields.names
        assert not run.model.towers.item_fields.embed[names.index("item_id")].weight[0].any()


def test_an_evaluation_counts_new_items_as_ones_that_can_be_shown_but_were_not_known(tiny_log: TinyLog) -> None:
    """Every user's last click moves to a new item: hit_known has no click, coverage is of the whole catalogue."""
    last = tiny_log.clicks.sort_values("timestamp", kind="stable").groupby("user_id").tail(1).index
    tiny_log.clicks.loc[last, "item_id"] = NEW[0]
    split = split_of(tiny_log)
    graph = mg.build(split.train, {"keep_unclicked": True})
    data = prepare(split.test, graph)
    assert data.n_items == graph.n_items and data.item_clicks[data.clicks.items].sum() == 0
    run = mg.train(graph, "mic_dnn", config={**CONFIG, "training": {"epochs": 1}}, progress=False)
    judged = mg.evaluate(run, split.test, ks=(5, 100), baselines=["popularity", "itemknn", "ease"])
    for result in judged.results.values():
        assert result.values["hit@100"] == result.values["hit_cold_items@100"] == 1
        assert math.isnan(result.values.get("hit_known@100", math.nan))
        assert result.values["coverage@100"] == 1
