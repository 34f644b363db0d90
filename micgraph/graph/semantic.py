"""Items that mean the same: neighbours by category, tags, title or a given embedding (MicRec 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from micgraph.graph.fields import Field, Fields
from micgraph.graph.relation import Relation
from micgraph.graph.sparse import Edges, gram
from micgraph.knn import Ragged, topk
from micgraph.schema import CATEGORY, EMBEDDING, TAGS, TITLE, ConfigError, MissingExtraError

Encoder = str | Callable[[list[str]], Any]
SOURCES = (EMBEDDING, TITLE, TAGS, CATEGORY)
MAX_TITLES = 1_000
"""tf-idf passes over words in more titles than this: they say little, and the time would grow with their square."""


def similar(
    fields: Fields, titles: Sequence[str | None], sources: Sequence[str], encode: Encoder = "tfidf", k: int = 10
) -> Relation:
    """The union of each source's neighbours, with the largest score where two sources agree.

    Args:
        fields: the items' fields, N of them.
        titles: N texts; None or blank ones get no edges. May be empty where ``sources`` has no title.
        sources: some of :data:`SOURCES`.
        encode: see :func:`by_title`.
        k: neighbours per item and source.

    Returns:
        item -> item, rows ordered by item, ``score`` in float16.

    Raises:
        ConfigError: a source that the items do not have.
    """
    parts: list[Edges] = []
    for source in sources:
        if source == TITLE and any(titles):
            parts.append(by_title(titles, encode, k))
        elif source == EMBEDDING and source in fields:
            parts.append(by_vectors(fields[source].values, k))
        elif source == TAGS and source in fields:
            parts.append(by_tags(fields[source], k))
        elif source == CATEGORY and source in fields:
            parts.append(by_category(fields[source].first().numpy(), k))
        else:
            had = [s for s in SOURCES if s in fields] + ([TITLE] if any(titles) else [])
            raise ConfigError("semantic", f"sources that the items have: {had}", source, "drop it or add the column")
    return _union(parts, len(next(iter(fields.values()))))


def by_category(codes: NDArray[Any], k: int) -> Edges:
    """Up to ``k`` items of the same category (score 1), the next ones in id order, cyclically: so every item of a
    large category is as often a neighbour as any other.

    Args:
        codes: int [N]; 0 is no category.
    """
    order = np.flatnonzero(codes)[np.argsort(codes[codes > 0], kind="stable")]
    group = codes[order]
    _, start, which, size = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    base, place, size = start[which], np.arange(len(order)) - start[which], size[which]
    step = np.arange(1, k + 1)
    at, by = np.nonzero(step[None, :] < size[:, None])
    col = order[base[at] + (place[at] + step[by]) % size[at]]
    return order[at], col, np.ones(len(col), dtype=np.float32)


def by_tags(field: Field, k: int) -> Edges:
    """The ``k`` items with the largest Jaccard overlap of their tags, among equals the next ones in id order."""
    assert field.offsets is not None
    shape = (len(field), field.size)
    ones = np.ones(len(field.values), dtype=np.float32)
    tags = sparse.csr_matrix((ones, field.values.numpy(), field.offsets.numpy()), shape=shape, copy=True)
    tags.sum_duplicates()  # in place, hence the copy
    tags.data[:] = tags.indices > 0  # code 0 is a missing tag: two of them are nothing in common
    tags.eliminate_zeros()
    size = np.diff(tags.indptr)
    return gram(tags, k, lambda row, col, both: both / (size[row] + size[col] - both), near=True)


def by_title(titles: Sequence[str | None], encode: Encoder, k: int) -> Edges:
    """The ``k`` items with the largest cosine of their titles.

    Args:
        titles: N texts.
        encode: ``"tfidf"`` (words that at most :data:`MAX_TITLES` titles have, sub-linear counts), ``"wordllama"``
            (static word vectors), or a callable that turns a list of M texts into an [M, d] array or tensor.
        k: neighbours per item.

    Raises:
        ConfigError: an encoder nobody knows.
        MissingExtraError: ``wordllama`` is not installed.
    """
    index = np.array([i for i, text in enumerate(titles) if text and text.strip()], dtype=np.int64)
    texts = [str(titles[i]).strip() for i in index]
    if encode == "tfidf":
        edges = _by_tfidf(texts, k)
    elif callable(encode) or encode == "wordllama":
        vectors = encode(texts) if callable(encode) else _wordllama(texts)
        edges = by_vectors(torch.as_tensor(vectors, dtype=torch.float32), k)
    else:
        raise ConfigError("encode", "'tfidf', 'wordllama' or a callable", repr(encode), "choose one of them")
    return index[edges[0]], index[edges[1]], edges[2]


def by_vectors(vectors: Tensor, k: int) -> Edges:
    """The ``k`` rows with the largest cosine, exactly; a zero row has no neighbours and is nobody's.

    Args:
        vectors: float [N, d].
    """
    index = torch.nonzero(vectors.any(dim=1)).flatten()
    vectors, n = vectors[index], torch.arange(len(index) + 1)
    score, col = topk(vectors, vectors, k, metric="cosine", exclude=Ragged(n, n[:-1]))
    row, slot = torch.nonzero(col >= 0, as_tuple=True)
    return index[row].numpy(), index[col[row, slot]].numpy(), score[row, slot].float().numpy()


def _by_tfidf(texts: list[str], k: int) -> Edges:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)
    words = vectorizer.build_analyzer()
    if not any(words(text) for text in texts):  # the vectorizer refuses an empty vocabulary
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    weights = vectorizer.fit_transform(texts).tocsc()
    weights = weights[:, np.diff(weights.indptr) <= MAX_TITLES]
    length = np.sqrt(np.asarray(weights.power(2).sum(axis=1))).ravel()
    return gram((sparse.diags(1 / np.maximum(length, 1e-9)) @ weights).astype(np.float32).tocsr(), k, near=True)


def _wordllama(texts: list[str]) -> Any:
    import os

    try:
        import wordllama
    except ImportError as error:
        remedy = "pip install 'micgraph[text]'"
        raise MissingExtraError("encode", "the package wordllama", "no such package", remedy) from error
    model = wordllama.WordLlama.load(cache_dir=os.path.dirname(wordllama.__file__), disable_download=True)
    return model.embed(texts)


def _union(parts: list[Edges], n: int) -> Relation:
    row, col, score = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((-score, col, row))
    row, col, score = row[order], col[order], score[order]
    if len(row):
        first = np.r_[True, (row[1:] != row[:-1]) | (col[1:] != col[:-1])]
        row, col, score = row[first], col[first], score[first]
    indptr = torch.from_numpy(np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))]))
    return Relation(indptr, torch.from_numpy(col.astype(np.int32)), n, score=torch.from_numpy(score).half())
