"""Our neighbourhoods for PyG's loaders."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch_geometric.sampler import BaseSampler, EdgeSamplerInput, HeteroSamplerOutput, NodeSamplerInput
from torch_geometric.sampler.neighbor_sampler import edge_sample, node_sample

from micgraph.graph.relation import Relation
from micgraph.sampling.khop import EdgeType, khop
from micgraph.schema import EDGE_TYPES, ConfigError, InputError, check_range

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph

_TURNED = "rev_"


class KHopSampler(BaseSampler):
    """Samples what :func:`micgraph.sampling.khop.khop` does, for PyG's ``NodeLoader`` and ``LinkLoader``.

    The loader's ``data`` is ``graph.to_hetero(...)`` of the same graph, with these edge types among its own. Seeds with
    times (``input_time``, ``edge_label_time``: seconds since the graph's epoch) get trees of their own, without any
    timed edge at or after their time; PyG's own sampler takes the edges of that very second too.

    Random numbers come from torch's generator, which a loader seeds for each of its workers.

    Args:
        graph: on the CPU.
        fanouts: edge type of ``to_hetero`` -> neighbours a node at each hop, as many hops for every type. Messages go
            from the first to the last of a type's names: neighbours of users are brought by ``("item", "rev_clicks",
            "user")``. A number as large as the longest row takes all; PyG's -1 is not known here.
        weighted: edge types that are drawn by their weights, with replacement.

    Raises:
        ConfigError: an edge type that the graph does not have, or another number of neighbours than 0 and above.
        InputError: (from a loader) seeds of a type that no messages go to.
    """

    def __init__(
        self, graph: RecGraph, fanouts: Mapping[EdgeType, Sequence[int]], weighted: Collection[EdgeType] = ()
    ) -> None:
        for kind, sizes in fanouts.items():
            check_range({"fanouts": list(sizes)}, "fanouts", f"say how many neighbours {kind} brings", at_least=0)
        self.relations = {kind: _received(graph, kind) for kind in fanouts}
        self.fanouts, self.weighted, self.n_nodes = dict(fanouts), list(weighted), graph.n_nodes
        forward = [kind for kind in fanouts if not kind[1].startswith(_TURNED)]
        self._permutation = {kind: graph.relation(kind[1]).turned() for kind in forward}

    @property
    def edge_permutation(self) -> dict[EdgeType, Tensor]:
        """Edge type -> int64 [E], the place in ``to_hetero`` of each of our edges, where it differs."""
        return self._permutation

    def sample_from_nodes(self, inputs: NodeSamplerInput, **_: Any) -> HeteroSamplerOutput:
        """The neighbourhoods of a batch of nodes."""
        return node_sample(inputs, self._sample)

    def sample_from_edges(self, inputs: EdgeSamplerInput, neg_sampling: Any = None) -> HeteroSamplerOutput:
        """The neighbourhoods of both ends of a batch of edges, and of PyG's negatives."""
        timed = inputs.time is not None
        return edge_sample(inputs, self._sample, self.n_nodes, timed, None, neg_sampling)

    def _sample(self, seed: dict[str, Tensor], time: dict[str, Tensor] | None) -> HeteroSamplerOutput:
        if not any(kind[2] in seed for kind in self.fanouts):
            expected, got = "edge types that end at a seed's type", f"{list(self.fanouts)} for seeds {list(seed)}"
            raise InputError("fanouts", expected, got, f"add one such as {_turned(list(self.fanouts)[0])}")
        key = int(torch.randint(2**63 - 1, ()))
        return khop(self.relations, seed, self.fanouts, key, before=time, weighted=self.weighted)


def _turned(kind: EdgeType) -> EdgeType:
    """A type turned round."""
    source, name, target = kind
    return target, name.removeprefix(_TURNED) if name.startswith(_TURNED) else f"{_TURNED}{name}", source


def _received(graph: RecGraph, kind: EdgeType) -> Relation:
    """The relation whose rows are the nodes that receive a type's messages."""
    name = kind[1]
    turned = name.startswith(_TURNED)
    known = EDGE_TYPES.get(name.removeprefix(_TURNED))
    if known is None or kind != ((known[2], name, known[0]) if turned else known):
        expected = f"{list(EDGE_TYPES.values())}, or one turned round with the name rev_..."
        raise ConfigError("fanouts", expected, repr(kind), "take the edge types of graph.to_hetero()")
    return graph.relation(name.removeprefix(_TURNED), reverse=not turned)
