"""Items that mean the same: neighbours by category, tags, title or a given embedding (MicRec 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn.functional import normalize

from micgraph.graph.alike import Groups
from micgraph.graph.fields import Field, Fields
from micgraph.graph.relation import Relation, row_cumsum
from micgraph.graph.sparse import Edges, gram
from micgraph.graph.titles import Encoder, check_encoder, title_vectors
from micgraph.graph.vector_search import Findings, nearest
from micgraph.schema import CATEGORY, EMBEDDING, TAGS, TITLE, ConfigError

SOURCES = (EMBEDDING, TITLE, TAGS, CATEGORY)
MAX_TITLES = 1_000
"""tf-idf passes over words in more titles than this: they say little, and the time would grow with their square."""
NOT_SIMILAR = "no similar items by"
"""What every reason says for which an item has no edges."""
_ROW_TICKETS = 2**24


def similar(
    fields: Fields,
    titles: Sequence[str | None],
    sources: Sequence[str] | Mapping[str, float],
    encode: Encoder = "tfidf",
    k: int = 10,
    checkpoint: str | Path | None = None,
    search: str = "auto",
    findings: Findings | None = None,
) -> Relation:
    """The union of each source's neighbours, with the largest score where two sources agree.

    Args:
        fields: the items' fields, N of them.
        titles: N texts; None or blank ones get no edges. May be empty where ``sources`` has no title.
        sources: some of :data:`SOURCES`. A mapping of them to positive weights makes a mix: the edges get weights by
            which positives are drawn, each source as often as its weight says among those that give the item any
            neighbour, and a source's neighbours equally often.
        encode, checkpoint: see :func:`by_title`.
        k: neighbours per item and source.
        search: how vectors are compared, see :func:`micgraph.graph.vector_search.nearest`.
        findings: is told which items get no edges, and what an approximate search finds.

    Returns:
        item -> item, rows ordered by item, with ``score`` in float16, or for a mix with ``cum`` instead: an edge takes
        8 bytes at most, and a mix is drawn by its weights.

    Raises:
        ConfigError: a source that the items do not have.
    """
    parts: list[Edges] = []
    n = len(next(iter(fields.values())))
    k = min(k, n)
    for source in sources:
        if source == TITLE and any(titles):
            parts.append(by_title(titles, encode, k, checkpoint, search, findings))
        elif source == EMBEDDING and source in fields:
            parts.append(by_vectors(fields[source].values, k, search, findings))
        elif source == TAGS and source in fields:
            parts.append(by_tags(fields[source], k, findings))
        elif source == CATEGORY and source in fields:
            parts.append(by_category(fields[source].first().numpy(), k, findings))
        else:
            had = [s for s in SOURCES if s in fields] + ([TITLE] if any(titles) else [])
            raise ConfigError("semantic", f"sources that the items have: {had}", source, "drop it or add the column")
    found = _union(parts, n)
    return _mixed(found, parts, list(sources.values())) if isinstance(sources, Mapping) else found


def by_category(codes: NDArray[Any], k: int, findings: Findings | None = None) -> Edges:
    """Up to ``k`` items of the same category (score 1), the next ones in id order, cyclically: so every item of a
    large category is as often a neighbour as any other.

    Args:
        codes: int [N]; 0 is no category.
        findings: see :func:`similar`.
    """
    _tell(findings, "item without a category: no similar items by it", int((codes == 0).sum()))
    order = np.flatnonzero(codes)[np.argsort(codes[codes > 0], kind="stable")]
    group = codes[order]
    _, start, which, size = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    base, place, size = start[which], np.arange(len(order)) - start[which], size[which]
    step = np.arange(1, k + 1)
    at, by = np.nonzero(step[None, :] < size[:, None])
    col = order[base[at] + (place[at] + step[by]) % size[at]]
    return order[at], col, np.ones(len(col), dtype=np.float32)


def by_tags(field: Field, k: int, findings: Findings | None = None) -> Edges:
    """The ``k`` items with the largest Jaccard overlap of their tags, among equals the next ones in id order.

    Each set of tags is compared once, however many items have it.
    """
    assert field.offsets is not None
    shape = (len(field), field.size)
    ones = np.ones(len(field.values), dtype=np.float32)
    tags = sparse.csr_matrix((ones, field.values.numpy(), field.offsets.numpy()), shape=shape, copy=True)
    tags.sum_duplicates()  # in place, hence the copy
    tags.data[:] = tags.indices > 0  # code 0 is a missing tag: two of them are nothing in common
    tags.eliminate_zeros()
    _tell(findings, "item without tags: no similar items by them", int((np.diff(tags.indptr) == 0).sum()))
    groups = Groups.by_content(tags.indices[a:b] for a, b in pairwise(tags.indptr))
    distinct = tags[groups.first]
    size = np.diff(distinct.indptr)

    def jaccard(row: NDArray[Any], col: NDArray[Any], both: NDArray[Any]) -> NDArray[Any]:
        shared: NDArray[Any] = both / (size[row] + size[col] - both)
        return shared

    return gram(distinct, rescale=jaccard, cut=lambda row, col, value: groups.spread(row, col, value, k))


def by_title(
    titles: Sequence[str | None],
    encode: Encoder,
    k: int,
    checkpoint: str | Path | None = None,
    search: str = "auto",
    findings: Findings | None = None,
) -> Edges:
    """The ``k`` items with the largest cosine of their titles.

    Args:
        titles: N texts.
        encode: ``"tfidf"`` (words that at most :data:`MAX_TITLES` titles have, sub-linear counts), or see
            :func:`micgraph.graph.titles.title_vectors`; these get each title once.
        k: neighbours per item.
        checkpoint: the folder of the sentence-transformers model.
        search, findings: see :func:`similar`.

    Raises:
        ConfigError: an encoder nobody knows, or one without its checkpoint.
        MissingExtraError: the encoder's package is not installed.
    """
    check_encoder(encode, checkpoint)
    index = np.array([i for i, text in enumerate(titles) if text and text.strip()], dtype=np.int64)
    texts = [str(titles[i]).strip() for i in index]
    _tell(findings, "item without a title: no similar items by it", len(titles) - len(index))
    if encode == "tfidf" or not texts:
        edges = _by_tfidf(texts, k, findings)
    else:
        number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        places = torch.tensor([number[text] for text in texts], dtype=torch.int64)
        edges = by_vectors(title_vectors(list(number), encode, checkpoint)[places], k, search, findings, TITLE)
    return index[edges[0]], index[edges[1]], edges[2]


def by_vectors(
    vectors: Tensor, k: int, search: str = "auto", findings: Findings | None = None, source: str = EMBEDDING
) -> Edges:
    """The ``k`` rows with the largest cosine; one of zeros, or with NaN or infinity, has none and is nobody's.

    Equal vectors are each other's neighbours first, the next ones in id order, cyclically. Among different ones that
    are equally near, those of which the first comes first win.

    Args:
        vectors: float [N, d].
        search, findings: see :func:`similar`.
        source: what the vectors are of, for the findings.
    """
    known = vectors.any(dim=1) & vectors.isfinite().all(dim=1)
    index = torch.nonzero(known).flatten().numpy()
    reason = f"item whose {source} has no vector, or one of zeros, nan or inf: no similar items by it"
    _tell(findings, reason, int((~known).sum()))
    if not len(index):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    unit = normalize(vectors[index].float(), dim=1) + 0.0  # -0.0 becomes 0.0
    groups = Groups.by_content(unit.numpy())
    score, near = nearest(unit[torch.from_numpy(groups.first)], k, search, findings, source)
    own, place = np.arange(len(near)), torch.nonzero(near >= 0, as_tuple=True)
    row, col = np.concatenate([place[0].numpy(), own]), np.concatenate([near[place].numpy(), own])
    value = np.concatenate([score[place].numpy(), np.ones(len(own), np.float32)])
    row, col, value = groups.spread(row, col, value, k)
    return index[row], index[col], value


def _tell(findings: Findings | None, reason: str, count: int) -> None:
    assert NOT_SIMILAR in reason
    if findings is not None and count:
        findings.notes[reason] = count


def _by_tfidf(texts: list[str], k: int, findings: Findings | None) -> Edges:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)
    words = vectorizer.build_analyzer()
    reason = f"item whose title has no word that at most {MAX_TITLES:,} titles have: no similar items by it"
    if not any(words(text) for text in texts):  # the vectorizer refuses an empty vocabulary
        _tell(findings, reason, len(texts))
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    weights = vectorizer.fit_transform(texts).tocsc()
    weights = weights[:, np.diff(weights.indptr) <= MAX_TITLES]
    length = np.sqrt(np.asarray(weights.power(2).sum(axis=1))).ravel()
    _tell(findings, reason, int((length == 0).sum()))
    return gram((sparse.diags(1 / np.maximum(length, 1e-9)) @ weights).astype(np.float32).tocsr(), k, near=True)


def _union(parts: list[Edges], n: int) -> Relation:
    row, col, score = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((-score, col, row))
    row, col, score = row[order], col[order], score[order]
    if len(row):
        first = np.r_[True, (row[1:] != row[:-1]) | (col[1:] != col[:-1])]
        row, col, score = row[first], col[first], score[first]
    indptr = torch.from_numpy(np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))]))
    return Relation(indptr, torch.from_numpy(col.astype(np.int32)), n, score=torch.from_numpy(score).half())


def _mixed(found: Relation, parts: Sequence[Edges], weights: Sequence[float]) -> Relation:
    """The union's edges with integer weights: of every source ``weight / (its neighbours of the item)``."""
    n, row, col = found.n_rows, found.row_index().numpy(), found.col.numpy()
    key, total = row * n + col, np.zeros(len(row))
    for (source, target, _), weight in zip(parts, weights, strict=True):
        degree = np.bincount(source, minlength=n)
        total[np.searchsorted(key, source * n + target)] += weight / max(weights) / degree[source]
    largest = np.maximum(np.bincount(row, weights=total, minlength=n), 1e-9)[row]
    tickets = torch.from_numpy(np.maximum(np.round(total / largest * _ROW_TICKETS), 1).astype(np.int64))
    return replace(found, cum=row_cumsum(found.indptr, tickets), score=None)
