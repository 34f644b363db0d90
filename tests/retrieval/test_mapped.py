"""What is loaded of a recommender: its neighbour tables stay in the file, so processes of one machine share them."""

from __future__ import annotations

from pathlib import Path

import pytest

from micgraph import artifact
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import ArtifactError

MAPS = Path("/proc/self/maps")


def mapped_file(address):
    """The file that is mapped at an address of this process; empty for memory of its own."""
    for line in MAPS.read_text().splitlines():
        span, _, _, _, _, *name = line.split(maxsplit=5)
        start, stop = (int(end, 16) for end in span.split("-"))
        if start <= address < stop:
            return "".join(name)
    raise AssertionError("no memory there")


@pytest.mark.skipif(not MAPS.exists(), reason="this system does not say what is mapped")
@pytest.mark.parametrize("neighbors", ["near", "co_occurs"])
def test_neighbour_tables_are_mapped(world, fake_model, tmp_path, neighbors):
    made = Recommender(world(1), {"neighbors": neighbors})
    rows = made.recommend(["u01", "u02"], k=5)
    made.save(tmp_path / "serving")
    assert not mapped_file(made.retriever.table.col.data_ptr()).endswith("stores.safetensors")
    back = Recommender.load(tmp_path / "serving", load_model=fake_model.load)
    assert back.recommend(["u01", "u02"], k=5).equals(rows)  # after it has been used
    for tensor in (back.retriever.table.col, back.retriever.table.score, back.retriever.items):
        assert mapped_file(tensor.data_ptr()).endswith("stores.safetensors")


def test_a_run_is_no_saved_recommender(tmp_path):
    artifact.publish(tmp_path / "run" / "setup", "run", 1, lambda folder: (folder / "config.yaml").write_text(""))
    with pytest.raises(ArtifactError, match="a saved recommender, got a run; .*load_run"):
        Recommender.load(tmp_path / "run")
