"""AdamW, and for large tables of embeddings an update of those rows alone that a step has read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

FUSED = ("cpu", "cuda")
"""Devices on which torch updates a parameter in one pass."""


class RowAdamW(torch.optim.AdamW):
    """AdamW that takes sparse gradients, and updates the rows that these name as AdamW would.

    Other rows of such a table stay as they are, and so do their moments and their decay (the lazy Adam of
    ``torch.optim.SparseAdam``); the bias correction counts every step. With a row in every step it is AdamW.
    What it keeps is what AdamW keeps, so that either goes on from the other's state.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; ``closure`` is not supported."""
        assert closure is None, "the gradients are made before"
        sparse = []
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None and weight.grad.is_sparse:
                    grad = weight.grad.coalesce()
                    self._update(weight, grad, group)
                    sparse.append((weight, grad))
                    weight.grad = None
        super().step()
        for weight, grad in sparse:
            weight.grad = grad

    def _update(self, weight: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        row, slope, (keep, keep_sq) = grad.indices()[0], grad.values(), group["betas"]
        mean = state["exp_avg"][row].lerp_(slope, 1 - keep)
        square = state["exp_avg_sq"][row].mul_(keep_sq).addcmul_(slope, slope, value=1 - keep_sq)
        state["exp_avg"].index_copy_(0, row, mean)
        state["exp_avg_sq"].index_copy_(0, row, square)
        size = group["lr"] / (1 - keep ** state["step"])
        way = mean.div_(square.sqrt_().div_((1 - keep_sq ** state["step"]).sqrt()).add_(group["eps"])).mul_(size)
        weight.index_copy_(0, row, weight[row].mul_(1 - group["lr"] * group["weight_decay"]).sub_(way))


def make_optimizer(model: nn.Module, lr: float, weight_decay: float, sparse_rows: int, device: str) -> RowAdamW:
    """The optimiser of a model; from now on its large tables have sparse gradients.

    Args:
        model: its parameters lie on the device.
        lr, weight_decay: of AdamW.
        sparse_rows: tables of embeddings with at least so many rows are updated row by row; 0: none.
        device: kind of the device.
    """
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.sparse = 0 < sparse_rows <= module.num_embeddings
    return RowAdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=device in FUSED or None)


def clip(model: nn.Module, limit: float) -> None:
    """Scale the gradient down to the norm ``limit``, rows of sparse ones included."""
    dense = []
    for weight in model.parameters():
        if weight.grad is not None and weight.grad.is_sparse:
            weight.grad = weight.grad.coalesce()  # a row that is there twice has one gradient, the sum
            rows = torch.empty_like(weight.grad.values())
            rows.grad = weight.grad.values()
            dense.append(rows)
        else:
            dense.append(weight)
    nn.utils.clip_grad_norm_(dense, limit)


def pack(state: dict[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimiser's state as tensors by name, and its groups."""
    tensors = {
        f"{index}.{name}": value.detach().contiguous().cpu()
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def unpack(tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """What :func:`pack` was given."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": groups}
