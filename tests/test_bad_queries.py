"""Bad input of searches, of what tunes them, and of what judges and fits a fusion: errors that name the argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import micgraph
from micgraph.evaluation import prepare
from micgraph.knn import Ragged, VectorIndex, tune_recall
from micgraph.schema import MicgraphError

NAN = math.nan
VECTORS = torch.eye(4).repeat(3, 1)
INDEX = VectorIndex(VECTORS)
SEARCHES: dict[str, tuple[Any, str]] = {
    "k of 0": (lambda: INDEX.search(VECTORS, 0), "k"),
    "k of 2.5": (lambda: INDEX.search(VECTORS, 2.5), "k"),
    "k of True": (lambda: INDEX.search(VECTORS, True), "k"),
    "k of NaN": (lambda: tune_recall(INDEX, VECTORS, NAN), "k"),
    "NaN in queries": (lambda: INDEX.search(VECTORS * NAN, 2), "queries"),
    "NaN in a sample": (lambda: tune_recall(INDEX, VECTORS * NAN, 2), "queries"),
    "another width": (lambda: INDEX.search(VECTORS[:, :2], 2), "queries"),
    "an array of queries": (lambda: INDEX.search(np.ones((2, 4)), 2), "queries"),
    "an array of vectors": (lambda: VectorIndex(np.ones((2, 4))), "vectors"),
    "NaN in vectors": (lambda: VectorIndex(VECTORS * NAN), "vectors"),
    "no queries": (lambda: tune_recall(INDEX, VECTORS[:0], 2), "queries"),
    "recall of NaN": (lambda: tune_recall(INDEX, VECTORS, 2, NAN), "recall"),
    "an unknown metric": (lambda: VectorIndex(VECTORS, "l2"), "metric"),
    "a list of ids among": (lambda: INDEX.search(VECTORS, 2, among=[1, 2]), "among"),
    "a list of lists excluded": (lambda: INDEX.search(VECTORS[:2], 2, exclude=[[1], [2]]), "exclude"),
    "fewer rows excluded": (
        lambda: INDEX.search(VECTORS[:2], 2, exclude=Ragged(*torch.tensor([[0, 1]] * 2))),
        "exclude",
    ),
    "settings as a mapping": (lambda: VectorIndex(VECTORS, settings={"nprobe": 3}), "settings"),
    "other settings as a mapping": (lambda: INDEX.searching({"nprobe": 3}), "settings"),
    "no path to save at": (lambda: INDEX.save(None), "path"),
    "no path to load from": (lambda: VectorIndex.load(None), "path"),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_that_cannot_be_answered_is_named(name: str) -> None:
    attempt, argument = SEARCHES[name]
    with pytest.raises(MicgraphError) as caught:
        attempt()
    assert caught.value.argument == argument and caught.value.remedy


@pytest.fixture(scope="module")
def served() -> SimpleNamespace:
    """A run, its split, and data in the numbers of another graph."""
    clicks = pd.DataFrame({"user_id": [n % 9 for n in range(180)], "item_id": [n * 7 % 11 for n in range(180)]})
    clicks["timestamp"] = range(1_700_000_000, 1_700_180_000, 1_000)
    parts = micgraph.split(micgraph.read_log(clicks), "leave_last_out")
    config = {"model": {"dim": 8, "history": 8}, "training": {"epochs": 1}}
    run = micgraph.train(micgraph.build(parts.train), "youtube_dnn", config=config, device="cpu", progress=False)
    fewer = micgraph.split(micgraph.read_log(clicks.head(90)), "leave_last_out")
    return SimpleNamespace(run=run, parts=parts, strange=prepare(fewer.test, micgraph.build(fewer.train)))


JUDGED: dict[str, tuple[Callable[[SimpleNamespace], Any], str]] = {
    "an index of no recommender": (lambda w: micgraph.tune_index(w.run, "torch"), "recommender"),
    "an index for a k of 2.5": (lambda w: micgraph.tune_index(micgraph.Recommender(w.run), "torch", k=2.5), "k"),
    "an index for a k that is text": (lambda w: micgraph.tune_index(micgraph.Recommender(w.run), "torch", k="3"), "k"),
    "an index of a kind that is none": (lambda w: micgraph.tune_index(micgraph.Recommender(w.run), "tree"), "kind"),
    "an index with settings of 5": (
        lambda w: micgraph.tune_index(micgraph.Recommender(w.run), "torch", settings=5),
        "settings",
    ),
    "a fusion over a number": (
        lambda w: micgraph.tune_fusion(w.run, w.parts.test, monitor="recall@2", over={"lambda_mic": 3}),
        "over",
    ),
    "a fusion over a list": (lambda w: micgraph.tune_fusion(w.run, w.parts.test, over=["lambda_mic"]), "over"),
    "a fusion over nothing": (lambda w: micgraph.tune_fusion(w.run, w.parts.test, over={}), "over"),
    "a fusion over NaN": (lambda w: micgraph.tune_fusion(w.run, w.parts.test, over={"lambda_mic": [NAN]}), "fusion"),
    "no metric": (lambda w: micgraph.tune_fusion(w.run, w.parts.test, monitor=None), "monitor"),
    "a metric without a cut": (lambda w: micgraph.tune_fusion(w.run, w.parts.test, monitor="recall@x"), "monitor"),
    "a metric that is none": (lambda w: micgraph.tune_fusion(w.run, w.parts.test, monitor="recal@2"), "monitor"),
    "weights on another graph's data": (lambda w: micgraph.tune_fusion(w.run, w.strange), "holdout"),
    "a fit on nothing": (lambda w: micgraph.Recommender(w.run).fit_fusion(None), "data"),
    "a fit on a raw holdout": (lambda w: micgraph.Recommender(w.run).fit_fusion(w.parts.test), "data"),
    "a fit on another graph's data": (lambda w: micgraph.Recommender(w.run).fit_fusion(w.strange), "data"),
    "a report of lists of 0": (lambda w: micgraph.channel_report(w.run, w.parts.test, ks=(0,)), "ks"),
    "a report of a number": (lambda w: micgraph.channel_report(w.run, w.parts.test, ks=5), "ks"),
    "a report of no lists": (lambda w: micgraph.channel_report(w.run, w.parts.test, ks=()), "ks"),
    "a report on a whole split": (lambda w: micgraph.channel_report(w.run, w.parts), "holdout"),
    "a report on another graph's data": (lambda w: micgraph.channel_report(w.run, w.strange), "holdout"),
}


@pytest.mark.parametrize("name", JUDGED)
def test_what_cannot_be_judged_or_fitted_is_named(name: str, served: SimpleNamespace) -> None:
    attempt, argument = JUDGED[name]
    with pytest.raises(MicgraphError) as caught:
        attempt(served)
    assert caught.value.argument.split(".")[0] == argument and caught.value.remedy
