"""The versions of a run that refreshes have made: which one is live, and where its parts lie.

A run's directory then looks like this::

    RUN/
      setup graph best ...     what train wrote, and stays
      refreshed/               saved through micgraph.artifact: each version is a whole run with a folder serving
        current                names the live version: the one file that a refresh replaces
        0002-9f3a.../          setup graph best ... serving

``RUN`` and ``RUN/serving`` stand for the live version and its part, so both change by the same rename.
"""

from __future__ import annotations

from pathlib import Path

from micgraph import artifact
from micgraph.schema import ArtifactError

KIND, FORMAT, KEPT = "refreshed run", 1, 2
"""The version before the live one stays, so that whoever is about to load it can."""
REFRESHED, SERVING = "refreshed", "serving"


def newest(run: str | Path) -> Path:
    """The folder that a run's directory stands for: that of its live version, or itself where none was made."""
    root = artifact.as_path(run)
    versions = root / REFRESHED
    return artifact.live(versions) if artifact.exists(versions) else root


def place(path: str | Path) -> Path:
    """Where a saved recommender lies: ``RUN/serving`` is the one of the run's live version."""
    given = artifact.as_path(path)
    return newest(given.parent) / SERVING if given.name == SERVING else given


def refuse_refreshed(run: Path) -> None:
    """Refuse to train on in a directory that stands for a later version of the run.

    Raises:
        ArtifactError: it was refreshed.
    """
    if artifact.exists(run / REFRESHED):
        remedy = "train in another directory, with warm_start= for the weights of this one"
        raise ArtifactError(str(run), "a run that was not refreshed", f"the folder {REFRESHED}", remedy)
