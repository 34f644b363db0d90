"""What an item tower reads of the graph beside the items' own fields: what it asks for, and what it is given.

The towers declare a :class:`Reads`; :mod:`micgraph.sampling.context` makes an :class:`ItemContext` of it, for the items
of one batch or for every item of a graph.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from micgraph import rng
from micgraph.graph.fields import Fields
from micgraph.graph.relation import Relation
from micgraph.schema import CLICKS, CO_OCCURS, CONTAINS, ITEM, SESSION, SIMILAR, USER

EdgeType = tuple[str, str, str]

MESSAGE_TYPES: dict[str, tuple[EdgeType, ...]] = {
    CLICKS: ((USER, CLICKS, ITEM), (ITEM, f"rev_{CLICKS}", USER)),
    CONTAINS: ((SESSION, CONTAINS, ITEM), (ITEM, f"rev_{CONTAINS}", SESSION)),
    CO_OCCURS: ((ITEM, CO_OCCURS, ITEM),),
    SIMILAR: ((ITEM, SIMILAR, ITEM),),
}
"""Relation of the graph -> (sender, name, receiver) of the messages that go along it."""


@dataclass(frozen=True)
class Sampled:
    """Messages from a sampled neighbourhood.

    Attributes:
        relations: names of :data:`MESSAGE_TYPES`; those that the graph lacks carry nothing.
        fanouts: neighbours a node along each relation, from the encoded items outwards.
    """

    relations: tuple[str, ...]
    fanouts: tuple[int, ...]


@dataclass(frozen=True)
class Whole:
    """Messages along all clicks at once."""


@dataclass(frozen=True)
class Reads:
    """What an item tower asks for.

    Attributes:
        audience: how many of an item's latest users (MIC 2.4.1), 0 for none.
        messages: where messages come from, None where the tower passes none.
    """

    audience: int = 0
    messages: Sampled | Whole | None = None


@dataclass(frozen=True)
class Audience:
    """The latest users of N items.

    Attributes:
        users: fields of V distinct users.
        place: int64 [N, k], which of them clicked; 0 where ``mask`` is False.
        mask: bool [N, k].
        edge: int64 [N, k], numbers of these pairs of item and user in the graph.
    """

    users: Fields
    place: Tensor
    mask: Tensor
    edge: Tensor


@dataclass(frozen=True)
class Hops:
    """A sampled neighbourhood of N items, V users and some sessions; the encoded items come first.

    Attributes:
        users: fields of the V users.
        edges: message type -> int64 [2, E], places of sender and receiver among their kinds, ordered by receiver.
        offsets: message type -> int64 [E], offsets of these edges in their relation.
        nodes_per_hop: node type -> how many are new at each hop, the encoded ones first.
        edges_per_hop: message type -> how many edges each hop has. One hop is all there is where every node of the
            graph is encoded at once: each layer then uses it.
    """

    users: Fields
    edges: dict[EdgeType, Tensor]
    offsets: dict[EdgeType, Tensor]
    nodes_per_hop: dict[str, list[int]]
    edges_per_hop: dict[EdgeType, list[int]]


@dataclass(frozen=True)
class Bipartite:
    """All clicks of a graph.

    Attributes:
        item: int64 [N], numbers in the graph of the encoded items and those beside them: all of its items.
        users: fields of every user.
        clicks, clicked_by: users' rows of items and items' rows of users.
        keep: bool [E] each, which edges of ``clicks`` and of ``clicked_by`` carry messages (None: every one).
    """

    item: Tensor
    users: Fields
    clicks: Relation
    clicked_by: Relation
    keep: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class ItemContext:
    """What the graph says about U items that are encoded together.

    Attributes:
        beside: fields of X further items, which only send messages.
        audience: of the U + X items in this order, or None.
        messages: None where the tower passes none.
    """

    beside: Fields
    audience: Audience | None = None
    messages: Hops | Bipartite | None = None

    def masked(self, key: int, rate: float) -> ItemContext:
        """A view in which each latest user and each message is left out with probability ``rate`` (DECISIONS 26).

        Which ones depends on their numbers in the graph, not on what else the batch holds.

        Args:
            key: of the view, see :mod:`micgraph.rng`.
            rate: in [0, 1].
        """
        audience, messages = self.audience, self.messages
        if audience is not None:
            stays = rng.uniform(rng.make_key(key, "audience"), audience.edge.flatten(), 1) >= rate
            audience = replace(audience, mask=audience.mask & stays.view_as(audience.mask))
        if isinstance(messages, Hops):
            messages = _thinned(messages, key, rate)
        elif messages is not None:
            messages = _thinned_clicks(messages, key, rate)
        return replace(self, audience=audience, messages=messages)


def _thinned(hops: Hops, key: int, rate: float) -> Hops:
    edges, offsets, counts = {}, {}, {}
    for kind, ends in hops.edges.items():
        stays = rng.uniform(rng.make_key(key, *kind), hops.offsets[kind], 1)[:, 0] >= rate
        edges[kind], offsets[kind] = ends[:, stays], hops.offsets[kind][stays]
        counts[kind] = [int(part.sum()) for part in stays.split(hops.edges_per_hop[kind])]
    return replace(hops, edges=edges, offsets=offsets, edges_per_hop=counts)


def _thinned_clicks(whole: Bipartite, key: int, rate: float) -> Bipartite:
    """A click is numbered by its user and item, so that both directions lose the same ones."""
    both = []
    for i, (rel, width) in enumerate(((whole.clicks, 1), (whole.clicked_by, whole.clicks.n_cols))):
        row, col = rel.row_index(), rel.col.long()
        pair = row * rel.n_cols + col if i == 0 else row + col * width
        stays = rng.uniform(key, pair, 1)[:, 0] >= rate
        both.append(stays if whole.keep is None else whole.keep[i] & stays)
    return replace(whole, keep=(both[0], both[1]))
