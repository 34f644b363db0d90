"""The two towers: items from their fields, queries from histories and user fields, and the space they meet in."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from micgraph.graph.context import ItemContext, Reads
from micgraph.graph.elapsed import CODES, gap_code
from micgraph.graph.fields import Field, Fields
from micgraph.nn.dropout import dropout as drop_out
from micgraph.nn.fields import FieldEncoder
from micgraph.nn.items import make_item_encoder
from micgraph.nn.lookup import Looked, rows
from micgraph.nn.query import QueryEncoder, QueryInput, check_vectors, mlp
from micgraph.nn.reader import GraphReader
from micgraph.nn.registry import ENCODERS, make_encoder
from micgraph.schema import USER_ID, ConfigError, check_range


@dataclass(frozen=True)
class ModelConfig:
    """Both towers.

    Attributes:
        encoder: name of the query encoder, see :mod:`micgraph.nn.registry`.
        dim: d, width of the vectors that are compared.
        field_dim: d_f, width of a field embedding; ``dim`` by default.
        item_encoder: ``sum`` (of the field embeddings, which needs ``field_dim == dim``), ``mlp`` (over all of them end
            to end), ``fm``, ``deepfm`` or ``autoint``, see :mod:`micgraph.nn.items`; None is ``mlp`` where
            ``item_hidden`` is given, else ``sum``.
        item_hidden: widths of the MLP of ``mlp`` or ``deepfm`` before its output (MicRec: 128, 64).
        item_options: more arguments of the item encoder, by name: ``layers`` and ``heads`` of ``autoint``.
        item_graph: how item vectors hear of their neighbours: ``graphsage`` or ``lightgcn``, see
            :mod:`micgraph.nn.gnn`; None: they do not.
        graph_options: its arguments, by name: ``relations`` and ``fanouts`` of ``graphsage``, ``layers`` and
            ``backend`` (``torch`` or ``torch_sparse``) of ``lightgcn``.
        latest_users: how many of an item's latest users are further fields of it (MIC 2.4.1), 0 for none.
        item_fields, user_fields: names of the fields that are read; None reads every one (of users: all but the id).
        similarity: ``dot`` or ``cosine``.
        temperature: scores are divided by it (with cosine; MIC: 0.1).
        dropout: inside the query encoder.
        item_bias: every field value adds a number of its own to the scores of its items; the search vectors carry it in
            one more dimension, which is 1 in queries (with ``dot``).
        shared_space: queries and items meet behind a non-linear head each (DECISIONS 23); set by the user-item task.
        history: T, the longest history that is read.
        time_gaps: the time since the click before, by powers of two in seconds, adds a vector to each click of a
            history; where it is unknown (histories without times, a user's first click) nothing is added. Not for
            encoders that read fields or messages of the history instead of item vectors.
        options: more arguments of the encoder, by name.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    encoder: str = "gru4rec"
    dim: int = 64
    field_dim: int | None = None
    item_encoder: str | None = None
    item_hidden: tuple[int, ...] | None = None
    item_options: dict[str, Any] = field(default_factory=dict)
    item_graph: str | None = None
    graph_options: dict[str, Any] = field(default_factory=dict)
    latest_users: int = 0
    item_fields: tuple[str, ...] | None = None
    user_fields: tuple[str, ...] | None = None
    similarity: Literal["dot", "cosine"] = "dot"
    temperature: float = 1.0
    dropout: float = 0.0
    item_bias: bool = False
    shared_space: bool = False
    history: int = 50
    time_gaps: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_range(vars(self), "dim field_dim item_hidden history", at_least=1)
        check_range(vars(self), "latest_users", at_least=0)
        check_range(vars(self), "dropout", at_least=0, below=1)
        check_range(vars(self), "temperature", above=0)
        if self.item_bias and self.similarity == "cosine":
            raise ConfigError("model.item_bias", "similarity=dot", "cosine", "leave the bias out, or take dot")


@dataclass(frozen=True)
class ItemReps:
    """Encoded items, and in the last row the item that nobody knows (so index -1 reads it).

    Attributes:
        fields: float [U + 1, F, d_f], raw field embeddings (f_i of MicRec 3.3).
        vectors: float [U + 1, d], the item tower's output (the items' own space).
        bias: float [U + 1], what is added to the items' scores, or None.
        messages: float [U + 1, d], what queries add up of their items instead of vectors (LightGCN), or None.
    """

    fields: Tensor
    vectors: Tensor
    bias: Tensor | None = None
    messages: Tensor | None = None


class SharedHead(nn.Module):
    """Non-linear projection into the space where queries meet items (MIC 2.4.2, DECISIONS 23); starts near identity."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = mlp([dim, dim, dim], nn.ReLU)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)  # type: ignore[no-any-return]


class TwoTower(nn.Module):
    """An item tower and a query tower.

    Args:
        config: both towers.
        item_fields, user_fields: examples of the fields (name, kind, size); no tensor of theirs is kept.
    """

    def __init__(self, config: ModelConfig, item_fields: Fields, user_fields: Fields) -> None:
        super().__init__()
        self.config = config
        width = config.field_dim or config.dim
        read = _chosen(item_fields, config.item_fields)
        if not read:
            raise ConfigError("model.item_fields", f"some of {list(item_fields)}", "none", "name one, or leave it out")
        self.item_fields = FieldEncoder(read, width)
        names = config.user_fields
        if names is None:
            names = tuple(name for name in user_fields if name != USER_ID)
        self.user_fields = FieldEncoder(_chosen(user_fields, names), width)
        self.reader = GraphReader(config, user_fields, width)
        self.item_encoder = make_item_encoder(config, width, len(self.item_fields.names) + self.reader.n_fields)
        self.item_bias = _bias(read) if config.item_bias else None
        self.encoder: QueryEncoder = make_encoder(config, self.user_fields.width, width, len(self.item_fields.names))
        heads = {"query": SharedHead(config.dim), "item": SharedHead(config.dim)} if config.shared_space else {}
        self.heads = nn.ModuleDict(heads)
        self.gap = nn.Embedding(CODES, config.dim, padding_idx=0) if config.time_gaps else None
        if self.gap is not None:
            nn.init.zeros_(self.gap.weight)

    @property
    def query_width(self) -> int:
        """Number of user fields that the query tower reads."""
        return len(self.user_fields.names)

    @property
    def reads(self) -> Reads | None:
        """What of the graph items must come with as their context, or None."""
        return self.reader.reads

    def items(
        self,
        fields: Fields,
        keep: Tensor | None = None,
        dropout: float = 0.0,
        context: ItemContext | None = None,
    ) -> ItemReps:
        """Encode n items and, last, the unknown one.

        Args:
            fields: n items.
            keep: bool [n, F], fields that are not masked (default: all).
            dropout: on the field embeddings (MIC 2.4.1).
            context: what the graph says about them; None: nothing.
        """
        extended = {name: _with_unknown(fields[name]) for name in self.item_fields.names}
        if keep is not None:
            keep = torch.cat([keep, keep.new_ones(1, keep.shape[1])])
        raw = self.item_fields(extended, keep)
        used = self.reader.fields(raw, context)
        used = drop_out(used, dropout) if dropout else used
        bias = self.item_encoder.bias(used)
        if self.item_bias is not None:
            linear = self.item_bias(extended, keep).sum((1, 2))
            bias = linear if bias is None else bias + linear
        vectors, messages = self.reader(self, self.item_encoder(used), context)
        return ItemReps(raw, vectors, bias, messages)

    def query_input(
        self,
        items: ItemReps,
        history: Tensor,
        mask: Tensor,
        user: Fields,
        user_keep: Tensor | None = None,
        gap: Tensor | None = None,
    ) -> QueryInput:
        """Look histories up among encoded items; where all are empty, one masked place stands for them.

        Args:
            history: int64 [B, T], rows of ``items`` (-1: unknown).
            mask: bool [B, T].
            user: the users' fields, B of each.
            user_keep: bool [B, F_user], user fields that are not masked.
            gap: int64 [B, T], seconds since the click before each one, -1 unknown; None: all unknown.
        """
        if not history.shape[1]:
            history, mask = F.pad(history, (0, 1), value=-1), F.pad(mask, (0, 1))
        raw = Looked(items.fields, history) if self.encoder.reads_fields else items.fields[:0]
        if self.user_fields.names:
            width = self.user_fields({n: user[n] for n in self.user_fields.names}, user_keep).flatten(1)
        else:
            width = items.vectors.new_zeros(len(history), 0)
        sent = None if items.messages is None else rows(items.messages, history)
        own: Tensor | Looked = Looked(items.vectors, history)
        if self.gap is not None and gap is not None and gap.shape[1]:
            own = rows(items.vectors, history) + self.gap(gap_code(gap))
        return QueryInput(own, raw, mask, width, sent)

    def encode(self, query: QueryInput) -> Tensor:
        """The query encoder's vectors of whole histories, their shape checked: [B, d] or [B, K, d]."""
        return check_vectors(self.config.encoder, self.encoder(query), len(query.mask), self.config.dim)

    def encode_at(self, query: QueryInput, row: Tensor, place: Tensor) -> Tensor:
        """The same of prefixes, see :meth:`QueryEncoder.at`: [C, d] or [C, K, d]."""
        return check_vectors(self.config.encoder, self.encoder.at(query, row, place), len(row), self.config.dim)

    def search_items(self, items: ItemReps) -> Tensor:
        """The vectors that U2I searches, of encoded items and the unknown one: [U + 1, D]."""
        found = self._search(items.vectors, "item")
        return found if items.bias is None else torch.cat([found, items.bias[:, None]], dim=1)

    def search_queries(self, own: Tensor) -> Tensor:
        """From the queries' own space to the vectors that U2I searches with: [..., d] -> [..., D]."""
        found = self._search(own, "query")
        return F.pad(found, (0, 1), value=1.0) if self.biased else found

    @property
    def biased(self) -> bool:
        """Whether scores have a part that depends on the item alone; D is then d + 1."""
        return self.item_bias is not None or self.item_encoder.biased

    def _search(self, own: Tensor, side: str) -> Tensor:
        shared = self.heads[side](own) if side in self.heads else own
        return F.normalize(shared, dim=-1) if self.config.similarity == "cosine" else shared

    @property
    def scale(self) -> float:
        """What inner products of search vectors are multiplied by to give the scores that are trained."""
        return 1.0 / self.config.temperature

    def spec(self, item_fields: Fields, user_fields: Fields) -> dict[str, Any]:
        """Everything but the weights, as JSON: :meth:`from_spec` makes the same towers of it."""
        return {
            "config": asdict(self.config),
            "registered_by": ENCODERS.module_of(self.config.encoder),
            "item_fields": _shapes(item_fields),
            "user_fields": _shapes(user_fields),
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> TwoTower:
        """The towers that :meth:`spec` described, with fresh weights; refuses an encoder that is not registered."""
        config = dict(spec["config"])
        ENCODERS.require(config["encoder"], spec.get("registered_by"), "model.encoder")
        for name in ("item_hidden", "item_fields", "user_fields"):
            config[name] = None if config[name] is None else tuple(config[name])
        fields = [{f["name"]: _empty_field(f) for f in spec[side]} for side in ("item_fields", "user_fields")]
        return cls(ModelConfig(**config), fields[0], fields[1])


def _chosen(fields: Fields, names: tuple[str, ...] | None) -> Fields:
    missing = [name for name in names or () if name not in fields]
    if missing:
        raise ConfigError("model fields", f"some of {list(fields)}", f"{missing}", "name fields that the graph has")
    return fields if names is None else {name: fields[name] for name in names}


def _bias(fields: Fields) -> FieldEncoder:
    """One number for each value of each field, 0 at first."""
    encoder = FieldEncoder(fields, 1)
    for weight in encoder.parameters():
        nn.init.zeros_(weight)
    return encoder


def _with_unknown(one: Field) -> Field:
    """The same nodes and, last, one of which nothing is known."""
    pad = one.values.new_zeros(1, *one.values.shape[1:])
    if one.offsets is None:
        return replace(one, values=torch.cat([one.values, pad]))
    return replace(one, offsets=torch.cat([one.offsets, one.offsets[-1:]]))


def _shapes(fields: Fields) -> list[dict[str, Any]]:
    return [{"name": one.name, "kind": one.kind, "size": one.size} for one in fields.values()]


def _empty_field(shape: dict[str, Any]) -> Field:
    dense = shape["kind"] in ("dense", "embedding")
    values = torch.zeros((0, shape["size"])) if dense else torch.zeros(0, dtype=torch.int32)
    offsets = torch.zeros(1, dtype=torch.int64) if shape["kind"] == "multi" else None
    return Field(shape["name"], shape["kind"], shape["size"], values, offsets)
