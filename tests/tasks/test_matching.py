"""The main objective against loops over its batch and the step's vectors."""

from __future__ import annotations

import math

import pytest
import torch

from micgraph.sampling.plan import Batch
from micgraph.schema import ConfigError
from micgraph.tasks.registry import TASKS
from tests.tasks.one_step import CLICKED, N_ITEMS, POPULARITY, ROWS, average, cos, dot, loss_of, ratio


@pytest.mark.parametrize("samples", ["clicks", "positions"])
@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("kind", ["uniform", "popularity", "in_batch"])
def test_matching_softmax(kind: str, literal: bool, samples: str) -> None:
    """MicRec Eqs. 1 and 7: negatives that the user has not clicked; cosine scores over tau here."""
    model = {"similarity": "cosine", "temperature": 0.5}
    got, batch, reps, _ = loss_of("matching", negatives=kind, count=9, literal=literal, samples=samples, model=model)
    terms = []
    for pair, line in enumerate(batch.pair_row.tolist()):
        query, user = reps.queries[pair], int(batch.user[line])

        def score(item: int, query: torch.Tensor = query) -> float:
            return cos(query, reps.items.vectors[item]) / 0.5

        def log_share(item: int) -> float:
            return math.log(POPULARITY[int(batch.items[item])] / sum(POPULARITY))

        target = int(batch.target[pair])
        if kind == "in_batch":
            others = [i for i in batch.distinct_target.tolist() if (user, int(batch.items[i])) not in CLICKED]
            positive = score(target) - log_share(target)
            negatives = [score(i) - log_share(i) for i in others]
        else:
            drawn = batch.negatives[kind, 9].item.tolist()
            others = [i for i in drawn if (user, int(batch.items[i])) not in CLICKED]
            shift = [log_share(i) + math.log(9) if kind == "popularity" else 0.0 for i in others]
            positive, negatives = score(target), [score(i) - s for i, s in zip(others, shift, strict=True)]
        terms.append(ratio(positive, negatives, literal))
    assert got == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize("samples", ["clicks", "positions"])
def test_matching_over_the_whole_catalogue(samples: str) -> None:
    got, batch, reps, _ = loss_of("matching", negatives="full", samples=samples)
    terms = []
    for pair in range(len(batch.target)):
        target = int(batch.target[pair])
        scores = {i: dot(reps.queries[pair], reps.items.vectors[i]) for i in range(N_ITEMS) if POPULARITY[i]}
        terms.append(ratio(scores.pop(target), list(scores.values())))
    assert got == pytest.approx(average(terms), rel=1e-4)


def wanted_after(batch: Batch, pair: int, window: int) -> list[int]:
    """Local items of a pair's window, found in the user's clicks from the target's place on."""
    line = int(batch.pair_row[pair])
    if batch.pair_at is None:
        place = int(batch.sample[line]) - sum(len(row) for row in ROWS[: int(batch.user[line])])
    else:  # the sample is the piece's end; of its T + 1 clicks the target follows what was read
        length = int(batch.mask[line].sum()) + 1
        end = int(batch.sample[line]) - sum(len(row) for row in ROWS[: int(batch.user[line])])
        same = [p for p in range(len(batch.target)) if int(batch.pair_row[p]) == line]
        place = end - length + 1 + (length - 1 - len(same)) + same.index(pair)
    items = [item for _, item in ROWS[int(batch.user[line])][place : place + window]]
    assert items[0] == int(batch.items[batch.target[pair]])
    return [batch.items.tolist().index(item) for item in items]


@pytest.mark.parametrize("samples", ["clicks", "positions"])
@pytest.mark.parametrize(("window", "spare"), [(1, True), (3, False), (3, True), (50, True)])
def test_matching_over_the_catalogue_with_windows_and_spared_clicks(samples: str, window: int, spare: bool) -> None:
    """Each wanted click has a denominator of its own with all others that anybody has clicked, or with those of them
    that the user has not."""
    settings = {"negatives": "full", "window": window, "window_weight": 0.3, "spare_clicked": spare}
    got, batch, reps, _ = loss_of("matching", samples=samples, **settings)
    terms = []
    for pair, line in enumerate(batch.pair_row.tolist()):
        scores = [dot(reps.queries[pair], reps.items.vectors[i]) for i in range(N_ITEMS)]
        clicked = {i for i in range(N_ITEMS) if spare and (int(batch.user[line]), i) in CLICKED}

        def lost(item: int, scores: list[float] = scores, clicked: set[int] = clicked) -> float:
            others = [s for i, s in enumerate(scores) if i != item and i not in clicked and POPULARITY[i]]
            return ratio(scores[item], others)

        wanted = wanted_after(batch, pair, window)
        terms.append((0.7 if window > 1 else 1.0) * lost(wanted[0]))
        if window > 1:
            terms[-1] += 0.3 * average([lost(item) for item in wanted])
    assert got == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize("samples", ["clicks", "positions"])
@pytest.mark.parametrize("kind", ["uniform", "popularity"])
def test_matching_against_drawn_negatives_with_a_window(kind: str, samples: str) -> None:
    got, batch, reps, _ = loss_of("matching", negatives=kind, count=9, window=3, window_weight=0.3, samples=samples)
    terms = []
    for pair, line in enumerate(batch.pair_row.tolist()):
        user, drawn = int(batch.user[line]), batch.negatives[kind, 9].item.tolist()
        others = [i for i in drawn if (user, int(batch.items[i])) not in CLICKED]
        shift = [0.0] * len(others)
        if kind == "popularity":
            shift = [math.log(9 * POPULARITY[int(batch.items[i])] / sum(POPULARITY)) for i in others]
        scores = [dot(reps.queries[pair], reps.items.vectors[i]) - s for i, s in zip(others, shift, strict=True)]
        losses = [ratio(dot(reps.queries[pair], reps.items.vectors[i]), scores) for i in wanted_after(batch, pair, 3)]
        terms.append(0.7 * losses[0] + 0.3 * average(losses))
    assert got == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"spare_clicked": True},
        {"window": 2, "loss": "logistic"},
        {"window": 2, "literal": True},
        {"window": 2, "negatives": "in_batch"},
        {"window": 0},
        {"window_weight": 1.5},
    ],
)
def test_matching_refuses_windows_and_spared_clicks_that_it_would_ignore(settings: dict) -> None:
    with pytest.raises(ConfigError, match="window|spare_clicked"):
        TASKS["matching"].config(**settings)


@pytest.mark.parametrize("kind", ["uniform", "in_batch", "popularity"])
def test_matching_logistic(kind: str) -> None:
    """MIC Eq. 9 as printed: labels 1 and 0 for the sigmoid of the score, mean over labelled pairs."""
    got, batch, reps, _ = loss_of("matching", loss="logistic", negatives=kind, count=9)
    terms = []
    for pair, user in enumerate(batch.user.tolist()):
        pool = batch.distinct_target if kind == "in_batch" else batch.negatives[kind, 9].item
        pairs = [(int(batch.target[pair]), 1)]
        pairs += [(i, 0) for i in pool.tolist() if (user, int(batch.items[i])) not in CLICKED]
        for item, label in pairs:
            p = 1 / (1 + math.exp(-dot(reps.queries[pair], reps.items.vectors[item])))
            terms.append(-math.log(p if label else 1 - p))
    assert got == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize("settings", [{"loss": "logistic"}, {"literal": True}])
def test_a_full_softmax_refuses_what_it_would_ignore(settings: dict) -> None:
    with pytest.raises(ConfigError, match="negatives"):
        TASKS["matching"].config(negatives="full", **settings)
