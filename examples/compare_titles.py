"""How well each encoder of titles finds news of the same category (MIND): which one MicRec's semantic task should use.

    python examples/compare_titles.py --raw PATH [--checkpoint FOLDER] [--most 5000]

PATH is a folder with MIND's ``news.tsv`` (id, category, subcategory, title, ...), a part of it under the name
``news_full_subset.tsv``, or ``news_titles.tsv`` (with a header: news_id, category, title). Of each title's ten nearest
others, the table has the share of the same category and of the same subcategory. An encoder whose package or model is
not at hand is printed as such. A category is no proof of likeness: the table ranks encoders, it does not judge them.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from micgraph.datasets import mind_small_titles
from micgraph.graph.semantic import by_title
from micgraph.schema import ConfigError, InputError, MissingExtraError

FILES = ("news.tsv", "news_full_subset.tsv", "news_titles.tsv")
ENCODERS = ("random", "tfidf", "wordllama", "sentence-transformers")
NEAREST = 10


def main(argv: Sequence[str] | None = None) -> None:
    """Read each file that is there, find neighbours by each encoder, print a table."""
    args = _arguments(argv)
    found = [Path(args.raw) / name for name in FILES if (Path(args.raw) / name).exists()]
    if not found:
        raise InputError("raw", f"a folder with one of {FILES}", args.raw, "name MIND's folder")
    results = {path.name: _compare(path, args) for path in found}
    print(json.dumps(results))


def _compare(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    news = _sample(_read(path), args.most)
    print(f"\n{path.name}: {len(news):,} titles, {len({row['category'] for row in news})} categories")
    print(f"{'encoder':<24}{'category':>10}{'subcategory':>13}{'found':>8}{'seconds':>9}")
    rows: dict[str, Any] = {}
    for encoder in ENCODERS:
        rows[encoder] = row = _judge(news, encoder, args.checkpoint)
        if "not at hand" in row:
            print(f"{encoder:<24}not at hand: {row['not at hand']}")
        else:
            cells = ["-" if row[name] is None else f"{row[name]:.3f}" for name in ("category", "subcategory")]
            print(f"{encoder:<24}{cells[0]:>10}{cells[1]:>13}{row['found']:>8.3f}{row['seconds']:>9.1f}", flush=True)
    return rows


def _judge(news: list[dict[str, str]], encoder: str, checkpoint: str | None) -> dict[str, Any]:
    titles, started = [row["title"] for row in news], time.perf_counter()
    try:
        row, col = _neighbours(titles, encoder, checkpoint)
    except (MissingExtraError, ConfigError) as error:
        return {"not at hand": f"{error.argument}: expected {error.expected}, got {error.got}"}
    shares = {name: _share(news, name, row, col) for name in ("category", "subcategory")}
    seconds = round(time.perf_counter() - started, 1)
    return shares | {"found": round(len(row) / len(news) / NEAREST, 4), "seconds": seconds}


def _neighbours(titles: list[str], encoder: str, checkpoint: str | None) -> tuple[Any, Any]:
    """Edges (title, near title) by number."""
    if encoder == "random":
        row = np.repeat(np.arange(len(titles)), NEAREST)
        return row, (row + np.random.default_rng(0).integers(1, len(titles), len(row))) % len(titles)
    return by_title(titles, encoder, NEAREST, checkpoint if encoder == "sentence-transformers" else None)[:2]


def _share(news: list[dict[str, str]], name: str, row: Any, col: Any) -> float | None:
    values = np.array([one.get(name) or "" for one in news])
    return round(float((values[row] == values[col]).mean()), 4) if values.astype(bool).all() and len(row) else None


def _read(path: Path) -> list[dict[str, str]]:
    if path.name == "news_titles.tsv":
        return [row for row in mind_small_titles(path).to_pylist() if row["title"].strip()]
    with path.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if line]
    return [{"category": line[1], "subcategory": line[2], "title": line[3]} for line in lines if line[3].strip()]


def _sample(news: list[dict[str, str]], most: int) -> list[dict[str, str]]:
    if len(news) <= most:
        return news
    return [news[i] for i in np.sort(np.random.default_rng(0).permutation(len(news))[:most])]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", required=True, help="MIND's folder")
    parser.add_argument("--checkpoint", help="the folder of a sentence-transformers model; nothing is downloaded")
    parser.add_argument("--most", type=int, default=5000, help="at most so many titles of a file, drawn at random")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
