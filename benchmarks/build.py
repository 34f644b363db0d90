"""What building a graph costs in time and memory.

    python benchmarks/build.py --events 20000000 [--memory-limit 4GB]
    python benchmarks/build.py --compare [--events 5000000] [--globo PATH]

The log is generated, see clicks.py, and its generation is not timed. The first form reads and builds in a process of
its own, whose peak memory it prints; a tiny build before that keeps the compiled loops on disk. The last line is JSON;
``pairs`` are edges of ``co_occurs``. The second form builds beside pandas and scipy's product, and beside implicit's
ItemItemRecommender where that is installed. Times of the co-occurrence are the best of three turns; scipy's is of the
product alone, without the cut to 50 an item that ours and implicit's have.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import rivals
import torch
from clicks import write_clicks
from scipy import sparse

import micgraph as mg
from micgraph.graph.baskets import distinct_baskets
from micgraph.graph.cooccurrence import co_occurrences

TOP_K = 50
TURNS = 3
PLAIN = {name: name for name in ("user_id", "item_id", "timestamp")}
GLOBO = {"user_id": "user_id", "click_article_id": "item_id", "click_timestamp": "timestamp"}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one of the two forms."""
    args = _arguments(argv)
    if args.child:
        print(json.dumps(_child(Path(args.child), args.memory_limit)))
        return
    with TemporaryDirectory(prefix="micgraph-benchmark-", dir=args.folder) as folder:
        if args.compare:
            _compare(Path(folder), args.events or 5_000_000, args.globo)
        else:
            _measure(Path(folder), args.events or 20_000_000, args.memory_limit)


def _measure(folder: Path, events: int, limit: str | None) -> None:
    if limit is None:
        limit = "4GB" if events <= 20_000_000 else "8GB"
    for name, size in (("tiny", 1_000), ("log", events)):
        (folder / name).mkdir()
        begun = time.perf_counter()
        write_clicks(folder / name, size)
    print(f"{events:,} events generated in {time.perf_counter() - begun:.0f} s; memory_limit {limit}", flush=True)
    for name in ("tiny", "log"):
        command = [sys.executable, __file__, "--child", str(folder / name), "--memory-limit", limit]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(f"reading {found['read_s']} s, building and saving {found['build_s']} s, {found['graph']}")
    print(json.dumps({name: found[name] for name in ("seconds", "events_per_s", "peak_rss_gb", "pairs")}))


def _child(log: Path, limit: str | None) -> dict[str, Any]:
    """Read and build, and nothing else."""
    begun = time.perf_counter()
    events = mg.read_log(str(log / "*.parquet"), time_unit="s", memory_limit=limit)
    read = time.perf_counter()
    config = mg.BuildConfig(co_occurs_top_k=TOP_K, memory_limit=limit)
    graph = mg.build(events, config, log.parent / f"{log.name}-graph")
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in kibibytes
    return {
        "seconds": round(seconds, 2),
        "events_per_s": round(graph.relation("clicks").n_edges / seconds),
        "peak_rss_gb": round(peak / 1e9, 3),
        "pairs": graph.relation("co_occurs").n_edges,
        "read_s": round(read - begun, 2),
        "build_s": round(seconds - read + begun, 2),
        "graph": ", ".join(f"{name} {rel.n_edges:,}" for name, rel in graph.relations.items()),
    }


def _compare(folder: Path, events: int, globo: str | None) -> None:
    for name, size in (("tiny", 1_000), ("log", events)):
        (folder / name).mkdir()
        write_clicks(folder / name, size)
    logs = {name: (sorted(map(str, (folder / name).glob("*.parquet"))), PLAIN, "s") for name in ("tiny", "log")}
    _ratios(*logs["tiny"])  # compiles and loads what is there
    if globo is not None:
        plain = folder / "globo.parquet"  # without its session ids, which pandas' build does not read
        pq.write_table(pq.read_table(globo, columns=list(GLOBO)), plain)
        print("Globo", json.dumps(_ratios([str(plain)], GLOBO, "ms", show=True)), flush=True)
    print(json.dumps(_ratios(*logs["log"], show=True)))


def _ratios(files: list[str], names: dict[str, str], unit: Any, show: bool = False) -> dict[str, Any]:
    """Build one log in every way."""
    timed = rivals.Timed()
    ours = {new: old for old, new in names.items()}
    graph = mg.build(mg.read_log(files, columns=ours, time_unit=unit), {"co_occurs_top_k": TOP_K})
    timed.stage("micgraph, whole")
    baskets, expected, by_pandas = rivals.pandas_build(files, names, {"s": 1, "ms": 1_000}[unit], TOP_K)
    timed.stage("pandas and scipy, whole")
    seconds = timed.seconds
    pairs, contains = graph.relation("co_occurs"), graph.relation("contains")
    implicit = rivals.implicit_knn(baskets, TOP_K + 1)
    turns = [_turn(contains, baskets) for _ in range(TURNS)]
    seconds |= {name: min(turn[name] for turn in turns) for name in turns[0]}
    found = sparse.csr_matrix((pairs.weight().numpy(), pairs.col.numpy(), pairs.indptr.numpy()), expected.shape)
    equal = not (found != expected).nnz and found.nnz == expected.nnz
    if implicit is not None:
        equal &= np.array_equal(rivals.ranked_counts(implicit[0], TOP_K), rivals.ranked_counts(found, TOP_K))
    if show:
        print(
            f"{graph.relation('clicks').n_edges:,} events, {pairs.n_edges:,} pairs, {torch.get_num_threads()} threads"
        )
        for name, value in (seconds | {f"  pandas: {stage}": s for stage, s in by_pandas.seconds.items()}).items():
            print(f"{value:>9.2f} s  {name}")
        if implicit is None:
            print("implicit is not installed: not compared with it", flush=True)
    cooc = seconds["micgraph, co-occurrence"]
    return {
        "build_speedup_vs_pandas": round(seconds["pandas and scipy, whole"] / seconds["micgraph, whole"], 2),
        "cooc_speedup_vs_scipy": round(seconds["scipy, product"] / cooc, 2),
        "cooc_time_vs_implicit": implicit and round(cooc / seconds["implicit, ItemItemRecommender"], 2),
        "equal_counts": bool(equal),
    }


def _turn(contains: Any, baskets: Any) -> dict[str, float]:
    """Seconds of the three ways to count co-occurrence, one after the other."""
    timed = rivals.Timed()
    co_occurrences(distinct_baskets(contains), TOP_K)
    timed.stage("micgraph, co-occurrence")
    rivals.product(baskets)
    timed.stage("scipy, product")
    implicit = rivals.implicit_knn(baskets, TOP_K)
    return timed.seconds | ({} if implicit is None else {"implicit, ItemItemRecommender": implicit[1]})


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, help="size of the generated log; 20 million, or 5 to compare")
    parser.add_argument("--memory-limit", help="of reading and building; 4GB up to 20 million events, else 8GB")
    parser.add_argument("--compare", action="store_true", help="build beside pandas, scipy and implicit")
    parser.add_argument("--globo", help="Globo's clicks.parquet, compared as well")
    parser.add_argument("--folder", help="where temporary files go; the system's folder by default")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
