"""The item tower, the unknown item, the space where queries meet items."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from micgraph.graph.fields import take
from micgraph.nn.towers import ItemReps, ModelConfig, TwoTower
from micgraph.schema import ConfigError
from tests.toy import item_fields, user_fields

N = 9


def towers(**config) -> TwoTower:
    return TwoTower(ModelConfig(**{"dim": 8, **config}), item_fields(N), user_fields(4))


def test_the_summing_tower_adds_the_field_embeddings() -> None:
    reps = towers().items(item_fields(N))
    torch.testing.assert_close(reps.vectors, sum(reps.fields[:, f] for f in range(5)))


def test_the_mlp_tower_reads_all_fields_end_to_end() -> None:
    """MicRec 3.6: a 3-layer MLP with tanh."""
    model = towers(item_hidden=(7, 6), field_dim=3)
    reps = model.items(item_fields(N))
    first, _, second, _, third = model.item_encoder.layers
    assert [m.out_features for m in (first, second, third)] == [7, 6, 8]
    x = reps.fields.flatten(1)
    torch.testing.assert_close(reps.vectors, third(torch.tanh(second(torch.tanh(first(x))))))


@pytest.mark.parametrize("hidden", [None, (7,)])
def test_the_last_row_is_the_item_nobody_knows(hidden: tuple[int, ...] | None) -> None:
    model = towers(item_hidden=hidden)
    reps = model.items(item_fields(N))
    stranger = model.items(take(item_fields(N), torch.tensor([-1])))
    assert len(reps.vectors) == N + 1
    torch.testing.assert_close(reps.vectors[-1], stranger.vectors[0])
    masked = model.items(item_fields(N), keep=torch.zeros(N, 5, dtype=torch.bool))
    torch.testing.assert_close(masked.vectors, reps.vectors[-1].expand(N + 1, -1))


def test_histories_and_users_are_looked_up_with_gaps_as_unknown() -> None:
    model = towers(encoder="ican", user_fields=("age", "country"))
    reps = model.items(item_fields(N))
    history, mask = torch.tensor([[2, -1, 5]]), torch.tensor([[True, True, False]])
    given = model.query_input(reps, history, mask, take(user_fields(4), torch.tensor([3])))
    torch.testing.assert_close(given.vectors[0], reps.vectors[[2, N, 5]])
    torch.testing.assert_close(given.fields[0], reps.fields[[2, N, 5]])
    torch.testing.assert_close(given.user, model.user_fields(take(user_fields(4), torch.tensor([3]))).flatten(1))
    assert model.query_width == 2 and given.user.shape == (1, 16)


def test_masked_user_fields_equal_an_unknown_users() -> None:
    model = towers(user_fields=("user_id", "country", "age"))
    reps = model.items(item_fields(N))
    lines = (torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, 1, dtype=torch.bool))
    known, nobody = (take(user_fields(4), torch.tensor(u)) for u in ([1, 2], [-1, -1]))
    masked = model.query_input(reps, *lines, known, torch.zeros(2, 3, dtype=torch.bool))
    torch.testing.assert_close(masked.user, model.query_input(reps, *lines, nobody).user)


def test_the_user_id_is_read_only_where_it_is_named() -> None:
    assert towers().user_fields.names == ["country", "age"]
    assert towers(user_fields=("user_id",)).user_fields.names == ["user_id"]
    assert towers(user_fields=()).user_fields.names == []


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_search_vectors(similarity: str, shared: bool) -> None:
    model = towers(similarity=similarity, shared_space=shared, temperature=0.25)
    own = torch.randn(5, 8)
    items = ItemReps(own[:, None], own)
    for side, found in (("item", model.search_items(items)), ("query", model.search_queries(own))):
        want = own + model.heads[side].layers(own) if shared else own
        torch.testing.assert_close(found, F.normalize(want, dim=-1) if similarity == "cosine" else want)
    assert model.scale == 4.0


@pytest.mark.parametrize("shared", [False, True])
def test_a_bias_adds_a_number_of_each_field_value_to_the_scores(shared: bool) -> None:
    plain, model = towers(shared_space=shared), towers(shared_space=shared, item_bias=True)
    model.load_state_dict({**model.state_dict(), **plain.state_dict()})
    reps, queries = model.items(item_fields(N)), torch.randn(3, 8)
    before = plain.search_queries(queries) @ plain.search_items(plain.items(item_fields(N))).T
    torch.testing.assert_close(model.search_queries(queries) @ model.search_items(reps).T, before)
    names = list(item_fields(N))
    with torch.no_grad():
        model.item_bias.embed[0].weight[1:, 0] = torch.arange(float(N))  # row 0 is the unknown item
        model.item_bias.embed[names.index("category")].weight += 100.0
    after = model.search_queries(queries) @ model.search_items(model.items(item_fields(N))).T
    want = torch.cat([torch.arange(float(N)), torch.zeros(1)]) + 100.0
    torch.testing.assert_close(after - before, want.expand(3, -1), atol=1e-4, rtol=1e-4)


def test_dropout_of_field_embeddings_leaves_the_raw_ones() -> None:
    model = towers()
    clean, dropped = model.items(item_fields(N)), model.items(item_fields(N), dropout=0.5)
    assert torch.equal(clean.fields, dropped.fields) and not torch.equal(clean.vectors, dropped.vectors)


@pytest.mark.parametrize(
    "config",
    [
        {"field_dim": 4},
        {"item_fields": ("colour",)},
        {"user_fields": ("colour",)},
        {"item_fields": ()},
        {"item_bias": True, "similarity": "cosine"},
    ],
)
def test_settings_that_do_not_fit_are_refused(config: dict) -> None:
    with pytest.raises(ConfigError, match="model"):
        towers(**config)


def test_time_gaps_add_a_vector_to_each_click_and_unknown_ones_nothing() -> None:
    model = TwoTower(ModelConfig(dim=8, history=4, user_fields=(), time_gaps=True), item_fields(5), user_fields(4))
    with torch.no_grad():
        model.gap.weight[1:] = torch.randn(31, 8)
    reps, user = model.items(item_fields(5)), take(user_fields(4), torch.tensor([1]))
    history, mask = torch.tensor([[3, 1, 4]]), torch.ones(1, 3, dtype=torch.bool)
    plain = model.query_input(reps, history, mask, user).vectors
    given = model.query_input(reps, history, mask, user, gap=torch.tensor([[-1, 0, 3600]])).vectors
    assert torch.equal(plain[0, 0], given[0, 0])
    torch.testing.assert_close(given[0, 1], plain[0, 1] + model.gap.weight[1])
    torch.testing.assert_close(given[0, 2], plain[0, 2] + model.gap.weight[12])
    empty = model.query_input(reps, history[:, :0], mask[:, :0], user, gap=torch.zeros(1, 0, dtype=torch.int64))
    assert empty.vectors.shape == (1, 1, 8)
