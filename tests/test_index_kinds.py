"""The contract of every kind of index: full rows, exact scores, nothing that is excluded, the same when loaded."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest
import torch

from micgraph.knn import IndexConfig, IndexKind, Ragged, VectorIndex, structure, topk
from micgraph.schema import ArtifactError, ConfigError, InputError, MissingExtraError

faiss = pytest.importorskip("faiss")
KINDS = tuple(kind for kind in get_args(IndexKind) if kind != "faiss_gpu")
APPROXIMATE = ("faiss_ivf", "faiss_hnsw", "faiss_int8", "faiss_pq")
WEAK = IndexConfig(nlist=30, nprobe=1, ef_search=1, ef_construction=4, hnsw_m=2, refine=1, pq_m=1)
WHOLE = IndexConfig(nlist=30, nprobe=30, ef_search=600, ef_construction=100, hnsw_m=16, refine=60)


def ragged(lists):
    flat = torch.tensor([i for x in lists for i in x], dtype=torch.int64)
    return Ragged(torch.tensor([0] + [len(x) for x in lists]).cumsum(0), flat)


def clustered(n, d, seed=0, clusters=20, spread=0.35):
    """Vectors around some centres, of very different lengths: by inner product others are near than by cosine."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(clusters, d, generator=torch.Generator().manual_seed(99))
    drawn = centres[torch.randint(0, clusters, (n,), generator=g)] + spread * torch.randn(n, d, generator=g)
    return drawn * (0.2 + 3 * torch.rand(n, 1, generator=g))


def whole_numbers(n, d):
    return torch.randint(-2, 3, (n, d), generator=torch.Generator().manual_seed(5)).float()


def dot(a, b, metric):
    value = sum(x * y for x, y in zip(a, b, strict=True))
    norm = math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    return value if metric == "ip" else (value / norm if norm else 0.0)


def recall(found, true):
    return sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), true.tolist(), strict=True)) / true.numel()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", ["ip", "cosine"])
