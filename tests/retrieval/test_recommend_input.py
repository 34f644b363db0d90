"""What bad input of recommend and of similar items gets, and how people of whom little is known are served."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from micgraph.graph.fields import Field
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import ConfigError, InputError, MicgraphError, UnknownIdError


def test_bad_fusion_settings_are_named(world):
    with pytest.raises(ConfigError, match="fusion.lambda_dif.*did you mean 'lambda_div'"):
        Recommender(world(0), {"lambda_dif": 1})
    with pytest.raises(ConfigError, match="fusion.m1.*at least 1"):
        Recommender(world(0), {"m1": 0})


def test_unknown_items_of_a_history_are_read_and_counted(world, caplog):
    rec = Recommender(world(2))
    with caplog.at_level(logging.WARNING, "micgraph"):
        frame = rec.recommend(histories=[["i01", "new"], ["i02"]], k=4)
    assert "1 of 3 items are unknown to the graph, which has texts such as 'i00'" in caplog.text and len(frame) == 8


@pytest.mark.parametrize("history", [[], ["nope"], ["nope", "neither"]])
def test_nobody_is_similar_to_one_of_whom_nothing_is_known(world, history):
    rec = Recommender(world(2))
    frame = rec.recommend(histories=[history, ["i01", "nope"]], k=8)
    nobody, somebody = frame[frame["user_id"] == 0], frame[frame["user_id"] == 1]
    assert set(nobody["channels"]) <= {"u2i", "popular"} and nobody["degraded"].all()
    assert not nobody[["u2u_count", "i2i_count", "u2u_score", "i2i_score"]].to_numpy().any()
    assert nobody["trigger"].isna().all()
    assert somebody["u2u_count"].any() and somebody["i2i_count"].any()


def test_features_alone_make_users_similar(world):
    fields = {"shift": Field("shift", "dense", 4, torch.tensor([[9.0, 0, 0, 0]]))}
    frame = Recommender(world(2)).recommend(histories=[[]], k=8, fields=fields)
    assert frame["u2u_count"].any() and not frame["i2i_count"].any()


def test_fields_reach_the_model(world):
    w = world(2, basic="score")
    rec = Recommender(w)
    shift = torch.tensor([[9.0, 0, 0, 0], [0, -9, 0, 0]])
    fields = {"shift": Field("shift", "dense", 4, shift)}
    frame = rec.recommend(histories=[[], []], k=1, channels="u2i", fields=fields)
    best = [int((w.model.search @ row).argmax()) for row in shift]
    assert frame["u2i_score"].tolist() == [float(w.model.search[i] @ row) for i, row in zip(best, shift, strict=True)]
    with pytest.raises(InputError, match="3 rows"):
        rec.recommend(histories=[[], [], []], k=1, fields=fields)


BAD = {
    "neither users nor histories": ({}, InputError, "neither"),
    "both users and histories": ({"users": ["u01"], "histories": [["i01"]]}, InputError, "both"),
    "no users": ({"users": []}, InputError, "at least one"),
    "an unknown user": ({"users": ["u01", "who"]}, UnknownIdError, r"got 'who'; .*histories="),
    "a user id of another type": (
        {"users": [1]},
        UnknownIdError,
        "texts such as 'u00', among the graph's 12, got the integer 1; pass texts, or pass what",
    ),
    "k of 0": ({"users": ["u01"], "k": 0}, InputError, "from 1 to 25"),
    "k of 2.5": ({"users": ["u01"], "k": 2.5}, InputError, "from 1 to 25"),
    "k beyond the catalogue": ({"users": ["u01"], "k": 26}, InputError, "from 1 to 25"),
    "k beyond the candidates": ({"users": ["u01"], "k": 3, "candidates": ["i01", "i02"]}, InputError, "from 1 to 2"),
    "no candidates": ({"users": ["u01"], "k": 1, "candidates": []}, InputError, "an empty list"),
    "only unknown candidates": ({"users": ["u01"], "k": 1, "candidates": ["x"]}, InputError, "1 unknown"),
    "an unknown channel": ({"users": ["u01"], "channels": ["u2i", "i2u"]}, InputError, "u2i, u2u, i2i"),
    "no channel": ({"users": ["u01"], "channels": []}, InputError, "u2i, u2u, i2i"),
    "a flat history": ({"histories": ["i01", "i02"]}, InputError, "a list of str"),
    "a history that is text": ({"histories": "i01"}, InputError, "got str"),
    "no histories": ({"histories": []}, InputError, "an empty list"),
    "another number of features": ({"users": ["u01"], "fields": {"user_id": ["a", "b"]}}, InputError, "1 rows"),
    "features that are no table": ({"users": ["u01"], "fields": 3}, InputError, "a table"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_a_named_error(world, name):
    arguments, error, message = BAD[name]
    with pytest.raises(error, match=message) as caught:
        Recommender(world(0)).recommend(**arguments)
    assert isinstance(caught.value, MicgraphError) and caught.value.remedy


def test_texts_for_integers_are_named_as_such(world):
    rec = Recommender(world(0, integer_ids=True))
    with pytest.raises(UnknownIdError, match="integers such as 1000, among the graph's 25, got the text '1003'; pass"):
        rec.similar_items("1003")
    with pytest.raises(UnknownIdError, match="got the texts '1003', '1004'; pass"):
        rec.similar_items(np.array(["1003", "1004"]))
    with pytest.raises(UnknownIdError, match="got 7; ask for items"):
        rec.similar_items([1003, 7])


def test_bad_input_of_similar(world):
    rec = Recommender(world(0))
    with pytest.raises(UnknownIdError, match="zz"):
        rec.similar_items(["i01", "zz"])
    with pytest.raises(InputError, match="from 1 to 24"):
        rec.similar_items("i01", k=25)
    with pytest.raises(InputError, match="at least one"):
        rec.similar_users([])


def test_a_graph_without_external_ids_is_refused(world):
    w = world(0)
    w.graph.users = None
    with pytest.raises(InputError, match="external ids"):
        Recommender(SimpleNamespace(graph=w.graph, model=w.model, fusion=w.fusion, learned=None))
