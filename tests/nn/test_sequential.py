"""The pooled and recurrent encoders and ICAN against what the papers print."""

from __future__ import annotations

import pytest
import torch

from micgraph.nn.query import QueryInput
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.schema import ConfigError
from tests.toy import item_fields, user_fields

N_ITEMS, N_USERS, HISTORY = 12, 6, 5


def towers(**config) -> TwoTower:
    torch.manual_seed(0)
    base = {"dim": 16, "history": HISTORY, "dropout": 0.3}
    return TwoTower(ModelConfig(**{**base, **config}), item_fields(N_ITEMS), user_fields(N_USERS))


def query(model: TwoTower, *histories: list[int]) -> QueryInput:
    fields = {name: f.take(torch.arange(len(histories))) for name, f in user_fields(N_USERS).items()}
    history = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for one in histories], True, -1)
    return model.query_input(model.items(item_fields(N_ITEMS)), history, history >= 0, fields)


def test_mic_dnn_is_one_linear_layer_over_the_mean() -> None:
    """DECISIONS 31-32."""
    model = towers(encoder="mic_dnn").eval()
    given = query(model, [3, 1, 4], [9])
    (layer,) = model.encoder.layers
    for k, length in enumerate((3, 1)):
        pooled = sum(given.vectors[k, t] for t in range(length)) / length
        want = layer.weight @ torch.cat([pooled, given.user[k]]) + layer.bias
        torch.testing.assert_close(model.encoder(given)[k], want)


def test_youtube_dnn_has_three_layers_of_the_papers_widths() -> None:
    linear = [m for m in towers(encoder="youtube_dnn", dim=64).encoder.layers if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in linear] == [128, 64, 64]


def test_ican_flattens_every_field_and_ends_in_three_layers() -> None:
    """DECISIONS 18: 8 heads, flatten, MLP 128-64-64 with tanh."""
    encoder = towers(encoder="ican", dim=64).encoder
    linear = [m for m in encoder.layers if isinstance(m, torch.nn.Linear)]
    assert encoder.attention.num_heads == 8 and [m.out_features for m in linear] == [128, 64, 64]
    assert linear[0].in_features == 5 * 64 + 2 * 64
    assert sum(isinstance(m, torch.nn.Tanh) for m in encoder.layers) == 2


def test_gru_reads_the_order_and_bags_do_not() -> None:
    for name, ordered in (("gru4rec", True), ("mic_dnn", False), ("ican", False)):
        model = towers(encoder=name).eval()
        one, two = model.encoder(query(model, [3, 1, 4], [3, 1, 4])), model.encoder(query(model, [4, 1, 3], [3, 4, 1]))
        assert torch.allclose(one, two, atol=1e-6) != ordered


@pytest.mark.parametrize("options", [{"tokens": "tags"}, {"heads": 3}, {"heads": 0}])
def test_ican_refuses_values_out_of_range(options: dict) -> None:
    with pytest.raises(ConfigError, match="options"):
        towers(encoder="ican", options=options)
