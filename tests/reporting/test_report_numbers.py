"""The numbers of a report against loops over the runs' own lists."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import exp, isnan, log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import micgraph as mg
from micgraph.evaluation import EvalData, prepare
from micgraph.reporting import tables
from micgraph.reporting.item_map import groups, item_map
from micgraph.retrieval.rankers import FusedRanker
from tests.html_page import Page

K, LABELS = 5, ("plain", "<u>")
Lists = list[list[int]]


def _lists(run: mg.Run, data: EvalData, k: int = K, channel: Any = None) -> Lists:
    """Of each user the fused list, or what one channel gives."""
    rec = mg.Recommender(run) if channel is None else mg.Recommender(run, {"fusion": "rrf"})
    ranker = FusedRanker(rec, None if channel is None else (channel,), fill=channel is None)
    found = ranker.rank(data.histories, data.users, k, data.histories).tolist()
    return [[item for item in row if item >= 0] for row in found]


def _rows(ragged: Any) -> Lists:
    ends = ragged.indptr.tolist()
    return [ragged.items[a:b].tolist() for a, b in zip(ends, ends[1:], strict=False)]


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, mg.Run]:
    return {label: mg.load_run(folder / "runs" / label) for label in LABELS}


@pytest.fixture(scope="module")
def data(folder: Path, runs: dict[str, mg.Run]) -> EvalData:
    return prepare(mg.Holdout.load(folder / "graph-valid"), runs["plain"].graph)


def _told(value: float) -> str:
    return "-" if isnan(value) else f"{value:.4f}"


def test_recall_and_hits_by_the_length_of_the_history(page: str, runs: dict[str, mg.Run], data: EvalData) -> None:
    (table,) = Page(page).tables["users"]
    clicks, want = _rows(data.clicks), []
    known = [sum(item >= 0 for item in row) for row in _rows(data.histories)]
    assert min(known) == 0 and any(0 < n < 5 for n in known) and max(known) >= 20, "cold and warm users"
    for label, run in runs.items():
        lists = _lists(run, data)
        for name, low, high in (("0", 0, 0), ("1-4", 1, 4), ("5-19", 5, 19), ("20-49", 20, 49), ("50+", 50, 999)):
            mine = [row for row, n in enumerate(known) if low <= n <= high]
            n = sum(len(clicks[row]) for row in mine)
            recalls = [len(set(lists[row]) & set(clicks[row])) / len(set(clicks[row])) for row in mine]
            recall = sum(recalls) / len(mine) if mine else float("nan")
            hits = sum(item in lists[row] for row in mine for item in clicks[row])
            want.append([label, name, str(len(mine)), str(n), _told(recall), _told(hits / n if n else float("nan"))])
    assert [row for row in table[1:] if row[0] != "popularity"] == want


def test_hits_by_the_popularity_of_the_clicked_item(page: str, runs: dict[str, mg.Run], data: EvalData) -> None:
    (table,) = Page(page).tables["popularity"]
    graph = runs["plain"].graph
    count = [0] * graph.n_items
    for item in graph.relation("clicks").col.tolist():
        count[item] += 1
    upto, decile = 0, {}
    for item in sorted(range(graph.n_items), key=lambda item: (count[item], item)):
        decile[item] = int(10 * Fraction(2 * upto + count[item], 2 * sum(count)))
        upto += count[item]
    clicks = [(row, item) for row, items in enumerate(_rows(data.clicks)) for item in items if item < graph.n_items]
    for label, run in runs.items():
        lists = _lists(run, data)
        of = [[item in lists[row] for row, item in clicks if decile[item] == at] for at in range(10)]
        shares = [_told(sum(found) / len(found)) if found else "-" for found in of]
        assert next(row for row in table if row[0] == label)[1:] == shares
    assert table[1][1:] == [str(sum(decile[item] == at for _, item in clicks)) for at in range(10)]


def test_what_each_channel_finds_alone_and_shares(page: str, runs: dict[str, mg.Run], data: EvalData) -> None:
    (table,) = Page(page).tables["channels"]
    rows = iter(table[1:])
    clicks = [(row, item) for row, items in enumerate(_rows(data.clicks)) for item in items]
    for label, run in runs.items():
        lists = {name: _lists(run, data, K, name) for name in ("u2i", "u2u", "i2i")}
        finders = [{name for name in lists if item in lists[name][row]} for row, item in clicks]
        for name, mine in lists.items():
            row = next(rows)
            assert row[:2] == [label, name.upper()]
            assert row[2:4] == [str(sum(name in one for one in finders)), str(sum(one == {name} for one in finders))]
            for cell, (other, theirs) in zip(row[7:], lists.items(), strict=True):
                shares = [len(set(a) & set(b)) / len(a) for a, b in zip(mine, theirs, strict=True) if a]
                assert cell == ("" if other == name else f"{sum(shares) / len(shares):.4f}")
    assert not list(rows)


def test_lists_find_and_cover_more_as_they_grow(page: str, runs: dict[str, mg.Run], data: EvalData) -> None:
    (table,) = Page(page).tables["trade-off"]
    clicks = _rows(data.clicks)
    for label, k, recall, coverage, diversity in table[1:]:
        if label != "popularity":
            lists = _lists(runs[label], data, int(k))
            shown = {item for row in lists for item in row}
            shares = [len(set(a) & set(b)) / len(set(b)) for a, b in zip(lists, clicks, strict=True)]
            assert (recall, coverage) == (f"{sum(shares) / len(shares):.4f}", f"{len(shown) / 30:.4f}")
            category = runs[label].graph.category.tolist()
            differ = []
            for row in lists:
                pairs = [(a, b) for at, a in enumerate(row) for b in row[:at]]
                differ.append(sum(category[a] != category[b] for a, b in pairs) / len(pairs))
            assert float(diversity) == pytest.approx(sum(differ) / len(differ), abs=1e-4)
    assert [row[1] for row in table[1:] if row[0] == "plain"] == ["5", "10", "20"], "no longer than the catalogue"


def test_the_best_of_each_column_is_bold(page: str) -> None:
    table = Page(page).tables["runs"][1]
    bold = [[] for _ in table[0]]  # type: list[list[str]]
    for place, (tag, attributes) in enumerate(_cells(page)):
        assert tag in ("td", "th")
        if "best" in (attributes.get("class") or ""):
            line, column = divmod(place, len(table[0]))
            bold[column].append(table[line][column])
    for column in range(2, len(table[0])):
        cells = [row[column] for row in table[1:]]
        assert bold[column] == [cell for cell in cells if float(cell) == max(map(float, cells))]
    assert tables.best_cells([("a", "-", "0.1"), ("b", "0.3", "0.1")], [0, 1]) == {(1, 0), (0, 1), (1, 1)}


def _cells(page: str) -> Iterator[tuple[str, dict[str, str | None]]]:
    """The cells of the second table."""
    number = 0
    for tag, attributes in Page(page).tags:
        number += tag == "table"
        if number == 2 and tag in ("td", "th"):
            yield tag, attributes


def test_an_item_s_nearest_share_its_category_or_not() -> None:
    category = torch.cat([torch.zeros(3, dtype=torch.int64), torch.arange(27) % 11 + 1])  # of three nothing is known
    graph: Any = SimpleNamespace(category=category, n_items=30, item_vocab={})
    vectors = torch.randn(30, 4)
    items = torch.arange(0, 30, 2)
    found, again = (item_map(vectors, items, graph, 0) for _ in range(2))
    known = [int(item) for item in items if graph.category[item] > 0]
    together, pairs = [], []
    for a in known:
        others = [b for b in known if b != a]
        near = sorted(others, key=lambda b: -float(torch.cosine_similarity(vectors[a], vectors[b], 0)))[:10]
        together.append(sum(bool(graph.category[a] == graph.category[b]) for b in near) / 10)
        pairs += [bool(graph.category[a] == graph.category[b]) for b in others]
    assert found.together == pytest.approx(sum(together) / len(together))
    assert found.chance == pytest.approx(sum(pairs) / len(pairs))
    assert found.places.shape == (15, 2) and (found.places == again.places).all()
    names = [name for name, _ in groups(graph, found.items)]
    assert names[-2:] == ["other categories", "no category"] and names[0] == "category 1" and len(names) <= 10
    assert sum(members.sum() for _, members in groups(graph, found.items)) == 15
    assert not len(item_map(vectors, items[:4], graph, 0).places), "four items make no map"


def test_example_users_have_the_lists_and_reasons_of_recommend(
    page: str, runs: dict[str, mg.Run], data: EvalData
) -> None:
    shown = Page(page).tables["examples"]
    assert len(shown) == 4 * len(runs)
    titles = {title: item for item, title in enumerate(runs["plain"].graph.titles(range(30)))}
    drawn = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:4].sort().values.tolist()
    for place, table in enumerate(shown):
        row, label = drawn[place // 2], LABELS[place % 2]
        listed, later, past = (
            x[row] for x in (_lists(runs[label], data, 10), _rows(data.clicks), _rows(data.histories))
        )
        assert [titles[cells[2]] for cells in table[1:]] == listed
        assert [cells[1] == "hit" for cells in table[1:]] == [item in later for item in listed]
        near = [cells[3].removeprefix("near ") for cells in table[1:] if cells[3].removeprefix("near ") in titles]
        assert {titles[title] for title in near} <= set(past), "I2I goes from a click of the user's own"
        assert all("I2I" in cells[4] for cells in table[1:] if cells[3].removeprefix("near ") in titles)


def test_alignment_and_uniformity_are_means_over_clicks_and_pairs(
    page: str, runs: dict[str, mg.Run], data: EvalData
) -> None:
    (table,) = Page(page).tables["vectors"]
    clicks = _rows(data.clicks)
    for label, run in runs.items():
        unit = torch.nn.functional.normalize
        search, own = (unit(vectors, dim=-1) for vectors in run.model.item_vectors())
        queries = list(mg.Recommender(run).retriever.encode(data.histories, data.users))
        mine = unit(torch.cat([one.search for one in queries]), dim=-1)
        users = unit(torch.cat([one.own for one in queries]), dim=-1)
        pairs = [(row, item) for row, items in enumerate(clicks) for item in items if item < len(search)]
        apart = [float((mine[row] - search[item]).square().sum()) for row, item in pairs]
        even = []
        for vectors in (users, own):
            near = [exp(-2 * float((a - b).square().sum())) for at, a in enumerate(vectors) for b in vectors[:at]]
            even.append(log(sum(near) / len(near)))
        told = next([float(cell) for cell in row[1:]] for row in table if row[0] == label)
        assert told == pytest.approx([sum(apart) / len(apart), *even], abs=2e-4)


def test_captions_of_curves_say_when_a_run_was_best(page: str, runs: dict[str, mg.Run]) -> None:
    words = "".join(Page(page).words)
    for label, run in runs.items():
        rows = run.metrics
        lowest = min(rows, key=lambda row: row["loss"])
        highest = max(rows, key=lambda row: row["valid/recall@20"])
        assert f"{label} {lowest['loss']:.4g} in epoch {lowest['epoch']}" in words
        assert f"{label} {highest['valid/recall@20']:.4g} in epoch {highest['epoch']}" in words
        about = next(row for row in Page(page).tables["runs"][0] if row[0] == label)
        assert about[3:5] == ["2 of 2", str(highest["epoch"])]
        assert about[6] == f"{sum(p.numel() for p in run.towers.parameters()):,}"
