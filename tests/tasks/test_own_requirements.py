"""What a task of a user's own asks for and cannot get is told by name, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from torch import Tensor

import micgraph as mg
from micgraph.nn.query import QueryEncoder
from micgraph.sampling.plan import Batch, Requires
from micgraph.schema import ConfigError, InputError
from micgraph.tasks.base import Reps, Task
from tests.small_refresh import clicks

SMALL = {"model": {"dim": 8, "history": 5}, "training": {"epochs": 1}}


@dataclass(frozen=True)
class WishConfig:
    weight: float = 1.0


class Wish(Task):
    """The mean of its first view; ``REQUIRES`` is what it asks for."""

    REQUIRES = Requires(item_anchors=True, item_view=True)

    def __init__(self, config: WishConfig) -> None:
        super().__init__()
        self.weight, self.requires = config.weight, self.REQUIRES

    def forward(self, batch: Batch, reps: Reps) -> Tensor:
        return reps.item_views[0].mean()


class Seen(Wish):
    views = 1


class Elsewhere(Wish):
    REQUIRES = Requires(item_anchors=True, positives="same_maker")


def trained(kind: type[Task]) -> mg.Run:
    mg.register_task("wish", kind, WishConfig)
    return mg.train(mg.build(mg.read_log(clicks())), "mic_dnn+wish", config=SMALL, device="cpu", progress=False)


def test_a_task_gets_as_many_views_as_it_says() -> None:
    assert "loss/wish" in trained(Seen).metrics[-1]


def test_a_relation_that_no_graph_has_is_named() -> None:
    with pytest.raises(ConfigError, match="expected a graph with same_maker edges, got one with"):
        trained(Elsewhere)


def test_an_encoder_that_promises_positions_has_to_have_them() -> None:
    class Promising(QueryEncoder):
        every_position = True

    with pytest.raises(InputError, match="Promising: expected a method positions, as every_position says"):
        Promising().positions(None)  # type: ignore[arg-type]
