"""Weights by which session positives are drawn (DECISIONS 12 and 16)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from micgraph.graph.relation import Relation, row_cumsum

_ROW_TICKETS = 2**28


def reweight_sessions(rel: Relation, category: Tensor, popularity: Tensor, boost: float, beta: float) -> Relation:
    """Co-occurrence edges weighted by ``count * boost^[same category] / (pop_i * pop_j)^beta``.

    Args:
        rel: co-occurrence, with counts as weights.
        category: int64 [N] category codes, 0 where unknown (never "the same").
        popularity: int64 [N] click counts.
        boost: 1 is off, MicRec 4.1 emphasises items of the same category.
        beta: 0 is the paper's plain count; 1 divides by both popularities.

    Returns:
        The relation with new integer weights; a weight that is not 0 stays at least 1.
    """
    if boost == 1.0 and beta == 0.0:
        return rel
    row, col = rel.row_index(), rel.col.long()
    weight = rel.weight().double()
    same = (category[row] == category[col]) & (category[row] > 0)
    weight = weight * (1.0 + (boost - 1.0) * same)
    if beta:
        weight = weight / (popularity[row].double() * popularity[col].double()).clamp(min=1).pow(beta)
    total = weight.new_zeros(rel.n_rows).index_add_(0, row, weight)
    scaled = (weight * (_ROW_TICKETS / total[row])).round().clamp(min=1).long()
    return replace(rel, cum=row_cumsum(rel.indptr, scaled))
