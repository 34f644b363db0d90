"""Message passing: what an item's vector takes from its neighbours in the graph (GraphSAGE, LightGCN)."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from micgraph.graph.context import MESSAGE_TYPES, Bipartite, EdgeType, Hops
from micgraph.graph.product import Backend, check_backend, propagate
from micgraph.graph.relation import Relation
from micgraph.nn.dropout import Dropout
from micgraph.nn.query import QueryEncoder, QueryInput
from micgraph.schema import (
    CLICKS,
    CO_OCCURS,
    CONTAINS,
    ITEM,
    SESSION,
    SIMILAR,
    USER,
    ConfigError,
    check_range,
    check_whole,
)

logger = logging.getLogger(__name__)

LAYERS = 3
"""LightGCN's L where none is given."""
SLICE = 65_536
"""Receivers whose messages are in memory at a time, where no gradient is wanted."""


class SageLayer(nn.Module):
    """One layer: each node's own vector and the mean of its messages along each relation, through linear maps.

    Args:
        kinds: message types.
        dim: d.
    """

    def __init__(self, kinds: tuple[EdgeType, ...], dim: int) -> None:
        from torch_geometric.nn import SAGEConv  # a second to import, for those who need it

        super().__init__()
        self.kinds = kinds
        self.own = nn.ModuleDict({node: nn.Linear(dim, dim) for node in sorted({k[i] for k in kinds for i in (0, 2)})})
        # without bias, so that no neighbour along a relation and no such relation are the same
        convs = {name: SAGEConv((dim, dim), dim, root_weight=False, bias=False) for _, name, _ in kinds}
        self.convs = nn.ModuleDict(convs)

    def forward(self, x: dict[str, Tensor], edges: dict[EdgeType, Tensor], receivers: set[str]) -> dict[str, Tensor]:
        """float [n, d] by node type and int64 [2, E] by message type -> float [n, d] of the receivers."""
        out = {node: self.own[node](values) for node, values in x.items() if node in receivers}
        for kind in self.kinds:
            source, name, target = kind
            if target in out and kind in edges and edges[kind].shape[1]:
                out[target] = out[target] + _received(self.convs[name], x[source], x[target], edges[kind])
        return out


