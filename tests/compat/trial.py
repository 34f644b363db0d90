"""What is tried in each environment, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from combinations import REPOSITORY, Combination
from environments import NotInstallable, environment, last_line, versions

JOURNEY = Path(__file__).with_name("journey.py")
TESTS = (
    "tests/test_ids.py",
    "tests/test_rng.py",
    "tests/test_artifact.py",
    "tests/test_config.py",
    "tests/test_knn.py",
    "tests/graph/test_ingest.py",
    "tests/graph/test_relation.py",
    "tests/nn/test_fields.py",
    "tests/retrieval/test_frames.py",
    "tests/retrieval/test_frame_kinds.py",
)
TIMEOUT = 900  # seconds for one journey, or for the tests
TOLERANCE = 1e-4  # of scores and losses under other versions
OK = "ok"


@dataclass
class Trial:
    """One combination under trial.

    Attributes:
        combination: of versions.
        saved: the folder that its journey saves into.
        python: of its environment; None where it cannot be installed.
        versions: package -> installed version.
        steps: what was tried -> ``ok``, or the last line of why not.
        made: what its journey told, for others to be compared with.
    """

    combination: Combination
    saved: Path
    python: Path | None = None
    versions: dict[str, str] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """``ok``, ``failed`` or ``not installable``."""
        if self.python is None:
            return "not installable"
        return OK if set(self.steps.values()) == {OK} else "failed"

    @property
    def reason(self) -> str:
        """The first step that went wrong, and why; empty where none did."""
        return next((f"{step}: {told}" for step, told in self.steps.items() if told != OK), "")

    def alone(self, folder: Path) -> None:
        """Install the environment into ``folder``, then the journey, the tests and a command."""
        try:
            self.python = environment(self.combination, folder)
        except NotInstallable as reason:
            self.steps["install"] = str(reason)
            return
        self.versions = versions(self.python)
        self.saved.mkdir(parents=True)
        told, made = self._journey("make", [self.saved])
        self.steps["journey"] = told if told != OK else made[0].get("error", OK)
        self.made = made[0] if self.steps["journey"] == OK else {}
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
        self.steps["tests"] = self._run(command)[0]
        self.steps["command"] = self._run(["-m", "micgraph", "recommend", "--help"])[0]

    def load(self, others: list[Trial]) -> None:
        """Load what the journeys of other combinations have saved, and compare."""
        others = [other for other in others if other.made]
        if self.python is None or not others:
            return
        told, loaded = self._journey("load", [other.saved for other in others])
        for place, other in enumerate(others):
            step = f"load {other.combination.name}"
            self.steps[step] = told if told != OK else difference(other.made, loaded[place])

    def _journey(self, verb: str, folders: list[Path]) -> tuple[str, list[dict[str, Any]]]:
        told, output = self._run([str(JOURNEY), verb, *map(str, folders)])
        return told, json.loads(last_line(output)) if told == OK else []

    def _run(self, command: list[str]) -> tuple[str, str]:
        """``ok`` or the last line of what went wrong, and the output."""
        assert self.python is not None
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # loops compiled by one version of numba do not take the place of another's
        environ |= {"NUMBA_CACHE_DIR": str(self.python.parents[1] / "compiled"), "OMP_NUM_THREADS": "1"}
        line = [str(self.python), *command]
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT, env=environ, cwd=REPOSITORY)
        except subprocess.TimeoutExpired:
            return f"not done after {TIMEOUT} s", ""
        if done.returncode:
            return last_line(done.stderr) or last_line(done.stdout) or f"exit status {done.returncode}", done.stdout
        return OK, done.stdout


def difference(made: dict[str, Any], loaded: dict[str, Any]) -> str:
    """``ok``, or how lists differ: ids and channels have to be the same, scores and losses nearly."""
    if "error" in loaded:
        return str(loaded["error"])
    if made["graph"] != loaded["graph"]:
        return "the graph has another fingerprint"
    for kind in ("lists", "served"):
        for model, rows in made["lists"].items():
            others = loaded[kind][model]
            if any(rows[name] != others[name] for name in ("user_id", "item_id", "channels")):
                return f"{kind} of {model} have other items"
            if not _near(rows["score"], others["score"]):
                return f"{kind} of {model} have other scores"
    return OK if _near(made["losses"], loaded["losses"]) else "the interrupted run goes on to other losses"


def _near(mine: list[float], theirs: list[float]) -> bool:
    return len(mine) == len(theirs) and all(
        abs(a - b) <= TOLERANCE * max(1.0, abs(a)) for a, b in zip(mine, theirs, strict=True)
    )
