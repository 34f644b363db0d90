"""Fusion by a logistic model instead of Eq. 5: what to learn from, fitting, and the plain weights that remain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from micgraph.retrieval.pool import Pool
from micgraph.schema import InputError

FEATURES = ("u2i_score", "u2i_rank", "u2u_count", "i2i_count", "similarity", "u2i", "u2u", "i2i")


def features(pool: Pool, held: Tensor, basic: Tensor) -> Tensor:
    """What the model reads of each candidate.

    Args:
        held: bool [B, 3, P], which channels hold the candidate.
        basic: float [B, P], the score that U2I ranks by.

    Returns:
        float32 [B, P, 8] in the order of :data:`FEATURES`: the score, -log(2 + place in U2I's list) (0 outside
        of it), log(1 + count) of U2U and I2I, the trigger's similarity, and a flag a channel.
    """
    rank = torch.where(pool.rank >= 0, -torch.log(2.0 + pool.rank), 0.0)
    counts = torch.log1p(pool.count[:, 1:].float())
    flags = held.float()
    return torch.stack([basic, rank, *counts.unbind(1), pool.trigger.similarity, *flags.unbind(1)], dim=2)


@dataclass(frozen=True)
class LearnedFusion:
    """A logistic model: log-odds = ``intercept`` + sum of ``weight`` * (feature - ``mean``) / ``scale``.

    All are plain numbers, one for each of :data:`FEATURES`.
    """

    mean: list[float]
    scale: list[float]
    weight: list[float]
    intercept: float

    @classmethod
    def fit(cls, x: Tensor, relevant: Tensor) -> LearnedFusion:
        """Fit it to candidates whose users' held-out clicks are known.

        Args:
            x: float [n, 8], from :func:`features`.
            relevant: bool [n], which of the candidates their user went on to click.

        Raises:
            InputError: all candidates are relevant, or none is.
        """
        from sklearn.linear_model import LogisticRegression

        if not bool(relevant.any()) or bool(relevant.all()):
            got = f"{int(relevant.sum())} of {len(relevant)}"
            remedy = "pass validation users whose targets the channels can find"
            raise InputError("targets", "some candidates that are targets and some that are not", got, remedy)
        rows = x.double().cpu().numpy()
        mean, scale = rows.mean(0), rows.std(0)
        scale[scale < 1e-9] = 1.0
        model = LogisticRegression(max_iter=500).fit((rows - mean) / scale, relevant.cpu().numpy().astype(np.int64))
        return cls(mean.tolist(), scale.tolist(), model.coef_[0].tolist(), float(model.intercept_[0]))

    def score(self, x: Tensor) -> Tensor:
        """Log-odds float32 [...] of features [..., 8]."""
        mean, scale, weight = (torch.tensor(v, device=x.device) for v in (self.mean, self.scale, self.weight))
        return (x - mean) / scale @ weight + self.intercept
