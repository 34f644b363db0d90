"""Approximate search of many vectors: what it reports, the same edges on any number of threads, when it is used."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn.functional import normalize

import micgraph as mg
from micgraph.graph import vector_search
from micgraph.graph.semantic import by_vectors
from micgraph.graph.vector_search import Findings, nearest
from micgraph.inspection import sections
from micgraph.inspection.facts import facts_of
from micgraph.knn import inverted, near
from micgraph.schema import ConfigError, MissingExtraError


def noise(n: int = 2_000, dim: int = 16, seed: int = 1) -> torch.Tensor:
    """Directions without any order, the hardest case for cells."""
    return normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def brute_force(vectors: torch.Tensor, row: int, k: int) -> set[int]:
    scores = (vectors.double().numpy() * vectors[row].double().numpy()).sum(1)
    scores[row] = -np.inf
    return set(np.argsort(-scores)[:k].tolist())


@pytest.fixture
def faiss() -> Any:
    return pytest.importorskip("faiss", reason="the cpu extra is not installed")


def test_the_recall_is_that_of_a_search_by_hand(faiss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, k = noise(), 7
    for sample, aim in ((1_000, 0.6), (200, 0.95), (5_000, 0.95)):
        monkeypatch.setattr(inverted, "SAMPLE", sample)
        monkeypatch.setattr(inverted, "AIM", aim)
        found = near(vectors, k, "test")
        rows = inverted.sampled(len(vectors))
        assert len(set(rows.tolist())) == len(rows) == min(sample, len(vectors))
        hits = [len(brute_force(vectors, row, k) & set(found.ids[row].tolist())) for row in rows.tolist()]
        assert found.recall == pytest.approx(sum(hits) / (k * len(rows)))
        assert aim <= found.recall or found.recall > 0.85  # no more than an eighth of the cells is ever read
        own = torch.arange(len(vectors))[:, None]
        assert (found.ids != own).all() and (found.ids >= 0).all()
        assert torch.allclose(found.score, (vectors[found.ids] * vectors[:, None]).sum(2), atol=1e-5)
        assert (found.score.diff(dim=1) <= 0).all()


def test_the_sample_stands_for_all(faiss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first centres are vectors too, which find more than others do: they must not be what is measured."""
    monkeypatch.setattr(inverted, "MOST_CELLS", 0.0)
    vectors = noise(8_000, 24)
    found = near(vectors, 5, "test")
    true = inverted.true_neighbors(vectors, torch.arange(len(vectors)), 5)
    assert found.recall == pytest.approx(inverted.recall(found.ids.numpy(), true), abs=0.03)


def test_a_search_that_reads_too_little_shows_it(
    faiss: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inverted, "FIRST_CELLS", 1)
    monkeypatch.setattr(inverted, "MOST_CELLS", 0.0)
    findings = Findings()
    with caplog.at_level(logging.INFO, "micgraph"):
        nearest(noise(), 10, "ivf", findings, "embedding")
    assert findings.measured["recall of similar items by embedding"] < 0.5
    (record,) = caplog.records
    low = findings.measured["recall of similar items by embedding"]
    assert record.levelno == logging.WARNING and f"{100 * low:.1f}%" in record.getMessage()
    caplog.clear()
    monkeypatch.setattr(inverted, "MOST_CELLS", 1.0)
    with caplog.at_level(logging.INFO, "micgraph"):
        nearest(noise(), 10, "ivf", findings, "embedding")
    assert (
        findings.measured["recall of similar items by embedding"] > 0.95 and caplog.records[-1].levelno == logging.INFO
    )


def test_all_cells_are_an_exact_search(faiss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inverted, "FIRST_CELLS", 10_000)
    vectors = noise(300)
    found = near(vectors, 5, "test")
    assert found.recall == 1
    assert [set(row) for row in found.ids.tolist()] == [brute_force(vectors, i, 5) for i in range(300)]
    few = near(noise(3), 5, "test")
    assert [set(row) - {-1} for row in few.ids.tolist()] == [{1, 2}, {0, 2}, {0, 1}] and few.recall == 1
    assert ((few.ids < 0) == few.score.isinf()).all()


