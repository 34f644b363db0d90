"""Tensors as a safetensors file, written one after the other, without a second copy of them in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

_KINDS = {
    torch.int64: "I64",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float16: "F16",
}
_ALIGNED = 8


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write what ``safetensors.torch.load_file`` maps.

    The format: the length of a header as 8 bytes, the header in JSON (name, type, shape, where the values are), padded
    with blanks, then the values. Wide types come first, so that every tensor is aligned.
    """
    ordered = sorted(tensors.items(), key=lambda named: (-named[1].element_size(), named[0]))
    header, at = {}, 0
    for name, tensor in ordered:
        end = at + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _KINDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in ordered:
            file.write(tensor.cpu().contiguous().numpy().data)
