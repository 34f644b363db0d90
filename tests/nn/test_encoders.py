"""What every query encoder must do: one contract, inherited by all of ENCODERS."""

from __future__ import annotations

import json

import pytest
import torch

from micgraph.knn import topk
from micgraph.nn.export import BoundModel
from micgraph.nn.query import QueryInput
from micgraph.nn.registry import ENCODERS
from micgraph.nn.towers import ItemReps, ModelConfig, TwoTower
from micgraph.sampling.context import surroundings
from micgraph.schema import ConfigError
from tests.toy import item_fields, random_rows, toy_graph, user_fields, with_sessions

N_ITEMS, N_USERS, HISTORY = 12, 6, 5
ROWS = random_rows(N_USERS, N_ITEMS)
GRAPH = with_sessions(toy_graph(ROWS, N_ITEMS), ROWS)
VARIANTS = {
    **{name: {"encoder": name} for name in ENCODERS if name != "lightgcn"},
    "gru4rec, 2 layers": {"encoder": "gru4rec", "options": {"layers": 2}},
    "gru4rec, gaps": {"encoder": "gru4rec", "time_gaps": True},
    "comirec_sa, gaps": {"encoder": "comirec_sa", "time_gaps": True},
    "ican of items, gaps": {"encoder": "ican", "options": {"tokens": "items", "heads": 2}, "time_gaps": True},
    "gru4rec, wide states": {"encoder": "gru4rec", "options": {"hidden": 24}},
    "mic_dnn, no user": {"encoder": "mic_dnn", "user_fields": ()},
    "gru4rec, no user": {"encoder": "gru4rec", "user_fields": ()},
    "comirec_sa, no user": {"encoder": "comirec_sa", "user_fields": ()},
    "comirec_sa, cosine, shared": {
        "encoder": "comirec_sa",
        "similarity": "cosine",
        "shared_space": True,
    },
    "comirec_dr, bias": {"encoder": "comirec_dr", "item_bias": True},
    "sasrec, 3 blocks of 4 heads": {"encoder": "sasrec", "options": {"blocks": 3, "heads": 4}, "user_fields": ()},
    "ican of items": {"encoder": "ican", "options": {"tokens": "items", "heads": 2}},
    "ican, cosine, shared": {"encoder": "ican", "similarity": "cosine", "temperature": 0.1, "shared_space": True},
    "ican, bias": {"encoder": "ican", "item_bias": True},
    "fm, both sides": {"encoder": "fm", "item_encoder": "fm", "item_bias": True},
    "fm, no user, shared": {"encoder": "fm", "item_encoder": "fm", "user_fields": (), "shared_space": True},
    "deepfm, both sides": {"encoder": "deepfm", "item_encoder": "deepfm", "item_hidden": (9,)},
    "deepfm, cosine": {"encoder": "deepfm", "item_encoder": "deepfm", "similarity": "cosine"},
    "autoint, both sides": {
        "encoder": "autoint",
        "item_encoder": "autoint",
        "field_dim": 12,
        "options": {"heads": 4, "layers": 1},
        "item_options": {"heads": 3, "layers": 2},
    },
    "lightgcn": {"encoder": "lightgcn", "item_graph": "lightgcn", "user_fields": ("user_id",)},
    "lightgcn, no user, 2 layers": {
        "encoder": "lightgcn",
        "item_graph": "lightgcn",
        "graph_options": {"layers": 2},
        "user_fields": (),
        "item_bias": True,
    },
    "lightgcn's items": {"encoder": "sasrec", "item_graph": "lightgcn", "shared_space": True},
    "graphsage": {"encoder": "graphsage", "item_graph": "graphsage"},
    "graphsage's items": {
        "encoder": "gru4rec",
        "item_graph": "graphsage",
        "graph_options": {"relations": ["similar", "co_occurs", "contains"], "fanouts": [3, 2, 2]},
        "item_encoder": "deepfm",
        "similarity": "cosine",
    },
    "latest users": {"encoder": "gru4rec", "latest_users": 2, "user_fields": ()},
    "latest users in fm": {"encoder": "fm", "item_encoder": "fm", "latest_users": 3, "item_bias": True},
    "latest users of neighbours": {
        "encoder": "ican",
        "item_encoder": "mlp",
        "field_dim": 8,
        "latest_users": 2,
        "item_graph": "graphsage",
    },
    "gru4rec, mlp items": {
        "encoder": "gru4rec",
        "item_hidden": (9, 7),
        "field_dim": 8,
        "item_fields": ("item_id", "tags"),
    },
}


