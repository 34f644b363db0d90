"""Kinds of indexes, how they lay out vectors and how much of them a search reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from micgraph.schema import ConfigError, check_range

IndexKind = Literal["torch", "faiss_flat", "faiss_ivf", "faiss_hnsw", "faiss_int8", "faiss_pq", "faiss_gpu"]

EXACT: tuple[IndexKind, ...] = ("torch", "faiss_flat", "faiss_gpu")
CELLS: tuple[IndexKind, ...] = ("faiss_ivf", "faiss_int8", "faiss_pq")
QUANTISED: tuple[IndexKind, ...] = ("faiss_int8", "faiss_pq")
EFFORT: dict[IndexKind, tuple[str, ...]] = {
    "faiss_hnsw": ("ef_search",),
    "faiss_ivf": ("nprobe",),
    **dict.fromkeys(QUANTISED, ("nprobe", "refine")),
}
"""The settings of a search that each approximate kind reads."""


@dataclass(frozen=True)
class IndexConfig:
    """Settings of the approximate kinds, by FAISS's names; each kind reads its own, the exact ones none.

    Attributes:
        nlist: cells of ``faiss_ivf``, ``faiss_int8`` and ``faiss_pq``; None: four times the root of the number of
            vectors.
        nprobe: cells that a query reads.
        hnsw_m: links of a vector in ``faiss_hnsw``, twice as many on the lowest level.
        ef_construction: vectors that are held while the links of a new one are looked for.
        ef_search: vectors that are held while a query walks along the links; at least as many as it asks for.
        pq_m: bytes of a vector in ``faiss_pq``, a divisor of the width; None: the largest up to a quarter of it.
        refine: ``faiss_int8`` and ``faiss_pq`` take so many times k vectors, and the kept vectors rank them.
        threads: threads that build ``faiss_hnsw``. With one the same vectors give the same links; with more the links
            depend on how the threads take turns.

    Raises:
        ConfigError: a value out of range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    nlist: int | None = None
    nprobe: int = 32
    hnsw_m: int = 32
    ef_construction: int = 80
    ef_search: int = 256
    pq_m: int | None = None
    refine: int = 4
    threads: int = 1

    def __post_init__(self) -> None:
        check_range(vars(self), "nlist nprobe ef_construction ef_search pq_m refine threads", at_least=1)
        check_range(vars(self), "hnsw_m", at_least=2)


def checked(settings: Any) -> IndexConfig:
    """The settings as they are.

    Raises:
        ConfigError: something else, such as a mapping.
    """
    if not isinstance(settings, IndexConfig):
        raise ConfigError("settings", "an IndexConfig", repr(settings), "pass IndexConfig(nprobe=64) or the like")
    return settings
