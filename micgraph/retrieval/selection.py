"""Which candidates become the list, one after another: by Eq. 5 with its diversity, or by quotas of the channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def select(score: Tensor, mask: Tensor, category: Tensor, k: int, lambda_div: float) -> tuple[Tensor, Tensor]:
    """Choose ``k`` candidates one after another by Eq. 5, Eq. 4 being the share of those already chosen whose
    category differs (0 for the first one). Equal scores go to the earlier place.

    Only the best candidate left of each category can be chosen next, so a step costs O(categories).

    Args:
        score: float [B, P], Score_Basic + lambda_mic * Score_MIC.
        mask: bool [B, P].
        category: int64 [B, P].
        k: length of the list.
        lambda_div: weight of Eq. 4.

    Returns:
        place int64 [B, k] in the candidates, best first, -1 where there are no more; and Eq. 5's score [B, k], -inf
        there.
    """
    score = score.masked_fill(~mask, -torch.inf)
    order = torch.sort(score, dim=1, descending=True, stable=True).indices
    if lambda_div == 0:
        return _fit(order, score.gather(1, order), k)
    return _fit(*_greedy(score, order, category, min(k, score.shape[1]), lambda_div), k)


def _greedy(score: Tensor, order: Tensor, category: Tensor, k: int, lambda_div: float) -> tuple[Tensor, Tensor]:
    """The ``k`` steps of :func:`select`: places and scores [B, k].

    Args:
        score: float [B, P], -inf where there is no candidate.
        order: int64 [B, P], places by descending score.
    """
    order = order.gather(1, torch.sort(category.gather(1, order), dim=1, stable=True).indices)
    code = category.gather(1, order)
    queue = torch.nn.functional.pad(score.gather(1, order), (0, 1), value=-torch.inf)  # one more: past the last queue
    order = torch.nn.functional.pad(order, (0, 1))
    head, end = _groups(code)
    chosen = torch.zeros_like(head)
    places, values = [], []
    for step in range(k):
        front = queue.gather(1, head).masked_fill(head >= end, -torch.inf)
        total = front + lambda_div * (step - chosen) / max(step, 1)
        best = total.amax(1, keepdim=True)
        place = torch.where(total == best, order.gather(1, head), score.shape[1])
        winner = place.argmin(1, keepdim=True)
        places.append(place.gather(1, winner))
        values.append(best)
        one = torch.ones_like(winner)
        head = head.scatter_add(1, winner, one).clamp(max=score.shape[1])
        chosen = chosen.scatter_add(1, winner, one)
    empty = score.new_zeros(len(score), 0)
    return torch.cat([empty.long(), *places], 1), torch.cat([empty, *values], 1)


def _groups(code: Tensor) -> tuple[Tensor, Tensor]:
    """Start and end int64 [B, G] of each run of equal codes in the rows of ``code`` [B, P]; empty runs for padding."""
    batch, places = code.shape
    fresh = torch.ones_like(code, dtype=torch.bool)
    fresh[:, 1:] = code[:, 1:] != code[:, :-1]
    group = fresh.cumsum(1) - 1
    size = int(group.max()) + 1 if group.numel() else 1
    length = torch.zeros(batch, size, dtype=torch.int64, device=code.device)
    length = length.scatter_add(1, group, torch.ones_like(group))
    end = length.cumsum(1)
    return end - length, end


def _fit(place: Tensor, value: Tensor, k: int) -> tuple[Tensor, Tensor]:
    room = (0, max(0, k - place.shape[1]))
    place = torch.nn.functional.pad(place[:, :k], room, value=-1)
    value = torch.nn.functional.pad(value[:, :k], room, value=-torch.inf)
    return torch.where(value > -torch.inf, place, -1), value


def take_turns(place: Tensor, quotas: Sequence[float], k: int) -> tuple[Tensor, Tensor]:
    """Choose ``k`` candidates, each the best left of the channel that is furthest behind its quota (D'Hondt: the least
    (taken + 1) / quota, the first channel of equal ones).

    Args:
        place: int64 [B, n, P], each candidate's place in each channel's list, -1 where it is not in it.
        quotas: of each channel; one of 0 is asked when no other has anything left.
        k: length of the list.

    Returns:
        The candidates int64 [B, k], best first, -1 where there are no more; and 1 / place in the list [B, k], -inf
        there.
    """
    batch, n, size = place.shape
    used_up = size + 1
    left = torch.where(place >= 0, place, used_up)
    quota = torch.tensor(quotas, dtype=torch.float64, device=place.device).clamp(min=1e-9)
    taken = torch.zeros(batch, n, dtype=torch.float64, device=place.device)
    chosen, scores = [], []
    for step in range(min(k, size)):
        first, candidate = left.min(2)
        due = ((taken + 1) / quota).masked_fill(first == used_up, torch.inf)
        channel = due.argmin(1, keepdim=True)
        winner = candidate.gather(1, channel)
        some = first.gather(1, channel) < used_up
        chosen.append(winner)
        scores.append(torch.where(some, 1 / (step + 1), -torch.inf))
        left.scatter_(2, winner[:, None].expand(-1, n, -1), used_up)
        taken.scatter_add_(1, channel, torch.ones_like(due[:, :1]))
    empty = torch.zeros(batch, 0, device=place.device)
    return _fit(torch.cat([empty.long(), *chosen], 1), torch.cat([empty, *scores], 1), k)
