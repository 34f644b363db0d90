"""The page of a report: whole, escaped, alone, and saying what it lacks; what cannot be compared is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import micgraph as mg
from micgraph.document import save
from micgraph.evaluation import prepare
from micgraph.reporting import judging, view
from micgraph.reporting.looks import look
from micgraph.retrieval import extra
from micgraph.retrieval.channels import Candidates, Queries
from tests.html_page import Page, needs_nothing
from tests.reporting.conftest import CONFIG, NASTY

PARTS = ["runs", "epochs", "trade-off", "channels", "popularity", "users", "vectors", "map", "examples"]


def _runs(folder: Path) -> list[Path]:
    return [folder / "runs" / name for name in ("plain", "<u>")]


def test_the_page_needs_nothing_beside_itself(page: str) -> None:
    found = needs_nothing(page)
    assert len(page) < 1_000_000
    sections = [attributes["id"] for tag, attributes in found.tags if tag == "section"]
    links = [attributes["href"] for tag, attributes in found.tags if tag == "a"]
    assert sections == PARTS and links == [f"#{name}" for name in PARTS]
    assert ("html", {"lang": "en"}) in found.tags and [tag for tag, _ in found.tags].count("h1") == 1


def test_names_and_titles_are_text(page: str) -> None:
    words = "".join(Page(page).words)
    assert NASTY in words and "<i>c0</i>" in words and "<b>u" in words and "<u>" in words
    assert not {"b", "i", "u", "script"} & {tag for tag, _ in Page(page).tags}


def test_every_figure_is_told_to_who_cannot_see_it(page: str) -> None:
    found = Page(page)
    drawn = [attributes for tag, attributes in found.tags if tag == "svg" and "role" in attributes]
    figures = [attributes["id"] for tag, attributes in found.tags if tag == "figure"]
    assert len(drawn) == len(figures) >= 12
    assert all(one["role"] == "img" and len(one["aria-label"] or "") > 30 for one in drawn)
    assert {"loss_0", "valid_0", "recall_coverage", "recall_diversity", "contributions", "map_1"} <= set(figures)


def test_a_run_has_one_look_in_every_figure(page: str) -> None:
    assert len({look(place) for place in range(24)}) == 24
    colour = ("var(--s0)", "var(--s1)")
    for name in ("loss_0", "recall_coverage", "deciles", "by_history", "spaces"):
        drawn = page[page.index(f'<figure id="{name}"') :].split("</figure>")[0]
        assert all(one in drawn for one in colour) and "--s2" not in drawn


def test_what_was_measured_on_what_is_said(page: str) -> None:
    words = "".join(Page(page).words)
    assert "the valid part of the split (graph-valid)" in words
    assert "On this very part the epoch was chosen for plain, <u>" in words and "one training with one seed" in words
    assert "tune or tune_fusion" in words and "in-sample" not in words, "no run has a learned fusion"


def test_a_fusion_fitted_on_the_judged_part_is_named(folder: Path, tmp_path: Path) -> None:
    graph, valid = mg.load_run(folder / "runs" / "plain").graph, mg.Holdout.load(folder / "graph-valid")
    config = {**CONFIG, "fusion": {**CONFIG["fusion"], "fusion": "learned"}}
    fitted = mg.train(graph, "mic_dnn", valid, config, tmp_path / "fitted", "cpu", progress=False)
    assert fitted.learned is not None
    runs = {"plain": folder / "runs" / "plain", "fitted": tmp_path / "fitted"}
    for part, named in (("graph-valid", True), ("graph-test", False)):
        path = mg.report(runs, folder / part, tmp_path / "p.html", k=5, progress=False)
        words = "".join(Page(path.read_text(encoding="utf-8")).words)
        assert ("The learned fusion of fitted was fitted on it too: these fused rows are in-sample" in words) == named
        assert ("epoch was chosen for plain, fitted" in words) == named and "tune or tune_fusion" in words


def test_a_report_without_held_out_clicks_says_what_it_lacks(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "runs" / "plain", tmp_path / "alone" / "a" / "plain")
    text = mg.report(tmp_path / "alone" / "a" / "plain", out=tmp_path / "p.html", progress=False).read_text()
    found = needs_nothing(text)
    assert "".join(found.words).count("no held-out part was given") == 1 + 6
    assert [attributes["id"] for tag, attributes in found.tags if tag == "section"] == PARTS
    assert set(found.tables) == {"runs", "map"} and 'id="loss_0"' in text


class Last:
    """A channel of a user's own: the four last items, to everybody, because of the first one."""

    def __init__(self, graph: mg.RecGraph) -> None:
        self.items = torch.arange(graph.n_items - 4, graph.n_items)

    def find(self, queries: Queries) -> Candidates:
        items = self.items.expand(len(queries), -1)
        return Candidates.of(items, torch.ones(items.shape), trigger=torch.zeros_like(items))


