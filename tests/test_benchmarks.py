"""Benchmarks run on small logs, and what they compare is equal."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.toy import random_rows, toy_graph

pytest.importorskip("resource", reason="measures memory as Unix does")
REPOSITORY = Path(__file__).resolve().parents[1]


def last_line(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "benchmarks/build.py", "--folder", str(folder), *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    assert not list(folder.iterdir()), "temporary files are gone"
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_time_and_memory(tmp_path: Path) -> None:
    found = last_line(tmp_path, "--events", "20000", "--memory-limit", "500MB")
    assert set(found) == {"seconds", "events_per_s", "peak_rss_gb", "pairs"}
    assert found["seconds"] > 0 and found["events_per_s"] > 0 and found["pairs"] > 5_000
    assert 0.1 < found["peak_rss_gb"] < 1.5


def test_compared_with_pandas_and_scipy(tmp_path: Path) -> None:
    found = last_line(tmp_path, "--compare", "--events", "20000")
    names = {"build_speedup_vs_pandas", "cooc_speedup_vs_scipy", "cooc_time_vs_implicit", "equal_counts"}
    assert set(found) == names and found["equal_counts"] is True


def test_both_samplers_give_whole_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch_sparse", reason="PyG's NeighborLoader needs torch-sparse")
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    sampler = importlib.import_module("sampler")
    monkeypatch.setattr(sampler, "BATCH", 64)
    monkeypatch.setattr(sampler, "FANOUT", [3, 3])
    graph = toy_graph(random_rows(90, 20), 20)
    assert sampler.compare("toy", graph, 1) > 0
    sides = sampler.Sides(graph)
    nodes, edges, features = next(sides.ours())
    for kind in edges:
        short = edges | {kind: edges[kind][:, 1:]}
        with pytest.raises(AssertionError):
            sides.check((nodes, short, features), 0)


@pytest.mark.parametrize("arguments", [["--items", "3000", "--hnsw"], ["--titles", "2000"]])
def test_similar_items(arguments: list[str]) -> None:
    pytest.importorskip("faiss", reason="the cpu extra is not installed")
    command = [sys.executable, "benchmarks/semantic.py", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    found = json.loads(done.stdout.splitlines()[-1])
    if "--titles" in arguments:
        assert found["titles"] == 2000 and found["edges"] > 10_000 and found["seconds"] > 0
    else:
        assert found["items"] == 3000 and found["exact_s"] > 0 and found["approximate_s"] > 0
        assert 0.9 < found["recall"] <= 1 and abs(found["recall"] - found["reported_recall"]) < 0.05


def test_live_stores() -> None:
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    stores = ["lmdb", "redis"] if shutil.which("redis-server") else ["lmdb"]
    size = ["--seconds", "1", "--events", "600", "--recalls", "5", "--users", "100", "--items", "4000"]
    command = [sys.executable, "benchmarks/stores.py", *size, "--stores", *stores]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    found = json.loads(done.stdout.splitlines()[-1])
    for store in stores:
        assert found[f"right_{store}"] is True
        assert found[f"events_per_s_{store}"] > 0 and found[f"p99_recall_ms_{store}"] > 0


def test_a_store_that_loses_an_event_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    stores = importlib.import_module("stores")
    monkeypatch.setattr(stores, "SIZE", 5)
    events, keys, items = stores._events(500, 20, 50), stores.user_keys(range(20)), stores.item_keys(range(50))
    known = stores._sorted_rows(events, items)
    sent = [keys[user] for user in events[:, 0].tolist()], items[events[:, 1]], events[:, 2]
    with stores.LmdbStore(tmp_path / "store", size=5) as store:
        store.append(*(part[:-1] for part in sent))
        assert not stores._complete(store, known, keys)
        store.append(*(part[-1:] for part in sent))
        assert stores._complete(store, known, keys)
        found = store.read(keys)
        assert stores._plausible(np.arange(20), found, known)
        assert not stores._plausible(np.arange(20)[::-1], found, known)


def test_memory_of_graph_and_batches(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/batches.py", "--events", "20000", "--steps", "3", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"bytes_per_click", "bytes_per_click_clicks", "bytes_per_click_positions"}
    assert found["bytes_per_click"] == max(found.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph-2000", "graph-20000"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads its memory as Linux says it")
def test_a_few_queries_at_a_time() -> None:
    command = [sys.executable, "benchmarks/micro_batch.py", "--batch", "512", "--micro", "64"]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True, timeout=600)
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"memory_share_64", "time_share_64"}
    assert 0 < found["memory_share_64"] < 1 and found["time_share_64"] > 0


def test_requests_and_batches_of_a_recommender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("faiss", "lmdb", "redis"):
        pytest.importorskip(package, reason="the extras cpu and serve are not installed")
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    for name in ("retrieval", "retrieval_data", "live_clicks"):
        monkeypatch.setattr(importlib.import_module(name), "CLUSTERS", 40)
    retrieval, stores = importlib.import_module("retrieval"), ["lmdb", "redis"] if shutil.which("redis-server") else []
    sizes = ["--users", "300", "--items", "2000", "--requests", "20", "--batch", "300", "--repeats", "1"]
    places = ["--cache", str(tmp_path), "--stores", *stores, "--threads", str(torch.get_num_threads())]
    for expected in ("made in", "read from the cache"):
        retrieval.main([*sizes, *places])
        printed = capsys.readouterr().out.splitlines()
        assert sum(expected in line for line in printed) == 4
        assert sum("clicks of each user are there" in line for line in printed) == (expected[0] == "r") * len(stores)
    found = json.loads(printed[-1])
    assert any("deviation 0.06" in line for line in printed) and 0.95 <= found.pop("recall_vs_exact") <= 1
    names = {f"{figure}_{name}" for figure in ("p99_ms", "batch_ratio") for name in stores}
    assert set(found) == names | {"p99_ms_memory", "p99_ms_lmdb", "p99_ms_redis", "batch_ratio"}
    assert all(found[name] > 0 for name in names | {"p99_ms_memory", "batch_ratio"})
