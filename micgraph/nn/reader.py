"""The part of the item tower that reads the graph: an item's latest users as more fields, and its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from micgraph.graph.context import Audience, Bipartite, Hops, ItemContext, Reads, Sampled, Whole
from micgraph.graph.fields import Fields
from micgraph.nn.fields import FieldEncoder
from micgraph.nn.gnn import GraphSAGE, LightGCN
from micgraph.schema import ConfigError

if TYPE_CHECKING:
    from micgraph.nn.towers import ModelConfig, TwoTower

ITEM_GRAPHS = ("graphsage", "lightgcn")
"""Names of the ways in which item vectors hear of their neighbours."""


class GraphReader(nn.Module):
    """What the graph says about items, put into words that the item encoder knows and added to what it says.

    Args:
        config: ``latest_users``, ``item_graph`` and ``graph_options`` of it.
        user_fields: examples of the users' fields. Latest users and GraphSAGE's users are read by every one of them,
            the id included; LightGCN's by those that the query tower reads, and through its embeddings.
        width: d_f, width of a field embedding.

    Attributes:
        reads: what it asks for, or None.
        n_fields: how many field embeddings it adds to each item's own.

    Raises:
        ConfigError: no such ``item_graph``, or options that it does not have.
    """

    def __init__(self, config: ModelConfig, user_fields: Fields, width: int) -> None:
        super().__init__()
        self.latest = config.latest_users
        sage = config.item_graph == "graphsage"
        self.people = FieldEncoder(user_fields, width) if self.latest or sage else None
        self.n_fields = len(user_fields) if self.latest else 0
        self.graph = _item_graph(config, len(user_fields) * width, width)
        self.reads = self._reads()

    def _reads(self) -> Reads | None:
        if isinstance(self.graph, GraphSAGE):
            return Reads(self.latest, Sampled(self.graph.relations, self.graph.fanouts))
        if self.graph is not None:
            return Reads(self.latest, Whole())
        return Reads(self.latest) if self.latest else None

    def fields(self, raw: Tensor, context: ItemContext | None) -> Tensor:
        """The field embeddings of U items and the unknown one, with those of their latest users.

        Args:
            raw: float [U + 1, F, d_f].
            context: of these items; None: the graph says nothing.

        Returns:
            float [U + 1, F + n_fields, d_f]; the mean over the latest users, 0 where there are none.
        """
        if not self.n_fields:
            return raw
        audience = None if context is None else context.audience
        if audience is None:
            return F.pad(raw, (0, 0, 0, self.n_fields))
        latest = self._latest(audience, slice(0, len(raw) - 1))
        return torch.cat([raw, F.pad(latest, (0, 0, 0, 0, 0, 1))], dim=1)

    def forward(self, towers: TwoTower, own: Tensor, context: ItemContext | None) -> tuple[Tensor, Tensor | None]:
        """Item vectors that have heard of their neighbours, and what items send to people's sums (LightGCN).

        Args:
            towers: which embed the items and users that are heard.
            own: float [U + 1, d], the item encoder's vectors; the unknown item last.
            context: of these items; None: they have no neighbours.
        """
        if self.graph is None:
            return own, None
        messages = None if context is None else context.messages
        beside = own[:0] if context is None else self._beside(towers, context, len(own) - 1)
        if isinstance(self.graph, GraphSAGE):
            assert self.people is not None and not isinstance(messages, Bipartite)
            users = own[:0] if messages is None else self.people(messages.users).flatten(1)
            return self.graph(own, beside, users, messages), None
        assert not isinstance(messages, Hops)
        users = own[:0] if messages is None else _layer_0(towers.user_fields, messages.users, own)
        return self.graph(own, beside, users, messages)  # type: ignore[no-any-return]

    def _beside(self, towers: TwoTower, context: ItemContext, skipped: int) -> Tensor:
        """The item encoder's vectors of the items that only send messages: float [X, d]."""
        raw = towers.item_fields({name: context.beside[name] for name in towers.item_fields.names})
        if self.n_fields and context.audience is not None:
            raw = torch.cat([raw, self._latest(context.audience, slice(skipped, None))], dim=1)
        return towers.item_encoder(raw)  # type: ignore[no-any-return]

    def _latest(self, audience: Audience, items: slice) -> Tensor:
        """The mean field embeddings of the latest users: float [n, F_user, d_f]."""
        assert self.people is not None
        mask = audience.mask[items]
        if not len(next(iter(audience.users.values()))):
            return torch.zeros(len(mask), self.n_fields, self.people.dim, device=mask.device)
        users = self.people(audience.users)
        share = mask / mask.sum(1, keepdim=True).clamp(min=1)
        flat = users.flatten(1)
        pooled = F.embedding_bag(audience.place[items], flat, mode="sum", per_sample_weights=share.to(flat.dtype))
        return pooled.view(len(mask), *users.shape[1:])


def _item_graph(config: ModelConfig, user_width: int, field_dim: int) -> GraphSAGE | LightGCN | None:
    name, options = config.item_graph, config.graph_options
    if name not in (None, *ITEM_GRAPHS):
        expected = f"one of {list(ITEM_GRAPHS)}, or null"
        raise ConfigError("model.item_graph", expected, repr(name), "choose one of these")
    try:
        if name == "graphsage":
            return GraphSAGE(config.dim, user_width, **{key: tuple(value) for key, value in options.items()})
        if name == "lightgcn":
            if field_dim != config.dim:
                remedy = "leave it out"
                raise ConfigError("model.field_dim", f"{config.dim} (= model.dim) with lightgcn", field_dim, remedy)
            return LightGCN(**options)
    except TypeError as error:
        raise ConfigError("model.graph_options", f"arguments of {name}", str(error), "see its docstring") from error
    if options:
        remedy = "leave them out, or set model.item_graph"
        raise ConfigError("model.graph_options", "nothing without item_graph", f"{options}", remedy)
    return None


def _layer_0(encoder: FieldEncoder, users: Fields, like: Tensor) -> Tensor:
    """The sum of each user's field embeddings: float [V, d]."""
    if not encoder.names:
        return like.new_zeros(len(next(iter(users.values()))), like.shape[1])
    return encoder({name: users[name] for name in encoder.names}).sum(1)  # type: ignore[no-any-return]
