"""Query encoders by name. A new encoder is one class and one entry here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from micgraph.nn.attention import SASRec
from micgraph.nn.features import FieldTokens
from micgraph.nn.gnn import LAYERS, LightGCNUser
from micgraph.nn.interactions import AutoInt, DeepFM, SumTokens, check_heads, check_summable
from micgraph.nn.interests import ComiRecDR, ComiRecSA
from micgraph.nn.query import QueryEncoder
from micgraph.nn.reader import ITEM_GRAPHS
from micgraph.nn.sequential import ICAN, GRU4Rec, PooledMLP
from micgraph.schema import ConfigError, check_range

if TYPE_CHECKING:
    from micgraph.nn.towers import ModelConfig


def _gru4rec(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    return GRU4Rec(config.dim, user_width, dropout=config.dropout, **config.options)


def _mic_dnn(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    return PooledMLP(config.dim, user_width, dropout=config.dropout, **config.options)


def _youtube_dnn(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    options: dict[str, Any] = {"hidden": (128, 64), **config.options}
    return PooledMLP(config.dim, user_width, dropout=config.dropout, **options)


def _ican(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    return ICAN(config.dim, user_width, field_dim, n_fields, config.history, dropout=config.dropout, **config.options)


def _comirec_sa(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    return ComiRecSA(config.dim, user_width, config.history, dropout=config.dropout, **config.options)


def _comirec_dr(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    return ComiRecDR(config.dim, user_width, config.history, dropout=config.dropout, **config.options)


def _sasrec(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    return SASRec(config.dim, user_width, config.history, dropout=config.dropout, **config.options)


def _graphsage(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    """A layer of GraphSAGE at the user: the mean of the neighbours, which are the history, and his own fields."""
    return PooledMLP(config.dim, user_width, dropout=config.dropout, **config.options)


def _lightgcn(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    if "layers" in config.options:
        remedy = "set model.graph_options.layers, which both halves read"
        raise ConfigError("model.options.layers", "nothing with lightgcn", config.options["layers"], remedy)
    layers = config.graph_options.get("layers", LAYERS)
    return LightGCNUser(config.dim, user_width, layers, config.dropout, **config.options)


def _fm(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    check_summable("model.encoder", field_dim, config.dim)
    return FieldTokens(SumTokens(**config.options), field_dim, config.dropout)


def _deepfm(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    check_summable("model.encoder", field_dim, config.dim)
    mixer = DeepFM(n_fields + user_width // field_dim, config.dim, **config.options)
    return FieldTokens(mixer, field_dim, config.dropout)


def _autoint(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    options: dict[str, Any] = {"heads": 2, **config.options}
    check_heads("model.options.heads", options["heads"], field_dim)
    mixer = AutoInt(n_fields + user_width // field_dim, field_dim, config.dim, **options)
    return FieldTokens(mixer, field_dim, config.dropout)


ENCODERS: dict[str, Callable[[ModelConfig, int, int, int], QueryEncoder]] = {
    "autoint": _autoint,
    "deepfm": _deepfm,
    "fm": _fm,
    "comirec_dr": _comirec_dr,
    "comirec_sa": _comirec_sa,
    "graphsage": _graphsage,
    "gru4rec": _gru4rec,
    "ican": _ican,
    "lightgcn": _lightgcn,
    "mic_dnn": _mic_dnn,
    "sasrec": _sasrec,
    "youtube_dnn": _youtube_dnn,
}


def make_encoder(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    """The query encoder that a config names.

    Raises:
        ConfigError: no such encoder, an option that it does not have, or one of the wrong type or out of range; or it
            reads what the config does not give, or not what the config adds.
    """
    if config.encoder not in ENCODERS:
        raise ConfigError("model.encoder", f"one of {sorted(ENCODERS)}", repr(config.encoder), "choose one of these")
    try:
        options = {f"model.options.{name}": value for name, value in config.options.items()}
        names = ("layers", "heads", "hidden", "interests", "blocks")
        check_range(options, " ".join(f"model.options.{name}" for name in names), at_least=1)
        encoder = ENCODERS[config.encoder](config, user_width, field_dim, n_fields)
    except TypeError as error:
        raise ConfigError("model.options", f"arguments of {config.encoder}", str(error), "see its docstring") from error
    _check_reading(config, encoder)
    return encoder


def _check_reading(config: ModelConfig, encoder: QueryEncoder) -> None:
    if config.encoder in ITEM_GRAPHS and config.item_graph != config.encoder:  # it is but half of that model
        expected = f"{config.encoder} with the encoder {config.encoder}"
        raise ConfigError("model.item_graph", expected, repr(config.item_graph), "set it, or choose another encoder")
    if config.time_gaps and not encoder.reads_vectors:
        expected = f"false with the encoder {config.encoder}, which does not read the vectors that gaps are added to"
        raise ConfigError("model.time_gaps", expected, "true", "leave it out, or take gru4rec, sasrec or comirec_sa")
