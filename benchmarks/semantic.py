"""What an approximate search of similar items costs, and what it finds, beside the search of every pair.

    python benchmarks/semantic.py [--items 200000] [--dim 64] [--noise 1.0] [--titles 0] [--hnsw]

Vectors are generated: one direction for every 100 items, and around it normal noise whose length is ``--noise`` times
the direction's (100 leaves hardly any direction). The exact search is timed on 1,000 of the items and multiplied.
Seconds are processor time of one thread. ``--titles N`` times tf-idf of N titles of six words by Zipf's law among
50,000 instead; ``--hnsw`` adds FAISS's graphs at several widths. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from micgraph.graph.semantic import by_title
from micgraph.graph.vector_search import Findings
from micgraph.knn import near
from micgraph.knn.inverted import recall, true_neighbors

K, SAMPLE, PER_CLUSTER = 10, 1_000, 100


def main(argv: Sequence[str] | None = None) -> None:
    """Run one of the forms on one thread."""
    args = _arguments(argv)
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    print(json.dumps(_of_titles(args.titles) if args.titles else _of_vectors(args)))


def _of_vectors(args: argparse.Namespace) -> dict[str, Any]:
    vectors = _vectors(args.items, args.dim, args.noise)
    rows = torch.from_numpy(np.random.default_rng(1).permutation(args.items)[:SAMPLE])
    true, sampled = _timed(lambda: true_neighbors(vectors, rows, K))
    exact = sampled * args.items / len(rows)
    found, approximate = _timed(lambda: near(vectors, K, "benchmark"))
    if args.hnsw:
        _hnsw(vectors, rows, true)
    return {
        "items": args.items,
        "exact_s": round(exact, 1),
        "approximate_s": round(approximate, 1),
        "exact_to_approximate": round(exact / approximate, 2),
        "recall": round(recall(found.ids[rows].numpy(), true), 4),
        "reported_recall": round(found.recall, 4),
    }


def _hnsw(vectors: Tensor, rows: Tensor, true: Tensor) -> None:
    base = vectors.numpy()
    index = faiss.IndexHNSWFlat(base.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    _, seconds = _timed(lambda: index.add(base))
    print(f"HNSW of 32 links: {seconds:.0f} s to build", flush=True)
    for width in (32, 128, 512):
        index.hnsw.efSearch = width
        (_, ids), sampled = _timed(lambda: index.search(base[rows.numpy()], K + 1))
        share = recall(_without_self(ids, rows.numpy()), true)
        print(f"  width {width}: recall {share:.4f}, {sampled * len(base) / len(rows):.0f} s for all", flush=True)


def _without_self(ids: Any, rows: Any) -> Any:
    order = np.argsort(ids == rows[:, None], axis=1, kind="stable")[:, :K]
    return np.take_along_axis(ids, order, 1)


def _of_titles(n: int) -> dict[str, Any]:
    generator = np.random.default_rng(5)
    chance = 1 / np.arange(1, 50_001)
    words = generator.choice(50_000, (n, 6), p=chance / chance.sum())
    titles = [" ".join(f"w{word}" for word in row) for row in words]
    findings = Findings()
    edges, seconds = _timed(lambda: by_title(titles, "tfidf", K, findings=findings))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in kibibytes
    without = sum(findings.notes.values())
    return {
        "titles": n,
        "seconds": round(seconds, 1),
        "edges": len(edges[0]),
        "without": without,
        "peak_rss_gb": round(peak / 1e9, 2),
    }


def _vectors(n: int, dim: int, noise: float) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    centres = normalize(torch.randn(max(n // PER_CLUSTER, 1), dim, generator=generator), dim=1)
    cluster = torch.randint(len(centres), (n,), generator=generator)
    return normalize(centres[cluster] + noise / dim**0.5 * torch.randn(n, dim, generator=generator), dim=1)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.process_time()
    made = work()
    return made, time.process_time() - begun


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What an approximate search of similar items costs.")
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--titles", type=int, default=0)
    parser.add_argument("--hnsw", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