def test_the_number_of_threads_changes_nothing(faiss: Any) -> None:
    vectors, before = noise(6_000, 24), (faiss.omp_get_max_threads(), torch.get_num_threads())
    found = []
    try:
        for threads in (1, 2, 3):
            faiss.omp_set_num_threads(threads)
            torch.set_num_threads(threads)
            found.append(near(vectors, 5, "test"))
            assert faiss.omp_get_max_threads() == threads
    finally:
        faiss.omp_set_num_threads(before[0])
        torch.set_num_threads(before[1])
    for other in found[1:]:
        assert torch.equal(found[0].ids, other.ids) and torch.equal(found[0].score, other.score)
        assert found[0].recall == other.recall


def test_repeats_count_once_for_the_threshold_and_the_search(faiss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_search, "MANY", 500)
    findings, distinct = Findings(), noise(500)
    repeated = torch.cat([distinct, distinct[:1].repeat(300, 1)])
    exact = by_vectors(repeated, 4, "exact")
    for ours, theirs in zip(by_vectors(repeated, 4, "auto", findings), exact, strict=True):
        assert np.array_equal(ours, theirs)
    assert not findings.measured
    row, col, _ = by_vectors(torch.cat([noise(501), repeated[500:]]), 4, "auto", findings)
    assert set(findings.measured) == {"recall of similar items by embedding"}
    group = np.r_[0, np.arange(501, 801)]
    assert set(col[np.isin(row, group)].tolist()) == set(group.tolist())


def test_below_the_threshold_edges_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    vectors = noise(200)
    row, col, _ = by_vectors(vectors, 6)
    for i in range(200):
        assert set(col[row == i].tolist()) == brute_force(vectors, i, 6)


def test_without_faiss_every_pair_is_compared_and_a_warning_tells(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vector_search, "MANY", 100)
    monkeypatch.setattr(vector_search, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "faiss", None)
    vectors = noise(200)
    _, ids = nearest(vectors, 3, "auto")
    assert [set(row) for row in ids.tolist()] == [brute_force(vectors, i, 3) for i in range(200)]
    assert "200 vectors are compared" in caplog.text and "minutes" in caplog.text and "micgraph[cpu]" in caplog.text
    caplog.clear()
    nearest(vectors, 3, "exact")
    assert not caplog.records
    with pytest.raises(MissingExtraError, match=r"semantic_search: expected the package faiss.*micgraph\[cpu\]"):
        nearest(vectors, 3, "ivf")


def log_with_vectors(n: int = 300) -> mg.Log:
    vectors: list[Any] = noise(n, 8).tolist()
    vectors[3], vectors[4], vectors[5] = None, [0.0] * 8, [float("nan")] * 8
    clicks = pa.table({"user_id": [1] * n, "item_id": range(n), "timestamp": [1_700_000_000 + i for i in range(n)]})
    return mg.read_log(clicks, items=pa.table({"item_id": range(n), "embedding": vectors}))


def test_a_graph_keeps_the_recall_and_shows_it(faiss: Any, tmp_path: Path) -> None:
    graph = mg.build(log_with_vectors(), {"semantic_search": "ivf"}, out=tmp_path / "graph")
    name = "recall of similar items by embedding"
    assert set(graph.measured) == {name} and 0.2 < graph.measured[name] <= 1
    loaded = mg.RecGraph.load(tmp_path / "graph")
    assert loaded.measured == graph.measured and loaded.config["semantic_search"] == "ivf"
    shown = f"{name}  {100 * graph.measured[name]:.1f}%"
    assert shown in str(loaded.summary())
    assert shown in sections.as_text(sections.of_facts(facts_of(loaded), loaded))
    assert graph.relation("similar").degree()[3:6].tolist() == [0, 0, 0]
    without = [count for reason, count in graph.refused.items() if "embedding has no vector" in reason]
    assert without == [3] and "embedding has no vector" in str(loaded.summary())


def test_a_graph_of_few_items_has_nothing_to_tell() -> None:
    graph = mg.build(log_with_vectors())
    assert not graph.measured and "measured" not in str(graph.summary())
    exact = mg.build(log_with_vectors(), {"semantic_search": "exact"})
    assert torch.equal(exact.relation("similar").col, graph.relation("similar").col)
    with pytest.raises(ConfigError, match="semantic_search: expected one of auto, exact, ivf"):
        mg.BuildConfig(semantic_search="hnsw")