def test_bare_graphs_own_channels_drawn_users_and_new_clicks(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """No categories, titles or validation, a run with a channel of its own; some users; only clicks on new items."""
    rows = [(f"u{n % 9}", f"i{n * 7 % 12}", 1_700_000_000 + 600 * n) for n in range(200)]
    rows += [(f"u{n}", f"i{(n + 5 if n < 6 else n * 7) % 12}", 1_700_120_000 + n) for n in range(9)]
    log = mg.read_log(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]))
    split = mg.split(log, "temporal", test="1h", valid=None)
    graph = mg.build(split.train)
    mg.register_channel("last", Last)
    request.addfinalizer(lambda: extra.OWN.pop("last"))
    own = {**CONFIG, "fusion": {"channels": ["u2i", "last"]}}
    runs = {
        name: mg.train(graph, "mic_dnn", config=config, device="cpu", progress=False)
        for name, config in (("all", CONFIG), ("own", own))
    }
    data = prepare(split.test, graph)
    assert 4 < len(data.only_new()) < 9
    path = mg.report(runs, data, tmp_path / "p.html", 99, filter_seen=False, new_only=True, users=4, progress=False)
    found = needs_nothing(path.read_text())
    words = "".join(found.words)
    assert f"4 users drawn at random (seed 0) from {len(data.only_new())}" in words
    assert "items clicked before included; only clicks on items new to their user count" in words
    assert "Diversity is not shown" in words and "Without a validation part" in words and "recall@12" in words
    assert "No categories to compare with" in words and "No run has chosen its epoch on this part" in words
    assert "found by last, because of i0" in words
    assert [row[:2] for row in found.tables["channels"][0][1:]] == [
        *(["all", name] for name in ("U2I", "U2U", "I2I")),
        ["own", "U2I"],
        ["own", "last"],
    ]


def test_runs_that_cannot_be_compared(folder: Path, tmp_path: Path) -> None:
    plain, other = _runs(folder)
    out = tmp_path / "p.html"
    clicks = pd.DataFrame({"user_id": [n % 5 for n in range(40)], "item_id": [n % 7 for n in range(40)]})
    graph = mg.build(mg.read_log(clicks.assign(timestamp=range(40))))
    mg.train(graph, "mic_dnn", config=CONFIG, out=tmp_path / "else", device="cpu", progress=False)
    mg.split(mg.read_log(clicks.assign(timestamp=range(40))), "leave_last_out").test.save(tmp_path / "foreign")
    for runs, holdout, error, message in (
        ([plain, tmp_path / "else"], None, mg.InputError, "runs: expected runs on one graph, that of plain .*got else"),
        ([plain, other, plain], None, mg.InputError, "each run once.*plain twice"),
        ([], None, mg.InputError, "at least one run"),
        ([3], None, mg.InputError, "a int"),
        ([plain / "graph"], None, mg.ArtifactError, "expected the directory of a run, got a saved graph"),
        ([tmp_path / "none"], None, mg.ArtifactError, "no such directory"),
        ([tmp_path], None, mg.ArtifactError, "a directory without one"),
        ([plain], tmp_path / "foreign", mg.InputError, "holdout.*foreign of another split"),
        ([plain], plain / "graph", mg.ArtifactError, "a saved holdout, got a saved graph"),
        ([plain], "nowhere", mg.ArtifactError, "nowhere"),
    ):
        with pytest.raises(error, match=message):
            mg.report(runs, holdout, out, progress=False)
    for settings in ({"k": 0}, {"k": True}, {"users": 0}, {"users": 2.5}):
        with pytest.raises(mg.ConfigError, match=next(iter(settings))):
            mg.report([plain], out=out, progress=False, **settings)
    assert not out.exists()


