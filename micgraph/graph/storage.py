"""A RecGraph on disk: safetensors for tensors, Parquet for ids, vocabularies and raw features, JSON for the rest.

The folder ``residue``, where there is one, holds what only :func:`micgraph.append` reads.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file
from torch import Tensor

from micgraph import artifact
from micgraph.graph import residue
from micgraph.graph.fields import Field, Fields
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.graph.tensor_file import write_tensors
from micgraph.schema import ITEM, USER

if TYPE_CHECKING:
    import pyarrow as pa

KIND, FORMAT = "graph", 1
RELATIONS = "relations.safetensors"


def save(graph: RecGraph, path: str | Path, keep: int | None = 1) -> Path:
    """Publish ``graph`` at ``path``; see :meth:`RecGraph.save` and, for ``keep``, :func:`micgraph.artifact.publish`.

    Returns:
        The folder of the new version.
    """

    def write(folder: Path) -> None:
        tensors = {f"{n}.{part}": t for n, rel in graph.relations.items() for part, t in rel.tensors().items()}
        write_tensors(tensors, folder / RELATIONS)
        for kind, fields in ((ITEM, graph.item_fields), (USER, graph.user_fields)):
            write_tensors(_field_tensors(fields), folder / f"{kind}_fields.safetensors")
        _save_tables(graph, folder)
        if graph.residue is not None:
            residue.save(graph.residue, folder)
        (folder / "graph.json").write_text(json.dumps(_describe(graph), indent=1), encoding="utf-8")

    return artifact.publish(path, KIND, FORMAT, write, keep)


def load(path: str | Path) -> RecGraph:
    """Read what :func:`save` wrote; without pyarrow the graph has no ids, vocabularies and names."""
    return artifact.opened(path, KIND, FORMAT, _load)


def _load(folder: Path) -> RecGraph:
    about = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
    relations = map_relations(folder, about["relations"])
    fields = {k: _load_fields(about["fields"][k], folder / f"{k}_fields.safetensors") for k in (ITEM, USER)}
    graph = RecGraph(relations, fields[ITEM], fields[USER])
    graph.epoch, graph.refused = about["epoch"], about["refused"]
    graph.config, graph.manifest = about["config"], about["manifest"]
    graph.measured = about.get("measured", {})  # earlier versions measured nothing
    if find_spec("pyarrow") is not None:
        _load_tables(graph, folder)
        graph.residue = residue.load(folder) if about.get("residue") else None
    return graph


def map_edges(graph: RecGraph, folder: Path) -> None:
    """Let a graph that was saved in ``folder`` read its edges from there."""
    graph.relations = map_relations(folder, {name: rel.n_cols for name, rel in graph.relations.items()})
    graph.residue = None if graph.residue is None else residue.load(folder)


def map_relations(folder: Path, n_cols: dict[str, int]) -> dict[str, Relation]:
    """The relations of a saved version; their tensors take memory only where they are read.

    Args:
        n_cols: name -> number of destination nodes.
    """
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in n_cols}
    for key, values in load_file(folder / RELATIONS).items():
        name, part = key.split(".")
        parts[name][part] = values
    return {name: Relation(n_cols=n_cols[name], **found) for name, found in parts.items()}


def _describe(graph: RecGraph) -> dict[str, Any]:
    fields = {ITEM: graph.item_fields, USER: graph.user_fields}
    return {
        "relations": {name: rel.n_cols for name, rel in graph.relations.items()},
        "fields": {
            k: [{"name": f.name, "kind": f.kind, "size": f.size} for f in fs.values()] for k, fs in fields.items()
        },
        "residue": graph.residue is not None,
        "epoch": graph.epoch,
        "refused": graph.refused,
        "measured": graph.measured,
        "config": graph.config,
        "manifest": graph.manifest,
    }


def _field_tensors(fields: Fields) -> dict[str, Tensor]:
    """By the field's place: a column's name may hold anything."""
    tensors = {f"{i}.values": f.values for i, f in enumerate(fields.values())}
    return tensors | {f"{i}.offsets": f.offsets for i, f in enumerate(fields.values()) if f.offsets is not None}


def _load_fields(about: list[dict[str, Any]], path: Path) -> Fields:
    tensors = load_file(path)
    return {
        f["name"]: Field(**f, values=tensors[f"{i}.values"], offsets=tensors.get(f"{i}.offsets"))
        for i, f in enumerate(about)
    }


def _save_tables(graph: RecGraph, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if graph.items is None or graph.users is None:
        return
    graph.items.save(folder / "items.parquet")
    graph.users.save(folder / "users.parquet")
    for kind, vocab in ((ITEM, graph.item_vocab), (USER, graph.user_vocab)):
        pq.write_table(
            pa.table({name: _one_list(values) for name, values in vocab.items()}), folder / f"{kind}_vocab.parquet"
        )
    if graph.items_table is not None:
        pq.write_table(graph.items_table, folder / "items_table.parquet")


def _load_tables(graph: RecGraph, folder: Path) -> None:
    import pyarrow.parquet as pq

    from micgraph.ids import IdMap

    if not (folder / "items.parquet").exists():
        return
    graph.items, graph.users = IdMap.load(folder / "items.parquet"), IdMap.load(folder / "users.parquet")
    for kind in (ITEM, USER):
        table = pq.read_table(folder / f"{kind}_vocab.parquet")
        vocab = {name: table[name].combine_chunks().flatten() for name in table.column_names}
        setattr(graph, f"{kind}_vocab", vocab)
    if (folder / "items_table.parquet").exists():
        graph.items_table = pq.read_table(folder / "items_table.parquet")


def _one_list(values: pa.Array) -> pa.Array:
    import pyarrow as pa

    return pa.LargeListArray.from_arrays([0, len(values)], values)
