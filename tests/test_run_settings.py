"""What a run says of itself for another training: its settings, and the epoch whose weights it has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.split import split
from micgraph.pipeline import train
from micgraph.presets import resolve
from micgraph.run import Run


@pytest.mark.parametrize("model", ["gru4rec+mic", "ican+micrec", "mic_dnn+ui", "comirec_sa+fea+sess"])
def test_the_settings_of_a_run_are_those_of_another_training(model: str) -> None:
    config = {"training": {"epochs": 7, "lr": 0.5}, "tasks": {"matching": {"count": 9}}, "fusion": {"k1": 11}}
    before = resolve(model, config, 100)
    run = Run.__new__(Run)
    run.config = before
    assert resolve(None, run.settings(), 100) == before
    assert resolve(None, run.settings(epochs=2), 100).training == replace(before.training, epochs=2)


def test_the_best_epoch_is_the_one_whose_weights_the_run_has(tiny_log, tmp_path: Path) -> None:
    parts = split(read_log(tiny_log.clicks), "temporal", test="2d")
    config = {"training": {"epochs": 4, "lr": 0.05}, "model": {"dim": 8}}
    run = train(build(parts.train), "gru4rec", parts.valid, config, tmp_path / "run", "cpu", progress=False)
    scores = [row["valid/recall@50"] for row in run.metrics]
    assert run.best_epoch == 1 + scores.index(max(scores))
    assert f"best epoch {run.best_epoch}:" in repr(run)
    blind = train(build(parts.train), None, config=run.settings(epochs=2), device="cpu", progress=False)
    assert blind.best_epoch == len(blind.metrics) == 2 and blind.config.model == run.config.model
