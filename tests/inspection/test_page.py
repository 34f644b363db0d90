"""What an inspection prints, draws and writes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import micgraph as mg
from micgraph.inspection import Inspection, figures
from micgraph.inspection.ego import ego_of
from micgraph.inspection.sections import of_facts, of_leaks
from micgraph.schema import InputError
from tests.html_page import Page, needs_nothing

NASTY = '</td><script>alert("x")</script> $a_b$ & "c" \U0001f600'
FIGURES = ["degrees_clicks", "degrees_has", "degrees_contains", "degrees_co_occurs", "degrees_similar"]
FIGURES += ["session_lengths", "times", "overlap"]


@pytest.fixture(scope="module")
def parts() -> mg.Split:
    rows = [(f"u{n % 7}", f"i{n * 5 % 11}", 1_700_000_000 + 3_000 * n) for n in range(120)]
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(11)]})
    items = items.assign(category=["x", "y"] * 5 + ["z"], title=[NASTY, *["plain"] * 10])
    log = mg.read_log(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), items=items)
    return mg.split(log, "temporal", test="12h")


@pytest.fixture(scope="module")
def graph(parts: mg.Split) -> mg.RecGraph:
    return mg.build(parts.train, {"session_gap": "3h", "session_span": "9h", "semantic_k": 2})


def test_the_text_has_every_section(graph: mg.RecGraph, parts: mg.Split) -> None:
    text = str(mg.inspect(graph, holdout=parts.test))
    heads = [block.split("  ")[0].split("\n")[0] for block in text.split("\n\n")]
    assert heads == [
        "nodes",
        "relations",
        "fields",
        "degrees",
        "session lengths",
        "times",
        "overlap",
        "items without an edge",
        "refused rows",
        "leakage: temporal, test",
    ]
    assert max(map(len, text.splitlines())) <= 110
    assert str(graph.summary().tables()[2].text()) in text
    assert text.splitlines()[-1] == "No leak."


def test_a_leak_is_called_one(graph: mg.RecGraph, parts: mg.Split) -> None:
    past = replace(parts.test, targets=parts.test.histories)
    report, examples = of_leaks(mg.inspect(graph, holdout=past).leaks)  # type: ignore[arg-type]
    cells = {row[0].strip(): row[1:] for row in report.rows}
    known = graph.relation("clicks").n_edges  # the histories also have the events of the validation window
    share = 100 * known / len(past.targets)
    assert cells["that are clicks of the graph"] == (f"{known} ({share:.1f}%)", "leak")
    assert cells["later than that"][1] == "leak"
    assert report.note == "The graph has clicks that the split keeps out of it."
    assert len(examples.rows) == 5 and examples.note == f"5 of {known} are shown"


def test_of_one_user_the_text_is_about_him_alone(graph: mg.RecGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inspection, "facts", property(lambda self: pytest.fail("the whole graph is counted")))
    text = str(mg.inspect(graph, user="u3"))
    assert text.startswith("user u3  ") and "clicked item" in text and "refused rows" not in text
    assert str(mg.inspect(graph, item="i0")).startswith("item i0 (</td><script>")


def test_a_graph_without_sessions_features_and_overlap(graph: mg.RecGraph) -> None:
    bare = replace(graph, relations={"clicks": graph.relation("clicks")}, users=None, items=None)
    titles = [table.title for table in of_facts(mg.inspect(bare).facts, bare)]
    assert titles == ["nodes", "relations", "fields", "degrees", "times", "items without an edge", "refused rows"]
    found = ego_of(replace(graph, relations={"clicks": graph.relation("clicks")}), item="i0")
    assert [listing.title for listing in found.listings] == ["click by user"]


def test_figures_are_files(graph: mg.RecGraph, parts: mg.Split, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need matplotlib (the extra report)")
    drawn = mg.inspect(graph, item="i0", holdout=parts.test).save_figures(tmp_path / "new" / "figures")
    assert list(drawn) == ["ego", *FIGURES]
    assert sorted(drawn.values()) == sorted((tmp_path / "new" / "figures").iterdir())
    for path in drawn.values():
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 3_000
    assert list(mg.inspect(graph).save_figures(tmp_path / "graph")) == FIGURES


def test_the_page_needs_nothing_beside_itself(graph: mg.RecGraph, parts: mg.Split, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need matplotlib (the extra report)")
    path = mg.inspect(graph, item="i0", holdout=parts.test).save_page(tmp_path / "new" / "page.html")
    needs_nothing(path.read_text(encoding="utf-8"))


def test_the_page_has_every_table_and_figure(graph: mg.RecGraph, parts: mg.Split, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need matplotlib (the extra report)")
    found = mg.inspect(graph, item="i0", holdout=parts.test)
    text = found.save_page(tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [attributes["id"] for tag, attributes in page.tags if tag == "figure"] == ["ego", *FIGURES]
    tags = Counter(tag for tag, _ in page.tags)
    assert tags["svg"] == tags["figcaption"] == 1 + len(FIGURES)
    heads = [head for head in ("nodes", "degrees", "overlap", "items without an edge") if head in page.words]
    assert len(heads) == 4 and tags["table"] == tags["h2"] == text.count("<section>")
    assert "leakage: temporal, test" in page.words
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert "prefers-color-scheme: dark" in text
    assert '<script>alert("x")' in "".join(page.words), "titles are text, not tags"


def test_figures_take_the_colours_of_the_page(graph: mg.RecGraph, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need matplotlib (the extra report)")
    text = mg.inspect(graph, user="u1").save_page(tmp_path / "page.html").read_text(encoding="utf-8")
    svgs = re.findall(r"<svg.*?</svg>", text, re.S)
    fixed = {colour for one in svgs for colour in re.findall(r"(?:fill|stroke): (#\w+)", one)}
    assert not fixed & {"#1b2430", "#5b6673", "#9aa5b1", "#e6e9ed", "#000000", "#ffffff"}
    used = {name for one in svgs for name in re.findall(r"var\((--\w+)\)", one)}
    dark = text[text.index("prefers-color-scheme") :].split("}")[0]
    assert used and all(f"{name}: #" in dark for name in used)
    assert all("viewBox" in one and not re.search(r"<svg[^>]* width=", one) for one in svgs)


def test_a_page_is_the_same_each_time(graph: mg.RecGraph, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need matplotlib (the extra report)")
    first, second = (mg.inspect(graph, user="u1").save_page(tmp_path / f"{n}.html") for n in (1, 2))
    assert first.read_bytes() == second.read_bytes()


def test_many_degrees_are_thinned_to_points_of_the_same_curve() -> None:
    x = np.unique(np.random.default_rng(0).integers(1, 100_000, 5_000))
    shown, y = figures._thinned(x, 2 * x)
    assert len(shown) <= figures.POINTS and (y == 2 * shown).all() and set(shown) <= set(x)
    assert (shown[0], shown[-1]) == (x[0], x[-1])
    assert np.diff(np.log(shown[shown > 1_000])).max() < 0.2, "no stretch that has values is left empty"
    few = np.arange(1, 50)
    assert figures._thinned(few, few)[0] is few


def test_a_directory_is_no_page(graph: mg.RecGraph, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file to write, got a directory; name a file in it"):
        mg.inspect(graph).save_page(tmp_path)
