"""YAML files: whole experiments, with settings misspelt, of the wrong type or out of range, and texts that are odd."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import yaml

from tests.fuzz.inputs import Input, mutator, one_of

SMALL = {"dim": 8, "history": 6}
BASES: list[dict[str, Any]] = [
    {
        "log": {"columns": {}, "time_unit": "auto"},
        "build": {"session_gap": "1h", "session_span": "2h", "semantic": ["title"], "semantic_k": 3},
        "model": {"encoder": "gru4rec", **SMALL},
        "tasks": {"matching": {"weight": 1.0, "loss": "softmax"}},
        "training": {"epochs": 1, "lr": 0.001, "seed": 3},
    },
    {
        "split": {"kind": "temporal", "test": "4h", "valid": None},
        "build": {"semantic": {"title": 2, "category": 1}, "co_occurs_top_k": 5, "keep_unclicked": False},
        "model": {"encoder": "ican", **SMALL, "field_dim": 4, "item_hidden": [8, 8], "options": {"hidden": [8],
        "heads": 2}},
        "tasks": {"fea": {"weight": 0.5, "mask_ratio": 0.5}, "sess": {"weight": 1.0}, "sem": None},
        "sampling": {"batch_size": 16, "samples": "clicks", "min_history": 1},
        "training": {"epochs": 1, "schedule": "cosine", "clip": 1.0},
        "fusion": {"lambda_mic": 0.5, "k1": 5, "m1": 3, "channels": ["u2i", "i2i"]},
    },
    {
        "split": {"kind": "leave_last_out"},
        "model": {"encoder": "mic_dnn", **SMALL, "user_fields": None, "similarity": "cosine", "temperature": 0.1},
        "tasks": {"matching": {"weight": 0.7}, "ui": {"weight": 0.3, "tau": 0.1}, "uu": {"tau": 0.1}, "ii": {}},
        "perturb": {"dropout": 0.2},
        "training": {"epochs": 1, "monitor": "recall@20", "patience": 1},
        "fusion": {"fusion": "quotas", "quotas": {"u2i": 2, "i2i": 1}, "basic": "cosine"},
    },
    {
        "split": {"kind": "user_holdout", "min_item": 1, "min_user": 1, "fractions": [0.6, 0.2, 0.2], "seed": 1},
        "model": {"encoder": "sasrec", **SMALL, "dropout": 0.1},
        "mining": {"mode": "none"},
        "sampling": {"batch_size": 8, "strict": True, "untimed": 0.5},
        "training": {"epochs": 1, "precision": "fp32", "micro_batch": 0},
        "search": {"training.lr": {"low": 0.001, "high": 0.1, "log": True}},
    },
]  # fmt: skip

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 0.5, 1.5, -0.5, 1e-300, math.nan, math.inf, -math.inf, 10**12, 10**30,
    -(2**63), "", " ",
    "a", "yes", "1", "0.5", "1e-3", "auto", "none", "1h", "30m", "-1h", "1d", "日本", "a\x00b", "x" * 5_000,
    "../../etc/passwd", "~",
    [], [None], [1], ["a"], [[]], [1, "a"], {}, {"a": 1}, {"": None}, {1: 2}, date(2024, 3, 1), b"\xff", "gru4rec",
    "ican", "mic",
    ["u2i"], ["u2i", "u2i"], {"u2i": -1}, [0.5, 0.5], "temporal", "softmax", "logistic", "full", "uniform",
    "popularity", "cosine",
]  # fmt: skip

KEYS: list[Any] = [
    "epoch", "Epochs", "epochs ", "session-gap", "sesion_gap", "", " ", "日本", "a.b", "a,b", "__class__", "self", 1,
    None, True, 1.5,
    "x" * 3_000, "encoder", "dim", "kind", "source", "columns", "weight", "tau", "log", "build", "model", "matching",
    "micrec", "seed",
    "memory_limit", "checkpoint", "index", "item_index", "latest_users", "item_graph", "item_encoder", "options",
    "graph_options",
    "time_format", "positive_events", "items", "users", "samples", "neighbors", "decay", "semantic_search", "encode",
]  # fmt: skip

TEXTS: list[str | bytes] = [
    "", "\n", "---\n", "...", "null", "[]", "- a\n- b\n", "5", "text", "a: b: c", "a:\n\t- b\n", "a: [1, 2", "{", "'",
    '"', "a: &x [*x]\n",
    "&a [*a, *a]\n", "a: &a {b: *a}\n", "model: &m {options: *m}\n", "tasks: &t {matching: *t}\n", "a: *missing\n",
    "%YAML 9.9\n---\na: 1\n",
    "a: 1\na: 2\n", "--- {a: 1}\n--- {b: 2}\n", "? [a, b]\n: 1\n", "? {a: b}\n: 1\n", "<<: 5\n",
    "<<: {training: {epochs: 1}}\n",
    "training: {<<: [1, 2]}\n", "a: !!python/object/apply:os.system ['touch pwned']\n",
    "!!python/object:os.system {}\n",
    "a: !!python/name:os.system\n", "!!set {a, b}\n", "training: !!set {epochs}\n", "training: !!omap [epochs: 1]\n",
    "a: !!binary '###'\n", "training: {seed: !!int 'x'}\n", "training: {lr: !!float 'x'}\n",
    "a: !!timestamp '2024-99-99'\n",
    "training: {seed: 2024-13-45}\n", "training: {seed: 0o777777}\n", "training: {lr: .inf}\n",
    "training: {seed: 1_000:99:99}\n",
    "training: {seed: 190:20:30}\n", "a: !!bool maybe\n", "training: {epochs: " + "9" * 5_000 + "}\n", "a: \x07\n",
    "\ufeffa: 1\n",
    "[" * 2_000, "{a: " * 2_000, "- " * 3_000 + "a\n", "a: " + "x" * 200_000 + "\n",
    "training:\n  epochs: 1\n epochs: 2\n", "= : 1\n",
    b"\xff\xfe\x00", b"training: {epochs: 1} # \xe9\n", "training: {epochs: 1}\n".encode("utf-16"), b"\x00",
    b"a: \xc3\x28\n",
    "x: &a [l, l, l, l, l, l, l, l, l]\n"
    + "".join(f"x{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]\n" for n in range(9)),
    *("x: &a [l, l, l, l, l, l, l, l, l]\n"
      + "".join(f"x{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]\n" for n in range(9))
      + end for end in ("training: *b8\n", "model: {options: {a: *b8}}\n", "log: {source: *b8}\n")),
    "training: &t {epochs: 1, lr: *t}\n", "training: {seed: !!int ''}\n",
    "log: &a {columns: {user_id: user_id}}\nbuild: {semantic: &s [title]}\nmodel: {item_fields: *s}\n",
    "training: {lr: 1e-3}\n", "training: {lr: 1.0e-3}\n", "model: {encoder: on}\n", "build: {session_gap: 1:30}\n",
    "build: {session_gap: 01:30:00}\n", "tasks: [matching, fea]\n", "tasks: matching\n",
    "tasks: {micrec: {}, mic: {}}\n",
    "tasks: {micrec: false}\n", "tasks: {matching: false}\n", "tasks: {fea: {weight: 1}, fea: {weight: 2}}\n",
    "fusion: rrf\n",
    "search: []\n", "search: {a: 1}\n", "log: clicks.csv\n", "split: temporal\n", "split: {}\n",
    "split: {kind: temporal, test: 2024-03-01}\n",
    "log: {source: 5}\n", "log: {positive_events: click}\n", "log: {columns: {user_id: [a]}}\n",
    "log: {time_format: 5}\n",
    "model: {encoder: [gru4rec]}\n", "model: {encoder: {a: b}}\n", "model: {dim: '8'}\n", "model: {dim: 8.0}\n",
    "model: {dim: true}\n",
]  # fmt: skip

TAGGED = ["!!python/object/apply:os.system ['touch pwned']", "!!str 5", "!!int '5'", "!!float 1", "!!null ''",
"!!seq []", "!!map {}",
          "!custom 1", "&a 1", "*a", "!!binary aGk=", "!!timestamp 2024-03-01", "!!python/tuple [1]", "|\n  text\n",
          ">-\n  text\n"]  # fmt: skip


def begin(made: Input, rng: np.random.Generator) -> None:
    """A whole experiment that is right, unless another mutation has begun."""
    if made.settings is None and made.text is None:
        made.settings = copy.deepcopy(one_of(rng, BASES))
        if rng.random() < 0.25:
            made.steps.append("train")


def rendered(made: Input) -> str | bytes:
    """The file's text."""
    text = "" if made.settings is None else yaml.safe_dump(made.settings, sort_keys=False, allow_unicode=True)
    return text if made.text is None else made.text(text)


