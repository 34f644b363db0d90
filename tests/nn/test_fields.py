"""Field embeddings against loops over the tables."""

from __future__ import annotations

import pytest
import torch

from micgraph.graph.fields import Field, take
from micgraph.nn.fields import FieldEncoder
from tests.toy import item_fields, multi

N, DIM = 11, 4


@pytest.fixture
def encoder() -> FieldEncoder:
    made = FieldEncoder(item_fields(N), DIM)
    with torch.no_grad():
        for layer in made.embed:
            layer.weight[0] += torch.randn(layer.weight.shape[1])  # as if a perturbation had trained "missing"
    return made


def test_each_kind_of_field(encoder: FieldEncoder) -> None:
    fields = item_fields(N)
    got = encoder(fields)
    assert got.shape == (N, 5, DIM) and encoder.width == 5 * DIM
    for column, (name, layer) in enumerate(zip(fields, encoder.embed, strict=True)):
        field = fields[name]
        for node in range(N):
            if field.kind == "categorical":
                want = layer.weight[int(field.values[node])]
            elif field.kind == "multi":
                codes = field.values[field.offsets[node] : field.offsets[node + 1]].tolist()
                rows = [layer.weight[code] for code in codes] or [layer.weight[0]]
                want = sum(rows) / len(rows)
            else:
                want = layer.weight @ field.values[node] + layer.bias
            torch.testing.assert_close(got[node, column], want)


def test_masked_fields_equal_unknown_fields(encoder: FieldEncoder) -> None:
    fields = item_fields(N)
    unknown = encoder(take(fields, torch.full((N,), -1)))
    keep = torch.rand(N, 5) < 0.5
    got, clean = encoder(fields, keep), encoder(fields)
    torch.testing.assert_close(got, torch.where(keep[:, :, None], clean, unknown))
    torch.testing.assert_close(encoder(fields, torch.zeros(N, 5, dtype=torch.bool)), unknown)


def test_no_node_at_all(encoder: FieldEncoder) -> None:
    assert encoder(take(item_fields(N), torch.zeros(0, dtype=torch.int64))).shape == (0, 5, DIM)


def test_missing_says_nothing_at_first() -> None:
    made = FieldEncoder({"tags": multi("tags", [[1], []], 3)}, DIM)
    got = made({"tags": multi("tags", [[1], []], 3)})
    assert got[1].abs().sum() == 0 and got[0].abs().sum() > 0


@pytest.mark.parametrize("name", ["type", "a.b", "items", "keys", "forward", ""])
def test_any_column_name_will_do(name: str) -> None:
    field = Field(name, "categorical", 3, torch.tensor([0, 2], dtype=torch.int32))
    assert FieldEncoder({name: field}, DIM)({name: field}).shape == (2, 1, DIM)


def test_the_order_of_the_names_given_later_does_not_matter(encoder: FieldEncoder) -> None:
    fields = item_fields(N)
    torch.testing.assert_close(encoder(dict(reversed(fields.items()))), encoder(fields))
