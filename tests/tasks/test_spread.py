"""A batch that is encoded a few queries at a time gives the loss and the gradient of the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from micgraph.config import merge
from micgraph.nn.registry import ENCODERS
from micgraph.ranks import ALONE
from micgraph.tasks import spread
from micgraph.tasks.spread import Spread
from micgraph.training import Trainer
from tests.together import trainer

UNDROPPED = {"fea": {"augment": "field"}}
TASKS = {"": {}, "+micrec": UNDROPPED, "+mic": {}}
SETTINGS = {
    "full": {"tasks": {"matching": {"negatives": "full", "spare_clicked": True}}},
    "in batch": {"tasks": {"matching": {"negatives": "in_batch"}}},
    "logistic": {"tasks": {"matching": {"loss": "logistic"}}},
    "window": {"tasks": {"matching": {"window": 3}}},
    "other stretches": {"tasks": {"uu": {"positive": "window"}}},
    "two views": {"tasks": {"uu": {"views": 2}, "ii": {"views": 2}}},
    "perturbed items": {"perturb": {"sides": "items"}},
    "one a click": {"sampling": {"samples": "clicks"}},
    "gaps": {"model": {"time_gaps": True}},
}


def step(made: Trainer, queries: int) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Every loss of the first batch, and the gradients, with so many queries at a time."""
    made.objective.spread = Spread(ALONE, queries)
    made.objective.zero_grad()
    torch.manual_seed(3)
    total, losses = made.objective(made.sampler.batch(0, 0))
    total.backward()
    gradients = {name: p.grad.clone() for name, p in made.objective.named_parameters() if p.grad is not None}
    return {name: float(value) for name, value in losses.items()} | {"": float(total.detach())}, gradients


def check(made: Trainer, queries: int = 4) -> None:
    whole, sliced = step(made, 0), step(made, queries)
    assert len(made.sampler.batch(0, 0)) > 2 * queries
    assert sliced[0] == pytest.approx(whole[0], rel=1e-5, abs=1e-6)
    assert sliced[1].keys() == whole[1].keys()
    for name, want in whole[1].items():
        torch.testing.assert_close(sliced[1][name], want, rtol=1e-4, atol=1e-5, msg=name)
    assert any(want.abs().max() > 1e-3 for want in whole[1].values())


@pytest.mark.parametrize("tasks", TASKS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_slices_have_the_gradient_of_the_whole(encoder: str, tasks: str, tmp_path: Path) -> None:
    check(trainer(tmp_path, encoder + tasks, {"sampling": {"batch_size": 11}, "tasks": TASKS[tasks]}))


@pytest.mark.parametrize("name", SETTINGS)
def test_whatever_the_tasks_and_batches_are(name: str, tmp_path: Path) -> None:
    check(trainer(tmp_path, "comirec_sa+mic", merge({"sampling": {"batch_size": 11}}, SETTINGS[name])))


def test_what_was_mined_is_used_alike(tmp_path: Path) -> None:
    made = trainer(tmp_path, "gru4rec+mic", {"sampling": {"batch_size": 11}, "mining": {"clusters": 3}})
    made.objective.begin_epoch(1, made.sampler.clicks, 0)
    assert made.objective.mining.active
    check(made)


def test_a_bank_remembers_the_whole_batch(tmp_path: Path) -> None:
    banks = []
    for queries in (0, 4):
        made = trainer(tmp_path, "gru4rec+mic", {"sampling": {"batch_size": 11}, "mining": {"mode": "bank"}})
        step(made, queries)
        banks.append(made.objective.mining.pool("user_own"))
    assert torch.equal(banks[0].id, banks[1].id) and int((banks[0].id >= 0).sum()) > 5
    torch.testing.assert_close(banks[0].vectors, banks[1].vectors)


def test_a_slice_drops_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoded once, with everything kept for the backward pass, a slice has the gradient that it has encoded twice."""
    dropped = {"model": {"dropout": 0.5}, "perturb": {"dropout": 0.3}, "sampling": {"batch_size": 11}}
    made = trainer(tmp_path, "sasrec+micrec+mic", dropped)
    twice = step(made, 4)
    times = []
    monkeypatch.setattr(spread, "checkpoint", lambda encode, **options: times.append(1) or encode())
    once = step(made, 4)
    assert len(times) == 3 and once[0] == twice[0]
    assert once[1].keys() == twice[1].keys()
    assert all(torch.equal(once[1][name], twice[1][name]) for name in once[1])
    assert step(made, 0)[0] != once[0], "other numbers are dropped from the whole batch"


def test_slices_are_not_kept(tmp_path: Path) -> None:
    """Between both passes a step keeps far less of a large batch in slices than of the whole."""
    made = trainer(tmp_path, "gru4rec", {"sampling": {"batch_size": 64}, "model": {"dim": 32}})
    kept = []
    for queries in (0, 4):
        sizes: list[int] = []
        pack = lambda x, sizes=sizes: sizes.append(x.numel()) or x  # noqa: E731
        made.objective.spread = Spread(ALONE, queries)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            made.objective(made.sampler.batch(0, 0))
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2
