"""Query encoders by name. A new encoder is one class and one line that registers it, here or in a user's module."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from micgraph.nn.attention import SASRec
from micgraph.nn.features import FieldTokens
from micgraph.nn.gnn import LAYERS, LightGCNUser
from micgraph.nn.interactions import AutoInt, DeepFM, SumTokens, check_heads, check_summable
from micgraph.nn.interests import ComiRecDR, ComiRecSA
from micgraph.nn.query import QueryEncoder
from micgraph.nn.reader import ITEM_GRAPHS
from micgraph.nn.sequential import ICAN, GRU4Rec, PooledMLP
from micgraph.registration import Names, call, check_kind
from micgraph.schema import ConfigError, check_range

if TYPE_CHECKING:
    from micgraph.nn.towers import ModelConfig


GIVEN = ("dim", "user_width", "field_dim", "n_fields", "history", "dropout", "graph_options")
"""What an encoder may ask for by naming it: d; the width W of the user's fields end to end; the width d_f of one of
them; the number F of item fields; T; ``model.dropout``; ``model.graph_options``."""

ENCODERS: Names[Callable[..., QueryEncoder]] = Names("encoder")
"""Classes, or functions that make one: those of :data:`GIVEN` that their signatures name, and ``model.options``."""


def add_encoder(name: str, make: Callable[..., QueryEncoder]) -> None:
    """Register an encoder; :func:`micgraph.register_encoder` also takes its preset.

    Raises:
        ConfigError: a name that is taken or none at all, or a class that is no :class:`QueryEncoder`.
    """
    check_kind("encoder", name, make, QueryEncoder)
    ENCODERS.add(name, make, make)


def _lightgcn(dim: int, user_width: int, dropout: float, graph_options: dict[str, Any], **options: Any) -> LightGCNUser:
    if "layers" in options:
        remedy = "set model.graph_options.layers, which both halves read"
        raise ConfigError("model.options.layers", "nothing with lightgcn", options["layers"], remedy)
    return LightGCNUser(dim, user_width, graph_options.get("layers", LAYERS), dropout, **options)


def _fm(dim: int, field_dim: int, dropout: float, **options: Any) -> FieldTokens:
    check_summable("model.encoder", field_dim, dim)
    return FieldTokens(SumTokens(**options), field_dim, dropout)


def _deepfm(dim: int, user_width: int, field_dim: int, n_fields: int, dropout: float, **options: Any) -> FieldTokens:
    check_summable("model.encoder", field_dim, dim)
    return FieldTokens(DeepFM(n_fields + user_width // field_dim, dim, **options), field_dim, dropout)


def _autoint(
    dim: int, user_width: int, field_dim: int, n_fields: int, dropout: float, heads: int = 2, **options: Any
) -> FieldTokens:
    check_heads("model.options.heads", heads, field_dim)
    mixer = AutoInt(n_fields + user_width // field_dim, field_dim, dim, heads, **options)
    return FieldTokens(mixer, field_dim, dropout)


add_encoder("autoint", _autoint)
add_encoder("comirec_dr", ComiRecDR)
add_encoder("comirec_sa", ComiRecSA)
add_encoder("deepfm", _deepfm)
add_encoder("fm", _fm)
add_encoder("graphsage", PooledMLP)  # a layer of it at the user: the mean of his neighbours, and his own fields
add_encoder("gru4rec", GRU4Rec)
add_encoder("ican", ICAN)
add_encoder("lightgcn", _lightgcn)
add_encoder("mic_dnn", PooledMLP)
add_encoder("sasrec", SASRec)
add_encoder("youtube_dnn", partial(PooledMLP, hidden=(128, 64)))
ENCODERS.close_built_in()


def make_encoder(config: ModelConfig, user_width: int, field_dim: int, n_fields: int) -> QueryEncoder:
    """The query encoder that a config names.

    Raises:
        ConfigError: no such encoder, an option that it does not have, or one of the wrong type or out of range; or it
            reads what the config does not give, or not what the config adds.
    """
    if config.encoder not in ENCODERS:
        remedy = "choose one of these, or register your own first"
        raise ConfigError("model.encoder", f"one of {sorted(ENCODERS)}", repr(config.encoder), remedy)
    widths = {"user_width": user_width, "field_dim": field_dim, "n_fields": n_fields}
    given = {name: widths[name] if name in widths else getattr(config, name) for name in GIVEN}
    asked = ("model.options", f"arguments of {config.encoder}", "see its docstring")
    try:
        if config.encoder in ENCODERS.built_in:  # what a user's own options mean he knows himself
            _check_options(config.options)
        encoder = call(ENCODERS[config.encoder], given, config.options, asked=asked)
    except TypeError as error:
        if config.encoder not in ENCODERS.built_in:  # a mistake in the user's own code, which he looks for there
            raise
        raise ConfigError(*asked[:2], str(error), asked[2]) from error
    _check_made(config.encoder, encoder)
    _check_reading(config, encoder)
    return encoder


def _check_options(options: dict[str, Any]) -> None:
    settings = {f"model.options.{name}": value for name, value in options.items()}
    names = ("layers", "heads", "hidden", "interests", "blocks")
    check_range(settings, " ".join(f"model.options.{name}" for name in names), at_least=1)


def _check_made(name: str, encoder: Any) -> None:
    if not isinstance(encoder, QueryEncoder):
        remedy = "return a subclass of micgraph.nn.query.QueryEncoder"
        raise ConfigError(f"encoder {name}", "a QueryEncoder", f"a {type(encoder).__name__}", remedy)


def _check_reading(config: ModelConfig, encoder: QueryEncoder) -> None:
    if config.encoder in ITEM_GRAPHS and config.item_graph != config.encoder:  # it is but half of that model
        expected = f"{config.encoder} with the encoder {config.encoder}"
        raise ConfigError("model.item_graph", expected, repr(config.item_graph), "set it, or choose another encoder")
    if config.time_gaps and not encoder.reads_vectors:
        expected = f"false with the encoder {config.encoder}, which does not read the vectors that gaps are added to"
        raise ConfigError("model.time_gaps", expected, "true", "leave it out, or take gru4rec, sasrec or comirec_sa")
