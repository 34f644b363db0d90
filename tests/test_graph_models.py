"""Models whose item towers read the graph, from a log to recommendations, with both papers' tasks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import micgraph as mg
from tests.conftest import TinyLog

SMALL = {"model": {"dim": 16}, "training": {"epochs": 1}, "sampling": {"batch_size": 128}}
MODELS = {
    "graphsage+mic": SMALL,
    "lightgcn+mic": {**SMALL, "sampling": {"batch_size": 16}, "perturb": {"sides": "items"}},
    "mic_dnn+fea+ii": {
        **SMALL,
        "model": {"dim": 16, "latest_users": 5},
        "tasks": {"fea": {"through_tower": True}},
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_run_and_a_saved_recommender_recommend_the_same(name: str, tiny_log: TinyLog, tmp_path: Path) -> None:
    split = mg.split(mg.read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users), "leave_last_out")
    graph = mg.build(split.train)
    run = mg.train(graph, name, split.valid, MODELS[name], tmp_path / "run", progress=False)
    made = mg.Recommender(run)
    made.save(tmp_path / "serving")
    others = [mg.Recommender(mg.load_run(tmp_path / "run")), mg.Recommender.load(tmp_path / "serving")]
    for other in others:
        pd.testing.assert_frame_equal(made.recommend(["u1", "u7"], k=5), other.recommend(["u1", "u7"], k=5))
        histories = [["i4", "i8", "i12"], ["i3"]]
        pd.testing.assert_frame_equal(
            made.recommend(histories=histories, k=5), other.recommend(histories=histories, k=5)
        )
        pd.testing.assert_frame_equal(made.similar_items("i4", k=5), other.similar_items("i4", k=5))
