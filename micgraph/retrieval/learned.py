"""Fusion by a logistic model instead of Eq. 5: what to learn from, fitting, and the plain weights that remain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from micgraph.retrieval.pool import Pool
from micgraph.schema import InputError

FEATURES = (
    "u2i_score",
    "u2i_rank",
    "u2u_count",
    "i2i_count",
    "u2u_weight",
    "i2i_weight",
    "similarity",
    "u2i",
    "u2u",
    "i2i",
)
RIDGE = 1e-4
"""Of the weights, whose features have standard deviation 1."""


def features(pool: Pool, held: Tensor, basic: Tensor) -> Tensor:
    """What the model reads of each candidate.

    Args:
        held: bool [B, 3, P], which channels hold the candidate.
        basic: float [B, P], the score that U2I ranks by.

    Returns:
        float32 [B, P, 10] in the order of :data:`FEATURES`: the score, -log(2 + place in U2I's list) (0 outside
        of it), log(1 + count) of U2U and I2I, the sums of the similarities of what brought it there, the trigger's
        similarity, and a flag a channel.
    """
    rank = torch.where(pool.rank >= 0, -torch.log(2.0 + pool.rank), 0.0)
    counts = torch.log1p(pool.count[:, 1:].float())
    flags = held.float()
    sums = pool.weight[:, 1:]
    columns = [basic, rank, *counts.unbind(1), *sums.unbind(1), pool.trigger.similarity, *flags.unbind(1)]
    return torch.stack(columns, dim=2)


@dataclass(frozen=True)
class LearnedFusion:
    """A conditional logistic model: log-odds = sum of ``weight`` * (feature - ``mean``) / ``scale``.

    What all candidates of a user share is left out. All are plain numbers, one for each of ``names``, which are some
    of :data:`FEATURES`.
    """

    names: list[str]
    mean: list[float]
    scale: list[float]
    weight: list[float]

    @classmethod
    def fit(cls, x: Tensor, relevant: Tensor, owner: Tensor, names: Sequence[str] = FEATURES) -> LearnedFusion:
        """Fit it to candidates whose users' held-out clicks are known.

        Which of a user's candidates he clicks is what a list is about, not how much he clicks: so each clicked one
        competes with those of the same user that he did not click, and every user counts the same.

        Args:
            x: float [n, 10], from :func:`features`.
            relevant: bool [n], which of the candidates their user went on to click.
            owner: int64 [n], whose candidates they are.
            names: the features to learn from.

        Raises:
            InputError: all candidates are relevant, or none is.
        """
        if not bool(relevant.any()) or bool(relevant.all()):
            got = f"{int(relevant.sum())} of {len(relevant)}"
            remedy = "pass validation users whose targets the channels can find"
            raise InputError("targets", "some candidates that are targets and some that are not", got, remedy)
        rows = x[:, _columns(names)].double().cpu()
        mean, scale = rows.mean(0), rows.std(0, correction=0)
        scale[scale < 1e-9] = 1.0
        weight = _fit((rows - mean) / scale, relevant.cpu(), torch.unique(owner.cpu(), return_inverse=True)[1])
        return cls(list(names), mean.tolist(), scale.tolist(), weight.tolist())

    def score(self, x: Tensor) -> Tensor:
        """Log-odds float32 [...] of features [..., 10]."""
        mean, scale, weight = (torch.tensor(v, device=x.device) for v in (self.mean, self.scale, self.weight))
        return (x[..., _columns(self.names)] - mean) / scale @ weight


def _columns(names: Sequence[str]) -> list[int]:
    return [FEATURES.index(name) for name in names]


def _fit(x: Tensor, relevant: Tensor, owner: Tensor) -> Tensor:
    """The weights float64 [F] that minimise the mean over users of their relevant candidates' mean of
    ``log(exp(s) + sum of exp over the irrelevant) - s``, plus a ridge."""
    weight = torch.zeros(x.shape[1], dtype=x.dtype, requires_grad=True)
    users = int(owner.max()) + 1
    of = owner[relevant]
    share = 1 / torch.bincount(of, minlength=users)[of] / len(torch.unique(of))
    optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        score = x @ weight
        top = torch.full((users,), -torch.inf, dtype=x.dtype).scatter_reduce(0, owner, score.detach(), "amax")
        raised = (score - top[owner]).exp()
        others = torch.zeros(users, dtype=x.dtype).index_add(0, owner[~relevant], raised[~relevant])
        lost = (others[of] + raised[relevant]).log() + top[of] - score[relevant]
        loss = (share * lost).sum() + RIDGE * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach()
