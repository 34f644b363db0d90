"""How much one item field tells about another: what correlated feature masking hides together (DECISIONS 17)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from micgraph.graph.fields import Field, Fields
from micgraph.schema import ITEM_ID

BINS = 10
"""Numbers are compared by their tenths."""


def mutual_information(fields: Fields) -> Tensor:
    """Mutual information of every two fields over a catalogue (Yao et al. 2021, correlated feature masking).

    ``sum p(v, w) log(p(v, w) / (p(v) p(w)))`` over the values of an item that is drawn uniformly:

    - a categorical field has its code, of which 0, "missing", is one like any other;
    - a multi-valued field has one of its values, drawn uniformly and apart from what the other field draws, so that
      every value counts and a long list no more than a short one; an empty list is missing;
    - a dense number has the tenth of the catalogue that it lies in, a content embedding the tenth of its projection
      on the first principal direction;
    - the item's id counts as independent of everything: each value occurs once, so that its plug-in estimate would
      be the other field's entropy, the largest there is, and would be the same for a shuffled column.

    Args:
        fields: of all N items, F of them.

    Returns:
        float32 [F, F] in nats, symmetric, zeros on the diagonal.
    """
    names = list(fields)
    told = torch.zeros(len(names), len(names))
    drawn = {name: _values(one) for name, one in fields.items() if name != ITEM_ID and len(one)}
    for i, one in enumerate(names):
        for j, other in enumerate(names[:i]):
            if one in drawn and other in drawn:
                told[i, j] = told[j, i] = _information(drawn[one], drawn[other])
    return told


def _information(a: sparse.csr_matrix, b: sparse.csr_matrix) -> float:
    n = a.shape[0]
    joint = (a.T @ b).tocoo()
    apart = np.asarray(a.sum(0)).ravel()[joint.row] * np.asarray(b.sum(0)).ravel()[joint.col]
    return float((joint.data / n * np.log(joint.data * n / apart)).sum())


def _values(field: Field) -> sparse.csr_matrix:
    """The probability of each value of each item: float64 [N, values], rows sum to 1."""
    n, values = len(field), field.values.cpu().numpy()
    if field.offsets is None:
        codes = values.astype(np.int64) if field.kind == "categorical" else _tenths(values)
        return sparse.csr_matrix((np.ones(n), (np.arange(n), codes)))
    offsets = field.offsets.cpu().numpy()
    length = np.diff(offsets)
    row = np.repeat(np.arange(n), length)
    empty = np.flatnonzero(length == 0)
    share = np.r_[1.0 / length[row], np.ones(len(empty))]
    place = np.r_[row, empty], np.r_[values.astype(np.int64), np.zeros(len(empty), np.int64)]
    return sparse.csr_matrix((share, place), shape=(n, field.size))


def _tenths(vectors: NDArray[Any]) -> NDArray[np.int64]:
    """float [N, d] -> int64 [N], by the first principal direction; fewer bins where values repeat."""
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    along = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1] if centred.shape[1] > 1 else centred[:, 0]
    edges = np.unique(np.quantile(along, np.linspace(0, 1, BINS + 1)[1:-1]))
    place: NDArray[np.int64] = np.searchsorted(edges, along, side="right")
    return place
