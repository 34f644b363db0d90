"""Several processes train as one does, and one that is lost ends the others."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from micgraph import placing
from micgraph.artifact import exists
from micgraph.config import merge
from micgraph.ranks import Ranks
from micgraph.schema import ConfigError
from micgraph.tasks.spread import Spread
from micgraph.training import LAST
from tests.together import killed_at, steps_of, together, trainer

EPOCHS = {"training": {"epochs": 6}}
MIC = merge(EPOCHS, {"mining": {"clusters": 3}, "training": {"checkpoint_every": 2}})
CASES = {
    "sampled": ("gru4rec", EPOCHS),
    "mic": ("gru4rec+mic", MIC),
    "micrec": ("ican+micrec", {"tasks": {"fea": {"augment": "field"}}, "training": {"epochs": 2}}),
    "full": ("gru4rec+uu", merge(EPOCHS, {"tasks": {"matching": {"negatives": "full"}}})),
    "in_batch": ("youtube_dnn", {"tasks": {"matching": {"negatives": "in_batch"}}, "training": {"epochs": 2}}),
}
STOPS = {"training": {"epochs": 9, "patience": 1}}
KILLED = 1, 1, 3
"""Rank, epoch and step at which a process is killed: a step after a checkpoint."""


def steps_together(ranks: Ranks, folder: Path) -> None:
    model, settings = CASES["in_batch"]
    in_pieces = model, merge(settings, {"training": {"micro_batch": 2}})
    steps_of(folder, CASES | {"in_batch": in_pieces}, ranks)
    values = iter([0.1, 0.3, 0.2])
    made = trainer(folder / "stops", "gru4rec", STOPS, ranks, lambda: {"recall@50": next(values)})
    state = made.run()
    (folder / f"stopped-{ranks.rank}.json").write_text(json.dumps([state.epoch, state.best_epoch, len(list(values))]))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Where one process, and where two together have written what came of the same trainings."""
    alone, two = (tmp_path_factory.mktemp(name) for name in ("alone", "two"))
    steps_of(alone, CASES)
    assert together(2, steps_together, two) == [(0, ""), (0, "")]
    return alone, two


@pytest.mark.parametrize("name", CASES)
def test_two_processes_are_as_one(name: str, both: tuple[Path, Path]) -> None:
    one, two = (json.loads((folder / f"{name}.json").read_text()) for folder in both)
    assert len(one) == len(two) >= 50
    assert two[:50] == pytest.approx(one[:50], rel=0, abs=1e-5)
    assert len(set(one)) > 40, "a loss that changes"
    weights = [load_file(folder / f"{name}.safetensors") for folder in both]
    for key, want in weights[0].items():
        if not key.endswith("in_proj_bias"):  # the keys' has no effect, hence gradients of rounding errors alone
            torch.testing.assert_close(weights[1][key], want, rtol=1e-3, atol=1e-3)


def test_all_stop_with_the_first(both: tuple[Path, Path]) -> None:
    """It alone validates; what follows from that holds for every process."""
    first, second = (json.loads((both[1] / f"stopped-{rank}.json").read_text()) for rank in range(2))
    assert first == [3, 1, 0] and second == [3, 1, 3]


def killed(ranks: Ranks, folder: Path) -> None:
    made = trainer(folder / "mic", *CASES["mic"], ranks)
    if ranks.rank == KILLED[0]:
        killed_at(made, *KILLED[1:], folder / "ended-1")
    try:
        made.run()
    finally:
        (folder / f"ended-{ranks.rank}").write_text(str(time.time()))


def resumed(ranks: Ranks, folder: Path) -> None:
    steps_of(folder, {"mic": CASES["mic"]}, ranks)


def test_a_killed_process_ends_the_other_and_both_go_on(both: tuple[Path, Path], tmp_path: Path) -> None:
    (code, said), (dead, nothing) = together(2, killed, tmp_path)
    assert (dead, nothing, code) == (-9, "", 1)
    assert said.startswith("RankError: ranks: expected 2 processes to the end, got process 0 lost another one")
    assert "the same command again goes on from the last checkpoint" in said
    ended = [float((tmp_path / f"ended-{rank}").read_text()) for rank in range(2)]
    assert 0 < ended[0] - ended[1] < 60
    assert exists(tmp_path / "mic" / LAST)
    assert together(2, resumed, tmp_path) == [(0, ""), (0, "")]
    whole = json.loads((both[1] / "mic.json").read_text())
    rest = json.loads((tmp_path / "mic.json").read_text())
    assert len(rest) < len(whole) and whole[-len(rest) :] == rest, "bit for bit"
    end, want = (load_file(folder / "mic.safetensors") for folder in (tmp_path, both[1]))
    assert all(torch.equal(end[name], want[name]) for name in want)


def test_a_batch_of_fewer_queries_than_processes_is_encoded_by_each(tmp_path: Path) -> None:
    batch = trainer(tmp_path, "gru4rec", {}).sampler.batch(0, 0)
    assert Spread(Ranks(1, 5)).cuts(batch) and len(Spread(Ranks(1, 5)).plan(batch)) == 5
    assert not Spread(Ranks(1, 6)).cuts(batch) and len(Spread(Ranks(1, 6)).plan(batch)) == 1


def test_several_processes_need_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "join", lambda target: Ranks(0, 2))  # of a process group that was there
    with pytest.raises(ConfigError, match="out: expected a directory, for several processes"):
        placing.joined(torch.device("cpu"), None)
    assert placing.joined(torch.device("cpu"), "run").size == 2
