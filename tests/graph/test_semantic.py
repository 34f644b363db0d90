"""Semantic neighbours against loops over pairs."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import micgraph as mg
from micgraph.graph import semantic
from micgraph.graph.fields import Field
from micgraph.graph.semantic import by_category, by_tags, by_title, by_vectors, similar
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


def test_without_wordllama_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fake(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "wordllama":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(MissingExtraError, match=r"pip install 'micgraph\[text\]'"):
        by_title(["a", "b"], "wordllama", 1)


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
