"""Item encoders: how the field embeddings of an item become its vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from micgraph.nn.interactions import AutoInt, DeepFM, check_heads, check_summable, pair_products
from micgraph.nn.query import mlp
from micgraph.schema import ConfigError, check_range

if TYPE_CHECKING:
    from micgraph.nn.towers import ModelConfig


class ItemEncoder(nn.Module):
    """Base of the item towers: raw field embeddings in, one vector out.

    Subclasses set ``biased`` if :meth:`bias` has something to say.
    """

    biased = False

    def forward(self, raw: Tensor) -> Tensor:
        """float [n, F, d_f] -> [n, d]."""
        raise NotImplementedError

    def bias(self, raw: Tensor) -> Tensor | None:
        """float [n], what an item's score has whatever the query (DECISIONS 19); None: nothing."""
        return None


class SumFields(ItemEncoder):
    """The sum of the field embeddings (d_f = d)."""

    def forward(self, raw: Tensor) -> Tensor:
        return raw.sum(1)


class MLPFields(ItemEncoder):
    """All fields laid end to end through an MLP with tanh (MicRec 3.2).

    Args:
        width: F * d_f.
        hidden: widths of the layers before the output.
        dim: d.
    """

    def __init__(self, width: int, hidden: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.layers = mlp([width, *hidden, dim], nn.Tanh)

    def forward(self, raw: Tensor) -> Tensor:
        return self.layers(raw.flatten(1))  # type: ignore[no-any-return]


class FMFields(ItemEncoder):
    """FM's item side (Rendle 2010; DECISIONS 19): the sum of the fields, and their own pairs as a bias (d_f = d).

    With the sum of the query's tokens on the other side, an inner product of search vectors is an FM's score but for
    what depends on the query alone. A field with several values is one feature: the mean of them.
    """

    biased = True

    def forward(self, raw: Tensor) -> Tensor:
        return raw.sum(1)

    def bias(self, raw: Tensor) -> Tensor:
        """The inner products of every two fields of the item, added up: float [n]."""
        return pair_products(raw).sum(1)


class MixedFields(ItemEncoder):
    """The fields through the layers that mix the query's tokens too.

    Args:
        mixer: float [n, F, d_f] -> [n, d] (:mod:`micgraph.nn.interactions`).
    """

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, raw: Tensor) -> Tensor:
        return self.mixer(raw)  # type: ignore[no-any-return]


def _sum(config: ModelConfig, field_dim: int, n_fields: int) -> ItemEncoder:
    _no_hidden(config)
    check_summable("model.item_encoder", field_dim, config.dim)
    return SumFields(**config.item_options)


def _mlp(config: ModelConfig, field_dim: int, n_fields: int) -> ItemEncoder:
    return MLPFields(n_fields * field_dim, _hidden(config), config.dim, **config.item_options)


def _fm(config: ModelConfig, field_dim: int, n_fields: int) -> ItemEncoder:
    _no_hidden(config)
    check_summable("model.item_encoder", field_dim, config.dim)
    return FMFields(**config.item_options)


def _deepfm(config: ModelConfig, field_dim: int, n_fields: int) -> ItemEncoder:
    check_summable("model.item_encoder", field_dim, config.dim)
    return MixedFields(DeepFM(n_fields, config.dim, _hidden(config), **config.item_options))


def _autoint(config: ModelConfig, field_dim: int, n_fields: int) -> ItemEncoder:
    _no_hidden(config)
    options: dict[str, Any] = {"heads": 2, **config.item_options}
    check_heads("model.item_options.heads", options["heads"], field_dim)
    return MixedFields(AutoInt(n_fields, field_dim, config.dim, **options))


ITEM_ENCODERS: dict[str, Callable[[ModelConfig, int, int], ItemEncoder]] = {
    "autoint": _autoint,
    "deepfm": _deepfm,
    "fm": _fm,
    "mlp": _mlp,
    "sum": _sum,
}
"""Item encoders by name. A new one is one class and one entry here."""


def make_item_encoder(config: ModelConfig, field_dim: int, n_fields: int) -> ItemEncoder:
    """The item encoder that a config names; where it names none, ``mlp`` if ``item_hidden`` is given, else ``sum``.

    Raises:
        ConfigError: no such encoder, settings that it does not have or that do not fit, or one with a bias
            although cosines are compared.
    """
    name = config.item_encoder or ("sum" if config.item_hidden is None else "mlp")
    if name not in ITEM_ENCODERS:
        raise ConfigError("model.item_encoder", f"one of {sorted(ITEM_ENCODERS)}", repr(name), "choose one of these")
    try:
        options = {f"model.item_options.{name}": value for name, value in config.item_options.items()}
        check_range(options, "model.item_options.layers", at_least=1)
        encoder = ITEM_ENCODERS[name](config, field_dim, n_fields)
    except TypeError as error:
        raise ConfigError("model.item_options", f"arguments of {name}", str(error), "see its docstring") from error
    if encoder.biased and config.similarity == "cosine":
        raise ConfigError("model.item_encoder", "one without a bias, with similarity=cosine", name, "take dot")
    return encoder


def _hidden(config: ModelConfig) -> tuple[int, ...]:
    """MicRec's widths (3.6) where none are given."""
    return (128, 64) if config.item_hidden is None else config.item_hidden


def _no_hidden(config: ModelConfig) -> None:
    if config.item_hidden is not None:
        expected = f"nothing with item_encoder={config.item_encoder}"
        raise ConfigError("model.item_hidden", expected, config.item_hidden, "set it to null")