def towers(seed: int = 0, **config) -> TwoTower:
    torch.manual_seed(seed)
    base = {"dim": 16, "history": HISTORY, "dropout": 0.3}
    model = TwoTower(ModelConfig(**{**base, **config}), item_fields(N_ITEMS), user_fields(N_USERS))
    if model.gap is not None:
        torch.nn.init.normal_(model.gap.weight[1:])  # they start at zero, which adds nothing
    return model


def bound(model: TwoTower) -> BoundModel:
    return BoundModel(model, item_fields(N_ITEMS), user_fields(N_USERS), surroundings(GRAPH))


def encode_items(model: TwoTower) -> ItemReps:
    context = None if model.reads is None else surroundings(GRAPH)(model.reads)
    return model.items(item_fields(N_ITEMS), context=context)


def lines(*histories: list[int], width: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    size = width if width is not None else max(map(len, histories))
    items, mask = torch.full((len(histories), size), -1), torch.zeros(len(histories), size, dtype=torch.bool)
    for k, history in enumerate(histories):
        items[k, : len(history)] = torch.tensor(history)
        mask[k, : len(history)] = True
    return items, mask


def gaps_of(items: torch.Tensor) -> torch.Tensor:
    """Some gap for each place of histories [B, T], the same in every prefix: unknown, none, or up to days."""
    return torch.tensor([-1, 0, 70, 4000, 300_000])[: items.shape[1]].expand(items.shape)


def encode(model: BoundModel, items: torch.Tensor, mask: torch.Tensor, user: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return model.encode_queries(items, mask, user, gap=gaps_of(items))


def best(scores: torch.Tensor) -> torch.Tensor:
    """The scores [B, N] of each history: [B, K, N] are those of its interests."""
    return scores.amax(1) if scores.dim() == 3 else scores


HISTORIES = ([3, 1, 4, 1, 5], [9], [2, 6, 5], [], [0, 11], [7, 8, 7, 9])
USERS = torch.tensor([0, 1, -1, 3, 4, 5])


@pytest.fixture(params=VARIANTS)
def settings(request: pytest.FixtureRequest) -> dict:
    return VARIANTS[request.param]


class TestContract:
    def test_a_batch_gives_what_each_line_gives_alone(self, settings: dict) -> None:
        model = bound(towers(**settings))
        together = encode(model, *lines(*HISTORIES), USERS)
        for k, history in enumerate(HISTORIES):
            alone = encode(model, *lines(history, width=max(len(history), 1)), USERS[k : k + 1])
            for one, many in zip(alone, together, strict=True):
                torch.testing.assert_close(one[0], many[k], rtol=1e-5, atol=1e-6)

    def test_padding_does_not_matter(self, settings: dict) -> None:
        model = bound(towers(**settings))
        short = encode(model, *lines([2, 6, 5], [9]), torch.tensor([0, 1]))
        items, mask = lines([2, 6, 5], [9], width=HISTORY)
        for filler in (-1, 4):  # nothing is read where the mask says so
            long = encode(model, torch.where(mask, items, filler), mask, torch.tensor([0, 1]))
            for a, b in zip(short, long, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)

    def test_nothing_known_gives_finite_vectors(self, settings: dict) -> None:
        model = bound(towers(**settings))
        unknown = torch.full((3,), -1)
        for items, mask in (lines([], [], [], width=0), lines([], [], [], width=4), lines([-1, -1], [3, -1], [-1])):
            search, own = encode(model, items, mask, unknown)
            assert search.shape in {(3, *k, 16 + model.towers.biased) for k in ((), (4,))} and own.shape == (3, 16)
            assert torch.isfinite(search).all() and torch.isfinite(own).all()

    def test_training_on_empty_histories_keeps_gradients_finite(self, settings: dict) -> None:
        model = towers(**settings)
        items = encode_items(model)
        history, mask = lines([], [3, -1], width=3)
        fields = {name: f.take(torch.tensor([-1, 2])) for name, f in user_fields(N_USERS).items()}
        own = model.encoder(model.query_input(items, history, mask, fields, gap=gaps_of(history)))
        model.search_queries(own).pow(2).sum().backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients and all(torch.isfinite(g).all() for g in gradients)

    def test_the_same_seed_gives_the_same_vectors(self, settings: dict) -> None:
        made = [encode(bound(towers(seed, **settings)), *lines(*HISTORIES), USERS)[0] for seed in (1, 1, 2)]
        assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])

    def test_spec_and_weights_give_the_same_model_back(self, settings: dict) -> None:
        model = towers(**settings)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        spec = json.loads(json.dumps(model.spec(item_fields(N_ITEMS), user_fields(N_USERS))))
        again = TwoTower.from_spec(spec)
        again.load_state_dict(model.state_dict())
        assert again.config == ModelConfig(**{**model.config.__dict__, "options": spec["config"]["options"]})
        for a, b in zip(bound(model).item_vectors(), bound(again).item_vectors(), strict=True):
            assert torch.equal(a, b)
        for a, b in zip(
            encode(bound(model), *lines(*HISTORIES), USERS),
            encode(bound(again), *lines(*HISTORIES), USERS),
            strict=True,
        ):
            assert torch.equal(a, b)

    def test_search_vectors_rank_as_the_model_scores(self, settings: dict) -> None:
        """Inner products of exported vectors, scaled, are the scores that the tasks train on; of several interests
        the best one counts (DECISIONS 24)."""
        model = towers(**settings).eval()
        exported = bound(model)
        search, _ = encode(exported, *lines(*HISTORIES), USERS)
        items, _ = exported.item_vectors()
        encoded = encode_items(model)
        history, mask = lines(*HISTORIES)
        fields = {name: f.take(USERS) for name, f in user_fields(N_USERS).items()}
        own = model.encoder(model.query_input(encoded, history, mask, fields, gap=gaps_of(history)))
        trained = best(model.scale * model.search_queries(own) @ model.search_items(encoded)[:-1].T)
        torch.testing.assert_close(best(model.scale * search @ items.T), trained)
        score, found = topk(search, items, N_ITEMS, exported.metric)
        torch.testing.assert_close(model.scale * score, trained.sort(1, descending=True).values)
        torch.testing.assert_close(trained.gather(1, found), model.scale * score)
        assert exported.metric == ("cosine" if model.config.similarity == "cosine" else "ip")

    def test_positions_are_the_vectors_of_prefixes(self, settings: dict) -> None:
        model = towers(**settings).eval()
        if not model.encoder.every_position:
            with pytest.raises(NotImplementedError):
                model.encoder.positions(None)  # type: ignore[arg-type]
            return
        encoded = encode_items(model)
        fields = {name: f.take(torch.tensor([0, 1])) for name, f in user_fields(N_USERS).items()}
        histories = ([3, 1, 4, 1, 5], [2, 6, 5])

        def asked(items: torch.Tensor, mask: torch.Tensor) -> QueryInput:
            return model.query_input(encoded, items, mask, fields, gap=gaps_of(items))

        at = model.encoder.positions(asked(*lines(*histories)))
        for t in range(5):
            prefixes = lines(*(h[: t + 1] for h in histories))
            vectors = model.encoder(asked(*prefixes))
            for k, history in enumerate(histories):
                if t < len(history):
                    torch.testing.assert_close(at[k, t], vectors[k], rtol=1e-5, atol=1e-6)
        row, place = torch.tensor([1, 0, 0]), torch.tensor([2, 4, 0])
        some = model.encoder.at(asked(*lines(*histories)), row, place)
        torch.testing.assert_close(some, at[row, place], rtol=1e-5, atol=1e-6)

    def test_gaps_tell_something_or_are_refused(self, settings: dict) -> None:
        """No encoder takes the setting and then ignores it."""
        given = {**settings, "time_gaps": True}
        if not towers(**settings).encoder.reads_vectors:
            with pytest.raises(ConfigError, match="time_gaps"):
                towers(**given)
            return
        model, asked = bound(towers(**given)), (*lines(*HISTORIES), USERS)
        changed = (encode(model, *asked)[1] - model.encode_queries(*asked)[1]).abs().amax(1) > 1e-6
        assert changed.tolist() == [len(history) > 1 for history in HISTORIES]

    def test_encoding_leaves_the_mode_and_takes_no_gradient(self, settings: dict) -> None:
        model = towers(**settings).train()
        exported = bound(model)
        search, _ = encode(exported, *lines(*HISTORIES), USERS)
        again, _ = encode(exported, *lines(*HISTORIES), USERS)
        assert torch.equal(search, again) and not search.requires_grad, "no dropout outside training"
        assert model.training and model.encoder.training

    def test_refresh_reads_new_weights(self, settings: dict) -> None:
        model = towers(**settings)
        exported = bound(model)
        before = exported.item_vectors()[0]
        with torch.no_grad():
            for parameter in model.item_fields.parameters():
                parameter.mul_(2.0)
        assert torch.equal(exported.item_vectors()[0], before)
        exported.refresh()
        assert not torch.equal(exported.item_vectors()[0], before)

    def test_unknown_options_are_refused(self, settings: dict) -> None:
        with pytest.raises(ConfigError, match="options"):
            towers(**{**settings, "options": {"no_such_option": 1}})


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(ConfigError, match="gru4rec"):
        towers(encoder="gru5rec")
