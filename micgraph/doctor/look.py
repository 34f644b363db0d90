"""What is found at a path, gathered step by step: what fails is a finding, and the next step is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from micgraph import artifact
from micgraph.doctor.findings import NOTHING
from micgraph.schema import MicgraphError

T = TypeVar("T")
RUN, STORE = "run", "store of live clicks"


@dataclass
class Look:
    """What is found at a path: its kind, what is in it, and what is wrong with it."""

    kind: str = NOTHING
    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def tried(self, do: Callable[[], T]) -> T | None:
        """What ``do`` returns; None where it raises, which is a problem then."""
        try:
            return do()
        except MicgraphError as error:
            problem = str(error)
        except Exception as error:
            problem = f"cannot be loaded, {type(error).__name__}: {error}"
        if problem not in self.problems:
            self.problems.append(problem)
        return None


def whole(look: Look, path: Path) -> bool:
    """Compare every file of an artifact with its checksum, those of earlier versions too; say where they differ."""
    before = len(look.problems)
    look.tried(lambda: artifact.resolve(path, *artifact.described(path)))
    earlier = (look.tried(lambda: artifact.versions(path)) or [])[:-1]
    for version in earlier:
        look.tried(lambda at=version: artifact.resolve(at, *artifact.described(at)))  # type: ignore[misc]
    if earlier:
        look.facts.append(f"{len(earlier) + 1} versions on disk, {artifact.live(path).name} is live")
    return len(look.problems) == before
