"""What training says of settings and directories that are likely meant otherwise."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

import micgraph as mg
from micgraph.schema import ConfigError
from tests.small_refresh import CONFIG, clicks


@pytest.fixture(scope="module")
def graph() -> mg.RecGraph:
    return mg.build(mg.read_log(clicks()))


def test_gpu_is_called_cuda(graph: mg.RecGraph) -> None:
    with pytest.raises(ConfigError, match=r"device: .*got 'gpu' .*; write it as 'cuda'$"):
        mg.train(graph, "gru4rec", config=CONFIG, device="gpu", progress=False)


def test_a_micro_batch_above_the_batch_is_told_of(graph: mg.RecGraph, caplog: pytest.LogCaptureFixture) -> None:
    for micro, told in ((16, []), (17, ["training.micro_batch=17 is above sampling.batch_size=16"])):
        caplog.clear()
        config = {**CONFIG, "training": {"epochs": 1, "micro_batch": micro}}
        with caplog.at_level(logging.WARNING, "micgraph"):
            mg.train(graph, "gru4rec", config=config, device="cpu", progress=False)
        assert [text.partition(":")[0] for text in caplog.messages] == told


def test_several_processes_need_a_directory_before_they_meet(
    graph: mg.RecGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # nobody else is there: joining would fail otherwise
    with pytest.raises(ConfigError, match="out: expected a directory, for several processes, got none; pass out="):
        mg.train(graph, "gru4rec", config=CONFIG, device="cpu", progress=False)


def test_a_run_without_a_checkpoint_says_that_it_begins_anew(
    graph: mg.RecGraph, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def trained() -> str:
        caplog.clear()
        with caplog.at_level("INFO", "micgraph"):
            mg.train(graph, "gru4rec", config=CONFIG, device="cpu", out=tmp_path / "run")
        return caplog.text

    assert "begins anew" not in trained(), "a new run"
    assert "begins anew" not in trained(), "one that has ended"
    for part in ("best", "last"):
        shutil.rmtree(tmp_path / "run" / part)
    assert f"{tmp_path / 'run'} has no checkpoint yet: it begins anew" in trained()
    assert (tmp_path / "run" / "best").is_dir()
