"""What a task is: declares what it needs, then turns a batch and its representations into one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from micgraph.nn.towers import ItemReps
from micgraph.sampling.plan import Batch, Requires
from micgraph.schema import InputError
from micgraph.tasks.mining import Direction, Mined, Mining


@dataclass(frozen=True)
class Reps:
    """Everything that a step has encoded, each unique item and query once.

    Attributes:
        items: the batch's items in their own space, with raw field embeddings; row -1 is the unknown item.
        search_items: float [U + 1, D], items in the space that U2I searches.
        queries: float [P, d], pairs' queries in their own space, the mean of several interests.
        search_queries: float [P, D], the same in U2I's space, of several interests the target's nearest.
        query_views: float [A, d] perturbed views of the anchor queries, as many as asked for.
        item_views: float [I, d] perturbed views of the item anchors, as many as asked for.
        other: float [B, d], the query vectors of the samples' other stretches, or None.
        scale: scores are ``scale * <search query, search item>``.
        mining: finds more positives and negatives, or None.
    """

    items: ItemReps
    search_items: Tensor
    queries: Tensor
    search_queries: Tensor
    query_views: tuple[Tensor, ...]
    item_views: tuple[Tensor, ...]
    scale: float
    mining: Mining | None = None
    other: Tensor | None = None

    def mined(
        self, direction: Direction, key: int, anchor: tuple[Tensor, Tensor], partner: tuple[Tensor, Tensor]
    ) -> Mined | None:
        """What was mined for anchors, each with its own positive: (users or items of the graph int64 [A], their vectors
        float [A, d]) of both; None while nothing is mined."""
        return None if self.mining is None else self.mining.mined(direction, key, *anchor, *partner)


class Task(nn.Module):
    """One loss. A new task is one class and one line that registers it (:func:`micgraph.register_task`).

    Attributes:
        weight: what its loss is multiplied by.
        requires: what it needs of a batch.
        views: how many perturbed views of queries or items it reads.
        mines: what it asks mining for.
        reads: ``batch``: its loss needs all of a batch's queries at once. ``pairs``: it is a mean over pairs, each of
            which needs no other one's query, so that it may be given some of the pairs. ``items``: it reads no query.
        compact: one that reads ``pairs`` takes little memory for any number of them; it gets all that there are.
    """

    weight: float
    requires: Requires
    views: int = 0
    mines: tuple[Direction, ...] = ()
    reads: Literal["batch", "pairs", "items"] = "batch"
    compact: bool = False

    def forward(self, batch: Batch, reps: Reps) -> Tensor:
        """The loss: float [], a mean over anchors."""
        raise NotImplementedError


def check_scalar(name: str, loss: Tensor) -> Tensor:
    """A task's loss, if it is one number.

    Args:
        name: of the task.

    Raises:
        InputError: another shape, or no tensor.
    """
    if not isinstance(loss, Tensor) or loss.dim():
        got = f"the shape {list(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        remedy = "return a mean over anchors; micgraph.tasks.losses.mean takes it"
        raise InputError(f"task {name}", "a loss without dimensions", got, remedy)
    return loss
