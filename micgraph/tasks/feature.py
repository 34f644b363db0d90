"""Feature-level item tasks: MicRec's (3.3) and the feature masking of Yao et al. 2021 that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from micgraph import rng
from micgraph.graph.fields import Fields, take
from micgraph.nn.dropout import dropout
from micgraph.nn.towers import TwoTower
from micgraph.sampling.plan import Batch, Requires
from micgraph.schema import ConfigError, check_range
from micgraph.tasks.augment import drop_values, keep_some
from micgraph.tasks.base import Reps, Task
from micgraph.tasks.correlation import mutual_information
from micgraph.tasks.losses import info_nce, mean


@dataclass(frozen=True)
class FeatureConfig:
    """Feature-level item CL (MicRec Eqs. 2-3; DECISIONS 13).

    Attributes:
        weight: lambda_1 of MicRec Eq. 8.
        augment: what the augmented side lacks: ``element`` (numbers of the field embeddings, by inverted dropout),
            ``field`` (whole fields, which are zero then) or ``categorical`` (values of multi-valued fields, dropped
            before they are pooled). One field, and one value of each field, always stays.
        mask_ratio: share of elements, fields or values that go.
        through_tower: compare the item tower's vectors of both sides, and not the raw field embeddings; a field that
            is dropped is read as missing then.
        negatives: at most so many other distinct items of the batch.
        tau: temperature (the paper's 1.0 goes with inner products).
        cosine: compare directions.
        literal: the printed denominator.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    weight: float = 1.0
    augment: Literal["element", "field", "categorical"] = "element"
    mask_ratio: float = 0.5
    through_tower: bool = False
    negatives: int = 50
    tau: float = 1.0
    cosine: bool = False
    literal: bool = False

    def __post_init__(self) -> None:
        check_range(vars(self), "weight", at_least=0)
        check_range(vars(self), "mask_ratio", at_least=0, below=1)
        check_range(vars(self), "negatives", at_least=1)
        check_range(vars(self), "tau", above=0)


@dataclass(frozen=True)
class MaskingConfig:
    """Random or correlated feature masking of Yao et al. 2021 (MicRec 5.2; DECISIONS 17).

    Attributes:
        weight: of the loss.
        tau: temperature.
        cosine: compare directions.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    weight: float = 1.0
    tau: float = 0.1
    cosine: bool = True

    def __post_init__(self) -> None:
        check_range(vars(self), "weight", at_least=0)
        check_range(vars(self), "tau", above=0)


class _Anchors:
    """Encodes the batch's item anchors once more, in part. It is no module, so that the towers' weights stay the
    towers' alone.

    Args:
        towers: the model.
        fields: of every item, on the device of the batches.
    """

    def __init__(self, towers: TwoTower, fields: Fields) -> None:
        self.towers = towers
        self.fields = {name: fields[name] for name in towers.item_fields.names}

    def of(self, batch: Batch) -> Fields:
        """The fields of the I anchors."""
        return take(self.fields, batch.items[batch.item_anchor])


class FeatureCL(Task):
    """An item is nearer to its own features with some of them dropped than to those of other items (MicRec 3.3).

    Args:
        config: what is dropped, and where the sides are compared.
        towers: the item tower.
        fields: of every item of the graph.

    Raises:
        ConfigError: categorical dropout without a multi-valued field.
    """

    reads = "items"

    def __init__(self, config: FeatureConfig, towers: TwoTower, fields: Fields) -> None:
        super().__init__()
        self.config, self.weight = config, config.weight
        self.requires = Requires(item_anchors=True, item_view=config.through_tower)
        self.anchors = _Anchors(towers, fields)
        kinds = {one.name: one.kind for one in self.anchors.fields.values()}
        if config.augment == "categorical" and "multi" not in kinds.values():
            expected, remedy = "a multi-valued item field such as tags", "add one, or take augment=element or field"
            raise ConfigError("tasks.fea.augment", expected, f"the fields {kinds}", remedy)
        self.project = nn.Linear(
            towers.config.dim if config.through_tower else towers.item_fields.width, towers.config.dim
        )

    def forward(self, batch: Batch, reps: Reps) -> Tensor:
        clean = reps.items.vectors if self.config.through_tower else reps.items.fields.flatten(1)
        dropped = self.project(self._dropped(batch, reps))
        pool = self._pool(batch)
        losses = info_nce(
            self.project(clean[batch.item_anchor]),
            dropped,
            dropped[pool],
            pool[None, :] == torch.arange(len(dropped), device=dropped.device)[:, None],
            tau=self.config.tau,
            cosine=self.config.cosine,
            literal=self.config.literal,
        )
        return mean(losses)

    def _dropped(self, batch: Batch, reps: Reps) -> Tensor:
        """The augmented side: [I, F * d_f], or [I, d] through the tower."""
        config, items = self.config, batch.items[batch.item_anchor]
        key, raw = rng.make_key(batch.key, "feature view"), reps.items.fields
        if config.augment == "categorical":
            return self._encoded(batch, _fewer_values(self.anchors.of(batch), key, items, config.mask_ratio))
        if config.augment == "element":
            if config.through_tower:
                return self._encoded(batch, self.anchors.of(batch), dropout=config.mask_ratio if self.training else 0.0)
            return dropout(raw[batch.item_anchor].flatten(1), config.mask_ratio, self.training)
        keep = keep_some(key, items, raw.shape[1], config.mask_ratio)
        if config.through_tower:
            return self._encoded(batch, self.anchors.of(batch), keep)
        return (raw[batch.item_anchor] * keep[:, :, None]).flatten(1)

    def _encoded(self, batch: Batch, fields: Fields, keep: Tensor | None = None, dropout: float = 0.0) -> Tensor:
        found = self.anchors.towers.items(fields, keep, dropout, batch.anchor_context)
        return (found.vectors if self.config.through_tower else found.fields.flatten(1))[:-1]

    def _pool(self, batch: Batch) -> Tensor:
        """The anchors whose dropped features serve as negatives; one that meets itself there blocks itself."""
        lot = rng.bits(rng.make_key(batch.key, "feature"), batch.items[batch.item_anchor], 1)[:, 0]
        return torch.argsort(lot, stable=True)[: self.config.negatives]


class MaskedCL(Task):
    """Two halves of an item's fields, each through the item tower, are nearest to each other (Yao et al. 2021).

    The whole batch is halved alike: were the halves each item's own, which fields a view lacks would give away its
    partner. RFM halves at random. CFM hides a random seed field with the ``F // 2`` fields that tell most about it, so
    that the other half is no mere copy; ties are broken at random, and one field at least stays. What the graph says
    about an item is in neither view: it would be in both, and name the item.

    Args:
        config: weight and temperature.
        towers: the item tower.
        fields: of every item of the graph.
        correlated: CFM, not RFM. What fields tell about each other is computed here and is part of the weights' file.

    Raises:
        ConfigError: fewer than two item fields.
    """

    reads = "items"
    correlation: Tensor

    def __init__(self, config: MaskingConfig, towers: TwoTower, fields: Fields, correlated: bool) -> None:
        super().__init__()
        self.config, self.weight, self.correlated = config, config.weight, correlated
        self.requires = Requires(item_anchors=True)
        self.anchors = _Anchors(towers, fields)
        names = towers.item_fields.names
        if len(names) < 2:
            remedy = "add a column to the items, or take the task fea, which drops elements"
            raise ConfigError("tasks", "at least two item fields for rfm and cfm", str(names), remedy)
        if correlated:
            self.register_buffer("correlation", mutual_information(self.anchors.fields))

    def forward(self, batch: Batch, reps: Reps) -> Tensor:
        fields, hidden = self.anchors.of(batch), self.hidden(batch.key, batch.items.device)
        shape = len(batch.item_anchor), len(hidden)
        one, other = (self.anchors.towers.items(fields, keep.expand(shape)).vectors[:-1] for keep in (~hidden, hidden))
        itself = torch.eye(len(one), dtype=torch.bool, device=one.device)
        return mean(info_nce(one, other, other, itself, tau=self.config.tau, cosine=self.config.cosine))

    def hidden(self, key: int, device: torch.device) -> Tensor:
        """bool [F], the fields that the first view lacks and the second one alone has."""
        count = len(self.anchors.fields)
        lot = rng.bits(rng.make_key(key, "masked fields"), torch.arange(count, device=device), 1)[:, 0]
        order, hide = torch.argsort(lot, stable=True), count // 2
        if self.correlated:
            seed, rest = order[:1], order[1:]
            told = self.correlation[seed, rest]
            order = torch.cat([seed, rest[torch.argsort(told, descending=True, stable=True)]])
            hide = min(1 + count // 2, count - 1)
        return torch.zeros(count, dtype=torch.bool, device=device).index_fill(0, order[:hide], True)


def _fewer_values(fields: Fields, key: int, items: Tensor, mask_ratio: float) -> Fields:
    return {
        name: drop_values(one, rng.make_key(key, name), items, mask_ratio) if one.kind == "multi" else one
        for name, one in fields.items()
    }
