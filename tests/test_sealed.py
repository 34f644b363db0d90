"""JSON with a checksum: what was changed is refused, what an earlier version wrote without one is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from micgraph import sealed
from micgraph.schema import ArtifactError

VALUES = {"a": [1, 2.5, None, True, 1e-300], "b": {"x": "é\n"}}


def test_every_changed_bit_is_refused_or_changes_nothing() -> None:
    text = sealed.dumps(VALUES, indent=1).encode()
    refused = 0
    for place in range(len(text)):
        for bit in range(8):
            changed = text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :]
            try:
                assert sealed.loads(changed, "it", ["a", "b"]) == VALUES
            except ArtifactError:
                refused += 1
    assert refused > 7 * len(text)


def test_keys_are_those_that_are_asked_for() -> None:
    text = sealed.dumps(VALUES).encode()
    assert sealed.loads(text, "it", ["a"], ["b", "c"]) == VALUES
    for keys in (["a"], ["a", "b", "c"]):
        with pytest.raises(ArtifactError, match="it: expected the JSON that micgraph wrote"):
            sealed.loads(text, "it", keys)
    assert sealed.loads(json.dumps(VALUES).encode(), "it", ["a", "b"]) == VALUES


def test_a_file(tmp_path: Path) -> None:
    sealed.write(tmp_path / "new" / "it.json", VALUES)
    assert sealed.read(tmp_path / "new" / "it.json", ["a", "b"]) == VALUES
    with pytest.raises(ArtifactError, match="a file that can be read"):
        sealed.read(tmp_path / "missing.json", ["a", "b"])
    for text in (b"", b"[]", b"3", b"null", b"\xff", b"[" * 100_000):
        with pytest.raises(ArtifactError, match="a changed file"):
            sealed.loads(text, "it", [])
