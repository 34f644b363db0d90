"""A fourth channel in the lists: against loops written from the rules of docs/own-channel.md, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import micgraph as mg
from micgraph.knn import Ragged
from micgraph.retrieval.channels import CHANNELS, Candidates
from micgraph.retrieval.extra import OWN
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import ConfigError, InputError

WITH_OWN = (*CHANNELS, "mine")


class Mine:
    """To user b the items b, b + 1, b + 1 again and one beyond them; the first one because of item 3."""

    def __init__(self, graph, device):
        self.n, self.device = graph.n_items, device

    def find(self, queries):
        first = torch.arange(len(queries))[:, None]
        items = torch.cat([first, first + 1, first + 1, first + 7, torch.full_like(first, -1)], dim=1) % self.n
        items[:, -1] = -1
        trigger = torch.full_like(items, -1)
        trigger[:, 0] = 3
        return Candidates.of(items, torch.tensor([0.5, 0.5, 0.75, 9.0, 0.0]).expand(items.shape), trigger)


def found_by_mine(b, n):
    """item -> (count, sum of weights)."""
    return {b % n: (1, 0.5), (b + 1) % n: (2, 1.25), (b + 7) % n: (1, 9.0)}


@pytest.fixture(autouse=True)
def _mine():
    mg.register_channel("mine", Mine)


@pytest.fixture(params=[{}, {"metric": "cosine", "count_scale": "log"}, {"interests": 2, "lambda_div": 0.0}])
def made(request, world):
    return world(channels=WITH_OWN, **request.param)


def pooled(made, exclude=None):
    """One batch of all users: queries, and by user and channel the occurrences (item, weight, trigger)."""
    retriever = Recommender(made).retriever
    rows = Ragged(retriever.clicks.indptr, retriever.clicks.col.long())
    users = torch.arange(made.graph.n_users)
    (queries,) = retriever.encode(rows, users, exclude=exclude)
    ways = retriever.ways(WITH_OWN, 5)
    assert list(ways) == list(WITH_OWN)
    return retriever, queries, {name: way.find(queries) for name, way in ways.items()}


def test_scores_are_eq_5_with_one_occurrence_for_each_candidate(made) -> None:
    retriever, queries, found = pooled(made)
    lists = retriever.lists(queries, 5)
    config, n = retriever.config, made.graph.n_items
    vectors = retriever.index.vectors
    for b in range(len(queries)):
        count = dict.fromkeys(range(n), 0)
        for one in found.values():
            for item, there in zip(one.items[b].tolist(), one.mask[b].tolist(), strict=True):
                count[item] += there
        raised = {i: math.exp(c if config.count_scale == "linear" else math.log(c)) for i, c in count.items() if c}
        interests = queries.search[b] if queries.search.dim() == 3 else queries.search[b : b + 1]
        near = torch.nn.functional.normalize(interests, dim=1) @ torch.nn.functional.normalize(vectors, dim=1).T
        base = {i: float(near[:, i].amax()) + config.lambda_mic * e / sum(raised.values()) for i, e in raised.items()}
        chosen: list[int] = []
        for place in range(5):

            def total(i, chosen=chosen, base=base):
                other = sum(int(retriever.category[i]) != int(retriever.category[j]) for j in chosen)
                return base[i] + config.lambda_div * other / max(1, len(chosen))

            best = max(total(i) for i in base if i not in chosen)
            item = int(lists.items[b, place])
            assert total(item) == pytest.approx(best, abs=1e-5)
            assert float(lists.fused.score[b, place]) == pytest.approx(best, abs=1e-5)
            number, weight = found_by_mine(b, n).get(item, (0, 0.0))
            assert int(lists.fused.count[b, 3, place]) == number
            assert float(lists.fused.weight[b, 3, place]) == pytest.approx(weight)
            chosen.append(item)


def test_reciprocal_ranks_read_its_list_by_weight(made) -> None:
    made.fusion = replace(made.fusion, fusion="rrf", rrf_constant=1.0)
    retriever, queries, _ = pooled(made)
    three = replace(made.fusion, channels=CHANNELS)
    for b in range(len(queries)):
        n = made.graph.n_items
        mine = found_by_mine(b, n)
        order = sorted(mine, key=lambda i: (-mine[i][1], i))
        everything = retriever.lists(queries, n).fused
        without = retriever.with_config(three).lists(queries, n).fused
        old = dict(zip(without.items[b].tolist(), without.score[b].tolist(), strict=True))
        new = dict(zip(everything.items[b].tolist(), everything.score[b].tolist(), strict=True))
        for item, score in new.items():
            if item >= 0:
                extra = 1 / (2 + order.index(item)) if item in mine else 0.0
                assert score == pytest.approx(old.get(item, 0.0) + extra, abs=1e-5)


def test_quotas_give_it_its_places(world) -> None:
    made = world(channels=WITH_OWN, fusion="quotas", quotas={"mine": 2, "u2i": 1})
    _, queries, _ = pooled(made)
    lists = Recommender(made).retriever.lists(queries, 3)
    assert bool((lists.fused.held[:, 3].sum(1) >= 2).all())


def test_excluded_and_allowed_items_are_left_out(world) -> None:
    made = world(channels=WITH_OWN)
    n, size = made.graph.n_items, made.graph.n_users
    out = Ragged(torch.arange(size + 1), (torch.arange(size) + 7) % n)
    _, queries, found = pooled(made, out)
    mine = found["mine"]
    for b in range(size):
        kept = set(mine.items[b][mine.mask[b]].tolist())
        assert kept == {b % n, (b + 1) % n}
    rec = Recommender(made)
    rows = rec.recommend(["u00", "u01"], k=2, channels=["mine"], candidates=["i01", "i08"], filter_seen=False)
    assert set(zip(rows.user_id, rows.item_id, rows.channels, strict=True)) == {
        ("u00", "i01", "mine"),
        ("u00", "i08", "popular"),
        ("u01", "i01", "mine"),
        ("u01", "i08", "mine"),
    }


def test_rows_show_it(world) -> None:
    rec = Recommender(world(channels=WITH_OWN))
    rows = rec.recommend(rec.users.ids(torch.arange(12).numpy()), k=8, filter_seen=False).to_pandas()
    n, seen = rec.graph.n_items, 0
    for row in rows.itertuples():
        b, item = int(row.user_id[1:]), int(row.item_id[1:])
        number, weight = found_by_mine(b, n).get(item, (0, 0.0))
        assert ("mine" in row.channels.split(",")) == bool(number)
        assert (row.mine_count, row.mine_score) == (number, pytest.approx(weight))
        if row.channels in ("mine", "u2i,mine"):  # nothing else has a reason for it
            assert row.trigger == "item:i03" if item == b % n else not isinstance(row.trigger, str)
            seen += 1
    assert seen and set(rows.columns[-4:]) == {"mine_score", "mine_count", "trigger", "degraded"}


def test_without_it_nothing_changes(world) -> None:
    """The same rows, columns and compiled loops as before it was registered."""
    rec = Recommender(world())
    with_name = rec.recommend(["u00", "u03"], k=6)
    OWN.clear()
    assert with_name.equals(Recommender(world()).recommend(["u00", "u03"], k=6))
    assert "mine_score" not in with_name.columns and rec.retriever.blender is not None


def test_popular_items_fill_up_behind_it(world) -> None:
    rec = Recommender(world())
    rows = rec.recommend(["u02"], k=6, channels="mine", filter_seen=False)
    assert rows.channels.tolist() == ["mine"] * 3 + ["popular"] * 3
    assert rows.mine_count.tolist()[3:] == [0, 0, 0] and rows.degraded.all()


def test_one_class_under_two_names_is_two_channels(world) -> None:
    mg.register_channel("twin", Mine)
    rows = Recommender(world()).recommend(["u02"], k=3, channels=["mine", "twin"], filter_seen=False)
    assert rows.channels.tolist() == ["mine,twin"] * 3 and rows.twin_count.equals(rows.mine_count.rename("twin_count"))


def test_an_explanation_names_it(world) -> None:
    rec = Recommender(world(channels=("u2i", "mine")))
    rows = rec.recommend(["u00"], k=8, filter_seen=False)
    first = rows[rows.mine_count == 2].item_id.iloc[0]
    text = rec.explain("u00", first, k=8, filter_seen=False)
    assert "mine: brings it 2 times; weights add up to 1.250000." in text
    own = rec.explain("u00", "i00", k=8, filter_seen=False)
    assert "mine: brings it once, because of i03; weights add up to 0.500000." in own
    other = rows[rows.mine_count == 0].item_id.iloc[0]
    assert "mine: does not bring it." in rec.explain("u00", other, k=8, filter_seen=False)


@pytest.mark.parametrize("fusion", ["rrf", "quotas"])
def test_other_fusions_explain_it_too(world, fusion: str) -> None:
    rec = Recommender(world(channels=("u2i", "mine"), fusion=fusion))
    text = rec.explain("u00", "i07", k=8, filter_seen=False)
    assert "mine" in text.splitlines()[-1]


def test_the_learned_fusion_refuses_it(world) -> None:
    with pytest.raises(ConfigError, match=r"channels: expected some of .* with the learned fusion, got \['mine'\]"):
        world(channels=WITH_OWN, fusion="learned")
    rec = Recommender(world(channels=WITH_OWN))
    data = type("Data", (), {"users": 0, "histories": 0, "clicks": 0})()
    with pytest.raises(ConfigError, match="learned fusion"):
        rec.fit_fusion(data)
    learned = Recommender(world(fusion="learned"))
    with pytest.raises(ConfigError, match="learned fusion"):
        learned.recommend(["u00"], k=3, channels=["u2i", "mine"])


def test_a_saved_recommender_names_the_module(world, tmp_path, fake_model) -> None:
    rec = Recommender(world(channels=WITH_OWN))
    rec.save(tmp_path / "serving")
    again = Recommender.load(tmp_path / "serving", fake_model.load)
    assert again.recommend(["u00"], k=4).equals(rec.recommend(["u00"], k=4))
    OWN.clear()
    with pytest.raises(ConfigError, match=f"fusion.channels: .*'mine', which {Mine.__module__} registered.*import"):
        Recommender.load(tmp_path / "serving", fake_model.load)


def wrong(**parts):
    class Wrong:
        def find(self, queries):
            found = Mine(type("G", (), {"n_items": 25}), None).find(queries)
            return replace(found, **{name: change(getattr(found, name)) for name, change in parts.items()})

    return Wrong


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"items": lambda x: x + 25}, "items from 0 to 24"),
        ({"items": lambda x: x[:1]}, r"items as torch.int64 \[2, C\], like all its parts, got torch.int64 \[1, 5\]"),
        ({"weight": lambda x: x[:, :2]}, r"weight as torch.float32 .*got torch.float32 \[2, 2\]"),
        ({"weight": lambda x: x.double()}, "got torch.float64"),
        ({"weight": lambda x: x / 0}, "finite weights"),
        ({"mask": lambda x: x.long()}, "mask as torch.bool"),
    ],
)
def test_wrong_answers_name_the_channel(parts, message: str, world) -> None:
    mg.register_channel("wrong", wrong(**parts))
    with pytest.raises(InputError, match=f"channel wrong: expected {message}|channel wrong: .*{message}"):
        Recommender(world()).recommend(["u00", "u01"], k=3, channels=["wrong"])


def test_what_is_no_channel_is_refused(world) -> None:
    with pytest.raises(ConfigError, match=r"channel empty: expected a class with find\(queries\), got int"):
        mg.register_channel("empty", int)
    with pytest.raises(ConfigError, match="'u2i', which is taken"):
        mg.register_channel("u2i", Mine)
    for name in ("U2I", "MINE", "class", "None", "off", "All"):
        with pytest.raises(ConfigError, match=f"name: expected a .*, got '{name}'"):
            mg.register_channel(name, Mine)
    mg.register_channel("asking", lambda weather: Mine(weather, None))
    with pytest.raises(ConfigError, match="channel asking: expected a signature with some of graph"):
        Recommender(world()).recommend(["u00"], k=2, channels=["asking"])
    mg.register_channel("numb", lambda: 3)
    with pytest.raises(ConfigError, match="channel numb: expected an object with find"):
        Recommender(world()).recommend(["u00"], k=2, channels=["numb"])
    mg.register_channel("listing", type("Listing", (), {"find": lambda self, queries: [1]}))
    with pytest.raises(InputError, match="channel listing: expected Candidates, got a list"):
        Recommender(world()).recommend(["u00"], k=2, channels=["listing"])
    with pytest.raises(InputError, match="'all' or some of u2i, u2u, i2i, mine"):
        Recommender(world()).recommend(["u00"], k=2, channels=["yours"])
