"""Items added to what is served: as a graph that was built with them has them, and kept when saved."""

from __future__ import annotations

import importlib.util
import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.knn import IndexConfig, NeighborTable, VectorIndex, neighbors
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.neighbor_tables import entered, linked
from micgraph.retrieval.recommender import Recommender
from micgraph.sampling.context import surroundings
from micgraph.schema import InputError, SchemaError
from tests.retrieval.memory_store import MemoryStore

NEW = ["i047x", "a first one", "zz"]
FAISS = importlib.util.find_spec("faiss") is not None
KINDS = ["torch", *(["faiss_flat", "faiss_ivf", "faiss_hnsw", "faiss_int8"] if FAISS else [])]
HISTORIES = [["i3", "i7", "i11"], ["i1"], ["i0", "i40", "i22", "i5"]]


def tables(tiny):
    """The old items with embeddings and without numbers, and new ones of values that the old ones have."""
    old = tiny.items.drop(columns=["year"], errors="ignore").copy()
    rng = np.random.default_rng(3)
    vectors = np.abs(rng.normal(size=(len(old) + len(NEW), 5))).round(3)
    old["embedding"] = [list(v) for v in vectors[: len(old)]]
    new = old.iloc[[4, 9, 2]].assign(item_id=NEW)
    new["embedding"] = [list(v) for v in vectors[len(old) :]]
    return old, new


@pytest.fixture
def graphs(request, tiny_log):
    """A graph without the new items, one with them, and their rows: built once, for they are only read."""
    if not hasattr(request.module, "built"):
        request.module.built = built_of(tiny_log)
    return request.module.built


def built_of(tiny_log):
    old, new = tables(tiny_log)
    config = {"semantic": ["embedding"], "semantic_k": 4}
    both = read_log(tiny_log.clicks, items=pd.concat([old, new], ignore_index=True), users=tiny_log.users)
    plain = build(read_log(tiny_log.clicks, items=old, users=tiny_log.users), config)
    return plain, build(both, {**config, "keep_unclicked": True}), new


def served(graph, towers=None, fusion=None, store=None, **model):
    torch.manual_seed(0)
    config = ModelConfig(**{"encoder": "youtube_dnn", "dim": 8, **model})
    towers = towers or TwoTower(config, graph.item_fields, graph.user_fields)
    bound = BoundModel(towers, graph.item_fields, graph.user_fields, surroundings(graph))
    sizes = {"k1": 6, "m1": 3, "m2": 4, "m": 3, "m3": 6, **(fusion or {})}
    run = SimpleNamespace(graph=graph, model=bound, fusion=FusionConfig(**sizes), learned=None)
    return towers, Recommender(run, store=store, store_timeout=60)


def by_id(rec, values):
    return dict(zip(rec.items.values.to_pylist(), values, strict=True))


def rows_by_id(rec):
    names, table = rec.items.values.to_pylist(), rec.retriever.table
    rows = zip(table.col.tolist(), table.score.tolist(), strict=True)
    return by_id(rec, [{names[c]: s for c, s in zip(*row, strict=True) if c >= 0} for row in rows])


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"item_bias": True, "item_encoder": "mlp"},
        {"similarity": "cosine", "shared_space": True, "encoder": "gru4rec"},
        {"latest_users": 2},
        {"encoder": "lightgcn", "item_graph": "lightgcn"},
    ],
)
def test_vectors_are_those_of_a_graph_that_was_built_with_the_items(graphs, model):
    plain, kept, new = graphs
    towers, rec = served(plain, **model)
    _, whole = served(kept, towers)
    had = rec.retriever
    assert rec.add_items(new) == len(NEW)
    rec.graph.validate()
    assert len(had.index) == len(had.table) == plain.n_items
    for one, other in (("index", "index"), ("items", "items")):
        got, expected = (getattr(r.retriever, name) for r, name in ((rec, one), (whole, other)))
        got, expected = (x.vectors if isinstance(x, VectorIndex) else x for x in (got, expected))
        got, expected = by_id(rec, got), by_id(whole, expected)
        assert set(got) == set(expected) >= set(NEW)
        for name, vector in expected.items():
            torch.testing.assert_close(got[name], vector, atol=1e-5, rtol=1e-4)
    for histories in (HISTORIES, [[NEW[0], "i3"], ["zz"]]):  # new items are read in histories too
        one, other = (r.recommend(histories=histories, k=9, channels="u2i") for r in (rec, whole))
        np.testing.assert_allclose(one["u2i_score"], other["u2i_score"], atol=1e-4, rtol=1e-3)
        assert set(one["item_id"]) == set(other["item_id"])


