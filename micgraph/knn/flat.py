"""FAISS, where it is installed, and its exact index on the CPU."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from micgraph.extras import missing


def load_faiss(argument: str, package: str = "faiss-cpu") -> Any:
    """The module ``faiss``, for the setting ``argument``; ``package`` brings it, ``faiss-cpu`` or ``faiss-gpu``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise missing(argument, package) from error
    return faiss


def flat_index(base: Tensor, argument: str) -> Any:
    """FAISS's flat index by inner product over ``base`` float [N, d]; for ``argument`` see :func:`load_faiss`."""
    index = load_faiss(argument).IndexFlatIP(base.shape[1])
    index.add(base.cpu().numpy())
    return index
