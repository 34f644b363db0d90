"""MIC's three channel tasks: user-item, user-user and item-item contrast (2.5), with mined positives and negatives
where mining is on (2.4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from micgraph.sampling.plan import Batch, Requires
from micgraph.schema import ConfigError, check_range
from micgraph.tasks.base import Reps, Task
from micgraph.tasks.losses import mean, nt_xent, symmetric_info_nce, view_contrast
from micgraph.tasks.mining import Mined, turns_up
from micgraph.tasks.pairs import Pairs, same_ids


@dataclass(frozen=True)
class ChannelConfig:
    """One of MIC's contrastive losses.

    Attributes:
        weight: (1 - lambda) times the channel's own weight in MIC Eq. 10.
        tau: temperature.
        views: perturbed views of each row (user-user and item-item): 1 contrasts a clean anchor with one view,
            2 is NT-Xent.
        literal: Eqs. 7-8 as printed (with ``views=1``).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    weight: float = 0.3
    tau: float = 0.1
    views: Literal[1, 2] = 1
    literal: bool = False

    def __post_init__(self) -> None:
        check_range(vars(self), "weight", at_least=0)
        check_range(vars(self), "tau", above=0)
        if self.literal and self.views == 2:
            raise ConfigError("literal", "views=1", "views=2", "Eqs. 7-8 are printed for one view; take one")


@dataclass(frozen=True)
class UserUserConfig(ChannelConfig):
    """User-user contrast.

    Attributes:
        weight, tau, views, literal: as in :class:`ChannelConfig`.
        positive: of an anchor: a perturbed ``view`` of the same clicks (MIC 2.4.1), or the ``window`` of another
            stretch of the same user's clicks, for anchors whose user has more clicks than the sample reads.
    """

    positive: Literal["view", "window"] = "view"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.positive == "window" and self.views == 2:
            raise ConfigError("views", "1 with positive=window", "2", "two views are perturbed ones; take one of both")


class UserItem(Task):
    """A query and its target attract each other in the shared space (MIC Eq. 6).

    Mined are items for users and users for items; hard negatives lie in other clusters than the own partner.
    """

    mines = ("ui", "iu")

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        self.config, self.weight, self.requires = config, config.weight, Requires()

    def forward(self, batch: Batch, reps: Reps) -> Tensor:
        target, user = batch.target[batch.anchor], batch.user[batch.pair_row[batch.anchor]]
        same = same_ids(target, user)
        queries, items = reps.search_queries[batch.anchor], reps.search_items[target]
        query_side, item_side = (user, queries), (batch.items[target], items)
        to_items = reps.mined("ui", batch.key, query_side, item_side)
        to_users = reps.mined("iu", batch.key, item_side, query_side)
        if to_items is None or to_users is None:
            return mean(symmetric_info_nce(queries, items, same, self.config.tau))
        supports = (to_items.support, to_users.support)
        from_user = _spare_near(same, to_items, item_side[0])
        turned = same if isinstance(same, Pairs) else same.T  # it lies as the scores do that it masks
        from_item = _spare_near(turned, to_users, user)
        return mean(symmetric_info_nce(queries, items, from_user, self.config.tau, supports, from_item))


class UserUser(Task):
    """A query is nearest to its own perturbed view, in the queries' own space (MIC Eq. 7)."""

    mines = ("uu",)

    def __init__(self, config: UserUserConfig) -> None:
        super().__init__()
        self.config, self.weight, self.views = config, config.weight, config.views
        window = config.positive == "window"
        self.requires = Requires(other_stretch=True) if window else Requires(query_view=True)

    def forward(self, batch: Batch, reps: Reps) -> Tensor:
        user = batch.user[batch.pair_row[batch.anchor]]
        anchor = (user, reps.queries[batch.anchor])
        mined = reps.mined("uu", batch.key, anchor, anchor)
        if self.config.positive == "view":
            return _contrast(self.config, anchor, reps.query_views, mined)
        assert reps.other is not None and batch.other_mask is not None
        row = batch.pair_row[batch.anchor]
        return _contrast(self.config, anchor, (reps.other[row],), mined, batch.other_mask.any(1)[row])


class ItemItem(Task):
    """An item is nearest to its own perturbed view, in the items' own space (MIC Eq. 8)."""

    mines = ("ii",)
    reads = "items"

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        self.config, self.weight, self.views = config, config.weight, config.views
        self.requires = Requires(item_view=True, item_anchors=True)

    def forward(self, batch: Batch, reps: Reps) -> Tensor:
        anchor = (batch.items[batch.item_anchor], reps.items.vectors[batch.item_anchor])
        return _contrast(self.config, anchor, reps.item_views, reps.mined("ii", batch.key, anchor, anchor))


def _contrast(
    config: ChannelConfig,
    anchor: tuple[Tensor, Tensor],
    views: tuple[Tensor, ...],
    mined: Mined | None,
    valid: Tensor | None = None,
) -> Tensor:
    ids, clean = anchor
    same = same_ids(ids)
    support = None
    if mined is not None:
        same, support = _spare_near(same, mined, ids), mined.support
    if config.views == 2:
        return mean(nt_xent(views[0], views[1], same, config.tau, support))
    return mean(view_contrast(clean, views[0], same, config.tau, config.literal, support), valid)


def _spare_near(same: Tensor | Pairs, mined: Mined, ids: Tensor) -> Tensor | Pairs:
    """``same`` [A, B] and where column ``ids`` [B] is a mined neighbour: no negative either."""
    if isinstance(same, Pairs):
        return same.beside(*turns_up(mined.near_id, ids))
    spared = same.clone()
    (_spare_found if ids.device.type == "cpu" else _spare_equal)(spared, mined.near_id, ids)
    return spared


def _spare_found(spared: Tensor, near_id: Tensor, ids: Tensor) -> None:
    spared[turns_up(near_id, ids)] = True


def _spare_equal(spared: Tensor, near_id: Tensor, ids: Tensor) -> None:
    """Compares every pair: more work, but nothing that a GPU has to be waited for."""
    for near in near_id.unbind(1):
        spared |= near[:, None] == ids
