"""Settings: YAML, merging, dotted overrides, checked parsing, and what a model's name resolves to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import pytest

from micgraph.cli.experiment import Experiment, experiment, settings_of
from micgraph.config import dotted, leaves, merge, nested, parse, read_yaml
from micgraph.presets import DATA_SECTIONS, FULL_CATALOGUE, MIC_LAMBDA, RunConfig, resolve
from micgraph.schema import ConfigError


@dataclass(frozen=True)
class Inner:
    __pydantic_config__: ClassVar = {"extra": "forbid"}

    size: int = 1
    width: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError("size", "at least 1", self.size, "make it larger")


@dataclass(frozen=True)
class Outer:
    __pydantic_config__: ClassVar = {"extra": "forbid"}

    rate: float = 0.5
    inner: Inner = field(default_factory=Inner)


def test_yaml_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: {b: [1, 2]}\nc: caf\u00e9\n", encoding="utf-8")
    assert read_yaml(path) == {"a": {"b": [1, 2]}, "c": "caf\u00e9"}
    path.write_text("# only a comment\n")
    assert read_yaml(path) == {}


@pytest.mark.parametrize(
    ("text", "got"),
    [("a: [1", "while parsing"), ("- 1\n- 2", "list"), ("3", "int"), ("1: x", "dict"), ("a: \x00", "unacceptable")],
)
def test_bad_yaml_is_named_on_one_line(tmp_path: Path, text: str, got: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=got) as caught:
        read_yaml(path)
    assert "bad.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_yaml(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="directory"):
        read_yaml(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="YAML"):
        read_yaml(tmp_path / "bytes.yaml")


def test_merge_is_by_key_and_the_last_wins() -> None:
    first: dict[str, Any] = {"a": {"x": 1, "y": {"z": 1}}, "b": [1, 2]}
    assert merge(first, {"a": {"y": {"w": 2}}}, {"b": [3]}) == {"a": {"x": 1, "y": {"z": 1, "w": 2}}, "b": [3]}
    assert merge(first, {"a": 3}) == {"a": 3, "b": [1, 2]}
    assert merge({"a": 3}, first)["a"] == first["a"]
    assert merge() == {}
    assert first == {"a": {"x": 1, "y": {"z": 1}}, "b": [1, 2]}, "the layers themselves stay as they are"


def test_dotted_overrides_are_yaml_values() -> None:
    given = [
        "training.epochs=3",
        "training.lr=1e-3",
        "log.columns.item_id=a=b",
        "model.item_hidden=[8, 4]",
        "x=",
        "y=no",
    ]
    assert dotted(given) == {
        "training": {"epochs": 3, "lr": "1e-3"},
        "log": {"columns": {"item_id": "a=b"}},
        "model": {"item_hidden": [8, 4]},
        "x": None,
        "y": False,
    }
    assert dotted(["a.b=1", "a.b=2"]) == {"a": {"b": 2}}


@pytest.mark.parametrize("setting", ["training.epochs", "=3", ".epochs=3", "a..b=3", "a.=3", "a=[1"])
def test_a_bad_override_is_quoted(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        dotted([setting])
    assert caught.value.argument == "--set"
    assert repr(setting) in str(caught.value)


def test_parse_fills_defaults_and_reads_plain_values() -> None:
    assert parse(Outer, {}) == Outer()
    assert parse(Outer, {"rate": "1e-3", "inner": {"width": [8, 4]}}) == Outer(0.001, Inner(1, (8, 4)))


@pytest.mark.parametrize(
    ("values", "argument", "remedy"),
    [
        ({"rat": 1}, "run.rat", "did you mean 'rate'?"),
        ({"inner": {"sise": 1}}, "run.inner.sise", "did you mean 'size'?"),
        ({"inner": {"qqq": 1}}, "run.inner.qqq", "remove it"),
        ({"rate": "fast"}, "run.rate", "correct the value"),
        ({"inner": 3}, "run.inner", "correct the value"),
        ({"inner": {"size": 1.5}}, "run.inner.size", "correct the value"),
        ({"inner": {"size": 0}}, "run.inner.size", "make it larger"),
    ],
)
def test_a_bad_value_is_named_by_its_place(values: dict[str, Any], argument: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Outer, values, "run")
    assert (caught.value.argument, caught.value.remedy) == (argument, remedy)


def test_a_setting_of_another_section_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("gru4rec", {"training": {"batch_size": 512}}, 100)
    assert (caught.value.argument, caught.value.remedy) == ("training.batch_size", "write it as sampling.batch_size")


@pytest.mark.parametrize(
    ("value", "remedy"),
    [("8, 4", "write [8, 4]"), (8, "write [8]"), ({"a": 8}, "write a list such as [a, b]")],
)
def test_a_value_in_the_place_of_a_list_comes_with_the_list_to_write(value: Any, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Outer, {"inner": {"width": value}})
    assert (caught.value.argument, caught.value.expected, caught.value.remedy) == ("inner.width", "a list", remedy)


def test_unknown_names_come_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"expected one of \['size', 'width'\]"):
        parse(Outer, {"inner": {"sise": 1}})


def test_a_models_name_resolves_to_encoder_and_tasks() -> None:
    plain, mic = resolve("gru4rec", None, 100), resolve("gru4rec+mic", None, 100)
    assert (plain.name, mic.name) == ("gru4rec", "gru4rec+mic")
    assert resolve("ican+micrec", None, 100).name == "ican+micrec"
    assert (plain.model.dim, plain.model.shared_space, mic.model.shared_space) == (128, False, True)
    assert plain.task_config("matching").weight == 1.0
    assert mic.task_config("matching").weight == MIC_LAMBDA
    assert [resolve("ican+micrec", None, 100).task_config(t).weight for t in ("fea", "sem", "sess")] == [1.0, 0.3, 0.1]


def test_the_catalogue_decides_between_full_and_sampled_softmax() -> None:
    chosen = [
        resolve("gru4rec", None, n).task_config("matching").negatives for n in (FULL_CATALOGUE, FULL_CATALOGUE + 1)
    ]
    assert chosen == ["full", "popularity"]
    given = {"tasks": {"matching": {"negatives": "in_batch"}}}
    assert resolve("gru4rec", given, 10).task_config("matching").negatives == "in_batch"


def test_what_is_given_goes_before_the_presets() -> None:
    resolved = resolve("gru4rec", {"model": {"dim": 8}, "training": None}, 100)
    assert (resolved.model.dim, resolved.model.history, resolved.training.epochs) == (8, 200, 20)


def test_a_config_may_say_what_is_trained_and_gru4rec_is_what_nobody_says() -> None:
    given = {"model": {"encoder": "ican", "dim": 16}, "tasks": {"fea": {"weight": 0.5}, "sess": {"weight": 2.0}}}
    assert resolve(None, given, 100).name == "ican+fea+sess"
    assert resolve(None, {"model": {"dim": 8}, "tasks": {"fea": None}}, 100).name == "gru4rec+fea"
    assert resolve(None, None, 100) == resolve("gru4rec", None, 100)


def test_a_name_may_repeat_the_config_and_add_tasks_to_it() -> None:
    given = {"model": {"encoder": "ican", "dim": 16}, "tasks": {"matching": {"weight": 2.0}, "sess": {"weight": 3.0}}}
    resolved = resolve("ican+micrec", given, 100)
    assert (resolved.name, resolved.model.dim) == ("ican+micrec", 16)
    assert [resolved.task_config(name).weight for name in ("matching", "sess")] == [2.0, 3.0]


def test_a_group_of_tasks_may_stand_in_a_file() -> None:
    given = {"model": {"encoder": "ican"}, "tasks": {"micrec": {"tau": 0.2}, "fea": None, "sem": {"weight": 0.5}}}
    resolved = resolve(None, given, 100)
    assert resolved.name == "ican+micrec"
    assert [resolved.task_config(name).tau for name in ("fea", "sem", "sess")] == [0.2, 0.2, 0.2]
    assert resolved.task_config("sem").weight == 0.5


@pytest.mark.parametrize(
    ("model", "tasks", "name"),
    [
        ("ican+micrec", {"sem": False}, "ican+fea+sess"),
        ("ican+micrec+mic", {"mic": False, "sess": {"weight": 2.0}}, "ican+micrec"),
        ("ican+sem", {"sem": False}, "ican"),
        ("ican", {"sem": False}, "ican"),
        ("ican+rfm_star+sess", {"rfm_star": False}, "ican+sess"),
        (None, {"micrec": {"tau": 0.2}, "sem": False}, "gru4rec+fea+sess"),
        (None, {"sem": False, "micrec": {"tau": 0.2}}, "gru4rec+fea+sess"),
        (None, {"micrec": False, "sem": {"weight": 0.5}}, "gru4rec+sem"),
        ("ican+ui+uu", {"ui": False}, "ican+uu"),
    ],
)
def test_false_leaves_a_task_out(model: str | None, tasks: dict[str, Any], name: str) -> None:
    resolved = resolve(model, {"tasks": tasks}, 100)
    assert resolved.name == name and resolved.model.shared_space is False
    assert all(settings is not False for settings in resolved.tasks.values())
    again = resolve(None, asdict(resolved), 100)
    assert (again, again.name) == (resolved, name)


def test_matching_gets_the_weight_of_the_tasks_that_are_left() -> None:
    assert resolve("ican+mic", {"tasks": {"mic": False}}, 100).task_config("matching").weight == 1.0


def test_nothing_for_a_whole_section_or_task_is_refused_on_the_command_line_only(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("split: {kind: temporal}\nmining:\ntasks:\n  sem:\n")
    for name in ("mining", "tasks", "tasks.sem"):
        with pytest.raises(ConfigError, match=f"--set {name}: expected settings, got nothing; write tasks.NAME=false"):
            settings_of(path, [f"{name}=null"])
    given = settings_of(path, ["split=null", "model.item_hidden=null"])
    assert given == {"split": None, "mining": None, "tasks": {"sem": None}, "model": {"item_hidden": None}}
    assert resolve(None, given, 100).name == "gru4rec+sem"


def test_data_sections_are_no_business_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("log: {source: x.csv}\nsplit: {kind: temporal}\nbuild: {}\nmodel: {encoder: ican}\n")
    assert resolve(None, path, 100) == resolve("ican", None, 100)


@pytest.mark.parametrize(
    ("model", "given", "argument", "shown"),
    [
        ("gru4rc", None, "model", "did you mean 'gru4rec'?"),
        ("transformer9", None, "model", "'mic_dnn'"),
        ("", None, "model", "gru4rec+mic"),
        ("gru4rec", {"model": {"encoder": "ican"}}, "model", "without the encoder 'ican' of the config"),
        ("gru4rec+sess", {"tasks": {"sess": None}}, "tasks.sess", "write false to leave it out"),
        ("gru4rec+micrec", {"tasks": {"sess": None}}, "tasks.sess", "write false to leave it out"),
        ("gru4rec+micrec", {"tasks": {"micrec": None}}, "tasks.micrec", "write false to leave it out"),
        ("gru4rec+fea", {"tasks": {"micrec": None}}, "model", "without the task 'sem'"),
        ("gru4rec", {"tasks": {"matching": False}}, "tasks.matching", "every run trains it"),
        (None, {"tasks": {"matching": None}}, "tasks.matching", "every run trains it"),
        ("gru4rec", {"tasks": {"sen": False}}, "tasks", "did you mean 'sem'?"),
        ("gru4rec", {"mining": False}, "mining", "a mapping"),
        ("gru4rec+sess", {"tasks": {"fea": None, "sess": {}}}, "model", "without the task 'fea' of the config"),
        ("gru4rec", {"tasks": {"mic": {"tau": 0.2}}}, "model", "leave model out"),
        (None, {"model": {"encoder": "gru"}}, "model", "'gru'"),
        (None, {"model": {"encoder": ["ican"]}}, "model", "['ican']"),
        ("gru4rec", {"model": 3}, "model", "a mapping"),
        ("gru4rec+mix", None, "tasks", "did you mean 'mic'?"),
        ("gru4rec+transformer", None, "tasks", "encoder+task+task"),
        ("gru4rec", {"tasks": {"fae": {}}}, "tasks", "did you mean 'fea'?"),
        (None, {"model": {"encoder": "ican"}, "tasks": {"fae": {}}}, "tasks", "['fae']"),
        ("gru4rec", {"tasks": ["fea"]}, "tasks", "a mapping"),
        ("gru4rec+fea", {"tasks": {"fea": 3}}, "tasks.fea", "dictionary"),
        ("gru4rec+fea", {"tasks": {"fea": {"mask_rate": 0.1}}}, "tasks.fea.mask_rate", "did you mean 'mask_ratio'?"),
        ("gru4rec", {"trainin": {}}, "trainin", "did you mean 'training'?"),
        ("gru4rec", {"training": {"epoch": 3}}, "training.epoch", "did you mean 'epochs'?"),
        ("gru4rec", {"epochs": 3}, "epochs", "write it as training.epochs"),
        ("gru4rec", {"training": {"epochs": "many"}}, "training.epochs", "'many'"),
        ("gru4rec", {"training": 3}, "training", "a mapping"),
        ("gru4rec", {"sampling": {"samples": "days"}}, "sampling.samples", "'positions', 'clicks' or 'users'"),
        ("gru4rec", {"fusion": {"k1": 0}}, "fusion.k1", "at least 1"),
        ("gru4rec", {"fusion": {"channels": "u2i,i2i"}}, "fusion.channels", "write [u2i, i2i]"),
    ],
)
def test_what_does_not_resolve_is_named(model: str | None, given: Any, argument: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(model, given, 100)
    assert caught.value.argument == argument
    assert shown in str(caught.value)


def test_an_experiments_file_has_every_section_that_a_run_or_its_data_has():
    assert {one.name for one in fields(Experiment)} == {one.name for one in fields(RunConfig)} | set(DATA_SECTIONS)
    assert experiment({"mining": {"mode": "none"}}).mining == {"mode": "none"}


def test_names_with_commas_get_the_same_value_and_leaves_are_all_names():
    found = nested({"tasks.ui,ii.tau": 0.2, "tasks.ui.weight": 1, "training.lr": 3})
    assert found == {"tasks": {"ui": {"tau": 0.2, "weight": 1}, "ii": {"tau": 0.2}}, "training": {"lr": 3}}
    assert dotted(["tasks.ui,ii.tau=0.2"]) == {"tasks": {"ui": {"tau": 0.2}, "ii": {"tau": 0.2}}}
    assert leaves(found) == ["tasks.ui.tau", "tasks.ui.weight", "tasks.ii.tau", "training.lr"]
    assert leaves({"tasks": {"fea": {}}, "perturb": None}) == ["tasks.fea", "perturb"]
