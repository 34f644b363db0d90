"""All that the doctor looks at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from micgraph.doctor import installation
from micgraph.doctor.apart import TIMEOUT, outcome
from micgraph.doctor.findings import Diagnosis, PlaceFound

PLACES = "micgraph.doctor.places"


def diagnose(paths: Iterable[str | Path] = (), timeout: float = TIMEOUT) -> Diagnosis:
    """Look at what is installed, and at saved directories whole.

    Args:
        paths: of graphs, runs, holdouts, recommenders, indexes and stores; large ones take the time that it takes to
            read them, and the memory that loading them does.
        timeout: seconds that each part may take; a path may take any time.
    """
    parts = installation.parts(timeout)
    return Diagnosis(installation.machine(), parts, [place(path) for path in paths])


def place(path: str | Path) -> PlaceFound:
    """One path, in a process of its own: what is damaged may crash what reads it."""
    tried = outcome(PLACES, str(path), timeout=None)
    if tried.problem:
        return PlaceFound(str(path), "unknown", problems=(f"looking at it failed: {tried.problem}",))
    found = tried.found
    return PlaceFound(str(path), found["kind"], tuple(found["facts"]), tuple(found["problems"]))
