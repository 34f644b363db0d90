"""What the tests of the graph's item towers share: a small graph, and its edges as lists."""

from __future__ import annotations

import torch
from torch import Tensor

from micgraph.graph.context import ItemContext
from micgraph.graph.fields import take
from micgraph.graph.recgraph import RecGraph
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.sampling.context import ContextMaker, surroundings
from tests.toy import random_rows, toy_graph, with_sessions

N_ITEMS = 9


ROWS = random_rows(7, N_ITEMS)


GRAPH = with_sessions(toy_graph(ROWS, N_ITEMS), ROWS)


def towers(graph: RecGraph = GRAPH, **config) -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(ModelConfig(**{"dim": 8, "history": 12, **config}), graph.item_fields, graph.user_fields).eval()


def bound(model: TwoTower, graph: RecGraph = GRAPH) -> BoundModel:
    return BoundModel(model, graph.item_fields, graph.user_fields, surroundings(graph))


def some_items(model: TwoTower, items: list[int], key: int = 3) -> tuple[Tensor, ItemContext]:
    assert model.reads is not None
    context = ContextMaker(GRAPH, model.reads).around(torch.tensor(items), key)
    return model.items(take(GRAPH.item_fields, torch.tensor(items)), context=context).vectors[:-1], context


def edges(name: str) -> list[tuple[int, int]]:
    rel = GRAPH.relation(name)
    return list(zip(rel.row_index().tolist(), rel.col.tolist(), strict=True))
