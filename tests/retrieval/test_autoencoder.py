"""I2I's neighbours by EASE, against one constrained ridge regression an item."""

from __future__ import annotations

import numpy as np
import pytest

from micgraph.retrieval import autoencoder
from micgraph.retrieval.autoencoder import announced
from micgraph.schema import InputError
from tests.toy import timed

N_ITEMS, L2 = 7, 0.8


def relation(rows: list[list[int]]):
    return timed([list(enumerate(row)) for row in rows], N_ITEMS)


def regressions(rows: list[list[int]]) -> np.ndarray:
    """Column j: how well each other item foretells item j, all of them together."""
    x = np.zeros((len(rows), N_ITEMS))
    for user, row in enumerate(rows):
        x[user, row] = 1  # twice clicked is clicked
    b = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):
        others = [i for i in range(N_ITEMS) if i != j]
        a = x[:, others]
        b[others, j] = np.linalg.solve(a.T @ a + L2 * np.eye(len(others)), a.T @ x[:, j])
    return b


@pytest.mark.parametrize("n_users", [6, 20])  # the users' side and the items' side
@pytest.mark.parametrize("block", [1, 1000])
def test_they_are_the_weights_of_a_ridge_regression(n_users: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "BLOCK", block)
    draw = np.random.default_rng(n_users)
    rows = [draw.integers(0, N_ITEMS, draw.integers(2, 6)).tolist() for _ in range(n_users)]
    table, want = announced(relation(rows), 4, L2), regressions(rows)
    assert (want > 1e-3).any() and (want < -1e-3).any()
    for item in range(N_ITEMS):
        best = np.sort(want[item][want[item] > 1e-6])[::-1][:4]
        score, col = table.score[item].double(), table.col[item]
        assert np.allclose(score[: len(best)], best, atol=1e-3)
        assert np.allclose(want[item, col[: len(best)]], best, atol=1e-6) and (col[len(best) :] == -1).all()
        assert (score[len(best) :] == 0).all()


def test_what_would_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "MAX_SIDE", 2)
    with pytest.raises(InputError, match="at most 2 items or users for EASE, got 7 items and 3 users.*co_occurs"):
        announced(relation([[0], [1], [2]]), 2)
