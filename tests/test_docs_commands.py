"""Commands and YAML of the pages: every command and option exists, every setting is one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from micgraph.cli import app
from micgraph.cli.experiment import experiment
from micgraph.presets import resolve
from micgraph.tuning.space import read_space
from tests.pages import PAGES, REPOSITORY, blocks, commands, inline_commands, languages

CLI: Any = typer.main.get_command(app)
LANGUAGES = {"python", "bash", "yaml", "text", "json", "math"}
"""Each is checked by a test, or is not meant to be run; a block without a language would escape."""
MANY = 1_000


def said(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def check_line(line: str) -> None:
    """Whether a line of shell could be run: its program's commands, options and files are there."""
    for part in re.split(r"\s(?:&&|\|\|?|;)\s", line):
        words = shlex.split(part, comments=True)
        if words[0] == "micgraph":
            name, *given = after_options(words[1:])
            CLI.commands[name].make_context(name, given)
        elif words[0] == "make":
            known = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.M)
            unknown = [word for word in words[1:] if "=" not in word and word not in known]
            assert not unknown, f"make has no target {unknown}"
        elif words[0] == "python" and words[1].startswith(("examples/", "benchmarks/", "docs/")):
            check_script(words[1], [word for word in words[2:] if word.startswith("--")])


def after_options(words: list[str]) -> list[str]:
    """What follows the options of ``micgraph`` itself, such as ``--import MODULE``."""
    known = {option for parameter in CLI.params for option in parameter.opts}
    while words and words[0].startswith("-") and words != ["--help"]:
        assert words[0] in known, f"micgraph has no {words[0]}"
        words = words[2:]
    return [] if words == ["--help"] else words


def check_script(name: str, options: list[str]) -> None:
    path = REPOSITORY / name
    assert path.is_file(), f"there is no {name}"
    source = "".join(file.read_text(encoding="utf-8") for file in path.parent.glob("*.py"))
    missing = [option for option in options if f'"{option.partition("=")[0]}"' not in source]
    assert not missing, f"{name} has no {missing}"


def check_yaml(text: str) -> None:
    settings = yaml.safe_load(text)
    found = experiment(settings)
    run = {name: value for name, value in settings.items() if name not in ("log", "split", "build", "search")}
    resolve(None, run, MANY)
    if found.search is not None:
        read_space(found.search)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("micgraph biuld log.parquet --out graph/", KeyError),
        ("micgraph --imprt mine build log.parquet --out graph/", AssertionError),
        ("micgraph build log.parquet --uot graph/", Exception),
        ("micgraph build log.parquet", Exception),
        ("micgraph inspect graph/ && micgraph train", Exception),
        ("make tset", AssertionError),
        ("python examples/nothing.py", AssertionError),
        ("python examples/movielens.py --row PATH", AssertionError),
    ],
)
def test_what_does_not_exist_is_found(line: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_line(line)


@pytest.mark.parametrize(
    "text", ["trainig: {epochs: 3}", "training: {epoch: 3}", "log: {sources: a}", "tasks: {mix: {}}"]
)
def test_settings_that_do_not_exist_are_found(text: str) -> None:
    with pytest.raises(Exception, match="did you mean|expected"):
        check_yaml(text)


def test_commands_are_found() -> None:
    text = "a\n\n    micgraph x\n    loss 1\n\n    make y   # z\n\nmicgraph no\n```bash\nmicgraph a \\\n  --b\n```\n"
    assert commands(text) == ["micgraph a    --b", "micgraph x", "make y   # z"]
    assert inline_commands("run `micgraph\nab LOG` or `x`") == ["micgraph ab LOG"]
    assert sum(len(commands(said(page))) for page in PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_and_settings_exist(page: Path) -> None:
    text = said(page)
    assert languages(text) <= LANGUAGES
    for line in commands(text):
        check_line(line)
    for line in inline_commands(text):
        name, *given = [*after_options(line.split()[1:]), ""]
        known = {option for parameter in CLI.commands[name].params for option in parameter.opts} if name else set()
        assert {word for word in given if word.startswith("--")} <= known, line
    for _, code in blocks(text, "yaml"):
        check_yaml(code)
