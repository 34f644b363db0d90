"""Training that was stopped: after any step, between files, by a kill; it goes on bit for bit."""

from __future__ import annotations

import os
import random
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
from micgraph.sampling.plan import Batch
from micgraph.training import BEST, LAST, METRICS, load_weights
from tests.loop import EVERY_TASK, Killed, losses, rows_of, same_weights, scripted, trainer


def test_a_run_that_has_ended_goes_on_when_epochs_or_patience_grow(tmp_path: Path) -> None:
    values = [0.5, 0.1, 0.1, 0.9, 0.1]
    made = trainer(tmp_path, validate=scripted(values), epochs=9, patience=2)
    assert (made.run().epoch, made.state.best_epoch) == (3, 0)
    made = trainer(tmp_path, validate=scripted(values[3:]), epochs=4, patience=3)
    assert (made.run().epoch, made.state.best_epoch, made.state.stale) == (4, 3, 0)
    made = trainer(tmp_path, validate=scripted(values[4:]), epochs=5, patience=3)
    assert (made.run().epoch, made.state.best_epoch, made.state.stale) == (5, 3, 1)
    assert [row["valid/recall@50"] for row in rows_of(tmp_path)] == values


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
from tests.loop import EVERY_TASK, trainer
made = trainer(Path(sys.argv[1]), EVERY_TASK, epochs=3, checkpoint_every=2)
print("ready", flush=True)
made.run()
"""


def worker(folder: Path) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[2]
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
