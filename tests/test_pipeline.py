"""What train and evaluate refuse before they begin, what they leave behind, and a fusion that is learned."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import micgraph as mg
from micgraph.config import read_yaml
from micgraph.evaluation import prepare
from micgraph.retrieval.fusion import FusionConfig
from micgraph.schema import ConfigError, InputError

SMALL: dict[str, Any] = {"model": {"dim": 8, "history": 10}, "training": {"epochs": 1}}
MIC = Path(__file__).resolve().parents[1] / "configs" / "mic.yaml"


@pytest.fixture
def parts(tiny_log: Any) -> mg.Split:
    return mg.split(mg.read_log(tiny_log.clicks), "temporal", test="2d")


@pytest.fixture
def graph(parts: mg.Split) -> mg.RecGraph:
    return mg.build(parts.train)


def quick(graph: mg.RecGraph, out: Path | None = None, model: str | None = None, **more: Any) -> mg.Run:
    config = {**SMALL, **more.pop("config", {})}
    return mg.train(graph, model, config=config, out=out, device="cpu", progress=False, **more)


def test_a_config_alone_says_what_is_trained(graph: mg.RecGraph, tmp_path: Path) -> None:
    settings = {**read_yaml(MIC), "training": {"epochs": 1}}
    assert mg.train(graph, config=settings, device="cpu", progress=False).name == "mic_dnn+mic"
    assert quick(graph).name == "gru4rec"
    with pytest.raises(ConfigError, match="leave model out"):
        mg.train(graph, "gru4rec", config=MIC, out=tmp_path / "run", device="cpu", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "sampling", "told"),
    [("gru4rec", {}, True), ("gru4rec", {"strict": False}, False), ("gru4rec", None, True), ("mic_dnn", {}, False)],
)
def test_a_preset_that_reads_basket_mates_says_so(
    model: str, sampling: Any, told: bool, tiny_log: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    clicks = tiny_log.clicks.sort_values(["user_id", "timestamp"])
    nth = clicks.groupby("user_id").cumcount()
    paired = clicks.assign(timestamp=clicks.timestamp.where(nth % 2 == 0).ffill())
    seconds = paired.groupby("user_id").timestamp.diff().dropna().dt.total_seconds()
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**SMALL, "sampling": sampling}))

    def said(log: Any) -> list[str]:
        caplog.clear()
        mg.train(mg.build(mg.read_log(log)), model, config=tmp_path / "c.yaml", device="cpu", progress=False)
        return [record.getMessage() for record in caplog.records if "sampling.strict" in record.getMessage()]

    assert not said(clicks), "clicks with seconds of their own are no baskets"
    line = f"as the preset of {model} has it: {100 * (seconds == 0).mean():.0f}% of"
    assert [line in one for one in said(paired)] == [True] * told


def test_data_prepared_for_another_graph_is_refused(graph: mg.RecGraph, parts: mg.Split, tmp_path: Path) -> None:
    other = mg.build(parts.test.histories)
    run, data = quick(graph), prepare(parts.test, other)
    with pytest.raises(InputError, match="another graph"):
        mg.evaluate(run, data)
    with pytest.raises(InputError, match="another graph"):
        quick(graph, tmp_path / "run", validation=data)
    assert not (tmp_path / "run").exists()
    own = prepare(parts.test, graph)
    assert str(mg.evaluate(run, own)) == str(mg.evaluate(run, parts.test))


def test_what_is_made_too_early_is_refused_with_the_step_before(graph: mg.RecGraph, parts: mg.Split) -> None:
    with pytest.raises(InputError, match="^graph: expected a RecGraph, got a Log; build one first"):
        mg.train(parts.train, "gru4rec")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="^run: expected a trained run, got a RecGraph; pass the run that"):
        mg.Recommender(graph)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="^run: expected a trained run, got a RecGraph; pass the run that"):
        mg.evaluate(graph, parts.test)  # type: ignore[arg-type]


def test_a_whole_split_is_refused(graph: mg.RecGraph, parts: mg.Split, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pass split\.test"):
        mg.evaluate(quick(graph), parts)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"split\.valid"):
        quick(graph, tmp_path / "run", validation=parts)
    assert not (tmp_path / "run").exists()


def test_lists_end_with_the_catalogue(graph: mg.RecGraph, parts: mg.Split) -> None:
    run = quick(graph)
    found = mg.evaluate(run, parts.test, ks=(graph.n_items, 999), filter_seen=False, baselines=["popularity"])
    for result in found.results.values():
        assert result[f"recall@{graph.n_items}"] == result["recall@999"] == 1.0
    with pytest.raises(InputError, match="ks: expected"):
        mg.evaluate(run, parts.test, ks=[])


def test_relations_that_are_needed_are_looked_for_before_training(graph: mg.RecGraph, tmp_path: Path) -> None:
    bare = replace(graph, relations={"clicks": graph.relations["clicks"]})
    for model, fusion, named in (
        ("gru4rec", {"neighbors": "similar"}, "fusion.neighbors: .*'similar'"),
        ("gru4rec", {"neighbors": "co_occurs"}, "fusion.neighbors: .*'co_occurs'"),
        ("gru4rec+sem", {}, "tasks: .*similar edges.*sem: false"),
        ("gru4rec+sess", {}, "tasks: .*co_occurs edges"),
    ):
        with pytest.raises(ConfigError, match=named):
            quick(bare, tmp_path / "run", model, config={"fusion": fusion})
        assert not (tmp_path / "run").exists()


def test_the_callers_random_numbers_stay(graph: mg.RecGraph, parts: mg.Split) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = quick(graph, validation=parts.valid, config={"training": {"epochs": 2}})
    assert torch.equal(torch.rand(3), expected)
    again = quick(graph, validation=parts.valid, config={"training": {"epochs": 2}})
    assert torch.equal(first.model.item_vectors()[0], again.model.item_vectors()[0]), "its own seed decides"


def test_a_temporary_run_goes_with_its_run(graph: mg.RecGraph, parts: mg.Split) -> None:
    run = quick(graph)
    folder, recommender = run.directory, mg.Recommender(run)
    assert mg.load_run(folder).name == run.name
    del run
    gc.collect()
    assert not folder.exists()
    assert len(recommender.recommend(["u1"], k=3)) == 3, "what was made of the run needs no folder"


def test_a_learned_fusion_needs_validation(graph: mg.RecGraph, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fusion.fusion: .*validation=split.valid"):
        quick(graph, tmp_path / "run", config={"fusion": {"fusion": "learned"}})
    assert not (tmp_path / "run").exists()


def test_a_learned_fusion_is_fitted_once_and_kept(
    graph: mg.RecGraph, parts: mg.Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"fusion": {"fusion": "learned", "k1": 20}}
    run = quick(graph, tmp_path / "run", validation=parts.valid, config=config)
    assert run.learned is not None
    saved = tmp_path / "copy"
    run.save(saved)
    loaded = mg.load_run(saved)
    assert loaded.learned == run.learned
    shown = str(mg.evaluate(run, parts.test))
    assert str(mg.evaluate(loaded, parts.test)) == shown != str(mg.evaluate(run, parts.test, fusion={"fusion": "mic"}))

    assert mg.Recommender(loaded).retriever.learned == run.learned
    with monkeypatch.context() as patched:
        patched.setattr(mg.Recommender, "fit_fusion", None)
        assert quick(graph, tmp_path / "run", validation=parts.valid, config=config).learned == run.learned

    plain = quick(graph, tmp_path / "run", validation=parts.valid, config={"fusion": {"fusion": "mic"}})
    assert plain.learned is None
    assert mg.load_run(tmp_path / "run").config.fusion.fusion == "mic"
    fewer = {"fusion": {"fusion": "learned", "k1": 5}}
    refitted = quick(graph, tmp_path / "run", validation=parts.valid, config=fewer).learned
    assert refitted is not None
    assert refitted != run.learned, "other candidates, another fit"
    assert mg.load_run(tmp_path / "run").learned == refitted


def test_another_fusion_may_be_judged_on_the_same_run(graph: mg.RecGraph, parts: mg.Split) -> None:
    run, name = quick(graph), "gru4rec, fused"
    own = mg.evaluate(run, parts.test)[name].values
    assert mg.evaluate(run, parts.test, fusion=run.fusion)[name].values == own
    by_mapping = mg.evaluate(run, parts.test, fusion={"lambda_div": 5.0, "m1": 3})[name].values
    assert by_mapping == mg.evaluate(run, parts.test, fusion=FusionConfig(lambda_div=5.0, m1=3))[name].values != own
    with pytest.raises(ConfigError, match="fusion.lamda_div: .*did you mean 'lambda_div'"):
        mg.evaluate(run, parts.test, fusion={"lamda_div": 5.0})
    with pytest.raises(ConfigError, match="a fitted model"):
        mg.evaluate(run, parts.test, fusion={"fusion": "learned"})