@pytest.mark.parametrize("kind", ["near", "similar"])
def test_neighbours_are_those_of_a_graph_that_was_built_with_the_items(graphs, kind):
    plain, kept, new = graphs
    towers, rec = served(plain, fusion={"neighbors": kind})
    _, whole = served(kept, towers, fusion={"neighbors": kind})
    rec.add_items(new)
    got, expected = rows_by_id(rec), rows_by_id(whole)
    assert any(set(row) & set(NEW) for name, row in got.items() if name not in NEW)
    for name, row in expected.items():
        assert got[name] == pytest.approx(row, abs=2e-3), name


@pytest.mark.parametrize("kind", ["co_occurs", "follows", "ease"])
def test_in_tables_made_of_clicks_new_items_have_neighbours_and_are_nobodys(graphs, kind):
    plain, _, new = graphs
    _, rec = served(plain, fusion={"neighbors": kind})
    before = rows_by_id(rec)
    rec.add_items(new)
    after = rows_by_id(rec)
    assert {name: after[name] for name in before} == before
    near = rec.similar_items(NEW, k=6)
    for name in NEW:
        mine = near[(near["item_id"] == name) & (near["score"] > 0)]
        assert after[name] == pytest.approx(dict(zip(mine["similar_id"], mine["score"], strict=True)), abs=2e-3)
    found = rec.recommend(histories=[["zz"]], k=3, channels="i2i")
    assert set(found["trigger"].dropna()) == {"item:zz"}


def test_semantic_edges_of_items_without_an_embedding_are_by_their_own_vectors(graphs):
    plain, _, new = graphs
    _, rec = served(plain, fusion={"neighbors": "similar"})
    rec.add_items(new.assign(embedding=[None, new["embedding"].iloc[1], None]))
    rows, near = rows_by_id(rec), rec.similar_items("zz", k=4)
    near = near[near["score"] > 0]
    assert rows["zz"] == pytest.approx(dict(zip(near["similar_id"], near["score"], strict=True)), abs=2e-3)
    assert all("zz" in rows[name] for name in near["similar_id"]) and rows["i047x"] and rows["a first one"]
    found = rec.recommend(histories=[near["similar_id"].tolist()[:1]], k=6, channels="i2i", filter_seen=False)
    assert "zz" in set(found["item_id"][found["channels"] == "i2i"])


@pytest.mark.parametrize("new_at", [[7], [0, 3, 8], list(range(9)), []])
def test_a_grown_table_of_neighbours_is_that_of_all_vectors(new_at):
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(40, 4, generator=generator)
    new = torch.arange(40 - len(new_at), 40)
    old = neighbors(vectors[: 40 - len(new)], 5)
    got, expected = entered(old, vectors, new, 5), neighbors(vectors, 5)
    assert torch.equal(got.col, expected.col) and torch.equal(got.score, expected.score)
    assert len(old) == 40 - len(new)


@pytest.mark.parametrize("seed", range(4))
def test_items_that_are_linked_are_in_the_rows_of_their_nearest(seed):
    g = torch.Generator().manual_seed(seed)
    vectors, width, k = torch.randn(30, 3, generator=g), 4, 3
    filled = torch.arange(width) < torch.randint(0, width + 1, (26, 1), generator=g)
    score = torch.sort(torch.rand(26, width, generator=g), dim=1, descending=True).values.half() * filled
    col = torch.stack([torch.randperm(26, generator=g)[:width] for _ in range(26)])
    old = NeighborTable(col.masked_fill(~filled, -1).to(torch.int32), score)
    got = linked(old, vectors, torch.arange(26, 30), k)
    unit = torch.nn.functional.normalize(vectors, dim=1)
    brought = {row: {} for row in range(30)}
    for new in range(26, 30):
        others = sorted((x for x in range(30) if x != new), key=lambda x: -float(unit[x] @ unit[new]))[:k]
        for x in others:
            if unit[x] @ unit[new] > 0:
                brought[x][new] = float(unit[x] @ unit[new])
                if x < 26:
                    brought[new][x] = brought[x][new]
    for row in range(26):
        new = sorted(brought[row].items(), key=lambda pair: -pair[1])[:width]
        kept = [(c, float(s)) for c, s in zip(old.col[row].tolist(), old.score[row], strict=True) if c >= 0]
        expected = dict(kept[: width - len(new)] + new)
        names = [c for c in got.col[row].tolist() if c >= 0]
        assert dict(zip(names, got.score[row].tolist(), strict=False)) == pytest.approx(expected, abs=2e-3)
        assert got.score[row].tolist() == sorted(got.score[row].tolist(), reverse=True)
    for row in range(26, 30):
        assert set(brought[row]) <= set(got.col[row].tolist())


