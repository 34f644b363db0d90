"""What the codes of one graph's fields were in another graph: through external ids and the values of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from micgraph.graph.fields import Field, Fields
from micgraph.graph.recgraph import RecGraph
from micgraph.ids import IdMap, kind_of
from micgraph.schema import ITEM, ITEM_ID, USER_ID, InputError

if TYPE_CHECKING:
    from micgraph.graph.catalog import Vocab

Side = Literal["item", "user"]


def earlier_codes(before: RecGraph, now: RecGraph, side: Side, name: str) -> Tensor:
    """The codes that an earlier graph had for those of a later one.

    Args:
        before, now: graphs of the same ids and columns; how they number users, items and values may differ.
        side: whose field it is.
        name: a field that both have, the id or a categorical or multi-valued one.

    Returns:
        int64 [size of the field in ``now``]; -1 for what ``before`` did not know, and 0, "unknown", stays 0.

    Raises:
        InputError: a graph was loaded without its ids or values, or the ids are of another kind.
    """
    (old, old_vocab, old_ids), (new, new_vocab, new_ids) = _part(before, side), _part(now, side)
    if name in (ITEM_ID, USER_ID):
        return _codes_of_ids(old[name], new[name], _same_kind(old_ids, new_ids, name))
    if name not in old_vocab or name not in new_vocab:
        raise _without(f"the values of {side} {name}")
    return _codes_of_values(old_vocab, new_vocab, name)


def rescaling(before: RecGraph, now: RecGraph, side: Side, name: str) -> tuple[float, float]:
    """How a dense field's standardised numbers in a later graph become those of an earlier one.

    Returns:
        (scale, shift): ``scale * number + shift`` is what ``before`` would have had for it.

    Raises:
        InputError: a graph was loaded without its values.
    """
    vocabs = _part(before, side)[1], _part(now, side)[1]
    if not all(name in vocab for vocab in vocabs):
        raise _without(f"mean and deviation of {side} {name}")
    (old_mean, old_deviation), (mean, deviation) = (vocab[name].to_pylist() for vocab in vocabs)
    return deviation / old_deviation, (mean - old_mean) / old_deviation


def _part(graph: RecGraph, side: Side) -> tuple[Fields, Vocab, IdMap | None]:
    if side == ITEM:
        return graph.item_fields, graph.item_vocab, graph.items
    return graph.user_fields, graph.user_vocab, graph.users


def _same_kind(old: IdMap | None, new: IdMap | None, name: str) -> tuple[IdMap, IdMap]:
    if old is None or new is None:
        raise _without(f"every {name}")
    if kind_of(old.values.type) != kind_of(new.values.type):
        remedy = "cast the column in the new log"
        raise InputError(name, f"{old.describe()}, as in the earlier graph", new.describe(), remedy)
    return old, new


def _codes_of_ids(old: Field, new: Field, ids: tuple[IdMap, IdMap]) -> Tensor:
    """Codes of ids are those of nodes, and 0 of nodes whose id no tower can learn."""
    node = torch.from_numpy(ids[0].index(ids[1].values))
    code = torch.cat([old.values.cpu(), old.values.new_zeros(1, device="cpu")]).long()[node]  # -1 reads the last one
    found = torch.full((new.size,), -1)
    known = code > 0
    found[new.values.cpu().long()[known]] = code[known]
    found[0] = 0
    return found


def _codes_of_values(old: Vocab, new: Vocab, name: str) -> Tensor:
    import pyarrow.compute as pc

    place = pc.fill_null(pc.index_in(new[name], value_set=old[name]), -1).to_numpy(zero_copy_only=False)
    return torch.from_numpy(np.concatenate([[0], np.where(place < 0, -1, place + 1)]).astype(np.int64))


def _without(what: str) -> InputError:
    remedy = "load both graphs where pyarrow is installed, and build them with micgraph.build"
    return InputError("graph", f"graphs that say {what}", "one that does not", remedy)
