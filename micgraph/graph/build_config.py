"""The settings of build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from micgraph.config import parse
from micgraph.graph.engines import EngineName, check_engine
from micgraph.graph.memory import memory
from micgraph.graph.semantic import SOURCES
from micgraph.graph.times import duration
from micgraph.graph.titles import check_encoder
from micgraph.graph.vector_search import SEARCHES
from micgraph.schema import ConfigError, check_range, check_whole

LARGEST = 2**31 - 1
"""No graph has more items, and no setting counts more."""


@dataclass(frozen=True)
class BuildConfig:
    """Settings of :func:`build`.

    Attributes:
        session_gap: a longer pause ends a session, where the log gives none.
        session_span: no session lasts longer than this.
        co_occurs_top_k: keep each item's largest co-occurrence counts only; all by default.
        semantic: where similarity edges come from: any of "embedding", "title", "tags", "category"; ``"auto"``
            takes those the items have, with the category only where there are no tags. A mapping such as
            ``{"title": 3, "tags": 1}`` mixes them: positives come from each in proportion to its weight.
        encode: how titles become vectors: "tfidf", "wordllama", "sentence-transformers" or a callable (list of
            texts -> array).
        checkpoint: the local folder of the sentence-transformers model; nothing is downloaded.
        semantic_k: similar items per item and source.
        semantic_search: how vectors of items (embeddings, encoded titles) are compared: "exact" is every pair; "ivf" is
            approximate, by FAISS, with the share of the true neighbours that it finds in the graph's ``measured``;
            "auto" takes it for more than 100,000 distinct vectors, where FAISS is installed. tf-idf, tags and
            categories are always exact.
        keep_unclicked: items of the items table that nobody has clicked are nodes too, so that they have vectors and
            can be recommended. They have their features and similarity edges but no id that a tower could learn: the
            id's code is 0, "never seen". Neither drawn negatives nor a softmax over the catalogue have them, since
            nobody is known to have passed them by.
            A split that drops rare items drops their clicks, not their rows.
        max_pairs_per_session: a session with more ordered pairs of distinct items only counts those of neighbours in
            time, as far apart as this number allows. What is cut is counted in ``refused``. All by default.
        memory_limit: such as "4GB": no more than this, and what Python and the libraries take themselves, some 500 MB,
            is in memory; the rest lies in temporary files beside ``out``. It covers what grows with the number of
            events, not features and semantic edges. The graph is the same with and without.
        engine: what makes clicks, sessions and co-occurrence: "duckdb", on this machine, or "spark", which writes
            Parquet files into a temporary folder beside ``out``; this machine loads them part by part. Every executor
            must see that folder under the same path. The graph is the same.
        spark_master: such as "spark://host:7077" or "local[2]": a session is started there and stopped in the end.
            By default the active Spark session is used.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    session_gap: str = "1h"
    session_span: str = "1h"
    co_occurs_top_k: int | None = None
    semantic: str | tuple[str, ...] | dict[str, float] = "auto"
    encode: Any = "tfidf"
    checkpoint: str | None = None
    semantic_k: int = 10
    semantic_search: str = "auto"
    keep_unclicked: bool = False
    max_pairs_per_session: int | None = None
    memory_limit: str | None = None
    engine: EngineName = "duckdb"
    spark_master: str | None = None

    def __post_init__(self) -> None:
        duration(self.session_gap, "session_gap")
        duration(self.session_span, "session_span")
        check_engine(self.engine, self.spark_master)
        check_range(vars(self), "co_occurs_top_k semantic_k max_pairs_per_session", at_least=1, at_most=LARGEST)
        check_whole("semantic_k", self.semantic_k)
        for name in ("co_occurs_top_k", "max_pairs_per_session"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        if self.memory_limit is not None:
            memory(self.memory_limit)
        named = isinstance(self.semantic, (list, tuple, dict)) and all(source in SOURCES for source in self.semantic)
        if self.semantic != "auto" and not named:
            expected = f"'auto' or a list of {SOURCES}, or a mapping of them to weights"
            raise ConfigError("semantic", expected, repr(self.semantic), "name some of these")
        if isinstance(self.semantic, dict):
            check_range({"semantic": list(self.semantic.values())}, "semantic", above=0)
        check_encoder(self.encode, self.checkpoint)
        if self.semantic_search not in SEARCHES:
            expected = "one of " + ", ".join(SEARCHES)
            raise ConfigError("semantic_search", expected, repr(self.semantic_search), "choose one of them")


def as_config(config: Any) -> BuildConfig:
    """Settings as such, from a mapping of those that differ from the defaults, or the defaults."""
    if config is None or isinstance(config, BuildConfig):
        return config or BuildConfig()
    if not isinstance(config, Mapping):
        remedy = 'write it as {"session_gap": "30m"}'
        raise ConfigError("config", "a BuildConfig or a mapping of settings", repr(config), remedy)
    return parse(BuildConfig, config)


def encoder_name(encode: Any) -> str:
    """What a graph calls an encoder of titles: its name, or that of the callable."""
    return encode if isinstance(encode, str) else getattr(encode, "__qualname__", "callable")


def settings_of(config: BuildConfig) -> dict[str, Any]:
    """What a graph keeps of the settings: an encoder that is a callable by its name."""
    return asdict(config) | {"encode": encoder_name(config.encode)}
