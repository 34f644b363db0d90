"""The search that is chosen reaches the recall, and is the least measured that does."""

from __future__ import annotations

import pytest
import torch

from micgraph.knn import EFFORT, IndexConfig, Ragged, VectorIndex, topk, tune_recall
from micgraph.schema import ConfigError, InputError

faiss = pytest.importorskip("faiss")


def scattered(n, seed):
    centres = torch.randn(60, 16, generator=torch.Generator().manual_seed(9))
    g = torch.Generator().manual_seed(seed)
    return centres[torch.randint(0, 60, (n,), generator=g)] + 0.9 * torch.randn(n, 16, generator=g)


def work(trial, kind):
    return [getattr(trial.settings, name) for name in EFFORT[kind]]


@pytest.mark.parametrize("kind", ["faiss_ivf", "faiss_hnsw", "faiss_int8", "faiss_pq"])
@pytest.mark.parametrize("several", [False, True])
def test_the_least_work_that_finds_enough(kind, several):
    base, queries = scattered(2_500, 0), scattered(120, 1)
    queries = queries.reshape(60, 2, 16) if several else queries
    exclude = Ragged(torch.arange(len(queries) + 1), torch.arange(len(queries)))
    built = IndexConfig(nlist=64, hnsw_m=8, ef_construction=20)
    tuned = tune_recall(VectorIndex(base, "cosine", kind, built), queries, 10, 0.9, exclude)
    true = topk(queries, base, 10, "cosine", exclude)[1].tolist()
    found = tuned.index.search(queries, 10, exclude)[1].tolist()
    hits = sum(len(set(a) & set(b)) for a, b in zip(found, true, strict=True)) / (10 * len(queries))
    assert hits == pytest.approx(tuned.chosen.recall) and hits >= 0.9
    assert tuned.index.settings == tuned.chosen.settings and tuned.chosen in tuned.trials
    effort = work(tuned.chosen, kind)
    same_refine = [t for t in tuned.trials if t.settings.refine == tuned.chosen.settings.refine]
    less = [t.recall for t in same_refine if work(t, kind) < effort]
    assert all(r < 0.9 for r in less)
    most = 64 if kind != "faiss_hnsw" else 320
    assert effort[0] < most, "on these vectors a part of them is enough"
    assert all(t.per_second > 0 for t in tuned.trials)


def test_codes_are_refined_until_they_do_not_limit_recall():
    base, queries = scattered(2_500, 0), scattered(100, 1)
    index = VectorIndex(base, "ip", "faiss_pq", IndexConfig(nlist=32, pq_m=1, refine=1))
    tuned = tune_recall(index, queries, 10, 0.95)
    assert tuned.chosen.settings.refine > 2 and tuned.trials[0].settings.refine == 1
    assert tuned.trials[0].recall < 0.6 and tuned.chosen.recall >= 0.95


@pytest.mark.parametrize("kind", ["torch", "faiss_flat"])
def test_exact_kinds_are_measured_once(kind):
    base = scattered(200, 0)
    tuned = tune_recall(VectorIndex(base, "ip", kind), base[:9], 5)
    assert [trial.recall for trial in tuned.trials] == [1.0]
    assert tuned.index.kind == kind


def test_a_recall_out_of_reach_is_refused_with_what_can_be_had():
    index = VectorIndex(scattered(2_500, 0), "cosine", "faiss_hnsw", IndexConfig(hnsw_m=4, ef_construction=4))
    with pytest.raises(
        ConfigError, match=r"recall: expected at most 0\.\d+, which faiss_hnsw reaches with ef_search=320"
    ):
        tune_recall(index, scattered(100, 1), 10, 0.9999)
    for recall in (0.0, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="recall"):
            tune_recall(index, scattered(5, 1), 10, recall)
    with pytest.raises(InputError, match="queries"):
        tune_recall(index, scattered(0, 1), 10)


def test_queries_that_can_find_nothing_find_all_there_is():
    base = torch.eye(1)
    own = Ragged(torch.tensor([0, 1]), torch.tensor([0]))
    assert tune_recall(VectorIndex(base, "ip", "faiss_hnsw"), base, 3, exclude=own).chosen.recall == 1.0


def test_equal_vectors_stand_for_each_other():
    base = torch.eye(8)[torch.arange(400) % 8]
    tuned = tune_recall(VectorIndex(base, "ip", "faiss_ivf", IndexConfig(nlist=8)), base[:20], 5, 1.0)
    assert tuned.chosen.settings.nprobe == 1 and tuned.chosen.recall == 1.0
