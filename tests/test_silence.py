"""A library is silent: bars only where somebody watches, messages only to its logger, no warnings of its own making."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from micgraph.cli.console import messages
from micgraph.progress import progress_bar

REPOSITORY = Path(__file__).resolve().parents[1]
JOURNEY = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # what dependencies import is theirs to mend
import duckdb, numba, sklearn, torch, torch_geometric
warnings.simplefilter("error")
import micgraph as mg
log = mg.read_log("clicks.parquet", items="items.parquet", users="users.parquet")
split = mg.split(log, "temporal", test="2d")
graph = mg.build(split.train, out="graph")
run = mg.train(graph, "gru4rec+mic", split.valid, {"training": {"epochs": 2}}, out="run", device="cpu")
mg.evaluate(run, split.test, baselines=["popularity", "itemknn"])
rec = mg.Recommender(run)
rec.recommend(["u1", "u2"], k=5)
rec.recommend(histories=[["i7", "i8"]], k=5)
rec.similar_items("i7")
rec.save("serving")
mg.Recommender.load("serving").recommend(["u1"], k=5)
mg.train(mg.RecGraph.load("graph"), "ican+micrec", config={"training": {"epochs": 1}}, device="cpu")
"""


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_journey_says_nothing(tiny_files: Path) -> None:
    """Neither on stdout nor on stderr, and with warnings as errors: none is caused by how dependencies are used."""
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", JOURNEY], cwd=tiny_files, env=environ, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("terminal", "switch", "shown"), [(True, "", True), (True, "1", False), (False, "", False)])
def test_bars_are_for_terminals(terminal: bool, switch: str, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _Terminal() if terminal else StringIO()
    monkeypatch.setenv("TQDM_DISABLE", switch)
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress_bar(range(3), desc="counting", delay=0)) == [0, 1, 2]
    assert ("counting" in stream.getvalue()) == shown


def test_messages_go_to_the_logger_alone() -> None:
    """Warnings reach stderr as Python has it, where a program says nothing of logging; a level silences them."""
    warn = "logging.getLogger('micgraph.graph').warning('listen'); logging.getLogger('micgraph.graph').info('aside')"
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for first, heard in (("", True), ("logging.getLogger('micgraph').setLevel(logging.ERROR); ", False)):
        code = f"import logging, micgraph; {first}{warn}"
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        assert ("listen" in done.stderr) == heard and "aside" not in done.stderr and not done.stdout


def test_commands_show_messages_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("micgraph.graph.baskets")
    before = logging.getLogger("micgraph").handlers[:]
    with messages():
        logger.warning("%d pairs left out", 6)
        logger.info("continuing")
        logger.debug("not this")
    logger.warning("nor this")
    assert capsys.readouterr().err == "warning: 6 pairs left out\ncontinuing\n"
    assert logging.getLogger("micgraph").handlers == before
