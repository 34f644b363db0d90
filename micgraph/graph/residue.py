"""What a log says beyond a graph's tensors. Kept beside them, because merging later events exactly needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file
from torch import Tensor

from micgraph.graph.tensor_file import write_tensors

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER, TENSORS = "residue", "tensors.safetensors"
_SESSIONS, _USERS, _WAITING = "sessions", "users_table", "waiting_"


@dataclass(frozen=True)
class Residue:
    """What only :func:`micgraph.append` reads. A part that says nothing is absent, and takes no room.

    Attributes:
        micros: int32 [E], microseconds of each click since its whole second; None where all are 0.
        ordinal: int64 [E], of each click; None where all are 0.
        sessions: [n_sessions], the ids that the log gave, null where a session was cut by time; None where all were.
        users_table: raw user features in internal order, or None.
        waiting: node type -> rows of the feature table whose id is no node yet.
        without_row: node type -> int32 [M], the nodes that the feature table has no row of.
    """

    micros: Tensor | None = None
    ordinal: Tensor | None = None
    sessions: pa.ChunkedArray | None = None
    users_table: pa.Table | None = None
    waiting: dict[str, pa.Table] = field(default_factory=dict)
    without_row: dict[str, Tensor] = field(default_factory=dict)


def save(residue: Residue, folder: Path) -> None:
    """Write it into a new folder of a graph's version; nothing where there is nothing."""
    tensors = {name: getattr(residue, name) for name in ("micros", "ordinal")}
    tensors |= {f"without_row.{kind}": nodes for kind, nodes in residue.without_row.items()}
    tensors = {name: values for name, values in tensors.items() if values is not None}
    tables = {f"{_WAITING}{kind}": rows for kind, rows in residue.waiting.items()}
    tables |= {} if residue.users_table is None else {_USERS: residue.users_table}
    if residue.sessions is not None:
        import pyarrow as pa

        tables[_SESSIONS] = pa.table({"id": residue.sessions})
    if tensors or tables:
        (folder / FOLDER).mkdir()
    if tensors:
        write_tensors(tensors, folder / FOLDER / TENSORS)
    for name, table in tables.items():
        _write_table(table, folder / FOLDER / f"{name}.arrow")


def load(folder: Path) -> Residue:
    """Read what :func:`save` wrote; tensors and tables are mapped, so they take memory only where they are read."""
    folder = folder / FOLDER
    tensors = load_file(folder / TENSORS) if (folder / TENSORS).exists() else {}
    tables = {path.stem: _map_table(path) for path in sorted(folder.glob("*.arrow"))}
    sessions: Any = tables.pop(_SESSIONS, None)
    return Residue(
        micros=tensors.get("micros"),
        ordinal=tensors.get("ordinal"),
        sessions=None if sessions is None else sessions["id"],
        users_table=tables.pop(_USERS, None),
        waiting={name.removeprefix(_WAITING): table for name, table in tables.items()},
        without_row={
            name.removeprefix("without_row."): nodes
            for name, nodes in tensors.items()
            if name.startswith("without_row.")
        },
    )


def _write_table(table: pa.Table, path: Path) -> None:
    """Arrow's own format, which can be mapped, where Parquet would have to be decoded into memory."""
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.unify_dictionaries())


def _map_table(path: Path) -> pa.Table:
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
