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

from micgraph.datasets import groceries

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


def grocery(folder: Path, n_users: int = 40, n_items: int = 12) -> Path:
    """Complete Journey's three tables. Each household buys of eight products, two of which only in December."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(n_users):
        own = [(user + step) % n_items for step in range(8)]
        for basket in range(8):
            day = 340 + basket if basket >= 6 else 40 * basket + user % 20
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


@pytest.mark.parametrize("example", ["movielens"], indirect=True)
def test_movielens(example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, n_users, n_items = np.random.default_rng(0), 40, 45
    ratings = [
        f"{user}::{item}::5::{978_300_000 + user * DAY + 60 * place}"
        for user in range(1, n_users + 1)
        for place, item in enumerate(rng.choice(n_items, 12, replace=False) + 1)
    ]
    (tmp_path / "ratings.dat").write_text("\n".join(ratings) + "\n")
    films = [
        f"{item}::Film {item} ({1970 + item})::{('Drama', 'Comedy|Crime')[item % 2]}" for item in range(1, n_items + 1)
    ]
    (tmp_path / "movies.dat").write_text("\n".join(films) + "\n")
    people = [f"{user}::{'FM'[user % 2]}::25::{user % 7}::48067" for user in range(1, n_users + 1)]
    (tmp_path / "users.dat").write_text("\n".join(people) + "\n")
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
    rng, n = np.random.default_rng(0), 600
    seconds = np.sort(rng.integers(GLOBO_CUT - 20 * HOUR, GLOBO_CUT + 12 * HOUR, n))
    user = rng.integers(0, 40, n)
    clicks = {"user_id": user, "session_id": user * 100 + seconds // (6 * HOUR) % 100}
    clicks |= {"click_article_id": rng.integers(0, 30, n), "click_timestamp": seconds * 1000}
    pq.write_table(pa.table(clicks), tmp_path / "clicks.parquet")
    monkeypatch.setitem(example.CONFIG, "training", {"epochs": 1})
    lines, summary = ran(example, capsys, "--raw", str(tmp_path), "--fused", "--out", str(tmp_path / "runs"))
    models = [f"{m}{row}" for m in ("gru4rec", "gru4rec+fea+sess") for row in ("", ", last 6h", ", fused")]
    assert set(summary) == {"graph_seconds", "popularity", "popularity 6h", "itemknn", *models}
    assert summary["popularity"] == summary["gru4rec"] == 1.0, "200 places hold all 30 articles"
    tested = int((seconds >= GLOBO_CUT).sum())
    assert any(line.startswith(f"{tested:,} clicks from 2017-10-16 12:00 on") for line in lines)
