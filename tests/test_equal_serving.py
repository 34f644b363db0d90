"""Tasks cost nothing in serving (MicRec 4.2): what is saved is what a model trained without them leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open

import micgraph as mg
from micgraph import artifact
from micgraph.assembly import make_objective, make_towers
from micgraph.graph.recgraph import RecGraph
from micgraph.nn.registry import ENCODERS
from micgraph.presets import resolve
from micgraph.retrieval.saving import FORMAT, KIND

MICREC, MIC = ("fea", "sem", "sess"), ("ui", "uu", "ii")
HEADS = "heads."
"""Of the space where users and items meet (DECISIONS 23): a part of the model that user-item contrast asks for."""
SMALL = {"model": {"dim": 8, "history": 6}, "training": {"epochs": 1}, "fusion": {"m3": 10}}
Shapes = dict[str, tuple[str, list[int]]]


@pytest.fixture
def graph(tiny_log) -> RecGraph:
    return mg.build(mg.read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users))


def shapes(folder: Path) -> dict[str, Shapes]:
    """File -> tensor -> dtype and shape, of every file of tensors in a saved recommender's version."""
    found = {}
    for path in sorted(artifact.resolve(folder, KIND, FORMAT).rglob("*.safetensors")):
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        name = "/".join(part for part in path.parts[len(folder.parts) + 1 :] if not part.startswith("0001-"))
        found[name] = {tensor: (one.get_dtype(), one.get_shape()) for tensor, one in slices.items()}
    return found


def exported(graph: RecGraph, encoder: str, tasks: tuple[str, ...], folder: Path, **model: bool) -> dict[str, Shapes]:
    """What a recommender of a model trained with these tasks is saved as."""
    config = {**SMALL, "model": {**SMALL["model"], **model}}
    run = mg.train(graph, "+".join([encoder, *tasks]), config=config, progress=False)
    mg.Recommender(run).save(folder)
    return shapes(folder)


@pytest.mark.parametrize("encoder", ["youtube_dnn", "deepfm", "gru4rec", "graphsage"])
def test_a_model_trained_with_micrecs_tasks_is_saved_as_its_base(graph, tmp_path, encoder):
    base = exported(graph, encoder, (), tmp_path / "base")
    assert {"stores.safetensors", "model/towers.safetensors"} <= set(base) and base["model/towers.safetensors"]
    assert set(base["stores.safetensors"]) == {"search", "items", "users", "col", "score"}
    assert exported(graph, encoder, MICREC, tmp_path / "tasks") == base


@pytest.mark.parametrize("encoder", ["mic_dnn", "comirec_sa"])
def test_a_model_trained_with_mics_tasks_is_saved_as_its_base_in_the_same_space(graph, tmp_path, encoder):
    """User-item contrast meets in a space of its own, whose heads are searched through; the stores are no larger."""
    plain, own = (exported(graph, encoder, tasks, tmp_path / "-".join(["m", *tasks])) for tasks in ((), MIC[1:]))
    assert own == plain, "user-user and item-item contrast stay in their own spaces"
    base = exported(graph, encoder, (), tmp_path / "base", shared_space=True)
    full = exported(graph, encoder, MIC, tmp_path / "full")
    assert full == base and full["stores.safetensors"] == plain["stores.safetensors"]
    more = set(full["model/towers.safetensors"]) - set(plain["model/towers.safetensors"])
    assert more and all(name.startswith(HEADS) for name in more)


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_no_encoder_exports_more_weights_for_tasks(graph, encoder):
    """Every encoder, untrained: its towers are the same, and what the tasks own is beside them."""
    towers = {}
    for tasks in ((), MICREC, MIC):
        config = resolve("+".join([encoder, *tasks]), {**SMALL, "model": {**SMALL["model"], "shared_space": True}}, 48)
        objective = make_objective(config, make_towers(config, graph), graph)
        towers[tasks] = {name: (value.dtype, value.shape) for name, value in objective.towers.state_dict().items()}
        owned = {name for name, _ in objective.named_parameters() if not name.startswith("towers.")}
        assert bool(owned) == (tasks == MICREC), "only MicRec's tasks have projectors"
    assert towers[MICREC] == towers[MIC] == towers[()]
