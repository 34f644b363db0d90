"""FM, DeepFM and AutoInt on both sides against loops over features, pairs and heads, written from the formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from micgraph.nn.export import BoundModel
from micgraph.nn.interactions import pair_products
from micgraph.nn.items import ITEM_ENCODERS
from micgraph.nn.registry import ENCODERS
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.presets import resolve
from micgraph.sampling.batch import BatchSampler
from micgraph.schema import ConfigError
from micgraph.tasks.matching import Matching, MatchingConfig
from micgraph.tasks.objective import Objective
from tests.toy import item_fields, random_rows, toy_graph, user_fields

N_ITEMS, N_USERS = 12, 6
HISTORIES = ([3, 1, 4, 1], [9], [2, 6], [])
ITEMS, MASK = torch.full((4, 4), -1), torch.zeros(4, 4, dtype=torch.bool)
for k, history in enumerate(HISTORIES):
    ITEMS[k, : len(history)] = torch.tensor(history)
    MASK[k, : len(history)] = True
USERS = torch.tensor([0, 1, -1, 3])


def towers(both: str | None = None, noise: float = 0.3, **config) -> TwoTower:
    torch.manual_seed(0)
    sides = {} if both is None else {"encoder": both, "item_encoder": both}
    base = {"dim": 8, "history": 5, "user_fields": ("user_id", "country", "age")}
    model = TwoTower(ModelConfig(**{**base, **sides, **config}), item_fields(N_ITEMS), user_fields(N_USERS)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model


def exported(model: TwoTower) -> tuple[BoundModel, Tensor, Tensor]:
    """The model bound to its graph; queries [4, D] and items [12, D] as U2I searches them."""
    bound = BoundModel(model, item_fields(N_ITEMS), user_fields(N_USERS))
    return bound, bound.encode_queries(ITEMS, MASK, USERS)[0], bound.item_vectors()[0]


def own_tokens(model: TwoTower, k: int) -> list[Tensor]:
    """History fields, then user fields, of the k-th query, one vector each."""
    raw = model.items(item_fields(N_ITEMS)).fields
    history = HISTORIES[k]
    means = [sum((raw[i, f] for i in history), torch.zeros(raw.shape[2])) / max(len(history), 1) for f in range(5)]
    user = model.user_fields({n: f.take(USERS[k : k + 1]) for n, f in user_fields(N_USERS).items()})
    return [*means, *user[0]]


@pytest.mark.parametrize("bias", [True, False])
def test_fm_scores_are_those_of_a_factorisation_machine(bias: bool) -> None:
    """Rendle 2010, Eq. 1, over every two features of a user, his history and an item; of the user's own terms nothing
    is left but a constant (DECISIONS 19)."""
    model = towers("fm", item_bias=bias)
    _, queries, items = exported(model)
    raw = model.items(item_fields(N_ITEMS)).fields
    user_values = model.user_fields({n: f.take(USERS) for n, f in user_fields(N_USERS).items()})
    weights = model.item_bias(item_fields(N_ITEMS))[..., 0] if bias else torch.zeros(N_ITEMS, 5)
    for k, history in enumerate(HISTORIES):
        fm = []
        for i in range(N_ITEMS):
            features = [(1.0, vector) for vector in user_values[k]]
            features += [(1 / len(history), raw[j, f]) for j in history for f in range(5)]
            features += [(1.0, raw[i, f]) for f in range(5)]
            score = weights[i].sum().item()
            for a in range(len(features)):
                for b in range(a + 1, len(features)):
                    score += features[a][0] * features[b][0] * (features[a][1] @ features[b][1]).item()
            fm.append(score)
        got = queries[k] @ items.T
        torch.testing.assert_close(got - got[0], torch.tensor(fm) - fm[0], rtol=1e-4, atol=1e-4)


def test_products_of_pairs() -> None:
    tokens = torch.randn(3, 4, 5)
    want = sum(tokens[:, a] * tokens[:, b] for a in range(4) for b in range(a + 1, 4))
    torch.testing.assert_close(pair_products(tokens), want)
    assert torch.equal(pair_products(tokens[:, :1]), torch.zeros(3, 5)), "one token has no pair"


def _deepfm(tokens: list[Tensor], mixer: torch.nn.Module) -> Tensor:
    out = torch.zeros(8)
    for a, one in enumerate(tokens):
        out = out + one
        for other in tokens[a + 1 :]:
            out = out + one * other
    first, _, second, _, third = mixer.layers
    deep = torch.relu(first.weight @ torch.cat(tokens) + first.bias)
    return out + third.weight @ torch.relu(second.weight @ deep + second.bias) + third.bias


def _autoint(tokens: list[Tensor], mixer: torch.nn.Module, heads: int) -> Tensor:
    """Song et al. 2019, Eqs. 5-8, one head and one token at a time."""
    for layer in mixer.layers:
        query, key, value, residual = layer.project.weight.chunk(4)
        size = len(query) // heads
        mixed = []
        for token in tokens:
            parts = []
            for h in range(heads):
                rows = slice(h * size, (h + 1) * size)
                asks = query[rows] @ token
                weights = [math.exp(float(asks @ (key[rows] @ other)) / math.sqrt(size)) for other in tokens]
                parts.append(sum(w * (value[rows] @ t) for w, t in zip(weights, tokens, strict=True)) / sum(weights))
            mixed.append(torch.relu(torch.cat(parts) + residual @ token))
        tokens = mixed
    return mixer.out.weight @ torch.cat(tokens) + mixer.out.bias


@pytest.mark.parametrize("name", ["deepfm", "autoint"])
def test_deepfm_and_autoint_on_both_sides(name: str) -> None:
    more = {"item_hidden": (7, 6), "options": {"hidden": (9, 5)}}
    if name == "autoint":
        more = {"options": {"heads": 4, "layers": 2}, "item_options": {"heads": 1}}
    model = towers(name, **more)
    _, queries, items = exported(model)
    raw = model.items(item_fields(N_ITEMS)).fields
    mixers = model.encoder.mixer, model.item_encoder.mixer
    if name == "autoint":
        assert [len(m.layers) for m in mixers] == [2, 3], "the paper's three, where nothing else is said"
    for k in range(len(HISTORIES)):
        tokens = own_tokens(model, k)
        want = _deepfm(tokens, mixers[0]) if name == "deepfm" else _autoint(tokens, mixers[0], 4)
        torch.testing.assert_close(queries[k], want, rtol=1e-4, atol=1e-4)
    for i in range(N_ITEMS):
        want = _deepfm(list(raw[i]), mixers[1]) if name == "deepfm" else _autoint(list(raw[i]), mixers[1], 1)
        torch.testing.assert_close(items[i], want, rtol=1e-4, atol=1e-4)


def test_deepfm_has_the_papers_widths() -> None:
    """MicRec 5.3: 128, 64, 64."""
    model = towers("deepfm", dim=64)
    for mixer in (model.encoder.mixer, model.item_encoder.mixer):
        assert [m.out_features for m in mixer.layers if isinstance(m, torch.nn.Linear)] == [128, 64, 64]


def test_the_item_encoder_follows_from_item_hidden_where_none_is_named() -> None:
    kinds = [type(towers(**c).item_encoder).__name__ for c in ({}, {"item_hidden": (4,)}, {"item_encoder": "mlp"})]
    assert kinds == ["SumFields", "MLPFields", "MLPFields"]
    assert len(towers(item_encoder="mlp", item_hidden=()).item_encoder.layers) == 1
    assert [m.out_features for m in towers(item_encoder="mlp").item_encoder.layers[::2]] == [128, 64, 8]


@pytest.mark.parametrize(
    "config, argument",
    [
        ({"item_encoder": "fn"}, "model.item_encoder: expected one of"),
        ({"item_encoder": "fm", "similarity": "cosine"}, "model.item_encoder"),
        ({"encoder": "fm", "field_dim": 4, "item_encoder": "mlp"}, r"model.field_dim: .* model.encoder sums"),
        ({"encoder": "deepfm", "field_dim": 4, "item_encoder": "mlp"}, r"model.field_dim: .* model.encoder sums"),
        ({"item_encoder": "fm", "field_dim": 4}, r"model.field_dim: .* model.item_encoder sums"),
        ({"item_encoder": "deepfm", "field_dim": 4}, r"model.field_dim: .* model.item_encoder sums"),
        ({"item_encoder": "autoint", "item_hidden": (4,)}, "model.item_hidden"),
        ({"item_encoder": "sum", "item_hidden": (4,)}, "model.item_hidden"),
        ({"encoder": "autoint", "field_dim": 9, "item_encoder": "mlp"}, "model.options.heads: expected a divisor"),
        ({"encoder": "autoint", "options": {"heads": 2.0}}, "model.options.heads: expected an integer"),
        ({"encoder": "autoint", "options": {"layers": 0}}, "model.options.layers"),
        ({"item_encoder": "autoint", "item_options": {"heads": 3}}, "model.item_options.heads: expected a divisor"),
        ({"item_encoder": "autoint", "item_options": {"layers": 0}}, "model.item_options.layers"),
        ({"item_encoder": "autoint", "item_options": {"blocks": 2}}, "model.item_options: expected arguments"),
        ({"item_encoder": "sum", "item_options": {"heads": 2}}, "model.item_options: expected arguments"),
    ],
)
def test_settings_that_do_not_fit_are_refused(config: dict, argument: str) -> None:
    with pytest.raises(ConfigError, match=argument):
        towers(**config)


def test_a_name_alone_sets_both_sides() -> None:
    """MicRec 5.2-5.3: 64 numbers, 20 behaviours, batches of 4,096 clicks; FM has a bias of every feature, too."""
    for name in ("fm", "deepfm", "autoint"):
        config = resolve(name, None, 100)
        assert name in ENCODERS and name in ITEM_ENCODERS and config.model.item_encoder == name
        assert (config.model.dim, config.model.history, config.model.item_bias) == (64, 20, name == "fm")
        assert (config.sampling.samples, config.sampling.batch_size) == ("clicks", 4096)


@pytest.mark.parametrize("samples", ["clicks", "positions"])
@pytest.mark.parametrize("name", ["fm", "youtube_dnn", "deepfm", "autoint", "ican"])
def test_micrecs_presets_learn_from_clicks_and_from_positions(name: str, samples: str) -> None:
    graph = toy_graph(random_rows(), 14)
    config = resolve(name, {"sampling": {"samples": samples}, "model": {"dropout": 0.0}}, 14)
    torch.manual_seed(0)
    model = TwoTower(config.model, graph.item_fields, graph.user_fields)
    task = Matching(MatchingConfig(negatives="full"))
    objective = Objective(model, {"matching": task}, graph.item_fields, graph.user_fields)
    batch = BatchSampler(graph, config.sampling, [task.requires], config.model.history, seed=0).batch(0, 0)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = objective(batch)[0]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert all(n.startswith("item_bias") for n in still), "of every weight but what is added to all items alike"
