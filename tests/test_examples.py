"""The examples run from their command line to their last line, on a few hundred rows in the official formats."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from micgraph.config import merge, nested
from micgraph.datasets import groceries
from micgraph.presets import resolve
from micgraph.schema import ConfigError

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
DAY, HOUR = 86_400, 3_600
NEW_YEAR_2017, GLOBO_CUT = 1_483_228_800, 1_508_155_200  # 2017-01-01 and 2017-10-16 12:00 UTC


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of an example, imported as Python does it for ``python examples/NAME.py``."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    spec = importlib.util.spec_from_file_location(f"example_{request.param}", EXAMPLES / f"{request.param}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ran(example: ModuleType, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[str], dict[str, float]]:
    """The lines that it prints, and the last of them, which is JSON."""
    example.main(arguments)
    lines = capsys.readouterr().out.splitlines()
    return lines, json.loads(lines[-1])


def grocery(folder: Path, n_users: int = 40, n_items: int = 12, late: tuple[int, int] = (340, 341)) -> Path:
    """Complete Journey's three tables. Each household buys of eight products, two of which only on the ``late`` days,
    which are in December."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(n_users):
        own = [(user + step) % n_items for step in range(8)]
        for basket in range(8):
            day = late[basket - 6] + user % 5 if basket >= 6 else 40 * basket + user % 20
            for item in rng.choice(own if basket >= 6 else own[:6], 3, replace=False):
                rows.append((user + 1, 1000 + item, user * 100 + basket, NEW_YEAR_2017 + day * DAY))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    names = ("household_id", "product_id", "basket_id", "transaction_timestamp")
    bought = pa.table(dict(zip(names, columns, strict=True)))
    seconds = bought["transaction_timestamp"].cast(pa.timestamp("s", "UTC"))
    pq.write_table(bought.set_column(3, "transaction_timestamp", seconds), folder / "transactions.parquet")
    number = np.arange(n_items)
    products = {
        "product_id": 1000 + number,
        "product_type": [f"TYPE {n % 4}" for n in number],
        "package_size": [f"{n} OZ" for n in number],
        "department": ["GROCERY"] * n_items,
        "product_category": [f"CATEGORY {n % 3}" for n in number],
        "manufacturer_id": number % 5,
        "brand": ["National"] * n_items,
    }
    pq.write_table(pa.table(products), folder / "products.parquet")
    users = {"household_id": np.arange(1, n_users + 1), "age": ["45-54", "25-34"] * (n_users // 2)}
    pq.write_table(pa.table(users), folder / "demographics.parquet")
    return folder


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
    shown = [line.split() for line in lines if line.startswith("  household ")]
    assert len(shown) == 15 and len({words[1] for words in shown}) == 3, "five products for three households"
    assert [words[2] for words in shown] == ["1.", "2.", "3.", "4.", "5."] * 3
    reasons = [
        line for line in lines if line.startswith("  household ") and ("bought TYPE" in line or "like house" in line)
    ]
    assert {line.split()[1] for line in reasons} == {words[1] for words in shown}


def films(folder: Path) -> Path:
    """MovieLens's three files."""
    rng, n_users, n_items = np.random.default_rng(0), 40, 45
    ratings = [
        f"{user}::{item}::5::{978_300_000 + user * DAY + 60 * place}"
        for user in range(1, n_users + 1)
        for place, item in enumerate(rng.choice(n_items, 12, replace=False) + 1)
    ]
    (folder / "ratings.dat").write_text("\n".join(ratings) + "\n")
    lines = [
        f"{item}::Film {item} ({1970 + item})::{('Drama', 'Comedy|Crime')[item % 2]}" for item in range(1, n_items + 1)
    ]
    (folder / "movies.dat").write_text("\n".join(lines) + "\n")
    people = [f"{user}::{'FM'[user % 2]}::25::{user % 7}::48067" for user in range(1, n_users + 1)]
    (folder / "users.dat").write_text("\n".join(people) + "\n")
    return folder


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


def news(folder: Path) -> np.ndarray:
    """Globo's file; the seconds of its clicks."""
    rng, n = np.random.default_rng(0), 600
    seconds = np.sort(rng.integers(GLOBO_CUT - 20 * HOUR, GLOBO_CUT + 12 * HOUR, n))
    user = rng.integers(0, 40, n)
    clicks = {"user_id": user, "session_id": user * 100 + seconds // (6 * HOUR) % 100}
    clicks |= {"click_article_id": rng.integers(0, 30, n), "click_timestamp": seconds * 1000}
    pq.write_table(pa.table(clicks), folder / "clicks.parquet")
    return seconds


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
                assert {config.task_config(task).weight for task in config.tasks if task != "matching"} == {0.003}
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
    assert list(summary) == ["popularity", "ease", "ICAN", "ICAN, fused", "MicRec (final)", "MicRec (final), fused"]
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
