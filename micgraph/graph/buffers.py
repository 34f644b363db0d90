"""Tensors and columns of ids that grow by appending, in memory or as files that are mapped once they are whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]


class Buffers:
    """Named one-dimensional tensors whose length is known only at the end.

    Args:
        folder: where the values go, a file a tensor, so that they take no memory that the system could not take back.
            The file of a finished tensor is unlinked as soon as it is mapped, so it is gone with the tensor. Without a
            folder the values stay in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._parts: dict[str, list[Array]] = {}
        self._files: dict[str, BinaryIO] = {}
        self._ids: dict[str, list[pa.RecordBatch]] = {}
        self._writers: dict[str, tuple[pa.NativeFile, pa.RecordBatchWriter]] = {}

    def append(self, name: str, values: Array) -> None:
        """Add ``values`` [n] at the end of a tensor; its type is that of the first ones."""
        if self._folder is None:
            self._parts.setdefault(name, []).append(values)
            return
        if name not in self._files:
            self._files[name] = (self._folder / name).open("wb")
            self._parts[name] = [np.empty(0, values.dtype)]  # remembers the type
        self._files[name].write(np.ascontiguousarray(values).data)

    def finish(self, name: str) -> Tensor:
        """Everything that was appended under this name, as one tensor; the name is free again."""
        parts = self._parts.pop(name)
        if self._folder is None:
            return torch.from_numpy(np.concatenate(parts))
        self._files.pop(name).close()
        path, kind = self._folder / name, parts[0].dtype
        size = path.stat().st_size // kind.itemsize
        found = torch.from_numpy(parts[0])
        if size:
            found = torch.from_file(str(path), shared=False, size=size, dtype=found.dtype)
        _forget(path)
        return found

    def append_ids(self, name: str, ids: pa.Array) -> None:
        """Add ``ids`` [n] at the end of a column; its type is that of the first ones."""
        import pyarrow as pa

        batch = pa.record_batch({"id": ids})
        if self._folder is None:
            self._ids.setdefault(name, []).append(batch)
            return
        if name not in self._writers:
            file = pa.OSFile(str(self._folder / name), "wb")
            self._writers[name] = file, pa.ipc.new_file(file, batch.schema)
        self._writers[name][1].write_batch(batch)

    def finish_ids(self, name: str) -> pa.ChunkedArray:
        """Everything that was appended under this name, as one column; the name is free again."""
        import pyarrow as pa

        if self._folder is None:
            return pa.Table.from_batches(self._ids.pop(name))["id"]
        file, writer = self._writers.pop(name)
        writer.close()
        file.close()
        path = self._folder / name
        found = pa.ipc.open_file(pa.memory_map(str(path))).read_all()["id"]
        _forget(path)
        return found

    def room(self, name: str, size: int, kind: DTypeLike) -> Array:
        """An array [size] to be written in any order, in a file of its own where there is a folder."""
        if self._folder is None or not size:
            return np.empty(size, kind)
        path = self._folder / name
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, but kills the process later
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size * np.dtype(kind).itemsize)
            array = np.memmap(path, kind, "r+", shape=(size,))
        else:
            array = np.memmap(path, kind, "w+", shape=(size,))
        _forget(path)
        return array

    def close(self) -> None:
        """Close what was begun and not finished; what it held is not wanted, so a full disk is no matter."""
        for file in (*self._files.values(), *(sink for sink, _ in self._writers.values())):
            with suppress(OSError):
                file.close()
        self._files.clear()
        self._parts.clear()
        self._writers.clear()
        self._ids.clear()


def _forget(path: Path) -> None:
    """Unlink a mapped file. A system that refuses it keeps the file for as long as its folder."""
    with suppress(PermissionError):
        path.unlink()
