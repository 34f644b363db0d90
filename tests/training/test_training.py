"""The loop: what it writes, when it stops, what it refuses."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch

from micgraph.schema import ArtifactError, ConfigError
from micgraph.training import BEST, LAST, load_weights
from tests.loop import EVERY_TASK, rows_of, same_weights, scripted, trainer

CHAIN = [[(t, (u + t) % 20) for t in range(12)] for u in range(20)]  # the item after i is i + 1


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_loss_goes_down_and_the_next_item_is_found(tmp_path: Path) -> None:
    made = trainer(tmp_path, rows=CHAIN, epochs=12, lr=0.02)
    made.run()
    history = [row["loss"] for row in rows_of(tmp_path)]
    assert history[-1] < 0.5 * history[0]
    made.objective.eval()
    right = []
    for step in range(made.sampler.steps):
        batch = made.sampler.batch(0, step)
        reps = made.objective.encode(batch)
        right.append((reps.search_queries @ reps.search_items[:-1].T).argmax(1) == batch.target)
    assert torch.cat(right).float().mean() > 0.5


def test_metrics_hold_every_part_of_the_loss(tmp_path: Path) -> None:
    made = trainer(tmp_path, EVERY_TASK, epochs=2)
    seen: list[dict] = []
    made.on_epoch = seen.append
    made.run()
    assert seen == rows_of(tmp_path) and [row["epoch"] for row in seen] == [1, 2]
    for row in seen:
        assert set(row) == {"epoch", "seconds", "loss", *(f"loss/{name}" for name in EVERY_TASK)}
        total = sum(made.objective.tasks[name].weight * row[f"loss/{name}"] for name in EVERY_TASK)
        assert row["loss"] == pytest.approx(total, rel=1e-4)


def test_the_learning_rate_falls_along_half_a_cosine(tmp_path: Path) -> None:
    made, rates = trainer(tmp_path, epochs=2, lr=0.02, schedule="cosine"), []
    step = made.optimizer.step
    made.optimizer.step = lambda: rates.append(made.optimizer.param_groups[0]["lr"]) or step()  # type: ignore
    made.run()
    steps = 2 * made.sampler.steps
    want = [0.02 * (1 + math.cos(math.pi * k / steps)) / 2 for k in range(steps)]
    assert rates == pytest.approx(want) and rates[0] == 0.02


def after_epochs(folder: Path, epochs: int) -> dict[str, torch.Tensor]:
    """Weights of the same training, stopped after so many epochs."""
    trainer(folder, epochs=epochs).run()
    return load_weights(folder / LAST)


def test_early_stopping_takes_the_best_epoch_and_its_weights(tmp_path: Path) -> None:
    made = trainer(tmp_path / "a", validate=scripted([0.1, 0.3, 0.2, 0.3, 0.9]), epochs=9, patience=2)
    state = made.run()
    assert (state.best, state.best_epoch, state.epoch) == (0.3, 1, 4), "a tie is no improvement; 0.9 is never seen"
    assert same_weights(made.objective.state_dict(), after_epochs(tmp_path / "b", 2))
    assert not same_weights(made.objective.state_dict(), load_weights(tmp_path / "a" / LAST))
    assert [row["valid/recall@50"] for row in rows_of(tmp_path / "a")] == [0.1, 0.3, 0.2, 0.3]


def test_a_run_without_validation_ends_with_its_last_weights(tmp_path: Path) -> None:
    made = trainer(tmp_path / "a", epochs=3)
    made.run()
    assert same_weights(made.objective.state_dict(), load_weights(tmp_path / "a" / LAST))
    assert same_weights(made.objective.state_dict(), after_epochs(tmp_path / "b", 3))


def test_the_last_epoch_is_always_validated(tmp_path: Path) -> None:
    made = trainer(tmp_path / "a", validate=scripted([0.2, 0.5]), epochs=3, validate_every=2)
    assert made.run().best_epoch == 2
    made = trainer(tmp_path / "b", validate=scripted([0.2]), epochs=2, validate_every=5)
    assert made.run().best_epoch == 1
    assert same_weights(made.objective.state_dict(), after_epochs(tmp_path / "c", 2))


def test_a_monitor_that_validation_does_not_give_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ndcg@50.*recall@7"):
        trainer(tmp_path, validate=scripted([0.1]), epochs=1, monitor="recall@7").run()


def test_a_run_that_has_ended_is_not_trained_again(tmp_path: Path) -> None:
    first = trainer(tmp_path, epochs=2)
    first.run()
    before = listing(tmp_path)
    again = trainer(tmp_path, epochs=2)
    again.sampler.batch = None  # type: ignore[assignment]
    again.run()
    assert listing(tmp_path) == before and same_weights(again.objective.state_dict(), first.objective.state_dict())


def test_a_loss_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    made = trainer(tmp_path, epochs=2)
    with torch.no_grad():
        next(made.objective.parameters()).fill_(torch.nan)
    with pytest.raises(ConfigError, match="finite.*epoch 1, step 0"):
        made.run()
    assert not (tmp_path / LAST).exists()


@pytest.mark.parametrize("part", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, part: str, harm: str) -> None:
    trainer(tmp_path, epochs=1).run()
    (found,) = (tmp_path / LAST).glob(f"*/{part}")
    content = found.read_bytes()
    if harm == "flip":
        found.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif harm == "cut":
        found.write_bytes(content[: len(content) // 2])
    else:
        found.unlink()
    with pytest.raises(ArtifactError):
        trainer(tmp_path, epochs=2).run()


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    trainer(tmp_path, epochs=1).run()
    with pytest.raises(ArtifactError, match="configuration"):
        trainer(tmp_path, EVERY_TASK, epochs=2).run()
    shutil.rmtree(tmp_path / BEST)
    with pytest.raises(ArtifactError):
        load_weights(tmp_path / BEST)


def test_the_gradient_is_clipped(tmp_path: Path) -> None:
    made = trainer(tmp_path, epochs=1, clip=0.01)
    made._step(0, made.sampler.batch(0, 0))
    norm = torch.cat([p.grad.flatten() for p in made.objective.parameters() if p.grad is not None]).norm()
    assert norm == pytest.approx(0.01, rel=1e-3)
