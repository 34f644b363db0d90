"""What the graph says about the items of a batch, or about all: the latest users and the messages of item towers.

No click of a batch's user from his first target on is in it: those are what is predicted, and what came after.
Other users' clicks are, whenever they were, also after every target of the batch; so are the edges of ``similar`` and
``co_occurs``, statistics of the whole training period as the positives of the contrastive tasks are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.sampler import HeteroSamplerOutput

from micgraph import rng
from micgraph.graph.context import (
    MESSAGE_TYPES,
    Audience,
    Bipartite,
    EdgeType,
    Hops,
    ItemContext,
    Reads,
    Sampled,
)
from micgraph.graph.fields import take
from micgraph.graph.relation import Relation, window
from micgraph.sampling.khop import khop
from micgraph.schema import CLICKS, CO_OCCURS, CONTAINS, HAS, ITEM, SESSION, USER, ConfigError

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph

EXPORT_FANOUT = 100
"""Neighbours a node along each relation, where every node is encoded: up to so many are all of them."""
ALWAYS = torch.iinfo(torch.int32).max
"""A time after every click."""


def surroundings(graph: RecGraph) -> Callable[[Reads], ItemContext]:
    """What a graph says about all of its items, to whoever reads something of it; made once for each who does."""
    return functools.cache(lambda reads: ContextMaker(graph, reads).everything())


class ContextMaker:
    """Makes the contexts that an item tower asks for.

    Args:
        graph: the graph, on the device where contexts are wanted.
        reads: what the tower asks for.

    Raises:
        ConfigError: the graph has none of the relations that should carry messages, or does not say when clicks were.
    """

    def __init__(self, graph: RecGraph, reads: Reads) -> None:
        self.graph, self.reads = graph, reads
        self.clicks, self.clicked_by = graph.relation(CLICKS), graph.relation(CLICKS, reverse=True)
        self.relations: dict[EdgeType, Relation] = {}
        if isinstance(reads.messages, Sampled):
            present = (name for name in reads.messages.relations if name in graph.relations)
            self.relations = {kind: self._received(name, kind) for name in present for kind in MESSAGE_TYPES[name]}
            if not self.relations:
                expected, got = f"some of {list(graph.relations)}", f"{list(reads.messages.relations)}"
                remedy = "name relations that the graph has"
                raise ConfigError("model.graph_options.relations", expected, got, remedy)
        self._check_times()
        self.pairs = _latest_of_pairs(self.clicked_by) if reads.audience else None
        self.owner = self._owner()

    def first_targets(self, user: Tensor, target: Tensor) -> Tensor:
        """The time from which each user's clicks are withheld: int32 [n_users].

        Args:
            user: int64 [P].
            target: int64 [P], offsets of their targets in the clicks.
        """
        limit = torch.full((self.graph.n_users,), ALWAYS, dtype=torch.int32, device=user.device)
        assert self.clicks.time is not None
        return limit.scatter_reduce_(0, user, self.clicks.time[target], "amin")

    def around(self, items: Tensor, key: int, limit: Tensor | None = None) -> ItemContext:
        """What is read of some items.

        Args:
            items: int64 [U], distinct.
            key: chooses among many neighbours.
            limit: int32 [n_users], :meth:`first_targets`; None withholds nothing.
        """
        beside = items[:0]
        messages: Hops | Bipartite | None = None
        if isinstance(self.reads.messages, Sampled):
            beside, messages = self._sampled({ITEM: items}, self.reads.messages.fanouts, key, limit)
        elif self.reads.messages is not None:
            beside, messages = self._whole(items, limit)
        both = torch.cat([items, beside])
        audience = self._audience(both, limit) if self.reads.audience else None
        return ItemContext(take(self.graph.item_fields, beside), audience, messages)

    def everything(self) -> ItemContext:
        """What is read of every item of the graph; of many neighbours always the same ones are taken."""
        items = torch.arange(self.graph.n_items, device=self.clicks.device)
        if not isinstance(self.reads.messages, Sampled):
            return self.around(items, 0)
        seeds = {kind: torch.arange(n, device=items.device) for kind, n in self.graph.n_nodes.items()}
        _, messages = self._sampled(seeds, (EXPORT_FANOUT,), rng.make_key("everything"), None)
        audience = self._audience(items, None) if self.reads.audience else None
        return ItemContext(take(self.graph.item_fields, items[:0]), audience, messages)

    def _check_times(self) -> None:
        """Without times nothing that comes after a target could be withheld."""
        timed = {CLICKS: self.clicks, **{kind[1]: rel for kind, rel in self.relations.items() if SESSION in kind}}
        for name, rel in timed.items():
            if rel.time is None:
                expected = f"times of the relation {name}, for item towers that read the graph"
                remedy = "build the graph from a log, or leave out model.item_graph and model.latest_users"
                raise ConfigError("graph", expected, "none", remedy)

    def _received(self, name: str, kind: EdgeType) -> Relation:
        """The relation whose rows are those who receive a kind of message."""
        turned = name in (CLICKS, CONTAINS) and kind[2] == ITEM
        return self.graph.relation(name, reverse=turned)

    def _owner(self) -> Tensor | None:
        """The user of every session: int64 [n_sessions]."""
        if not any(SESSION in kind for kind in self.relations):
            return None
        has = self.graph.relation(HAS)
        return torch.zeros(has.n_cols, dtype=torch.int64, device=has.device).index_copy(
            0, has.col.long(), has.row_index()
        )

    def _audience(self, items: Tensor, limit: Tensor | None) -> Audience:
        """The latest users; those whose latest click is withheld make room for earlier ones, among twice as many."""
        rel, size = self.pairs, self.reads.audience
        assert rel is not None and rel.time is not None
        wide = size if limit is None else 2 * size
        edge, mask = window(rel, items, rel.indptr[items + 1], wide)
        user = rel.col[edge].long() if rel.n_edges else edge
        if limit is not None and rel.n_edges:
            mask = mask & (rel.time[edge] < limit[user])
        newer = mask.flip(1).cumsum(1).flip(1)
        mask = mask & (newer <= size)
        row, column = mask.nonzero(as_tuple=True)
        distinct, place = torch.unique(user[row, column], return_inverse=True)
        places = torch.zeros_like(edge)
        places[row, column] = place
        return Audience(take(self.graph.user_fields, distinct), places, mask, edge)

    def _sampled(
        self, seeds: dict[str, Tensor], fanouts: tuple[int, ...], key: int, limit: Tensor | None
    ) -> tuple[Tensor, Hops]:
        limits = {} if limit is None else {USER: limit}
        if limit is not None and self.owner is not None:
            limits[SESSION] = limit[self.owner]
        kinds = {node for kind in self.relations for node in (kind[0], kind[2])}
        out = khop(
            self.relations,
            {kind: seed for kind, seed in seeds.items() if kind in kinds},
            dict.fromkeys(self.relations, fanouts),
            key,
            limit=limits,
            weighted=[kind for kind in self.relations if kind[1] == CO_OCCURS],
        )
        return out.node[ITEM][len(seeds[ITEM]) :], self._hops(out)

    def _hops(self, out: HeteroSamplerOutput) -> Hops:
        users = out.node.get(USER, self.clicks.indptr[:0])
        edges = {kind: torch.stack([out.row[kind], out.col[kind]]) for kind in out.row}
        fields = take(self.graph.user_fields, users)
        return Hops(fields, edges, out.edge, out.num_sampled_nodes, out.num_sampled_edges)

    def _whole(self, items: Tensor, limit: Tensor | None) -> tuple[Tensor, Bipartite]:
        left = torch.ones(self.graph.n_items, dtype=torch.bool, device=items.device)
        left[items] = False
        beside = left.nonzero()[:, 0]
        keep = None
        if limit is not None:
            assert self.clicks.time is not None and self.clicked_by.time is not None
            keep = (
                self.clicks.time < limit[self.clicks.row_index()],
                self.clicked_by.time < limit[self.clicked_by.col.long()],
            )
        order = torch.cat([items, beside])
        return beside, Bipartite(order, self.graph.user_fields, self.clicks, self.clicked_by, keep)


def _latest_of_pairs(clicked_by: Relation) -> Relation:
    """Every item's users once, by their latest click on it, in the order of time."""
    pair = clicked_by.row_index() * clicked_by.n_cols + clicked_by.col
    order = torch.argsort(pair, stable=True)
    last = torch.ones_like(order, dtype=torch.bool)
    last[:-1] = pair[order][1:] != pair[order][:-1]
    kept = order[last].sort().values
    count = torch.bincount(clicked_by.row_index()[kept], minlength=clicked_by.n_rows)
    indptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
    time = None if clicked_by.time is None else clicked_by.time[kept]
    return Relation(indptr, clicked_by.col[kept], clicked_by.n_cols, time=time)
