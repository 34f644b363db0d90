"""The values of one node's fields, as texts: codes turned back by the vocabularies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from micgraph.graph.fields import Field, Fields

SHOWN = 12
"""Values of a list at most."""


def field_values(fields: Fields, vocab: Mapping[str, Any], node: int) -> Iterator[tuple[str, str, str]]:
    """(name, kind, value) of each field but the id, which comes first."""
    for field in list(fields.values())[1:]:
        yield field.name, field.kind, _value(field, vocab.get(field.name), node)


def _value(field: Field, vocab: Any, node: int) -> str:
    if field.kind == "embedding":
        return f"{field.size} numbers of norm {float(field.values[node].float().norm()):.3f}"
    if field.kind == "dense":
        standard = float(field.values[node, 0])
        if vocab is None:
            return f"{standard:.4g} standard deviations"
        mean, deviation = vocab.to_pylist()
        # float32 holds seven digits; a missing value is kept as the mean
        return f"{standard * deviation + mean:.6g}" + (" (the mean, or missing)" if standard == 0 else "")
    if field.offsets is None:
        return _word(int(field.values[node]), vocab)
    codes = field.values[int(field.offsets[node]) : int(field.offsets[node + 1])].tolist()
    more = f" and {len(codes) - SHOWN} more" if len(codes) > SHOWN else ""
    return (", ".join(_word(code, vocab) for code in codes[:SHOWN]) or "none") + more


def _word(code: int, vocab: Any) -> str:
    if code == 0:
        return "unknown"
    return f"code {code}" if vocab is None else str(vocab[code - 1].as_py())