class GraphSAGE(nn.Module):
    """Item vectors from sampled neighbourhoods (Hamilton et al. 2017, as PinSAGE does for items).

    A user is what his fields say, a session the items in it, an item what its fields say; two layers let an item hear
    of the items that its users clicked, that its sessions contain and that are similar to it. What is heard is added
    to the item's own vector, so that items without neighbours keep theirs. The published PinSAGE weighs neighbours by
    random walks; here visits along clicks and sessions are drawn uniformly, which is a walk of two steps.

    Args:
        dim: d.
        user_width: width of the users' field embeddings laid end to end.
        relations: whose edges carry messages, of ``clicks``, ``contains`` (sessions), ``similar`` and ``co_occurs``;
            those that the graph lacks carry none. The edges of ``co_occurs`` are counts of the whole training period,
            so that the session which holds a target is in them, which is warned of: ``contains`` says the same
            without it.
        fanouts: neighbours a node along each relation, one number for each layer, the encoded items' own first.

    Raises:
        ConfigError: an unknown relation, none at all, or fanouts out of range.
    """

    def __init__(
        self,
        dim: int,
        user_width: int,
        relations: tuple[str, ...] = (CLICKS, CONTAINS, SIMILAR),
        fanouts: tuple[int, ...] = (10, 5),
    ) -> None:
        super().__init__()
        if not relations or not set(relations) <= set(MESSAGE_TYPES):
            expected = f"some of {list(MESSAGE_TYPES)}"
            raise ConfigError("model.graph_options.relations", expected, f"{list(relations)}", "name some of these")
        if not fanouts:
            raise ConfigError("model.graph_options.fanouts", "a number for each layer", "none", "give one, or more")
        if CO_OCCURS in relations:
            logger.warning(
                "model.graph_options.relations: the counts of co_occurs hold the very sessions that are predicted in "
                "training; contains passes messages along sessions that end before each target"
            )
        check_range({"model.graph_options.fanouts": fanouts}, "model.graph_options.fanouts", at_least=1)
        for fanout in fanouts:
            check_whole("model.graph_options.fanouts", fanout)
        self.relations, self.fanouts = tuple(relations), tuple(fanouts)
        kinds = tuple(kind for name in relations for kind in MESSAGE_TYPES[name])
        self.dim = dim
        self.user = nn.Linear(user_width, dim)
        self.layers = nn.ModuleList(SageLayer(kinds, dim) for _ in fanouts)

    def forward(self, own: Tensor, beside: Tensor, users: Tensor, hops: Hops | None) -> Tensor:
        """Vectors of U items and, last, the unknown one.

        Args:
            own: float [U + 1, d], from their fields alone.
            beside: float [X, d], of the items that only send messages.
            users: float [V, W], the users' field embeddings.
            hops: who hears whom; None: nobody does.

        Returns:
            float [U + 1, d].
        """
        if hops is None:
            return own + self._run({ITEM: own}, {}, None)
        x = {ITEM: torch.cat([own[:-1], beside])}
        if USER in hops.nodes_per_hop:
            x[USER] = self.user(users)
        if SESSION in hops.nodes_per_hop:
            x[SESSION] = own.new_zeros(sum(hops.nodes_per_hop[SESSION]), self.dim)
        heard = self._run(x, hops.edges, hops)[: len(own) - 1]
        return own + torch.cat([heard, self._run({ITEM: own[-1:]}, {}, None)])

    def _run(self, x: dict[str, Tensor], edges: dict[EdgeType, Tensor], hops: Hops | None) -> Tensor:
        from torch_geometric.utils import trim_to_layer

        trimmed = hops is not None and len(next(iter(hops.edges_per_hop.values()))) > 1
        for i, layer in enumerate(self.layers):
            if trimmed:  # what is further away than the layers that are left cannot be heard any more
                assert hops is not None
                x, edges, _ = trim_to_layer(i, hops.nodes_per_hop, hops.edges_per_hop, x, edges)
            last = i == len(self.layers) - 1
            x = layer(x, edges, {ITEM} if last else set(x))
            if not last:
                x = {node: torch.relu(values) for node, values in x.items()}
        return x[ITEM]


class LightGCN(nn.Module):
    """Item vectors from all clicks (He et al. 2020): symmetric normalisation, the mean of all layers, no other weight.

    The users' share of the score is computed anew by :class:`LightGCNUser`, so that it may be anybody's history. Items
    that were clicked twice by a user count twice. Differs from the published training, whose messages run along the
    very clicks that are being predicted: those of the batch's users from their first target on are left out here.

    All of it is in single precision, also under autocast: CPUs have no sparse product in bfloat16, and degrees above
    256 are no bfloat16 numbers.

    Args:
        layers: L.
        backend: of the sparse products, see :func:`micgraph.graph.product.propagate`.

    Raises:
        ConfigError: layers out of range, or no such backend.
        MissingExtraError: torch-sparse is asked for and not installed.
    """

    def __init__(self, layers: int = LAYERS, backend: Backend = "torch") -> None:
        super().__init__()
        check_backend("model.graph_options.backend", backend)
        check_whole("model.graph_options.layers", layers)
        check_range({"model.graph_options.layers": layers}, "model.graph_options.layers", at_least=1)
        self.layers, self.backend = layers, backend

    def forward(self, own: Tensor, beside: Tensor, users: Tensor, whole: Bipartite | None) -> tuple[Tensor, Tensor]:
        """Vectors of U items and what they send to people who have clicked them; the unknown item last.

        Args:
            own: float [U + 1, d], layer 0.
            beside: float [X, d], layer 0 of all others.
            users: float [n_users, d], layer 0 of every user.
            whole: the clicks; None: nobody has clicked anything.

        Returns:
            vectors float [U + 1, d], the mean of the layers 0..L, and messages float [U + 1, d]: the sum of the layers
            0..L-1, over (L + 1) times the root of the item's clicks.
        """
        with torch.autocast(own.device.type, enabled=False):
            return self._forward(own.float(), beside.float(), users.float(), whole)

    def _forward(self, own: Tensor, beside: Tensor, users: Tensor, whole: Bipartite | None) -> tuple[Tensor, Tensor]:
        alone = own / (self.layers + 1)
        if whole is None:
            return alone, alone
        first = torch.cat([own[:-1], beside])
        items = torch.zeros_like(first).index_copy(0, whole.item, first)
        layers, scale = self._propagate(items, users, whole)
        asked = whole.item[: len(own) - 1]
        sent = (scale * torch.stack(layers[:-1]).sum(0))[asked] / (self.layers + 1)
        mean = torch.stack(layers).mean(0)[asked]
        return torch.cat([mean, alone[-1:]]), torch.cat([sent, alone[-1:]])

    def _propagate(self, items: Tensor, users: Tensor, whole: Bipartite) -> tuple[list[Tensor], Tensor]:
        """Every item's layers 0..L, and one over the root of its clicks (at least one): [n_items, 1]."""
        keep = (None, None) if whole.keep is None else whole.keep
        user_scale, item_scale = _inverse_root(whole.clicks, keep[0]), _inverse_root(whole.clicked_by, keep[1])
        weights = [None if kept is None else kept.to(items.dtype) for kept in keep]
        clicks, clicked_by = (whole.clicks, weights[0]), (whole.clicked_by, weights[1])
        layers = [items]
        for _ in range(self.layers):
            to_users, to_items = item_scale * layers[-1], user_scale * users
            users = user_scale * propagate(whole.clicks, to_users, weights[0], clicked_by, self.backend)
            layers.append(item_scale * propagate(whole.clicked_by, to_items, weights[1], clicks, self.backend))
        return layers, item_scale


