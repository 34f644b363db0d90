"""Warm starts: a model for a new graph that begins with the weights of an earlier run.

Tables of embeddings are carried over row by row, through external ids and the values of columns, since two graphs may
number them differently. Rows of what is new stay as the seed initialises them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from micgraph import artifact
from micgraph.config import merge, read_yaml
from micgraph.graph.alignment import Side, earlier_codes, rescaling
from micgraph.graph.fields import Fields
from micgraph.graph.recgraph import RecGraph
from micgraph.nn.fields import FieldEncoder
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.origin import Origin
from micgraph.run import Run, load_run
from micgraph.run_setup import load_settings
from micgraph.schema import ConfigError, InputError
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import expand
from micgraph.training import BEST, load_weights

SIDES: dict[str, Side] = {
    "item_fields": "item",
    "item_bias": "item",
    "user_fields": "user",
    "reader.people": "user",
}
"""Where the towers have tables of field values -> whose fields these are."""
FREE = ("dropout", "item_fields", "user_fields")
"""Settings of the model that a run and one that begins with its weights need not share. Names of fields are compared
by what they come to: None means all that a graph has."""
OTHERWISE = "leave it as it was, or train without warm_start"


def earlier_run(given: Any) -> Run:
    """The run, or the one at a path.

    Raises:
        ArtifactError: no run at the path, or one without weights.
        InputError: something else.
    """
    if isinstance(given, Run):
        return given
    if isinstance(given, (str, Path)):
        return load_run(given)
    remedy = "pass what micgraph.train returned, or the directory that it wrote"
    raise InputError("warm_start", "a run or the path of one", f"a {type(given).__name__}", remedy)


def settings(run: Run, model: str | None, config: Mapping[str, Any] | str | Path | None) -> dict[str, Any]:
    """The run's settings with those on top that are given, as :func:`micgraph.presets.resolve` takes them.

    Args:
        run: whose settings are the defaults, those that presets had chosen for its graph among them.
        model: of the run's tasks those that it names keep their settings; None keeps all.
        config: settings that differ, or the path of a YAML file.

    Raises:
        ConfigError: no such task, or no readable YAML.
    """
    given = read_yaml(config) if isinstance(config, (str, Path)) else dict(config or {})
    before = asdict(run.config)
    if model is not None:
        named = {"matching", *expand(model.split("+")[1:])}
        before["tasks"] = {name: values for name, values in before["tasks"].items() if name in named}
        del before["model"]["encoder"]  # the name says it, and check_model compares
    return merge(before, {name: values for name, values in given.items() if values is not None})


def check_model(before: ModelConfig, now: ModelConfig) -> None:
    """Refuse a model whose weights mean something else than the earlier run's.

    Raises:
        ConfigError: names the first setting that differs.
    """
    old, new = (json.loads(json.dumps(asdict(config))) for config in (before, now))
    for name in old:
        if name not in FREE and old[name] != new[name]:
            expected = f"{old[name]!r} as in the run of warm_start"
            raise ConfigError(f"model.{name}", expected, repr(new[name]), OTHERWISE)


def inherit(objective: Objective, run: Run, graph: RecGraph) -> Origin:
    """Copy the best weights of an earlier run into a fresh model.

    Numbers of dense fields, which each graph standardises by its own mean and deviation, get weights that undo the
    difference; a missing number, which is read as the mean, is read as the new mean. What is mined and what is computed
    from a catalogue is not carried over.

    Args:
        objective: towers and tasks for ``graph``, as the seed initialises them; changed in place. Tasks that the run
            had not keep their first weights.
        run: with a best checkpoint.
        graph: what is trained on now.

    Returns:
        Where the weights came from, and how many rows of each table were known.

    Raises:
        ArtifactError: the checkpoint is gone or damaged.
        ConfigError: other fields, or settings of a task that change the shape of its weights.
        InputError: a graph without external ids, or with ids of another kind.
    """
    _check_fields(run, objective.towers, graph)
    weights = load_weights(run.directory / BEST)
    rows: dict[str, dict[str, int]] = {}
    for prefix, side, name, layer in _tables(objective.towers):
        if isinstance(layer, nn.Linear):
            if _fields(graph, side)[name].kind == "dense":
                _rescale(weights, prefix, *rescaling(run.graph, graph, side, name))
            continue
        codes = earlier_codes(run.graph, graph, side, name)
        old, fresh = weights[f"{prefix}.weight"], layer.weight.detach().cpu()  # type: ignore[operator]
        weights[f"{prefix}.weight"] = torch.where((codes >= 0)[:, None], old[codes], fresh)
        kept = int((codes > 0).sum())
        rows[f"{side}.{name}"] = {"kept": kept, "new": len(codes) - 1 - kept, "gone": len(old) - 1 - kept}
    _copy(objective, weights)
    checksum = artifact.checksum(run.directory / BEST)
    return Origin(run.name, load_settings(run.directory)["graph"], checksum, rows)


def _tables(towers: TwoTower) -> Iterator[tuple[str, Side, str, nn.Module]]:
    """Every layer that embeds a field: the prefix of its weights in a checkpoint, whose field, its name, the layer."""
    for path, module in towers.named_modules():
        if isinstance(module, FieldEncoder):
            for i, (name, layer) in enumerate(zip(module.names, module.embed, strict=True)):
                yield f"towers.{path}.embed.{i}", SIDES[path], name, layer


def _fields(graph: RecGraph, side: Side) -> Fields:
    return graph.item_fields if side == "item" else graph.user_fields


def _check_fields(run: Run, towers: TwoTower, graph: RecGraph) -> None:
    for path, side in SIDES.items():
        if path not in dict(towers.named_modules()):
            continue
        old, new = (
            [_shown(_fields(which, side), name) for name in model.get_submodule(path).names]  # type: ignore[union-attr]
            for which, model in ((run.graph, run.towers), (graph, towers))
        )
        if old != new:
            remedy = f"build the graph with the same columns, or name them in this order in model.{side}_fields"
            expected = f"a graph with the {side} fields of its run in their order, {old}"
            raise ConfigError("warm_start", expected, str(new), remedy)


def _shown(fields: Fields, name: str) -> str:
    """A field's name and kind, and the width of a given content vector."""
    one = fields[name]
    return f"{name} ({one.kind}{f' {one.size}' if one.kind == 'embedding' else ''})"


def _rescale(weights: dict[str, Tensor], prefix: str, scale: float, shift: float) -> None:
    """Let a linear layer [d, 1] read ``x`` as it read ``scale * x + shift``."""
    weight, bias = weights[f"{prefix}.weight"], weights[f"{prefix}.bias"]
    weights[f"{prefix}.bias"] = bias + shift * weight[:, 0]
    weights[f"{prefix}.weight"] = weight * scale


@torch.no_grad()
def _copy(objective: Objective, weights: dict[str, Tensor]) -> None:
    for name, parameter in objective.named_parameters():
        old = weights.get(name)
        if old is None:  # of a task that the earlier run did not have
            continue
        if old.shape != parameter.shape:
            place = ".".join(name.split(".")[:2])
            expected = f"settings with weights {name} of shape {list(old.shape)} as in the run of warm_start"
            raise ConfigError(place, expected, list(parameter.shape), OTHERWISE)
        parameter.copy_(old)