def test_an_earlier_page_stays_where_a_new_one_fails(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.html"
    path.write_text("earlier")
    monkeypatch.setattr(judging, "spaces", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mg.report(_runs(folder)[0], out=path, progress=False)
    with pytest.raises(mg.InputError, match="a file to write, got a directory"):
        mg.report(_runs(folder)[0], out=tmp_path, progress=False)
    monkeypatch.setattr("os.replace", lambda *given: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(mg.ArtifactError, match="no space left"):
        save(path, "later")
    assert path.read_text() == "earlier" and list(tmp_path.iterdir()) == [path]


def test_without_matplotlib_the_remedy_comes_before_the_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(view, "candidates", lambda runs: pytest.fail("work was begun"))
    with pytest.raises(mg.MissingExtraError, match=r"pip install 'micgraph\[report\]'"):
        mg.report(_runs(folder), out=tmp_path / "p.html", progress=False)


def test_the_graph_of_all_runs_is_read_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, load = [], mg.RecGraph.load
    monkeypatch.setattr(mg.RecGraph, "load", lambda path: read.append(path) or load(path))
    mg.report(_runs(folder), out=tmp_path / "p.html", k=5, progress=False)
    assert read == [folder / "runs" / "plain" / "graph"]


def test_the_part_beside_the_runs_must_be_of_their_split(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "plain"
    shutil.copytree(folder / "runs" / "plain", run)
    chosen = view.candidates([run])
    graph = mg.RecGraph.load(run / "graph")
    mg.split(mg.read_log(_few()), "leave_last_out").test.save(tmp_path / "a-valid")
    assert view.held_out(None, graph, chosen) == (None, "")
    (tmp_path / "aa-valid").write_text("a note")  # none of these is a part of a split, and nobody has named them
    (tmp_path / "ab-valid").mkdir()
    (tmp_path / "ac-valid").mkdir()
    (tmp_path / "ac-valid" / "holdout.json").write_text("{}")
    shutil.copytree(folder / "graph-valid", tmp_path / "ad-valid")
    (tmp_path / "ad-valid" / "current").unlink()
    shutil.copytree(run / "graph", tmp_path / "ae-valid")
    shutil.copytree(folder / "graph-valid", tmp_path / "af-valid")
    next((tmp_path / "af-valid").glob("0*/holdout.json")).write_text("{}")
    assert view.held_out(None, graph, chosen) == (None, "")
    shutil.copytree(folder / "graph-valid", tmp_path / "b-valid")
    part, name = view.held_out(None, graph, chosen)
    assert name == "b-valid" and isinstance(part, mg.Holdout) and part.manifest["part"] == "valid"
    assert json.loads(json.dumps(part.manifest))["split"] == graph.manifest["split"]


def _few() -> pd.DataFrame:
    return pd.DataFrame({"user_id": [1, 1, 1, 2, 2, 2], "item_id": [1, 2, 3] * 2, "timestamp": range(6)})


def test_labels_are_as_long_as_they_must_be(folder: Path, tmp_path: Path) -> None:
    for name in ("x/run", "y/run"):
        shutil.copytree(folder / "runs" / "plain", tmp_path / name)
    assert [one.label for one in view.candidates([tmp_path / "x/run", tmp_path / "y/run"])] == ["x/run", "y/run"]
    assert [one.label for one in view.candidates(tmp_path / "x/run")] == ["run"]
    assert [one.label for one in view.candidates({"a": tmp_path / "x/run"})] == ["a"]
