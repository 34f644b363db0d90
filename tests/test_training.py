"""The loop: it learns, reports, selects, and goes on after a kill as if nothing had happened."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from micgraph import artifact
from micgraph.artifact import exists
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.context import surroundings
from micgraph.sampling.plan import Batch
from micgraph.sampling.samples import SamplingConfig
from micgraph.schema import ArtifactError, ConfigError
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS
from micgraph.training import BEST, LAST, METRICS, Trainer, TrainingConfig, load_weights
from tests.toy import random_rows, toy_graph

EVERY_TASK = ("matching", "fea", "sem", "sess", "ui", "uu", "ii")
CHAIN = [[(t, (u + t) % 20) for t in range(12)] for u in range(20)]  # the item after i is i + 1


def trainer(
    folder: Path,
    tasks: tuple[str, ...] = ("matching",),
    rows: list | None = None,
    validate=None,
    reads: dict | None = None,
    **settings,
) -> Trainer:
    """A small model on a small graph; ``reads`` says what items read of it, ``settings`` are of the loop."""
    torch.manual_seed(5)
    rows = rows or random_rows(n_users=20, n_items=20)
    graph = toy_graph(rows, 20)
    model = ModelConfig(
        dim=8, history=5, dropout=0.2, similarity="cosine", temperature=0.2, shared_space=True, **(reads or {})
    )
    towers = TwoTower(model, graph.item_fields, graph.user_fields)
    made = {name: TASKS[name].make(TASKS[name].config(), towers, graph.item_fields) for name in tasks}
    around = surroundings(graph)
    objective = Objective(towers, made, graph.item_fields, graph.user_fields, surroundings=around)
    config = SamplingConfig(samples="positions", batch_size=4)
    sampler = BatchSampler(graph, config, [task.requires for task in made.values()], model.history, reads=towers.reads)
    return Trainer(objective, sampler, TrainingConfig(**settings), folder, validate)


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def losses(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(folder)]


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


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


def scripted(values: list[float]):
    left = iter(values)
    return lambda: {"recall@50": next(left), "ndcg@50": 0.0}


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


def test_a_run_that_has_ended_goes_on_when_epochs_or_patience_grow(tmp_path: Path) -> None:
    values = [0.5, 0.1, 0.1, 0.9, 0.1]
    made = trainer(tmp_path, validate=scripted(values), epochs=9, patience=2)
    assert (made.run().epoch, made.state.best_epoch) == (3, 0)
    made = trainer(tmp_path, validate=scripted(values[3:]), epochs=4, patience=3)
    assert (made.run().epoch, made.state.best_epoch, made.state.stale) == (4, 3, 0)
    made = trainer(tmp_path, validate=scripted(values[4:]), epochs=5, patience=3)
    assert (made.run().epoch, made.state.best_epoch, made.state.stale) == (5, 3, 1)
    assert [row["valid/recall@50"] for row in rows_of(tmp_path)] == values


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("every", "schedule"), [(0, "constant"), (1, "cosine"), (3, "constant")])
def test_stopped_after_any_step_it_goes_on_bit_for_bit(tmp_path: Path, every: int, schedule: str) -> None:
    """Every step of a short run in turn, and every checkpoint write: the next process ends where one run would."""
    settings = {"epochs": 2, "checkpoint_every": every, "schedule": schedule}
    whole = trainer(tmp_path / "whole", EVERY_TASK, **settings)
    whole.run()
    steps = whole.sampler.steps * 2
    for stop in random.Random(every).sample(range(steps), 4):
        folder = tmp_path / f"{stop}"
        broken, count = trainer(folder, EVERY_TASK, **settings), iter(range(steps))
        step = broken._step

        def dying(at: int, batch: Batch, step=step, count=count, stop=stop) -> None:
            step(at, batch)
            if next(count) == stop:
                raise Killed

        broken._step = dying  # type: ignore[method-assign]
        with pytest.raises(Killed):
            broken.run()
        again = trainer(folder, EVERY_TASK, **settings)
        torch.rand(17)  # whatever the process has drawn before
        again.run()
        assert same_weights(again.objective.state_dict(), whole.objective.state_dict())
        assert losses(folder) == losses(tmp_path / "whole")


def test_a_model_that_reads_the_graph_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """What it draws of the graph is the same after a resume in the middle of an epoch."""
    settings = {"epochs": 2, "checkpoint_every": 1}
    settings["reads"] = {"item_graph": "graphsage", "latest_users": 2, "graph_options": {"relations": ["co_occurs"]}}
    whole, broken = (trainer(tmp_path / name, ("matching", "ui", "ii"), **settings) for name in ("whole", "run"))
    whole.run()
    step = broken._step

    def dying(at: int, batch: Batch) -> None:
        if broken.state.epoch == 1 and at == 2:
            raise Killed
        step(at, batch)

    broken._step = dying  # type: ignore[method-assign]
    with pytest.raises(Killed):
        broken.run()
    again = trainer(tmp_path / "run", ("matching", "ui", "ii"), **settings)
    again.run()
    assert same_weights(again.objective.state_dict(), whole.objective.state_dict())


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_stopped_between_the_files_of_an_epochs_end(tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the metrics line but before a checkpoint, or between the best and the last one."""
    settings = {"epochs": 2}
    whole = trainer(tmp_path / "whole", **settings)
    whole.run()
    broken, count = trainer(tmp_path / "run", **settings), iter(range(1, 99))
    publish = artifact.publish

    def dying(*what: Any) -> None:
        if next(count) == stop:
            raise Killed
        publish(*what)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(artifact, "publish", dying)
        broken.run()
    with (tmp_path / "run" / METRICS).open("a") as file:
        file.write('{"epoch": 9, "los')  # a line cut off in the middle
    again = trainer(tmp_path / "run", **settings)
    again.run()
    assert same_weights(again.objective.state_dict(), whole.objective.state_dict())
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


WORKER = """
import sys
from pathlib import Path
from typing import Any
from tests.test_training import EVERY_TASK, trainer
made = trainer(Path(sys.argv[1]), EVERY_TASK, epochs=3, checkpoint_every=2)
print("ready", flush=True)
made.run()
"""


def worker(folder: Path) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-c", WORKER, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE)
    assert started.stdout is not None and started.stdout.readline() == b"ready\n"
    return started


def test_killed_processes_go_on_bit_for_bit(tmp_path: Path) -> None:
    """SIGKILL after the first checkpoint, then at random moments, until a process gets through."""
    whole = trainer(tmp_path / "whole", EVERY_TASK, epochs=3, checkpoint_every=2)
    begun = time.perf_counter()
    whole.run()
    seconds = time.perf_counter() - begun
    chance, after_checkpoint = random.Random(3), []
    for attempt in range(3):
        process = worker(tmp_path / "run")
        if attempt:
            time.sleep(seconds * chance.uniform(0.1, 0.5))
        while not attempt and process.poll() is None and not exists(tmp_path / "run" / LAST):
            time.sleep(0.001)
        checkpoint = exists(tmp_path / "run" / LAST)
        process.send_signal(signal.SIGKILL)  # does nothing to a process that has ended
        if process.wait() != -signal.SIGKILL:
            break
        process.stdout.close()
        after_checkpoint.append(checkpoint)
    assert any(after_checkpoint)
    process = worker(tmp_path / "run")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert same_weights(load_weights(tmp_path / "run" / BEST), load_weights(tmp_path / "whole" / BEST))
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


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