def test_a_row_of_more_than_k_keeps_its_length():
    vectors = torch.tensor([[1.0, 0], [0.9, 0.1], [0.5, 0.5], [1.0, 0.01]])
    old = NeighborTable(
        torch.tensor([[1, 2, -1], [0, 2, -1], [1, -1, -1]], dtype=torch.int32),
        torch.tensor([[0.9, 0.5, 0], [0.9, 0.8, 0], [0.8, 0, 0]], dtype=torch.float16),
    )
    got = entered(old, vectors, torch.tensor([3]), 1)
    assert got.col.tolist() == [[3, 1, -1], [3, 0, -1], [1, -1, -1], [0, -1, -1]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_index_finds_what_was_added_and_old_searches_go_on(kind):
    generator = torch.Generator().manual_seed(2)
    old, new = torch.randn(400, 8, generator=generator), torch.randn(30, 8, generator=generator)
    settings = IndexConfig(nlist=4, nprobe=4, ef_search=400)
    index = VectorIndex(old, "cosine", kind, settings)
    before = index.search(new, 5)
    more = index.extended(new)
    assert len(more) == 430 and len(index) == 400
    score, ids = more.search(new, 1)
    assert ids[:, 0].tolist() == list(range(400, 430)) and torch.allclose(score, torch.ones_like(score))
    assert all(torch.equal(a, b) for a, b in zip(index.search(new, 5), before, strict=True))
    exact = VectorIndex(torch.cat([old, new]), "cosine").search(old[:50], 10)[1]
    assert (more.search(old[:50], 10)[1] == exact).float().mean() > 0.95
    for wrong in (new[:, :4], torch.full((2, 8), torch.nan), new[0]):
        with pytest.raises(InputError, match="new"):
            index.extended(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_added_items_are_there_after_a_save(graphs, tmp_path, kind):
    plain, _, new = graphs
    store = MemoryStore()
    _, rec = served(plain, fusion={"index": kind, "neighbors": "similar"}, store=store)
    rec.observe("ann", "zz", 1)  # before it is known
    unknown = rec.recommend("ann", k=4)
    rec.add_items(pl.from_pandas(new.iloc[:2]))
    rec.add_items(new.iloc[2:].to_dict("list"))
    rec.save(tmp_path / "serving")
    again = Recommender.load(tmp_path / "serving", store=store, store_timeout=60)
    for other in (rec, again):
        found = other.recommend("ann", k=4)
        pd.testing.assert_frame_equal(found, rec.recommend("ann", k=4))
        assert found["item_id"].tolist() != unknown["item_id"].tolist() and "zz" not in set(found["item_id"])
        assert set(other.recommend(histories=[["i1"]], k=3, candidates=NEW)["item_id"]) == set(NEW)
        pd.testing.assert_frame_equal(other.similar_items(NEW, k=5), rec.similar_items(NEW, k=5))
    assert rows_by_id(again) == rows_by_id(rec)
    again.add_items([{"item_id": "later", "category": new["category"].iloc[0]}])
    assert "later" in set(again.recommend("ann", k=len(again.items) - 1)["item_id"])
    titles = again.graph.items_table.to_pandas().set_index("item_id")["title"]
    assert titles["zz"] == new["title"].iloc[2]


def test_what_the_graph_does_not_know_of_new_items_is_told(graphs, caplog):
    plain, _, new = graphs
    _, rec = served(plain)
    with caplog.at_level(logging.WARNING):
        rec.add_items(new.assign(category=["unheard of", new["category"].iloc[1], None], colour=None))
    assert "1 of 2 values of category" in " ".join(r.getMessage() for r in caplog.records)


def test_wrong_tables_add_nothing(graphs):
    plain, _, new = graphs
    _, rec = served(plain)
    before = rec.retriever
    bad = [
        (new.drop(columns="item_id"), SchemaError, "item_id"),
        (new.iloc[:0], InputError, "no row"),
        (new.assign(item_id=["x", None, "y"]), InputError, "1 nulls"),
        (new.assign(item_id=["x", "x", "y"]), InputError, "more than one row of 'x'"),
        (new.assign(item_id=["x", "i3", "y"]), InputError, "'i3'"),
        (new.assign(item_id=[1, 2, 3]), SchemaError, "texts"),
        (new.assign(embedding=[[1.0], [2.0], [3.0]]), SchemaError, "length 5"),
        (
            new.assign(embedding=["a", "b", "c"]),
            SchemaError,
            "items.embedding: expected lists of numbers, got .*string",
        ),
        (new.rename(columns={"category": "catgory"}), SchemaError, r"items: .*'catgory'; did you mean 'category'\?"),
        (new.assign(colour="red"), SchemaError, "'colour'; leave it out, or build"),
        (new.assign(tags=[5, "a|b", None]), SchemaError, "items.tags: .*'a|b' in row 1"),
        ({"item_id": ["x", "y"], "category": ["a"]}, InputError, "items"),
        ("a path", InputError, "a table"),
        (None, InputError, "a table"),
        (pa.table({"item_id": pa.array([], pa.string())}), InputError, "no row"),
    ]
    for table, error, named in bad:
        with pytest.raises(error, match=named):
            rec.add_items(table)
    assert rec.retriever is before and len(rec.items) == plain.n_items
