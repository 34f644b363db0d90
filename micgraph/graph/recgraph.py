"""RecGraph: users, items and sessions with the relations between them; what every later stage reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from micgraph.graph.fields import Field, Fields
from micgraph.graph.relation import EDGE_BYTES, Relation
from micgraph.schema import CATEGORY, CLICKS, EDGE_TYPES, HAS, ITEM, SESSION, TITLE, USER, ConfigError, InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch_geometric.data import HeteroData

    from micgraph.graph.residue import Residue
    from micgraph.graph.summary import Summary
    from micgraph.ids import IdMap


@dataclass(eq=False, repr=False)
class RecGraph:
    """A heterogeneous graph made by :func:`micgraph.build` or :meth:`load`.

    Attributes:
        relations: name -> edges: ``clicks`` and ``contains`` (ordered by time), ``has``, ``co_occurs``, ``similar``.
        item_fields, user_fields: what the towers read; the id comes first.
        users, items: external ids, or None on a machine without pyarrow.
        item_vocab, user_vocab: how values became codes (see :mod:`micgraph.graph.catalog`).
        items_table: raw item features in internal order, for names in outputs, or None.
        epoch: seconds since 1970 UTC of time 0; all times below are seconds since then.
        refused: reason -> rows of the log and of the feature tables that are not in the graph, and items that a
            source of similarity edges says nothing about.
        measured: what -> the share that was measured of what the build did approximately.
        config: the build's settings.
        manifest: how the split made the log, or None.
        residue: what :func:`micgraph.append` needs beside the rest, or None where nothing can be appended.
    """

    relations: dict[str, Relation]
    item_fields: Fields
    user_fields: Fields
    users: IdMap | None = None
    items: IdMap | None = None
    item_vocab: dict[str, pa.Array] = field(default_factory=dict)
    user_vocab: dict[str, pa.Array] = field(default_factory=dict)
    items_table: pa.Table | None = None
    epoch: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None
    residue: Residue | None = None

    def __post_init__(self) -> None:
        self._reversed: dict[str, Relation] = {}
        self._fingerprint: str | None = None

    @property
    def n_users(self) -> int:
        """Number of users, the rows of ``clicks``."""
        return self.relations[CLICKS].n_rows

    @property
    def n_items(self) -> int:
        """Number of items, the columns of ``clicks``."""
        return self.relations[CLICKS].n_cols

    @property
    def n_sessions(self) -> int:
        """Number of sessions, 0 without the relation ``has``."""
        return self.relations[HAS].n_cols if HAS in self.relations else 0

    @property
    def n_nodes(self) -> dict[str, int]:
        """Number of nodes by type."""
        return {USER: self.n_users, ITEM: self.n_items, SESSION: self.n_sessions}

    @property
    def last_time(self) -> int:
        """The time of the last click, in seconds since :attr:`epoch`."""
        time = self.relations[CLICKS].time
        return int(time.max()) if time is not None and len(time) else 0

    @property
    def category(self) -> Tensor:
        """The category code of every item, int64 [n_items]; 0 is unknown, and of several the first counts."""
        found = self.item_fields.get(CATEGORY)
        if found is not None:
            return found.first()
        return torch.zeros(self.n_items, dtype=torch.int64, device=self.relations[CLICKS].device)

    def relation(self, name: str, reverse: bool = False) -> Relation:
        """The edges of one type; ``reverse`` turns them round (computed once).

        Raises:
            ConfigError: the graph has no such relation.
        """
        if name not in self.relations:
            remedy = "name one of these, or build the graph with the features or settings that make it"
            raise ConfigError("relation", f"one of {list(self.relations)}", repr(name), remedy)
        if not reverse:
            return self.relations[name]
        if name not in self._reversed:
            self._reversed[name] = self.relations[name].reverse()
        return self._reversed[name]

    def popularity(self, since: int | None = None) -> Tensor:
        """Clicks of every item, int64 [n_items]; with ``since``, those at or after that time (seconds since epoch)."""
        clicks = self.relations[CLICKS]
        col = clicks.col if since is None or clicks.time is None else clicks.col[clicks.time >= since]
        return torch.bincount(col.long(), minlength=self.n_items)

    def titles(self, index: Any) -> list[str]:
        """Names of items for outputs: the title where there is one, else the external id.

        Args:
            index: int [B], internal item numbers; -1 gives an empty name.
        """
        import numpy as np

        index = np.asarray(index, dtype=np.int64).reshape(-1)
        names = [str(i) for i in self.items.ids(index).to_pylist()] if self.items is not None else map(str, index)
        title: Sequence[str | None] = [None] * len(index)
        if self.items_table is not None and TITLE in self.items_table.column_names and len(self.items_table):
            title = self.items_table[TITLE].take(index.clip(min=0)).to_pylist()
        texts = ["" if t is None else str(t) for t in title]  # a column of titles may hold numbers
        return ["" if i < 0 else (t or n) for i, t, n in zip(index, texts, names, strict=True)]

    def to(self, device: torch.device | str) -> RecGraph:
        """The same graph on another device: relations and fields."""

        def move(fields: Fields) -> Fields:
            return {name: f.to(device) for name, f in fields.items()}

        relations = {name: rel.to(device) for name, rel in self.relations.items()}
        moved = replace(
            self, relations=relations, item_fields=move(self.item_fields), user_fields=move(self.user_fields)
        )
        moved._fingerprint = self._fingerprint
        return moved

    def fingerprint(self) -> str:
        """A hash of ids, edges, features and the epoch: equal for equal graphs, whatever the device (computed once).

        What was prepared for one graph (internal numbers above all) is refused on another by it.
        """
        if self._fingerprint is None:
            digest = hashlib.sha256(str(self.epoch).encode())
            for ids in (self.users, self.items):
                digest.update(repr(None if ids is None else ids.values.to_pylist()).encode())
            for name, values in sorted(self._tensors().items()):
                digest.update(f"{name} {values.dtype} {list(values.shape)}".encode())
                digest.update(values.cpu().contiguous().numpy().data)
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def _tensors(self) -> dict[str, Tensor]:
        found = {f"{name}.{part}": x for name, rel in self.relations.items() for part, x in rel.tensors().items()}
        for side, fields in ((ITEM, self.item_fields), (USER, self.user_fields)):
            for name, one in fields.items():
                found[f"{side}.{name}.values"] = one.values
                if one.offsets is not None:
                    found[f"{side}.{name}.offsets"] = one.offsets
        return found

    def validate(self) -> RecGraph:
        """Check that the parts agree; returns the graph.

        Raises:
            InputError: sizes, ranges or orders that do not fit.
        """
        for name, rel in self.relations.items():
            source, _, target = EDGE_TYPES[name]
            shape = (self.n_nodes[source], self.n_nodes[target])
            _check(name, f"shape {shape}", (rel.n_rows, rel.n_cols) == shape)
            rel_ok = int(rel.indptr[0]) == 0 and int(rel.indptr[-1]) == rel.n_edges and bool((rel.degree() >= 0).all())
            _check(name, "increasing offsets that end at the last edge", rel_ok)
            _check(name, f"columns below {rel.n_cols}", _in_range(rel.col, rel.n_cols))
            _check(name, "rows ordered by time, or strictly by column", _ordered(rel))
            _check(name, "positive weights", bool((rel.weight() > 0).all()))
            _check(name, f"{EDGE_BYTES} bytes an edge at most", rel.edge_bytes <= EDGE_BYTES)
        for kind, fields, ids in ((ITEM, self.item_fields, self.items), (USER, self.user_fields, self.users)):
            lengths = {len(f) for f in fields.values()} | ({len(ids)} if ids is not None else set())
            _check(f"{kind} fields", f"{self.n_nodes[kind]} nodes", lengths == {self.n_nodes[kind]})
            _check(f"{kind} fields", "codes below the field's size", all(map(_codes_fit, fields.values())))
        return self

    def save(self, path: str | Path) -> None:
        """Write the graph to the directory ``path``, replacing an earlier one only when it is whole.

        Raises:
            ArtifactError: ``path`` holds something else.
        """
        from micgraph.graph.storage import save

        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> RecGraph:
        """Read a graph that :meth:`save` wrote; its tensors are memory-mapped.

        Args:
            path: the graph's directory; or the folder of one version in it, see :func:`micgraph.artifact.versions`.

        Raises:
            ArtifactError: missing, damaged, of another kind or format version.
        """
        from micgraph.graph.storage import load

        return load(path)

    def summary(self) -> Summary:
        """Node and edge counts, degree quantiles, and what was refused and why; prints as text and as HTML."""
        from micgraph.graph.summary import summarise

        return summarise(self)

    def to_hetero(self, relations: Sequence[str] | None = None, reverse: bool = True) -> HeteroData:
        """An ordinary PyG ``HeteroData`` with these relations (all by default); see :mod:`micgraph.graph.hetero`."""
        from micgraph.graph.hetero import to_hetero

        return to_hetero(self, relations, reverse)

    def __repr__(self) -> str:
        nodes = ", ".join(f"{count:,} {kind}s" for kind, count in self.n_nodes.items())
        lines = [f"RecGraph: {nodes}"]
        for name, rel in self.relations.items():
            source, _, target = EDGE_TYPES[name]
            carried = [part for part in ("time", "cum", "score") if getattr(rel, part) is not None]
            lines.append(
                f"  {name:<10} {source} -> {target:<8} {rel.n_edges:>13,} edges  {', '.join(carried)}".rstrip()
            )
        for kind, fields in ((ITEM, self.item_fields), (USER, self.user_fields)):
            shown = ", ".join(f"{f.name} ({f.kind} {f.size:,})" for f in list(fields.values())[:8])
            more = f" and {len(fields) - 8} more" if len(fields) > 8 else ""
            lines.append(f"  {kind} fields: {shown}{more}")
        return "\n".join(lines)


def _check(name: str, expected: str, holds: bool) -> None:
    if not holds:
        raise InputError(name, expected, "something else", "build the graph again from its log")


def _in_range(values: Tensor, high: int) -> bool:
    return not len(values) or (int(values.min()) >= 0 and int(values.max()) < high)


def _codes_fit(f: Field) -> bool:
    return _in_range(f.values, f.size) if f.kind in ("categorical", "multi") else f.values.shape[1] == f.size


def _ordered(rel: Relation) -> bool:
    row, key, least = rel.row_index(), rel.col if rel.time is None else rel.time, int(rel.time is None)
    return bool(((key[1:].long() - key[:-1] >= least) | (row[1:] != row[:-1])).all())