def _places(values: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to all that nested mappings and lists hold."""
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in inner:
        yield (*above, key)
        yield from _places(value, (*above, key))


def _holder(made: Input, rng: np.random.Generator) -> tuple[Any, Any]:
    """A mapping or list somewhere in the settings, and a key of it."""
    path = one_of(rng, list(_places(made.settings)) or [("a",)])
    holder = made.settings
    for key in path[:-1]:
        holder = holder[key]
    return holder, path[-1]


@mutator("yaml")
def setting_of_another_value(made: Input, rng: np.random.Generator) -> None:
    begin(made, rng)
    if isinstance(made.settings, dict):
        holder, key = _holder(made, rng)
        holder[key] = copy.deepcopy(one_of(rng, VALUES))


@mutator("yaml")
def setting_slightly_off(made: Input, rng: np.random.Generator) -> None:
    begin(made, rng)
    if isinstance(made.settings, dict):
        holder, key = _holder(made, rng)
        old = holder[key]
        near: list[Any] = [old, str(old), [old], {"value": old}, None]
        if isinstance(old, (int, float)):
            near += [-old, old + 1, old - 1, float(old), old * 1000, old / 3]
        elif isinstance(old, str):
            near += [old.upper(), old + " ", old[:-1], old[::-1]]
        holder[key] = one_of(rng, near)


@mutator("yaml")
def setting_misspelt(made: Input, rng: np.random.Generator) -> None:
    begin(made, rng)
    if isinstance(made.settings, dict):
        holder, key = _holder(made, rng)
        if isinstance(holder, dict):
            text = str(key)
            at = int(rng.integers(len(text) + 1))
            other = one_of(
                rng, [text[:at] + text[at + 1 :], text[:at] + "x" + text[at:], text.upper(), one_of(rng, KEYS)]
            )
            holder[other] = holder.pop(key)


@mutator("yaml")
def setting_more(made: Input, rng: np.random.Generator) -> None:
    begin(made, rng)
    if isinstance(made.settings, dict):
        holder, _ = _holder(made, rng)
        if isinstance(holder, dict):
            holder[one_of(rng, KEYS)] = copy.deepcopy(one_of(rng, VALUES))


@mutator("yaml")
def setting_known(made: Input, rng: np.random.Generator) -> None:
    """Any setting that there is, with any value."""
    begin(made, rng)
    if isinstance(made.settings, dict):
        section, name = one_of(rng, _known())
        inside = made.settings.setdefault(section, {})
        if isinstance(inside, dict):
            inside[name] = copy.deepcopy(one_of(rng, VALUES))


def _known() -> list[tuple[str, str]]:
    from dataclasses import fields, is_dataclass
    from typing import get_type_hints

    from micgraph.graph.build_config import BuildConfig
    from micgraph.presets import RunConfig

    sections = {**get_type_hints(RunConfig), "build": BuildConfig}
    return [
        (section, one.name)
        for section, kind in sorted(sections.items())
        if is_dataclass(kind)
        for one in fields(kind)
        if one.name not in ("engine", "spark_master")
    ]


@mutator("yaml")
def setting_missing(made: Input, rng: np.random.Generator) -> None:
    begin(made, rng)
    if isinstance(made.settings, dict):
        holder, key = _holder(made, rng)
        if isinstance(holder, dict):
            del holder[key]


@mutator("yaml")
def text_of_its_own(made: Input, rng: np.random.Generator) -> None:
    text = one_of(rng, TEXTS)
    made.text = lambda _: text


@mutator("yaml")
def text_changed(made: Input, rng: np.random.Generator) -> None:
    begin(made, rng)
    before, at = made.text, rng.random(3)
    what = one_of(
        rng,
        [
            "\t",
            "  ",
            ":",
            "- ",
            "#",
            "&a ",
            "*a",
            "!!str ",
            "'",
            '"',
            "{",
            "]",
            "\n",
            "\x00",
            "%",
            "@",
            "é",
            "|",
            ">",
            "? ",
        ],
    )
    raw = one_of(rng, [None, None, b"\xff", b"\xc3\x28", b"\x00"])

    def changed(text: str) -> str | bytes:
        text = text if before is None else before(text)  # type: ignore[assignment]
        whole = text if isinstance(text, bytes) else text.encode()
        for share in at[: int(rng_count)]:
            place = int(share * (len(whole) + 1))
            whole = whole[:place] + (what.encode() if raw is None else raw) + whole[place:]
        return whole

    rng_count = rng.integers(1, 4)
    made.text = changed


@mutator("yaml")
def value_tagged(made: Input, rng: np.random.Generator) -> None:
    begin(made, rng)
    before, at, tag = made.text, rng.random(), one_of(rng, TAGGED)

    def changed(text: str) -> str | bytes:
        text = text if before is None else before(text)  # type: ignore[assignment]
        if isinstance(text, bytes):
            return text
        lines = text.split("\n")
        row = int(at * len(lines))
        lines[row] = f"{lines[row].split(':')[0]}: {tag}"
        return "\n".join(lines)

    made.text = changed
