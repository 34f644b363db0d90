"""The examples run from their command line to their last line, on a few hundred rows in the official formats."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from micgraph.datasets import groceries
from tests.small_data import GLOBO_CUT, films, grocery, news, ran


@pytest.mark.parametrize("example", ["quickstart"], indirect=True)
def test_quickstart(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the figure needs matplotlib (the extra demo)")
    folder = grocery(tmp_path)
    monkeypatch.setattr(groceries, "_complete_journey_folder", lambda: folder)
    monkeypatch.setitem(example.BASE, "training", {**example.BASE["training"], "epochs": 1})
    lines, summary = ran(example, capsys, "--out", str(tmp_path / "runs"))
    models = [name for model in example.MODELS for name in (model, f"{model}, fused")]
    assert set(summary) == {"seconds", "popularity", "itemknn", "ease", *models}
    assert all(0 <= summary[name] <= 1 for name in models) and summary["popularity"] > 0
    assert (tmp_path / "runs" / "recall_coverage.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    assert "base + MicRec" in page and any(line.startswith("the models on one page: ") for line in lines)
    shown = [line.split() for line in lines if line.startswith("  household ")]
    assert len(shown) == 15 and len({words[1] for words in shown}) == 3, "five products for three households"
    assert [words[2] for words in shown] == ["1.", "2.", "3.", "4.", "5."] * 3
    reasons = [
        line for line in lines if line.startswith("  household ") and ("bought TYPE" in line or "like house" in line)
    ]
    assert {line.split()[1] for line in reasons} == {words[1] for words in shown}


@pytest.mark.parametrize("example", ["movielens"], indirect=True)
def test_movielens(example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films(tmp_path)
    small = ["--set", "training.epochs=1", "--set", "model.dim=8", "--seeds", "2", "--out", str(tmp_path / "runs")]
    lines, summary = ran(example, capsys, "--raw", str(tmp_path), "--model", "gru4rec+mic", *small)
    reference = {"ease_recall@50", "popularity_recall@50"}
    assert set(summary) == {"recall@20", "recall@50", "fused_recall@20", "fused_recall@50", *reference}
    assert summary["recall@50"] == summary["popularity_recall@50"] == 1.0, "50 places hold all 45 films"
    assert 0 < summary["recall@20"] < 1
    assert sum(line.startswith("Test users, seen items") for line in lines) == 2
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"gru4rec+mic-seed0", "gru4rec+mic-seed1"}


@pytest.mark.parametrize("example", ["globo"], indirect=True)
def test_globo(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = news(tmp_path)
    monkeypatch.setitem(example.CONFIG, "training", {"epochs": 1})
    monkeypatch.setattr(example, "KS", (3, 200))
    monkeypatch.setattr(example, "COLUMNS", ["hit@3"])
    lines, summary = ran(example, capsys, "--raw", str(tmp_path), "--fused", "--out", str(tmp_path / "runs"))
    models = [f"{m}{row}" for m in ("gru4rec", "gru4rec+fea+sess") for row in ("", ", last 6h", ", fused")]
    assert set(summary) == {"graph_seconds", "popularity", "popularity 6h", "itemknn", *models}
    assert summary["popularity"] == summary["gru4rec"] == 1.0, "200 places hold all 30 articles"
    three = {name: float(line.split()[-1]) for line in lines for name in models if line.startswith(f"{name}  ")}
    assert set(three) == set(models) and all(0 < hit < 0.5 for hit in three.values()) and len(set(three.values())) > 1
    tested = int((seconds >= GLOBO_CUT).sum())
    assert any(line.startswith(f"{tested:,} clicks from 2017-10-16 12:00 on") for line in lines)


@pytest.mark.parametrize("example", ["warm_start"], indirect=True)
def test_warm_start(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    news(tmp_path)
    clicks = pq.read_table(tmp_path / "clicks.parquet").to_pandas()
    clicks["click_timestamp"] += clicks.index % 3 * 86_400_000
    clicks.to_parquet(tmp_path / "clicks.parquet", index=False)
    monkeypatch.setitem(example.CONFIG, "model", {"dim": 8, "history": 5})
    small = ["--day", "2017-10-16", "--share", "2", "--seeds", "2", "--epochs", "4"]
    lines, summary = ran(example, capsys, "--raw", str(tmp_path), *small)
    assert set(summary) == {"from scratch, 4 epochs", "from scratch, 1 epochs", "warm, 1 epochs"}
    assert all(value == 1.0 for value in summary.values()), "50 places hold all 30 articles"
    assert sum("warm start from gru4rec on graph" in line for line in lines) == 2


@pytest.mark.parametrize("example", ["compare_titles"], indirect=True)
def test_compare_titles(example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Words decide the subcategory here, so that tf-idf finds it always and a random neighbour seldom."""
    words = [(f"N{n}", f"c{n % 2}", f"c{n % 2} s{n % 4}", f'"topic{n % 4} word{n}') for n in range(48)]
    (tmp_path / "news.tsv").write_text("".join("\t".join([*row, "an abstract"]) + "\n" for row in words))
    titles = "".join(f"{news}\t{category}\t{title}\n" for news, category, _, title in words)
    (tmp_path / "news_titles.tsv").write_text("news_id\tcategory\ttitle\n" + titles)
    lines, summary = ran(example, capsys, "--raw", str(tmp_path), "--most", "40")
    assert set(summary) == {"news.tsv", "news_titles.tsv"}
    full, short = summary["news.tsv"], summary["news_titles.tsv"]
    assert full["tfidf"]["category"] == short["tfidf"]["category"] == 1.0 > full["random"]["category"] > 0.3
    assert full["tfidf"]["subcategory"] > 0.8 > full["random"]["subcategory"] and short["tfidf"]["subcategory"] is None
    assert "checkpoint" in full["sentence-transformers"]["not at hand"]
    assert sum(line.startswith("sentence-transformers   not at hand") for line in lines) == 2
