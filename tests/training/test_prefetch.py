"""Batches made ahead: the same losses, the same errors, and nothing left running."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from micgraph.schema import ConfigError
from micgraph.training import LAST, load_weights, prefetch
from tests.loop import EVERY_TASK, Killed, losses, same_weights, trainer

CPU = torch.device("cpu")


@pytest.fixture
def by_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "_free_cores", lambda: 1)


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("micgraph-batches")]


def test_a_thread_makes_batches_only_where_a_core_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, threads in ((0, set()), (-3, set()), (1, {"micgraph-batches_0"})):
        monkeypatch.setattr(prefetch, "_free_cores", lambda free=free: free)
        with prefetch.prefetched(lambda step: threading.current_thread().name, range(3), CPU) as made:  # type: ignore
            assert set(made) == (threads or {threading.current_thread().name})


def test_one_batch_is_made_while_the_one_before_is_used(by_thread: None) -> None:
    begun = [threading.Event() for _ in range(5)]

    def make(step: int) -> int:
        begun[step].set()
        return step * step

    with prefetch.prefetched(make, range(2, 5), CPU) as made:  # type: ignore[arg-type]
        assert next(made) == 4 and begun[3].wait(10) and not begun[4].is_set()
        assert list(made) == [9, 16]


def test_training_is_the_same_and_goes_on_at_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_thread: None
) -> None:
    settings = {"epochs": 2, "checkpoint_every": 2}
    broken = trainer(tmp_path / "thread", EVERY_TASK, **settings)
    step = broken._step

    def dying(at: int, batch: object) -> None:
        if broken.state.epoch == 1 and at == 3:
            raise Killed
        step(at, batch)  # type: ignore[arg-type]

    broken._step = dying  # type: ignore[method-assign]
    with pytest.raises(Killed):
        broken.run()
    assert not ours()
    again = trainer(tmp_path / "thread", EVERY_TASK, **settings)
    again.run()
    assert not ours()
    monkeypatch.setattr(prefetch, "_free_cores", lambda: 0)
    plain = trainer(tmp_path / "plain", EVERY_TASK, **settings)
    plain.run()
    assert losses(tmp_path / "thread") == losses(tmp_path / "plain")
    assert same_weights(load_weights(tmp_path / "thread" / LAST), load_weights(tmp_path / "plain" / LAST))


@pytest.mark.parametrize("error", [ConfigError("a", "b", "c", "d"), KeyboardInterrupt()])
def test_what_goes_wrong_in_a_batch_is_raised_as_it_is(tmp_path: Path, by_thread: None, error: BaseException) -> None:
    made = trainer(tmp_path, epochs=1)
    batch, taken = made.sampler.batch, []

    def failing(epoch: int, step: int, order: torch.Tensor) -> object:
        if step == 2:
            raise error
        return batch(epoch, step, order)

    made.sampler.batch = failing  # type: ignore[assignment]
    step = made._step
    made._step = lambda at, batch: taken.append(at) or step(at, batch)  # type: ignore[assignment, func-returns-value]
    with pytest.raises(type(error)) as caught:
        made.run()
    assert caught.value is error and taken == [0, 1] and not ours()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_another_stream_gives_the_same_batches() -> None:
    device = torch.device("cuda")

    def make(step: int) -> dict[str, torch.Tensor]:
        return {"x": torch.arange(1 << 20, device=device) * step}

    with prefetch.prefetched(make, range(1, 20), device) as made:  # type: ignore[arg-type]
        found = [int(batch["x"].sum()) for batch in made]  # type: ignore[index]
    assert found == [step * ((1 << 20) - 1) * (1 << 19) for step in range(1, 20)]
