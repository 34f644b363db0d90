"""Bad directories, splits and settings."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from functools import partial

import micgraph
from micgraph.evaluation import prepare
from tests.bad_input.table import SMALL, Attempt, World, case


@case("a graph directory with a flipped byte")
def _(world: World) -> Iterator[Attempt]:
    for number, file in enumerate(sorted(p.relative_to(world.out) for p in world.out.rglob("*") if p.is_file())):
        damaged = world.folder / f"damaged-{number}"
        shutil.copytree(world.out, damaged)
        content = bytearray((damaged / file).read_bytes())
        content[len(content) // 2] ^= 1
        (damaged / file).write_bytes(content)
        yield partial(micgraph.RecGraph.load, damaged)


@case("a saved directory with a file missing or cut")
def _(world: World) -> Iterator[Attempt]:
    for number, file in enumerate(sorted(p.relative_to(world.out) for p in world.out.rglob("*") if p.is_file())):
        for cut in (True, False):
            damaged = world.folder / f"damaged-{number}-{cut}"
            shutil.copytree(world.out, damaged)
            if cut:
                os.truncate(damaged / file, (damaged / file).stat().st_size // 2)
            else:
                (damaged / file).unlink()
            yield partial(micgraph.RecGraph.load, damaged)


@case("a run whose metrics were changed")
def _(world: World) -> Iterator[Attempt]:
    metrics = world.train(micgraph.RecGraph.load(world.out)).directory / "metrics.jsonl"
    whole = metrics.read_text()
    for text in ("", whole[:-5], whole.replace("1", "2", 1), "not JSON\n"):
        metrics.write_text(text)
        yield partial(micgraph.load_run, metrics.parent)


@case("a graph directory of an older format version")
def _(world: World) -> Iterator[Attempt]:
    older = world.folder / "older"
    shutil.copytree(world.out, older)
    pointer = json.loads((older / "current").read_text())
    del pointer["checksum"]  # the first versions had none
    (older / "current").write_text(json.dumps({**pointer, "format": 0}))
    yield partial(micgraph.RecGraph.load, older)


@case("a directory that is no graph")
def _(world: World) -> Iterator[Attempt]:
    yield partial(micgraph.RecGraph.load, world.folder)
    yield partial(micgraph.RecGraph.load, world.folder / "missing")
    yield partial(micgraph.load_run, world.folder)


@case("an output directory that holds something else")
def _(world: World) -> Iterator[Attempt]:
    graph = micgraph.RecGraph.load(world.out)
    taken = world.folder / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("years of work")
    yield partial(graph.save, taken)
    yield partial(graph.save, taken / "thesis.tex")


@case("a run directory that holds something else")
def _(world: World) -> Iterator[Attempt]:
    graph = micgraph.RecGraph.load(world.out)
    world.file("metrics.jsonl", b"mine")
    for taken in (world.folder, world.out, world.folder / "metrics.jsonl", world.folder / "metrics.jsonl" / "run"):
        yield partial(world.train, graph, out=taken)
    run = world.train(graph, out=None)
    yield partial(run.save, world.folder)
    yield partial(run.save, world.folder / "metrics.jsonl")


@case("a whole split in place of the log of a graph")
def _(world: World) -> Iterator[Attempt]:
    whole = micgraph.split(micgraph.read_log(world.clicks), "leave_last_out")
    yield partial(micgraph.build, whole, out=world.out)


@case("a whole split in place of one part")
def _(world: World) -> Iterator[Attempt]:
    parts = micgraph.split(micgraph.read_log(world.clicks), "temporal", test="2d")
    graph = micgraph.build(parts.train)
    yield partial(world.train, graph, validation=parts)
    yield partial(micgraph.evaluate, world.train(graph, out=None), parts)  # type: ignore[arg-type]


@case("held-out data prepared with another graph")
def _(world: World) -> Iterator[Attempt]:
    parts = micgraph.split(micgraph.read_log(world.clicks), "temporal", test="2d")
    data = prepare(parts.test, micgraph.build(parts.train))
    fewer = micgraph.build(world.clicks.head(300))
    yield partial(world.train, fewer, validation=data)
    yield partial(micgraph.evaluate, world.train(fewer, out=None), data)


@case("a test set that overlaps the graph")
def _(world: World) -> Iterator[Attempt]:
    parts = micgraph.split(micgraph.read_log(world.clicks), "temporal", test="2d")
    assert parts.valid is not None
    everything = micgraph.RecGraph.load(world.out)
    yield partial(world.train, everything, validation=parts.valid, out=world.folder / "leaking")
    run = world.train(everything)
    yield partial(micgraph.evaluate, run, parts.test)
    yield partial(micgraph.evaluate, run, parts.valid, baselines=["popularity"])


@case("a split with an empty part")
def _(world: World) -> Iterator[Attempt]:
    log = micgraph.read_log(world.clicks)
    yield partial(micgraph.split, log, "temporal", test="60d")
    yield partial(micgraph.split, log, "temporal", cut="2030-01-01")


@case("a model that contradicts its config")
def _(world: World) -> Iterator[Attempt]:
    graph = micgraph.RecGraph.load(world.out)
    yield partial(world.train, graph, {**SMALL, "tasks": {"mic": None}})
    yield partial(world.train, graph, {**SMALL, "model": {"encoder": "ican"}})


@case("a setting that does not exist")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.train, micgraph.RecGraph.load(world.out), {"training": {"epoch": 3}})


@case("a time further from 1970 than 10,000 years")
def _(world: World) -> Iterator[Attempt]:
    log = micgraph.read_log(world.clicks)
    for cut in (1e300, -1e18, float("inf"), float("nan")):
        yield partial(micgraph.split, log, "temporal", cut=cut)


@case("a config that is no YAML, names a setting twice or holds itself")
def _(world: World) -> Iterator[Attempt]:
    graph = micgraph.RecGraph.load(world.out)
    bomb = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(9))
    for text in (
        "a: b: c",
        "training: {epochs: 1}\ntraining: {epochs: 2}",
        "training: &t {epochs: *t}",
        "training: {epochs: !!bool maybe}",
        "training: {epochs: 2024-13-45}",
        "[" * 3_000,
        bomb + "training: *a8",
        "training: !!python/object/apply:os.getcwd []",
    ):
        yield partial(world.train, graph, world.file("config.yaml", text.encode()))
