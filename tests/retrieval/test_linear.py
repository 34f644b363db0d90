"""I2I's neighbours by a linear model of what is clicked next, against loops and a least-squares solver."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from micgraph.knn import NeighborTable, Ragged
from micgraph.retrieval import linear
from micgraph.retrieval.channels import I2I, Queries
from micgraph.retrieval.linear import RIDGE, following
from micgraph.schema import ConfigError
from tests.toy import timed

N_ITEMS, WINDOW, DECAY = 6, 3, 0.7


def clicks(seed: int = 0) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, N_ITEMS, generator.integers(0, 12)).tolist() for _ in range(9)]


def relation(rows: list[list[int]]):
    return timed([list(enumerate(row)) for row in rows], N_ITEMS)


def by_least_squares(rows: list[list[int]]) -> np.ndarray:
    """Ridge regression row by row of the data, with the ridge as more rows."""
    past, future = [], []
    for row in rows:
        for at in range(len(row)):
            x, y = np.zeros(N_ITEMS), np.zeros(N_ITEMS)
            for back in range(WINDOW):
                if at - back >= 0:
                    x[row[at - back]] += DECAY**back
            for ahead in range(1, WINDOW + 1):
                if at + ahead < len(row):
                    y[row[at + ahead]] += 1
            past.append(x)
            future.append(y)
    ridge = np.sqrt(RIDGE) * np.eye(N_ITEMS)
    return np.linalg.lstsq(np.vstack([past, ridge]), np.vstack([future, np.zeros((N_ITEMS, N_ITEMS))]), rcond=None)[0]


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_it_is_the_ridge_regression_of_the_next_clicks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "BLOCK", block)
    rows = clicks()
    table, want = following(relation(rows), WINDOW, DECAY, N_ITEMS - 1), by_least_squares(rows)
    np.fill_diagonal(want, 0)
    found = np.zeros((N_ITEMS, N_ITEMS))
    for item in range(N_ITEMS):
        for col, score in zip(table.col[item].tolist(), table.score[item].tolist(), strict=True):
            if col >= 0:
                found[item, col] = score
        assert table.score[item].tolist() == sorted(table.score[item].tolist(), reverse=True)
    assert np.abs(found - want.clip(min=0)).max() < 1e-3 * want.max() and want.max() > 0


def test_only_the_nearest_and_no_negative_ones_are_kept() -> None:
    chain = [[0, 1, 2, 3, 4, 5]] * 20
    table = following(relation(chain), 1, 1.0, 2)
    assert table.col[:, 0].tolist() == [1, 2, 3, 4, 5, -1] and (table.col[:, 1] == -1).all()
    assert table.score[5].tolist() == [0, 0]


def test_large_catalogues_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "MAX_ITEMS", 5)
    with pytest.raises(ConfigError, match="co_occurs"):
        following(relation(clicks()), WINDOW, DECAY, 2)


def test_i2i_counts_older_clicks_less() -> None:
    table = NeighborTable(torch.tensor([[1], [2], [0]]), torch.tensor([[1.0], [0.5], [0.25]]))
    items, mask = torch.tensor([[0, 1, 2]]), torch.ones(1, 3, dtype=torch.bool)
    nothing = Ragged(torch.zeros(2, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    queries = Queries(items, mask, torch.tensor([-1]), torch.zeros(1, 2), torch.zeros(1, 2), nothing)
    found = I2I(table, 3, 0.5).find(queries)
    assert found.items.tolist() == [[0, 2, 1]] and found.weight.tolist() == [[0.25, 0.25, 0.25]]
    assert I2I(table, 3).find(queries).weight.tolist() == [[0.25, 0.5, 1.0]]
