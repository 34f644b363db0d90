"""Nearest neighbours against a loop in plain Python."""

from __future__ import annotations

import builtins
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph.knn import Ragged, VectorIndex, neighbors, topk
from micgraph.schema import ArtifactError, ConfigError, InputError, MissingExtraError


def ragged(lists):
    indptr = torch.tensor([0] + [len(x) for x in lists]).cumsum(0)
    return Ragged(indptr, torch.tensor([i for x in lists for i in x], dtype=torch.int64))


def dot(a, b, metric):
    value = sum(x * y for x, y in zip(a, b, strict=True))
    norm = math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    return value if metric == "ip" else (value / norm if norm else 0.0)


def oracle(queries, base, k, metric, exclude=None, among=None):
    scores, ids = [], []
    for row, query in enumerate(queries):
        vectors = query if isinstance(query[0], list) else [query]
        ranked = []
        for i, other in enumerate(base):
            if (exclude is None or i not in exclude[row]) and (among is None or i in among):
                ranked.append((-max(dot(v, other, metric) for v in vectors), i))
        ranked = sorted(ranked)[:k] + [(math.inf, -1)] * (k - len(ranked))
        scores.append([-s for s, _ in ranked])
        ids.append([i for _, i in ranked])
    return scores, ids


small = st.integers(-2, 2).map(float)


@st.composite
def problems(draw):
    n, d, b = draw(st.integers(0, 9)), draw(st.integers(1, 3)), draw(st.integers(0, 5))
    vector = st.lists(small, min_size=d, max_size=d)
    several = draw(st.booleans())
    query = st.lists(vector, min_size=2, max_size=2) if several else vector
    shape = (b, 2, d) if several else (b, d)
    base = draw(st.lists(vector, min_size=n, max_size=n))
    queries = draw(st.lists(query, min_size=b, max_size=b))
    ids = st.lists(st.integers(-1, n - 1), max_size=4)
    exclude = draw(st.none() | st.lists(ids, min_size=b, max_size=b))
    among = draw(st.none() | st.lists(st.integers(0, n - 1), max_size=5)) if n else None
    return queries, base, draw(st.integers(1, 11)), exclude, among, shape


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(1, 40))
def test_topk_is_the_loop_with_ties_by_smaller_id(problem, chunk):
    queries, base, k, exclude, among, shape = problem
    expected = oracle(queries, base, k, "ip", exclude, among)
    scores, ids = topk(
        torch.tensor(queries).reshape(shape),
        torch.tensor(base).reshape(len(base), shape[-1]),
        k,
        "ip",
        None if exclude is None else ragged(exclude),
        None if among is None else torch.tensor(among, dtype=torch.int64),
        chunk=chunk,
    )
    assert ids.reshape(-1, k).tolist() == expected[1]
    assert scores.reshape(-1, k).tolist() == expected[0]


@pytest.mark.parametrize("backend", ["torch", "faiss"])
@pytest.mark.parametrize("metric", ["ip", "cosine"])
@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 5)])
def test_backends_and_metrics_agree_with_the_loop(backend, metric, shape):
    if backend == "faiss":
        pytest.importorskip("faiss")
    generator = torch.Generator().manual_seed(1)
    queries, base = torch.randn(*shape, generator=generator), torch.randn(40, 5, generator=generator)
    base[7] = 0  # no direction: cosine 0
    exclude = [[0, 1, 2], [], [39], list(range(30)), [-1, 5], list(range(40))]
    expected = oracle(queries.tolist(), base.tolist(), 12, metric, exclude)
    scores, ids = topk(queries, base, 12, metric, ragged(exclude), backend=backend)
    assert ids.tolist() == expected[1]
    torch.testing.assert_close(scores, torch.tensor(expected[0]))
    one_by_one = [
        topk(queries[i : i + 1], base, 12, metric, ragged(exclude[i : i + 1]), backend=backend) for i in range(6)
    ]
    assert torch.equal(torch.cat([x[1] for x in one_by_one]), ids)


def test_faiss_finds_only_what_is_among():
    pytest.importorskip("faiss")
    base = torch.randn(30, 4, generator=torch.Generator().manual_seed(2))
    among = [3, 9, 9, 20]
    expected = oracle(base[:5].tolist(), base.tolist(), 4, "ip", [[3]] * 5, among)
    assert topk(base[:5], base, 4, "ip", ragged([[3]] * 5), torch.tensor(among), "faiss")[1].tolist() == expected[1]
    index = VectorIndex(base, "ip", "faiss_flat")
    assert index.search(base[:5], 4, ragged([[3]] * 5), torch.tensor(among))[1].tolist() == expected[1]
    assert index.search(base[:5], 4, ragged([[3]] * 5), index.subset(torch.tensor(among)))[1].tolist() == expected[1]


@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_a_subset_is_searched_again_and_again(metric):
    base = torch.randn(20, 3, generator=torch.Generator().manual_seed(4))
    index, among = VectorIndex(base, metric), [17, 2, 2, 5, 11]
    subset = index.subset(torch.tensor(among))
    assert subset.ids.tolist() == [2, 5, 11, 17]
    for start, exclude in ((0, None), (7, [[2, 4], [-1], list(range(20))])):
        queries = base[start : start + 3]
        scores, ids = index.search(queries, 5, None if exclude is None else ragged(exclude), subset)
        expected = oracle(queries.tolist(), base.tolist(), 5, metric, exclude, among)
        assert ids.tolist() == expected[1]
        torch.testing.assert_close(scores, torch.tensor(expected[0]))


