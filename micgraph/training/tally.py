"""What an epoch's losses add up to, without waiting for the device at every step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from micgraph.schema import ConfigError

CHECK_EVERY = 100
"""Steps on a device that runs beside Python between looks at whether their losses are finite."""


class Tally:
    """Sums of an epoch's losses by name, in double precision, where the losses are.

    Args:
        epoch: counted from 0, for errors.
        sums: of the steps that an earlier process has taken.
        check_every: steps between looks at the losses; None: 1 on the CPU, else :data:`CHECK_EVERY`.
    """

    def __init__(self, epoch: int, sums: dict[str, float], check_every: int | None = None) -> None:
        self.epoch, self.check_every = epoch, check_every
        self.sums: dict[str, float | Tensor] = dict(sums)
        self.unseen: list[tuple[int, Tensor]] = []

    def add(self, step: int, loss: Tensor, parts: dict[str, Tensor]) -> None:
        """Count a step's loss and its parts, all scalars without a gradient.

        Raises:
            ConfigError: one of the last steps had a loss that was not finite.
        """
        here = loss.device.type == "cpu"
        for name, value in {"loss": loss, **{f"loss/{name}": part for name, part in parts.items()}}.items():
            self.sums[name] = self.sums.get(name, 0.0) + (value.item() if here else value.double())
        self.unseen.append((step, loss))
        if len(self.unseen) >= (self.check_every or (1 if here else CHECK_EVERY)):
            self._check()

    def read(self) -> dict[str, float]:
        """The sums so far.

        Raises:
            ConfigError: a loss was not finite.
        """
        self._check()
        return {name: float(value) for name, value in self.sums.items()}

    def _check(self) -> None:
        """One look at all losses since the last one."""
        unseen, self.unseen = self.unseen, []
        if not unseen:
            return
        losses = torch.stack([loss for _, loss in unseen]).tolist()
        for (step, _), loss in zip(unseen, losses, strict=True):
            if not math.isfinite(loss):
                raise ConfigError(
                    "training",
                    "a finite loss",
                    f"{loss} at epoch {self.epoch + 1}, step {step}",
                    "lower training.lr, raise the temperature, or use precision=fp32",
                )