class LightGCNUser(QueryEncoder):
    """LightGCN's user: the mean of the layers 0..L, of which 1..L are sums over the history.

    Where the history is all that a known user has clicked, this is the published vector. People who are not in the
    graph get theirs by the same sum, without a layer 0 of their own.

    Args:
        dim: d.
        user_width: width of the user's fields laid end to end, whose sum is layer 0; 0 leaves it out.
        layers: L, as of the items.
        dropout: on what the history's items send.
    """

    every_position = True
    reads_vectors = False
    reads_messages = True

    def __init__(self, dim: int, user_width: int, layers: int = LAYERS, dropout: float = 0.0) -> None:
        super().__init__()
        self.dim, self.layers, self.n_fields = dim, layers, user_width // dim
        self.dropout = Dropout(dropout)

    def forward(self, query: QueryInput) -> Tensor:
        count = query.mask.sum(1, keepdim=True).clamp(min=1)
        return self._first(query) + self._sent(query).sum(1) / count.sqrt()

    def positions(self, query: QueryInput) -> Tensor:
        count = query.mask.cumsum(1).clamp(min=1)[:, :, None]
        return self._first(query)[:, None] + self._sent(query).cumsum(1) / count.sqrt()

    def _first(self, query: QueryInput) -> Tensor:
        return query.user.view(len(query.user), self.n_fields, self.dim).sum(1) / (self.layers + 1)

    def _sent(self, query: QueryInput) -> Tensor:
        assert query.messages is not None
        return self.dropout(query.messages, query.dropped) * query.mask[:, :, None]  # type: ignore[no-any-return]


def _received(conv: nn.Module, source: Tensor, target: Tensor, edges: Tensor) -> Tensor:
    """What a convolution gives its receivers; without gradients in slices, since all messages at once may not fit."""
    if torch.is_grad_enabled() or len(target) <= SLICE:
        return conv((source, target), edges)  # type: ignore[no-any-return]
    parts = []
    for start in range(0, len(target), SLICE):
        size = min(SLICE, len(target) - start)
        ends = torch.tensor([start, start + size], device=edges.device)
        low, high = torch.searchsorted(edges[1].contiguous(), ends).tolist()
        local = torch.stack([edges[0, low:high], edges[1, low:high] - start])
        parts.append(conv((source, target[start : start + size]), local))
    return torch.cat(parts)


def _inverse_root(rel: Relation, keep: Tensor | None) -> Tensor:
    """One over the root of each row's number of kept edges, which is at least one: float32 [n_rows, 1]."""
    count = rel.degree()
    if keep is not None:
        upto = torch.cat([rel.indptr[:1], keep.cumsum(0)])
        count = upto[rel.indptr].diff()
    return count.clamp(min=1).float().rsqrt()[:, None]
