"""Small trials of packages and programs, each run as ``python -m micgraph.doctor.probes NAME MODULE``.

Each returns what it found: ``version`` where the metadata of a package does not tell, ``detail`` for people, and
``problem`` where something is there that does not serve. What it raises is the finding; a line of JSON is the answer.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

JAVA_LEAST, REDIS_LEAST = 17, 6
"""Spark 4 runs on Java 17. The store's scripts need little of Redis; the package redis greets servers from 6 on."""
_RUNTIMES = re.compile(r"lib(?:gomp|omp|iomp5)\b.*\.(?:so|dylib)")


def _imported(module: str) -> dict[str, Any]:
    import_module(module)
    return {}


def _torch(_: str) -> dict[str, Any]:
    """Which build it is and which devices it sees; each must compute."""
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else ""
    build = build or (f"ROCm {torch.version.hip}" if torch.version.hip else "the CPU")
    places, devices = ["cpu"], []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(number)
        places.append(f"cuda:{number}")
        devices.append(f"cuda:{number} {about.name}, {about.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        places.append("mps")
        devices.append("mps")
    for place in places:
        ones = torch.ones(2, 2, device=place)
        if float((ones @ ones).sum()) != 8.0:
            return {"problem": f"a product on {place} is wrong"}
    detail = f"built for {build}"
    if not devices and shutil.which("nvidia-smi"):
        detail += "; there is an nvidia-smi here, but this torch sees no GPU"
    return {"detail": detail, "devices": devices or ["cpu alone"]}


def _numba(_: str) -> dict[str, Any]:
    import numba

    if numba.njit(lambda x: x + 1)(1) != 2:
        return {"problem": "a compiled sum is wrong"}
    return {}


def _duckdb(_: str) -> dict[str, Any]:
    import duckdb

    found = duckdb.connect().execute("SELECT sum(range) FROM range(10)").fetchone()
    return {} if found == (45,) else {"problem": f"a sum of 0 to 9 is {found}"}


def _faiss(_: str) -> dict[str, Any]:
    """A search of ten vectors in a process that has computed with torch, as in a recommender."""
    import numpy as np
    import torch

    base = torch.eye(10).matmul(torch.eye(10)).numpy()
    import faiss

    index = faiss.IndexFlatIP(10)
    index.add(base)
    found = index.search(base, 1)[1][:, 0]
    if not np.array_equal(found, np.arange(10)):
        return {"problem": f"a search of ten vectors finds {found.tolist()}"}
    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else None
    detail = "for the CPU" if gpus is None else f"for GPUs, of which it sees {gpus}"
    runtimes = _openmp()
    if len({name.split(".")[0].split("-")[0] for name in runtimes}) > 1:
        detail += f"; OpenMP runtimes of several kinds beside torch: {', '.join(runtimes)}"
    return {"version": faiss.__version__, "detail": detail}


def _openmp() -> list[str]:
    """The files of OpenMP runtimes in this process, where the system tells."""
    maps = Path("/proc/self/maps")
    paths = {line.split()[-1] for line in maps.read_text().splitlines() if "/" in line} if maps.exists() else set()
    return sorted(Path(path).name for path in paths if _RUNTIMES.fullmatch(Path(path).name))


def _torch_scatter(_: str) -> dict[str, Any]:
    import torch
    from torch_scatter import scatter

    total = scatter(torch.ones(3), torch.tensor([0, 1, 1]), reduce="sum").tolist()
    return {} if total == [1.0, 2.0] else {"problem": f"sums of 1 and 2 ones are {total}"}


def _torch_sparse(_: str) -> dict[str, Any]:
    import torch
    from torch_sparse import SparseTensor

    matrix = SparseTensor(row=torch.tensor([0, 1]), col=torch.tensor([1, 0]), sparse_sizes=(2, 2))
    product = matrix.matmul(torch.tensor([[1.0], [2.0]]))[:, 0].tolist()
    return {} if product == [2.0, 1.0] else {"problem": f"a product that swaps 1 and 2 gives {product}"}


def _lmdb(_: str) -> dict[str, Any]:
    import lmdb

    with tempfile.TemporaryDirectory() as folder, lmdb.open(folder) as env:
        with env.begin(write=True) as txn:
            txn.put(b"key", b"value")
        with env.begin() as txn:
            found = txn.get(b"key")
    return {} if found == b"value" else {"problem": f"what was put is {found!r}"}


def _wordllama(_: str) -> dict[str, Any]:
    import wordllama

    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    return {"detail": f"vectors of {model.embed(['a title']).shape[1]}"}


def _redis_server(_: str) -> dict[str, Any]:
    version = re.search(r"v=(\d+)([\d.]*)", _said("redis-server", "--version"))
    if version is None:
        return {"problem": "it does not tell its version"}
    found = {"version": version[1] + version[2]}
    return found if int(version[1]) >= REDIS_LEAST else found | {"problem": f"{REDIS_LEAST} or newer is needed"}


def _java(command: str) -> dict[str, Any]:
    version = re.search(r'version "(?:1\.)?(\d+)([^"]*)"', _said(command, "-version"))
    if version is None:
        return {"problem": "it does not tell its version"}
    found = {"version": version[1] + version[2]}
    return found if int(version[1]) >= JAVA_LEAST else found | {"problem": f"Spark needs Java {JAVA_LEAST} or newer"}


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout + done.stderr


PROBES: dict[str, Callable[[str], dict[str, Any]]] = {
    "imported": _imported,
    "torch": _torch,
    "numba": _numba,
    "duckdb": _duckdb,
    "faiss": _faiss,
    "torch_scatter": _torch_scatter,
    "torch_sparse": _torch_sparse,
    "lmdb": _lmdb,
    "wordllama": _wordllama,
    "redis_server": _redis_server,
    "java": _java,
}
"""The trial of a part by the name that :mod:`micgraph.doctor.parts` gives it."""

if __name__ == "__main__":
    try:
        answer = PROBES[sys.argv[1]](sys.argv[2])
    except Exception as error:
        said = str(error).strip().splitlines()
        sys.exit(f"{type(error).__name__}: {said[0]}" if said else type(error).__name__)
    sys.stdout.write(json.dumps(answer) + "\n")
