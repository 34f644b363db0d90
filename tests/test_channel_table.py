"""The report of channels on a planted log, where what each channel finds is known."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest
import torch

from micgraph import channel_report, tune_fusion
from micgraph.evaluation import evaluate_ranker
from micgraph.evaluation.data import EvalData
from micgraph.ids import IdMap
from micgraph.knn import Ragged
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.rankers import FusedRanker
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import ConfigError, InputError
from tests.toy import Rows, toy_graph

USERS, ITEMS = 20, 44


class Planted:
    """U2I finds item 20 + u of user u first; the users 2j and 2j + 1 are similar, and so are such items."""

    device, metric, history = torch.device("cpu"), "ip", 3

    def __init__(self):
        self.derived = {}

    def item_vectors(self):
        search = torch.zeros(ITEMS, USERS)
        search[torch.arange(20) + 20, torch.arange(20)] = 1
        return search, torch.nn.functional.one_hot(torch.arange(ITEMS) // 2).float()

    def encode_queries(self, items, mask, user, fields=None, gap=None):
        search = torch.nn.functional.one_hot(user, USERS).float()
        return search, torch.nn.functional.one_hot(user // 2, USERS // 2).float()


def planted(**fusion):
    """User u has clicked the item u // 2 * 2, and an odd user the item 40 + u % 4 too."""
    rows: Rows = [[(0, u // 2 * 2)] + ([(1, 40 + u % 4)] if u % 2 else []) for u in range(USERS)]
    graph = toy_graph(rows, ITEMS)
    graph.users, graph.items = (
        IdMap(pa.array([f"{kind}{i:02}" for i in range(n)])) for kind, n in (("u", USERS), ("i", ITEMS))
    )
    config = FusionConfig(**{"k1": 1, "m1": 1, "m2": 1, "m": 2, "m3": 1, "lambda_div": 0.0, **fusion})
    run = SimpleNamespace(graph=graph, model=Planted(), fusion=config, learned=None)
    return Recommender(run), rows


def holdout(graph, rows, clicks):
    def ragged(lists):
        flat = torch.tensor([i for x in lists for i in x])
        return Ragged(torch.tensor([0] + [len(x) for x in lists]).cumsum(0), flat)

    seen = [[item for _, item in row] for row in rows]
    return EvalData(
        pa.array(range(USERS)), torch.arange(USERS), ragged(seen), ragged(clicks),
        torch.ones(sum(map(len, clicks)), dtype=torch.bool), ITEMS, graph.category, graph.popularity(),
        graph.fingerprint(),
    )  # fmt: skip


def test_what_each_channel_is_worth():
    rec, rows = planted(fusion="quotas")
    # even users go on to what U2I finds, odd ones to the neighbour of their first click
    data = holdout(rec.graph, rows, [[20 + u] if u % 2 == 0 else [u // 2 * 2 + 1] for u in range(USERS)])
    report = channel_report(rec, data, ks=(3, 1))
    assert report.fused.ks == (1, 3)
    assert report.alone["u2i"]["recall@1"] == 0.5 and report.alone["u2u"]["recall@3"] == 0
    assert report.alone["i2i"]["recall@3"] == 0.5
    assert report.alone["u2i"]["coverage@1"] == pytest.approx(20 / 44)
    assert report.fused["recall@3"] == 1.0
    assert report.lost("u2i", "recall@3") == 0.5
    assert report.lost("i2i", "recall@3") == pytest.approx(0.45), "U2I goes on with the smallest items: user 1's is 1"
    assert report.lost("u2u", "recall@3") == pytest.approx(0)
    # U2U brings an even user the odd one's last click, 40 + u % 4, and an odd one what he has already
    assert report.overlap["u2i", "u2u"] == [0, 0] and set(report.overlap) == {
        (a, b) for a in report.alone for b in report.alone if a != b
    }
    # at 1, U2I finds every even user's click and I2I every odd one's; U2U's lists hold none
    assert report.found_by[("u2i",)][0] == report.found_by[("i2i",)][0] == 10
    assert [sum(counts[at] for counts in report.found_by.values()) for at in (0, 1)] == [20, 20]
    text = str(report)
    assert [line.split()[0] for line in text.splitlines() if line] == ["at", "u2i", "u2u", "i2i", "fused"] * 2
    assert "0.5000" in text
    with pytest.raises(InputError, match="channel.*'popular'"):
        report.lost("popular", "recall@3")


def test_lists_that_two_channels_share():
    rec, rows = planted(k1=44)  # U2I gives everything
    report = channel_report(rec, holdout(rec.graph, rows, [[43]] * USERS), ks=(44,))
    assert report.overlap["u2u", "u2i"] == [1.0] and report.overlap["i2i", "u2i"] == [1.0]
    assert 0 < report.overlap["u2i", "i2i"][0] < 0.1
    alone = channel_report(rec.with_fusion(FusionConfig(channels=("u2i",))), holdout(rec.graph, rows, [[43]] * USERS))
    assert not alone.without and not alone.overlap and "u2i" in str(alone)


def test_the_best_weights_are_found_one_after_another():
    rec, rows = planted(lambda_mic=0.0, m1=3, m2=3)
    data = holdout(rec.graph, rows, [[u // 2 * 2 + 1] for u in range(USERS)])  # never what U2I holds best
    over = {"lambda_mic": (0.0, 5.0), "channels": (("i2i",), ("u2i",)), "fusion": ("mic", "rrf")}
    choice = tune_fusion(rec, data, "recall@1", over)
    score = {}
    for settings, reached in choice.tried:
        again = evaluate_ranker(FusedRanker(rec.with_fusion(settings)), data, (1,))["recall@1"]
        assert again == reached and set(settings) == set(over)
        score[str(settings)] = reached
    assert len(score) == len(choice.tried)
    assert choice.score == max(score.values()) > choice.before and choice.monitor == "recall@1"
    assert choice.settings["channels"] == ("i2i",) and choice.settings["fusion"] == "mic", (
        "no better, so left as it was"
    )


@pytest.mark.parametrize(
    ("over", "monitor", "error", "message"),
    [
        ({}, "recall@5", InputError, "over"),
        ({"lambda_mic": ()}, "recall@5", InputError, "over"),
        ({"fusion": ("mic", "learned")}, "recall@5", InputError, "fit_fusion"),
        ({"lambda_mik": (1.0,)}, "recall@5", ConfigError, "lambda_mic"),
        ({"m1": (0,)}, "recall@5", ConfigError, "at least 1"),
        (None, "recall", InputError, "monitor"),
        (None, "recal@5", InputError, "recal@5"),
    ],
)
def test_bad_searches(over, monitor, error, message):
    rec, rows = planted()
    with pytest.raises(error, match=message):
        tune_fusion(rec, holdout(rec.graph, rows, [[1]] * USERS), monitor, over)
