"""Loading the pairs that Spark has counted: ``co_occurs``, part by part."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import torch

from micgraph.graph import ingest
from micgraph.graph.buffers import Buffers
from micgraph.graph.numbering import ranges
from micgraph.graph.relation import Relation
from micgraph.progress import progress_bar
from micgraph.schema import CO_OCCURS, InputError


def load_counts(con: duckdb.DuckDBPyConnection, folder: Path, n_items: int, rows: int, buffers: Buffers) -> Relation:
    """The relation of counted pairs.

    Args:
        con: reads the files.
        folder: Parquet files of ``source, target, n``, the same pair once.
        n_items: number of items.
        rows: pairs that are in memory at a time.
        buffers: where edges go.

    Returns:
        As :func:`micgraph.graph.cooccurrence.co_occurrences` makes it.

    Raises:
        InputError: the counts of an item sum to more than int32 holds.
    """
    pairs = ingest.parquet(folder)
    sums = f"SELECT source, count(*) AS size, CAST(sum(n) AS BIGINT) AS total FROM {pairs} GROUP BY source"
    found = con.sql(sums).to_arrow_table()
    if (largest := int(max(found["total"].to_pylist(), default=0))) >= 2**31:
        remedy = "lower co_occurs_top_k or max_pairs_per_session"
        raise InputError("log", "counts of an item that sum to less than 2**31", f"{largest:,}", remedy)
    size = np.zeros(n_items, np.int64)
    size[found["source"].to_numpy()] = found["size"].to_numpy()
    indptr = np.concatenate([[0], np.cumsum(size)])
    names = [f"{CO_OCCURS}.{part}" for part in ("col", "cum")]
    for name in names:
        buffers.append(name, np.zeros(0, np.int32))
    query = f"SELECT target, n FROM {pairs} WHERE source >= $first AND source < $last ORDER BY source, target"
    with progress_bar(total=int(indptr[-1]), desc="co-occurrence", unit="pair", unit_scale=True) as bar:
        for first, last in ranges(indptr, rows):
            part = con.sql(query, params={"first": first, "last": last}).to_arrow_table()
            total = np.concatenate([[0], np.cumsum(part["n"].to_numpy())])
            before = total[indptr[first:last] - indptr[first]]
            buffers.append(names[0], part["target"].to_numpy().astype(np.int32))
            buffers.append(names[1], (total[1:] - np.repeat(before, size[first:last])).astype(np.int32))
            bar.update(len(part))
    col, cum = (buffers.finish(name) for name in names)
    return Relation(torch.from_numpy(indptr), col, n_items, cum=cum)