@pytest.mark.parametrize(
    ("among", "message"),
    [
        (torch.ones(4, dtype=torch.bool), r"ids, int64 \[C\], got torch.bool .*mask.nonzero"),
        (torch.tensor([0.0]), "torch.float32"),
        (torch.tensor([[0]]), r"int64 \[1, 1\]"),
        (torch.tensor([3, 4]), "from 0 to 3, got 3 to 4"),
        (torch.tensor([-1]), "from 0 to 3, got -1 to -1"),
    ],
)
def test_among_takes_ids_that_exist(among, message):
    for search in (
        lambda: topk(torch.eye(4), torch.eye(4), 1, among=among),
        lambda: VectorIndex(torch.eye(4)).subset(among),
    ):
        with pytest.raises(InputError, match=message):
            search()


@given(st.lists(st.lists(st.integers(-1, 5), max_size=5), min_size=1, max_size=4))
def test_ragged_contains(lists):
    ids = torch.arange(-1, 7).repeat(len(lists), 1)
    expected = [[i >= 0 and i in row for i in range(-1, 7)] for row in lists]
    assert ragged(lists).contains(ids).tolist() == expected
    assert (ragged(lists).n_rows, ragged(lists).longest()) == (len(lists), max(map(len, lists)))


@given(st.lists(st.lists(st.integers(-1, 5), max_size=5), min_size=1, max_size=4), st.data())
def test_ragged_picks_rows_with_their_times(lists, data):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=6))
    whole = ragged(lists)
    whole = whole._replace(time=torch.arange(len(whole.items)))
    got = whole.pick(torch.tensor(rows, dtype=torch.int64))
    expected = ragged([lists[row] for row in rows])
    assert (got.indptr.tolist(), got.items.tolist()) == (expected.indptr.tolist(), expected.items.tolist())
    assert whole.items[got.time].tolist() == got.items.tolist() and got.n_rows == len(rows)


def test_neighbor_table_leaves_out_the_vector_itself():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.0]])
    table = neighbors(vectors, 4, "cosine")
    assert table.col[:, :3].tolist() == [[3, 1, 2], [0, 3, 2], [1, 0, 3], [0, 1, 2]]
    assert table.col[:, 3].tolist() == [-1] * 4 and table.score[:, 3].tolist() == [0.0] * 4
    assert (table.col.dtype, table.score.dtype) == (torch.int32, torch.float16)
    assert neighbors(vectors, 1, exclude_self=False).col[:, 0].tolist() == [0, 1, 2, 0]
    assert torch.isfinite(neighbors(vectors * 1e4, 2, "ip").score).all()  # float16 ends at 65504


@pytest.mark.parametrize("kind", ["torch", "faiss_flat"])
def test_index_round_trip_keeps_the_metric(tmp_path, kind):
    if kind == "faiss_flat":
        pytest.importorskip("faiss")
    vectors = torch.randn(50, 4, generator=torch.Generator().manual_seed(3)) * torch.arange(1, 51)[:, None]
    VectorIndex(vectors, "cosine", kind).save(tmp_path / "index")
    index = VectorIndex.load(tmp_path / "index", metric="cosine", dim=4)
    assert (index.metric, index.kind, len(index), index.dim) == ("cosine", kind, 50, 4)
    assert index.search(vectors[:8], 5)[1].tolist() == oracle(vectors[:8].tolist(), vectors.tolist(), 5, "cosine")[1]
    with pytest.raises(ArtifactError, match="metric ip"):
        VectorIndex.load(tmp_path / "index", metric="ip")
    with pytest.raises(ArtifactError, match="dim 5"):
        VectorIndex.load(tmp_path / "index", dim=5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"k": 0},
        {"k": 1, "metric": "l2"},
        {"k": 1, "backend": "annoy"},
        {"k": 1, "queries": torch.zeros(2, 3)},
    ],
)
def test_bad_arguments_of_topk(arguments):
    given_arguments = {"queries": torch.zeros(2, 2), "base": torch.zeros(3, 2), **arguments}
    with pytest.raises(InputError):
        topk(**given_arguments)


def test_bad_index():
    with pytest.raises(InputError, match="inf or nan"):
        VectorIndex(torch.tensor([[float("nan")]]))
    with pytest.raises(ConfigError, match="torch, faiss_flat"):
        VectorIndex(torch.zeros(2, 2), kind="tree")
    with pytest.raises(InputError, match="shape"):
        VectorIndex(torch.zeros(2, 2)).search(torch.zeros(1, 3), 1)


def test_without_faiss_the_error_has_the_pip_line(monkeypatch):
    real = builtins.__import__

    def no_faiss(name, *rest):
        if name == "faiss":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_faiss)
    with pytest.raises(MissingExtraError, match=r"pip install 'micgraph\[cpu\]'"):
        topk(torch.zeros(1, 2), torch.zeros(2, 2), 1, backend="faiss")


def test_importing_knn_does_not_import_faiss():
    code = "import sys, micgraph.knn; sys.exit('faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