@pytest.mark.parametrize("shape", [(6, 8), (6, 2, 8)])
def test_rows_are_full_ordered_and_exactly_scored_however_little_is_read(kind, metric, shape):
    queries, exclude = whole_numbers(12, 8)[: shape[0] * (len(shape) - 1)].reshape(shape), [[] for _ in range(6)]
    base = whole_numbers(400, 8)
    exclude[1], exclude[2], exclude[4] = [0, 1, -1], list(range(393)), list(range(400))
    index = VectorIndex(base, metric, kind, WEAK)
    scores, ids = index.search(queries, 12, ragged(exclude))
    vectors, several = base.tolist(), queries.reshape(6, -1, 8).tolist()
    for row in range(6):
        found = [i for i in ids[row].tolist() if i >= 0]
        assert len(set(found)) == len(found) == min(12, 400 - len(set(exclude[row]) - {-1}))
        assert not set(found) & set(exclude[row])
        assert ids[row, len(found) :].eq(-1).all() and scores[row, len(found) :].eq(-math.inf).all()
        expected = [max(dot(v, vectors[i], metric) for v in several[row]) for i in found]
        assert scores[row, : len(found)].tolist() == pytest.approx(expected, abs=1e-5)
        given = scores[row, : len(found)].tolist()
        assert [(-s, i) for s, i in zip(given, found, strict=True)] == sorted(
            (-s, i) for s, i in zip(given, found, strict=True)
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", ["ip", "cosine"])
@pytest.mark.parametrize("shape", [(5, 8), (5, 3, 8)])
def test_what_reads_everything_is_exact(kind, metric, shape):
    base, queries = clustered(500, 8), torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    exclude = ragged([[], [3, 4], list(range(0, 500, 2)), [7], []])
    index = VectorIndex(base, metric, kind, WHOLE)
    scores, ids = index.search(queries, 9, exclude)
    expected = topk(queries, base, 9, metric, exclude)
    assert torch.equal(ids, expected[1])
    torch.testing.assert_close(scores, expected[0])
    among = torch.arange(100, 130)
    assert torch.equal(index.search(queries, 9, exclude, among)[1], topk(queries, base, 9, metric, exclude, among)[1])
    assert torch.equal(
        index.search(queries, 9, exclude, index.subset(among))[0], index.search(queries, 9, exclude, among)[0]
    )


@pytest.mark.parametrize("kind", APPROXIMATE)
@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_recall_of_clustered_vectors(kind, metric):
    base, queries = clustered(2_000, 16), clustered(150, 16, seed=1)
    true, other = (topk(queries, base, 20, name)[1] for name in (metric, "cosine" if metric == "ip" else "ip"))
    assert recall(other, true) < 0.6, "the bound below would not tell a wrong metric"
    much, little = IndexConfig(nlist=40, nprobe=8, ef_search=100, refine=8), replace(WEAK, nlist=40, hnsw_m=8)
    assert recall(VectorIndex(base, metric, kind, much).search(queries, 20)[1], true) > 0.95
    assert recall(VectorIndex(base, metric, kind, little).search(queries, 20)[1], true) < 0.93


@pytest.mark.parametrize(
    ("kind", "name"), [("faiss_ivf", "nprobe"), ("faiss_hnsw", "ef_search"), ("faiss_pq", "refine")]
)
def test_more_work_finds_more(kind, name):
    base, queries = clustered(2_000, 16, clusters=100, spread=0.8), clustered(150, 16, 1, 100, 0.8)
    true = topk(queries, base, 10, "cosine")[1]
    index = VectorIndex(base, "cosine", kind, IndexConfig(nlist=64, nprobe=64, hnsw_m=8, ef_construction=8, pq_m=2))
    found = [
        recall(index.searching(replace(index.settings, **{name: size})).search(queries, 10)[1], true)
        for size in (1, 4, 16, 64)
    ]
    assert all(more > less - 0.01 for less, more in zip(found, found[1:], strict=False))
    assert found[-1] > found[0] + 0.1


@pytest.mark.parametrize("kind", APPROXIMATE)
@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_loaded_indexes_are_not_built_again(tmp_path, monkeypatch, kind, metric):
    base, queries = clustered(600, 8), clustered(40, 8, seed=1)
    settings = replace(WEAK, hnsw_m=4, ef_search=15, nprobe=2, refine=2)
    index = VectorIndex(base, metric, kind, settings)
    index.save(tmp_path / "index")
    scores, ids = index.search(queries, 10)
    monkeypatch.setattr(structure, "build", lambda *_: pytest.fail("built again"))
    back = VectorIndex.load(tmp_path / "index", metric=metric, dim=8)
    assert (back.kind, back.metric, back.settings, back.nbytes) == (kind, metric, settings, index.nbytes)
    assert all(map(torch.equal, back.search(queries, 10), (scores, ids)))
    with pytest.raises(ArtifactError, match="metric l2"):
        VectorIndex.load(tmp_path / "index", metric="l2")


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_queries_one_by_one(kind):
    base, queries = clustered(600, 8), clustered(30, 8, seed=1)
    exclude = [list(range(row * row)) for row in range(24)] + [[-1]] * 6
    index = VectorIndex(base, "cosine", kind, replace(WEAK, nprobe=3, hnsw_m=4, refine=2))
    scores, ids = index.search(queries, 10, ragged(exclude))
    for row in range(30):
        one = index.search(queries[row : row + 1], 10, ragged([exclude[row]]))
        assert torch.equal(one[1][0], ids[row])
        torch.testing.assert_close(one[0][0], scores[row])


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_equal_vectors_and_settings_give_equal_bytes(tmp_path, kind):
    for name in ("one", "two"):
        VectorIndex(clustered(900, 8), "cosine", kind).write_structure(tmp_path / name)
    VectorIndex(clustered(900, 8, seed=1), "cosine", kind).write_structure(tmp_path / "other")
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two != other


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_a_stored_structure_must_be_of_these_vectors(tmp_path, kind):
    stored = tmp_path / "structure.faiss"
    base = clustered(300, 8)
    VectorIndex(base, "ip", kind).write_structure(stored)
    another = "faiss_hnsw" if kind == "faiss_ivf" else "faiss_ivf"
    for vectors, wanted in ((base[:299], kind), (base[:, :4], kind), (base, another)):
        with pytest.raises(ArtifactError, match="make the index again"):
            VectorIndex(vectors, "ip", wanted, stored=stored)
    stored.write_bytes(stored.read_bytes()[:40])
    with pytest.raises(ArtifactError, match="an index that FAISS wrote"):
        VectorIndex(base, "ip", kind, stored=stored)
    with pytest.raises(ArtifactError, match="an index that FAISS wrote"):
        VectorIndex(base, "ip", kind, stored=tmp_path / "nothing")


@pytest.mark.parametrize("kind", KINDS)
def test_no_vectors_at_all(kind):
    assert VectorIndex(torch.zeros(0, 4), "ip", kind).search(torch.ones(2, 4), 3)[1].tolist() == [[-1] * 3] * 2


def test_what_cannot_be_built_is_refused():
    base = clustered(255, 8)
    with pytest.raises(ConfigError, match=r"nlist: expected at most 255, .*got 256"):
        VectorIndex(base, "ip", "faiss_ivf", IndexConfig(nlist=256))
    with pytest.raises(InputError, match=r"at least 256 for faiss_pq, got 255"):
        VectorIndex(base, "ip", "faiss_pq")
    with pytest.raises(ConfigError, match="pq_m: expected a divisor of the width 8, got 3"):
        VectorIndex(clustered(300, 8), "ip", "faiss_pq", IndexConfig(pq_m=3))
    with pytest.raises(ConfigError, match="faiss_hnsw, faiss_int8"):
        VectorIndex(base, "ip", "hnsw")
    with pytest.raises(ConfigError, match="hnsw_m"):
        IndexConfig(hnsw_m=1)


@pytest.mark.parametrize("kind", [k for k in get_args(IndexKind) if k != "torch"])
def test_without_faiss_the_extra_is_named(monkeypatch, kind):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"micgraph\[%s\]" % ("gpu" if kind == "faiss_gpu" else "cpu")):
        VectorIndex(torch.eye(3), "ip", kind)


def test_a_gpu_is_needed_for_its_kind(monkeypatch):
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    with pytest.raises(MissingExtraError, match=r"faiss for the CPU alone; .*micgraph\[gpu\]"):
        VectorIndex(torch.eye(3), "ip", "faiss_gpu")
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    with pytest.raises(ConfigError, match="a GPU that FAISS can use"):
        VectorIndex(torch.eye(3), "ip", "faiss_gpu")


def test_more_than_a_gpu_gives_at_once_is_searched_by_torch():
    base = clustered(50, 4)
    index, expected = VectorIndex(base, "ip", "faiss_flat"), topk(base[:6], base, 8, "ip", ragged([[], [1]] * 3))
    index.kind, index._structure = "faiss_gpu", replace(index._structure, most=8)
    assert torch.equal(index.search(base[:6], 8, ragged([[], [1]] * 3))[1], expected[1])
    assert index._structure.search(base[:2].numpy(), 9)[1].tolist() == [[-1] * 9] * 2
