"""Several processes train as one does, and one that is lost ends the others."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from micgraph.ranks import Ranks
from tests.together import NARROW, PLAIN, killed_at, merged, recorded, steps_of, together, trainer

LONG = {"training": {"epochs": 50 // 4 + 1}}
CASES = {
    "sampled": ("gru4rec", merged(PLAIN, NARROW, LONG)),
    "mic": ("gru4rec+mic", merged(PLAIN, NARROW, LONG, {"mining": {"clusters": 4}})),
    "micrec": ("ican+micrec", merged(PLAIN, NARROW, LONG, {"tasks": {"fea": {"augment": "field"}}})),
    "in_batch": ("youtube_dnn", merged(PLAIN, NARROW, LONG, {"tasks": {"matching": {"negatives": "in_batch"}}})),
}


def steps_together(ranks: Ranks, folder: Path) -> None:
    steps_of(folder, CASES, ranks)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Where one process and where two together have written what came of the same trainings."""
    alone, two = (tmp_path_factory.mktemp(name) for name in ("alone", "two"))
    steps_of(alone, CASES)
    assert together(2, steps_together, two) == [(0, ""), (0, "")]
    return alone, two


@pytest.mark.parametrize("name", CASES)
def test_two_processes_are_as_one(name: str, both: tuple[Path, Path]) -> None:
    one, two = (json.loads((folder / f"{name}.json").read_text()) for folder in both)
    assert len(one) >= 50
    assert two[:50] == pytest.approx(one[:50], rel=0, abs=1e-5)
