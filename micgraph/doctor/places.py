"""Saved directories looked at whole, run as ``python -m micgraph.doctor.places PATH``; the answer is a line of JSON.

Checksums first, which need no package; then what the directory holds is loaded and checked by what loads it elsewhere.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from micgraph import artifact
from micgraph.doctor.contents import CHECKS
from micgraph.doctor.look import RUN, STORE, Look, whole
from micgraph.doctor.runs import run
from micgraph.schema import ArtifactError


def examined(path: Path) -> Look:
    """A directory of any kind, every file of it."""
    look = Look()
    kind = look.tried(lambda: kind_of(path))
    if kind is None:
        return look
    look.kind = kind
    check = run if kind == RUN else CHECKS.get(kind, _part)
    if kind in (RUN, STORE) or whole(look, path):
        look.tried(lambda: check(look, path))
    return look


def kind_of(path: Path) -> str:
    """What a directory is, told by the files that name it.

    Raises:
        ArtifactError: nothing that micgraph has saved.
    """
    parts = ("setup", "graph", "best", "last")
    if sum((path / name).is_dir() for name in parts) > 1 or (path / "setup").is_dir():
        return RUN
    if (path / "data.mdb").is_file():
        return STORE
    if path.is_file():
        remedy = "pass the directory; what is in a log is told by micgraph build"
        raise ArtifactError(str(path), "a directory saved by micgraph", "a file", remedy)
    inside = [one.name for one in sorted(path.iterdir()) if _known(one)] if path.is_dir() else []
    if inside and not artifact.exists(path):
        some = ", ".join(inside[:8]) + (f" and {len(inside) - 8} more" if len(inside) > 8 else "")
        raise ArtifactError(str(path), "one directory saved by micgraph", f"one that holds {some}", "pass one of them")
    kind = artifact.described(path)[0]
    return "settings of a run" if kind == "run" else kind


def _known(path: Path) -> bool:
    return artifact.exists(path) or artifact.exists(path / "setup") or (path / "data.mdb").is_file()


def _part(look: Look, path: Path) -> None:
    """Parts of a run: the checksums are all there is to check here."""
    look.facts.append(f"a part of the run {path.absolute().parent}: pass that to see whether its parts fit")


def answer(path: str) -> dict[str, Any]:
    """What is found at ``path`` as plain values."""
    look = examined(Path(path))
    return {"kind": look.kind, "facts": look.facts, "problems": look.problems}


if __name__ == "__main__":
    found = json.dumps(answer(sys.argv[1]))
    sys.stdout.write(f"{found}\n")
