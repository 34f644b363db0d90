"""The commands that reproduce the papers' tables run to their last line, and their rows are comparable."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from micgraph.config import merge, nested
from micgraph.datasets import groceries
from micgraph.presets import resolve
from micgraph.schema import ConfigError
from tests.small_data import films, grocery, news, ran

SMALL = ["--set", "model.dim=8", "--set", "model.history=6", "--set", "sampling.batch_size=64", "--epochs", "1"]


@pytest.mark.parametrize("example", ["reproduce_mic"], indirect=True)
def test_reproduce_mic_table_1(example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One command is stopped by its rows, the next goes on; the table has both, beside the paper's figures."""
    command = ["--table", "1", "--raw", str(films(tmp_path)), "--out", str(tmp_path / "t"), *SMALL]
    ran(example, capsys, *command, "--rows", "popularity,mic_dnn", "--seeds", "2")
    lines, summary = ran(example, capsys, *command, "--rows", "mic_dnn + MIC,ease", "--seeds", "2")
    assert list(summary) == ["popularity", "ease", "mic_dnn", "mic_dnn, fused", "mic_dnn + MIC", "mic_dnn + MIC, fused"]
    text = (tmp_path / "t" / "table-1.md").read_text()
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    head, own, fused = (
        next(line for line in lines if line[0] == n) for n in ("recall@20", "mic_dnn + MIC", "mic_dnn + MIC, fused")
    )
    assert {name.split(" (")[0] for name in head if "(paper)" in name} == set(
        example.printed.seen_too(example.printed.MIC_METRICS)
    )
    place = head.index("recall@20, seen too (paper)") + 1
    assert (own[place], fused[place]) == ("-", "0.1251"), "12.508, of three channels and of lists that may repeat"
    assert own[1] != own[head.index("recall@20, seen too") + 1]
    assert "- sasrec: not run yet" in text and "| mic_dnn + MIC, fused | mic_dnn, fused |" in text
    assert (tmp_path / "t" / "table-1.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads((tmp_path / "t" / "table-1.json").read_text())
    assert [line["seeds"] for line in stored["lines"]] == [1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("example", ["reproduce_mic"], indirect=True)
@pytest.mark.parametrize(
    ("what", "picture", "names"),
    [
        (
            ["--table", "4", "--rows", "full,- UU,- mining"],
            "table-4",
            ["full", "full, without U2U", "- UU", "- mining"],
        ),
        (["--figure", "4"], "recall-diversity", ["comirec_sa, λ_div 0", "comirec_sa + MIC, λ_div 5"]),
        (["--figure", "5", "--rows", "Base,UI-II"], "spaces", ["Base, U2I", "Base, U2U", "UI-II, I2I"]),
    ],
)
def test_reproduce_mic_ablations_and_figures(
    example: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    what: list[str],
    picture: str,
    names: list[str],
) -> None:
    command = [*what, "--raw", str(films(tmp_path)), "--out", str(tmp_path / "t"), "--users", "0.5", *SMALL]
    lines, summary = ran(example, capsys, *command, "--set", "sampling.anchors_per_query=4")
    assert set(names) <= set(summary)
    assert (tmp_path / "t" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert "50% of the training users kept" in lines


@pytest.mark.parametrize("example", ["reproduce_mic"], indirect=True)
def test_ablations_of_mic_are_tuned_as_the_full_model_is(example: ModuleType) -> None:
    """The same settings over the same values, and one weight and temperature for the tasks that a row has."""
    full, *ablations = example.table_4()
    base, *losses = example.figure_5()
    own = {name: entry for name, entry in full.search.items() if name not in example.BASE_SEARCH}
    assert set(own) == {"tasks.mic.weight", "tasks.mic.tau"} and base.search == example.BASE_SEARCH
    for row in [*ablations, *losses]:
        tasks = row.model.removeprefix(example.ABLATED).strip("+").replace("+", ",")
        same = {name.replace(".mic.", f".{tasks}."): entry for name, entry in own.items()} if tasks else {}
        assert dict(row.search) == {**example.BASE_SEARCH, **same}, row.name
        for name, entry in row.search.items():
            config = resolve(row.model, merge(row.fixed, nested({name: entry["values"][0]})), 100)
            if tasks and name.endswith(".weight"):
                assert {config.task_config(task).weight for task in config.tasks if task != "matching"} == {
                    entry["values"][0]
                }
    assert [row.fixed for row in ablations if row.fixed] == [
        {"perturb": {"sides": "none"}},
        {"mining": {"mode": "none"}},
    ]


@pytest.mark.parametrize("example", ["reproduce_mic"], indirect=True)
def test_ablations_of_mic_get_the_trials_of_the_full_model(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna", reason="the extra tune is not installed")
    command = ["--table", "4", "--raw", str(films(tmp_path)), "--out", str(tmp_path / "t"), "--users", "0.5", *SMALL]
    small = ["--set", "sampling.anchors_per_query=4", "--trials", "2"]
    ran(example, capsys, *command, *small, "--rows", "full,- UU")
    for row in ("full", "uu"):
        assert len(list((tmp_path / "t" / "tuning" / row / "trials").iterdir())) == 2
    with pytest.raises(ConfigError, match="as the row '- mining' sets it"):
        elsewhere = ["--out", str(tmp_path / "other"), "--rows", "- mining", "--set", "mining.mode=none"]
        ran(example, capsys, *command, *small, *elsewhere)


@pytest.mark.parametrize("example", ["reproduce_mic"], indirect=True)
def test_reproduce_mic_best(example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"model": {"encoder": "mic_dnn", "dim": 8, "history": 6}, "tasks": {"ui": {}}, "training": {"epochs": 2}}
    (tmp_path / "best.yaml").write_text(json.dumps(config))
    command = ["--best", "--raw", str(films(tmp_path)), "--config", str(tmp_path / "best.yaml")]
    lines, summary = ran(example, capsys, *command, "--out", str(tmp_path / "t"))
    assert list(summary) == ["recall@20", "recall@50", "fused_recall@20", "fused_recall@50"]
    assert summary["recall@50"] == summary["fused_recall@50"] == 1.0, "50 places hold all 45 films"
    assert 0 < summary["recall@20"] < 1
    assert (tmp_path / "t" / "seed-0" / "best").is_dir()


@pytest.mark.parametrize("example", ["reproduce_mic"], indirect=True)
@pytest.mark.parametrize("option", [["--users", "0.1"], ["--trials", "2"], ["--rows", "ease"], ["--keep-runs"]])
def test_reproduce_mic_best_refuses_what_it_does_not_read(
    example: ModuleType, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    with pytest.raises(SystemExit):
        example.main(["--best", "--raw", "nowhere", *option])
    assert f"leave out {option[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("example", ["reproduce_micrec"], indirect=True)
def test_reproduce_micrec_groceries(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = grocery(tmp_path, late=(310, 340))
    monkeypatch.setattr(groceries, "_complete_journey_folder", lambda: folder)
    monkeypatch.setattr(example, "KS", (1, 3))
    monkeypatch.setattr(example.printed, "MICREC", {"ICAN": (0.0101, 0.0303)})
    rows = ["--rows", "popularity,ease,ICAN,MicRec (final)"]
    lines, summary = ran(example, capsys, "--table", "2", *rows, "--out", str(tmp_path / "t"), *SMALL)
    assert list(summary) == ["popularity", "ease", "ICAN", "MicRec (final)", "MicRec (final), fused"]
    assert len(set(summary.values())) > 1 and all(0 < value < 1 for value in summary.values())
    head = (
        "|  | recall@1 | recall@3 | hit@1 | hit@3 | hit_cold_items@3 | hit_cold_users@3 | coverage@3 | hit@1 (paper) | "
    )
    assert any(line.startswith(f"{head}hit@3 (paper) |") for line in lines)
    assert sum("| 0.0101 | 0.0303 |" in line for line in lines) == 1
    frozen = json.loads((tmp_path / "t" / "frozen" / "ican.json").read_text())
    assert frozen["epochs"] == 1 and frozen["setup"]["trials"] == 1
    assert frozen["setup"]["monitor"] == "recall@500"
    assert "- FM: not run yet" in lines and not any("0.5758" in line for line in lines), "News-76M's are not beside it"


@pytest.mark.parametrize("example", ["reproduce_micrec"], indirect=True)
def test_reproduce_micrec_news(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    news(tmp_path)
    monkeypatch.setattr(example, "KS", (2, 10))
    monkeypatch.setattr(example.printed, "MICREC_ABLATION", {"- all": (0.01, 0.02, 0.03)})
    command = ["--data", "globo", "--raw", str(tmp_path), "--out", str(tmp_path / "t"), *SMALL]
    lines, summary = ran(example, capsys, "--table", "4", *command, "--rows", "MicRec,- semantic,- session,- all")
    assert list(summary) == ["- semantic", "- semantic, last 6h", "- all", "- all, last 6h"]
    assert any("| hit_known@2 | hit_known@10 | hit@2 | hit@10 |" in line for line in lines)
    assert len(set(summary.values())) > 1 and all(0 < value < 1 for value in summary.values())
    frozen = json.loads((tmp_path / "t" / "frozen" / "semantic.json").read_text())
    assert frozen["setup"]["monitor"] == "hit@500" and not frozen["setup"]["filter_seen"]
    missing = {line for line in lines if line.startswith("- ") and "neither titles nor categories" in line}
    assert {line.split(":")[0] for line in missing} == {"- MicRec", "- - session", "- - feature"}


@pytest.mark.parametrize("example", ["reproduce_micrec"], indirect=True)
def test_micrecs_contrasts_are_searched_alike_and_compared_step_by_step(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "_lacks", lambda tasks, bench: None)
    rows = {row.name: row for row in example.table_2("complete-journey", None)}
    for name, tasks in example.CONTRASTS.items():
        weights = {f"tasks.{task}.weight": example.TASK_WEIGHTS for task in tasks.split("+")}
        assert rows[name].search == {**example.BASE_SEARCH, **weights}, name
        resolve(rows[name].model, nested(dict.fromkeys(weights, 0.02)), 100)
    assert [rows[name].bases for name in ("ICAN", "RFM", *example.STEPS)] == [
        (),
        ("ICAN",),
        ("ICAN",),
        ("ICAN", "RFM* = MicRec (fea)"),
        ("ICAN", "MicRec (fea+sess)"),
    ]
    assert [row.bases for row in example.figure_3("complete-journey", None)][:4] == [
        (),
        ("YoutubeDNN",),
        ("YoutubeDNN", "YoutubeDNN + fea"),
        ("YoutubeDNN", "YoutubeDNN + fea+sess"),
    ]


@pytest.mark.parametrize("example", ["reproduce_micrec"], indirect=True)
def test_reproduce_micrec_channels(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    news(tmp_path)
    monkeypatch.setattr(example, "CHANNEL_KS", (3, 200))
    monkeypatch.setitem(example.NEIGHBORS, "globo", ("co_occurs",))
    command = ["--channels", "--data", "globo", "--raw", str(tmp_path), "--out", str(tmp_path / "t"), *SMALL]
    lines, summary = ran(example, capsys, *command, "--rows", "popularity,DeepFM")
    assert list(summary) == ["popularity", *(f"DeepFM, {view}" for view in ("U2I", "U2U", "I2I", "fused"))]
    assert set(summary.values()) == {1.0}, "200 places hold all 30 articles"
    stored = json.loads((tmp_path / "t" / "channels.json").read_text())
    assert all(0 < line["values"]["hit@3"][0] < 0.5 for line in stored["lines"])
    assert [(one["base"], one["metric"]) for one in stored["comparisons"]] == [
        (f"DeepFM, {view}", "hit@200") for view in ("U2I", "U2U", "I2I")
    ]
    frozen = json.loads((tmp_path / "t" / "frozen" / "deepfm.json").read_text())
    assert frozen["setup"]["monitor"] == "hit@200" and set(frozen["views"]) == {", U2U", ", I2I", ", fused"}
    assert "- DeepFM + fea+sess: not run yet" in lines
