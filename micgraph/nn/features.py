"""Query encoders that see a history as a handful of fields: FM, DeepFM and AutoInt of MicRec's tables."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from micgraph.nn.dropout import Dropout
from micgraph.nn.query import QueryEncoder, QueryInput, every_place, means_at


class FieldTokens(QueryEncoder):
    """Tokens are the item fields, each the mean over the history as in ICAN (DECISIONS 18), and the user's fields.

    Args:
        mixer: makes one vector of the tokens, float [N, F + F_user, d_f] -> [N, d] (:mod:`micgraph.nn.interactions`).
        field_dim: width d_f of a field embedding.
        dropout: on the tokens.
    """

    every_position = True
    reads_vectors = False
    reads_fields = True

    def __init__(self, mixer: nn.Module, field_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.mixer, self.field_dim = mixer, field_dim
        self.dropout = Dropout(dropout)

    def forward(self, query: QueryInput) -> Tensor:
        return self._mix(query.mean_fields(), self._user(query), query.dropped)

    def positions(self, query: QueryInput) -> Tensor:
        return self.at(query, *every_place(query.mask)).view(*query.mask.shape, -1)

    def at(self, query: QueryInput, row: Tensor, place: Tensor) -> Tensor:
        return self._mix(means_at(query.fields, query.mask, row, place), self._user(query)[row], query.dropped)

    def _user(self, query: QueryInput) -> Tensor:
        """The user's fields apart again: float [B, F_user, d_f]."""
        return query.user.view(len(query.user), query.user.shape[1] // self.field_dim, self.field_dim)

    def _mix(self, history: Tensor, user: Tensor, dropped: bool) -> Tensor:
        return self.mixer(self.dropout(torch.cat([history, user], dim=1), dropped))  # type: ignore[no-any-return]
