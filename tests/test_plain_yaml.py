"""YAML as plain values: what is read, and what is refused before it can do harm."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from micgraph.plain_yaml import MOST_VALUES, values_of

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text("abc", max_size=2), x), max_leaves=9
)


@given(VALUES)
def test_plain_values_come_back(values: Any) -> None:
    assert values_of(yaml.safe_dump(values)) == values


def test_aliases_and_merged_mappings_are_no_doubles() -> None:
    text = "b: &b {x: 1, z: 5}\nq:\n  a: &a {<<: *b, x: 2}\nc: {<<: *a, x: 3}\nd: *a\n"
    assert values_of(text) == {
        "b": {"x": 1, "z": 5},
        "q": {"a": {"x": 2, "z": 5}},
        "c": {"x": 3, "z": 5},
        "d": {"x": 2, "z": 5},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "'a' a second time"),
        ("t: {a: {weight: 1}, a: {weight: 2}}", "'a' a second time"),
        ("a: &a {b: *a}", "holds itself"),
        ("a: &a [*a]", "holds itself"),
        ("[" * 3_000, "too deep"),
        ("a: !!bool maybe", "none of its type"),
        ("a: !!int ''", "none of its type"),
        ("a: 2024-13-45", "month"),
        ("a: " + "9" * 5_000, "digits"),
        ("a: [1", "parsing"),
        ("a: \x00", "special characters"),
        ("a: !!python/object/apply:os.getcwd []", "constructor"),
        ("!!python/name:os.getcwd", "constructor"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        values_of(text)


def test_a_few_lines_that_stand_for_very_many_values() -> None:
    def lines(deep: int) -> str:
        return "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(deep))

    assert len(values_of(lines(4))) == 4
    with pytest.raises(ValueError, match=f"more than {MOST_VALUES}"):
        values_of(lines(9))
