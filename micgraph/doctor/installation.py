"""What is installed: every part looked at, side by side."""

from __future__ import annotations

import os
import platform
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

from micgraph.doctor import requirements
from micgraph.doctor.apart import TIMEOUT, Outcome, outcome
from micgraph.doctor.findings import PartFound, Status
from micgraph.doctor.parts import CORE, FAISS, OPTIONAL, Part

PROBES = "micgraph.doctor.probes"
_SLOW = ("sentence-transformers", "torch-geometric", "torch", "FAISS", "torch-sparse", "scikit-learn", "wordllama")
"""What takes longest begins first."""


def machine() -> dict[str, str]:
    """What runs here, without the packages: micgraph, Python, system, cores that may be used, memory."""
    from micgraph import __version__

    return {
        "micgraph": __version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "cores": str(_cores()),
        "memory": _memory(),
    }


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, OSError, ValueError):  # Windows does not tell so
        return "unknown"


def parts(timeout: float = TIMEOUT) -> list[PartFound]:
    """Everything that micgraph needs or can use, in the order of :mod:`micgraph.doctor.parts`."""
    asked = requirements.ranges()
    every = [*CORE, *OPTIONAL]
    order = sorted(every, key=lambda part: _SLOW.index(part.name) if part.name in _SLOW else len(_SLOW))
    with ThreadPoolExecutor(max_workers=max(2, _cores())) as pool:
        waiting = {part.name: pool.submit(_found, part, asked, timeout) for part in order}
        return [waiting[part.name].result() for part in every]


def _found(part: Part, asked: dict[str, str], timeout: float) -> PartFound:
    have = requirements.installed(part.packages)
    version = next(iter(have.values()), "")
    place = _place(part)
    if place is None:
        status: Status = "broken" if have else "missing"
        detail = f"{', '.join(have)} is installed without the module {part.module}" if have else ""
        return PartFound(part.name, part.needed, status, version, part.purpose, detail, part.remedy)
    tried = outcome(PROBES, part.probe, place, timeout=timeout)
    version = str(tried.found.get("version") or version)
    wanted = asked.get(part.packages[0].lower(), "") if part.packages else ""
    judged = _judged(part, tried, version, wanted, list(have))
    return PartFound(part.name, part.needed, judged[0], version, part.purpose, *judged[1:], _devices(tried.found))


def _judged(part: Part, tried: Outcome, version: str, wanted: str, have: list[str]) -> tuple[Status, str, str]:
    """Status, what is to be said of it, and the command that mends it."""
    problem = tried.problem or str(tried.found.get("problem", ""))
    if problem:
        return "broken", problem, _again(part, wanted, "--force-reinstall --no-deps")
    if version and not requirements.fits(version, wanted):
        return "version", f"{wanted} is asked for", _again(part, wanted, "--upgrade")
    if part is FAISS and len(have) > 1:
        detail = f"{' and '.join(have)} are installed and share one module: which one is imported is chance"
        return "broken", detail, f"pip uninstall --yes {' '.join(have)}; then {part.remedy}"
    return "ok", str(tried.found.get("detail", "")), ""


def _place(part: Part) -> str | None:
    """What the probe is told: the module, or the program's path; None where it is not there."""
    if part.module is None:
        home = os.environ.get("JAVA_HOME") if part.probe == "java" else None
        return shutil.which(str(os.path.join(home, "bin", "java")) if home else part.probe.replace("_", "-"))
    try:
        return part.module if find_spec(part.module.partition(".")[0]) is not None else None
    except ValueError:  # something is in its place that is no module
        return part.module


def _again(part: Part, wanted: str, how: str) -> str:
    """The command that puts in place of what is here what works."""
    if part.module is None:
        return part.remedy
    return f"pip install {how} '{part.packages[0]}{wanted.replace(' ', '')}'"


def _devices(found: dict[str, Any]) -> tuple[str, ...]:
    return tuple(map(str, found.get("devices", ())))
