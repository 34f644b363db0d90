"""Sparse products of a relation with dense rows: what passes messages along a whole relation at once."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from micgraph.extras import missing
from micgraph.graph.relation import Relation
from micgraph.schema import ConfigError

Backend = Literal["torch", "torch_sparse"]


def check_backend(name: str, backend: str) -> None:
    """See that products can be made in this way.

    Args:
        name: the setting, for errors.

    Raises:
        ConfigError: no such backend.
        MissingExtraError: torch-sparse is asked for and not installed.
    """
    if backend not in get_args(Backend):
        raise ConfigError(name, f"one of {list(get_args(Backend))}", repr(backend), "choose one of these")
    if backend == "torch_sparse" and find_spec("torch_sparse") is None:
        raise missing(name, "torch-sparse", "take torch")


def propagate(
    rel: Relation,
    x: Tensor,
    weight: Tensor | None = None,
    transposed: tuple[Relation, Tensor | None] | None = None,
    backend: Backend = "torch",
) -> Tensor:
    """Sparse product: ``y[i] = sum over edges (i, j) of weight * x[j]``, with a gradient for ``x`` alone.

    Args:
        rel: the edges.
        x: float [n_cols, d].
        weight: float [E], ones by default.
        transposed: the same edges turned round and their weights. The backward pass then is such a product too, where
            torch would first turn the matrix round itself (on one core that took four times as long as the rest).
        backend: ``torch`` (its CSR matrices) or ``torch_sparse``; equal results. On CPU torch is the faster one.

    Returns:
        float [n_rows, d].

    Raises:
        MissingExtraError: torch-sparse is asked for and not installed.
    """
    product = _by_torch_sparse if backend == "torch_sparse" else _by_torch
    if transposed is None:
        return product(rel, x, weight)
    return _Product.apply(x, (rel, weight), transposed, product)  # type: ignore[no-any-return]


class _Product(torch.autograd.Function):
    """The product whose backward pass is the product with the transposed matrix that was given."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, edges: Any, transposed: Any, product: Any) -> Tensor:
        ctx.transposed, ctx.product = transposed, product
        return product(edges[0], x, edges[1])  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        rel, weight = ctx.transposed
        return ctx.product(rel, grads[0].contiguous(), weight), None, None, None


def _by_torch(rel: Relation, x: Tensor, weight: Tensor | None) -> Tensor:
    value = torch.ones(rel.n_edges, device=x.device, dtype=x.dtype) if weight is None else weight.to(x.dtype)
    shape = (rel.n_rows, rel.n_cols)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix = torch.sparse_csr_tensor(rel.indptr, rel.col.long(), value, shape, check_invariants=False)
    return matrix @ x


def _by_torch_sparse(rel: Relation, x: Tensor, weight: Tensor | None) -> Tensor:
    check_backend("backend", "torch_sparse")
    from torch_sparse import SparseTensor

    value = None if weight is None else weight.to(x.dtype)
    shape = (rel.n_rows, rel.n_cols)
    matrix = SparseTensor(rowptr=rel.indptr, col=rel.col.long(), value=value, sparse_sizes=shape, is_sorted=True)
    return matrix @ x  # type: ignore[no-any-return]
