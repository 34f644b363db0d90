"""The message of every error: four parts on one line that a person can read."""

from __future__ import annotations

import pickle

import pytest

from micgraph.schema import LONGEST, InputError, did_you_mean


@pytest.mark.parametrize("part", ["argument", "expected", "got", "remedy"])
def test_a_part_that_is_long_or_breaks_lines_is_made_legible(part: str) -> None:
    parts = {"argument": "log", "expected": "a file", "got": "none", "remedy": "write one"}
    for given, shown in (
        ("a\nb\tc\x00d", "a b c d"),
        ("x" * 10_000, f"{'x' * (LONGEST // 2)} ... {'x' * (LONGEST // 2)}"),
        ("", "''"),
        (" ", "' '"),
        ("日本 é", "日本 é"),
    ):
        error = InputError(**{**parts, part: given})
        assert getattr(error, part) == shown
        assert str(error) == f"{error.argument}: expected {error.expected}, got {error.got}; {error.remedy}"


def test_what_was_got_stays_what_it_is() -> None:
    error = InputError("k", "an integer", 2.5, "round it")
    assert error.got == 2.5
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_nearest_name_of_what_is_no_text() -> None:
    assert did_you_mean(1.5, ["epochs"], "remove it") == "remove it"
    assert did_you_mean("epoch", ["epochs"], "remove it") == "did you mean 'epochs'?"
