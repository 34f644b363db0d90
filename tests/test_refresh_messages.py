"""What refresh says of settings, columns and logs that are likely meant otherwise; nothing changes on disk then."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import micgraph as mg
from micgraph.schema import ArtifactError, ConfigError, SchemaError
from tests.cli.commands import refusal_of
from tests.small_refresh import CONFIG, clicks, items, later


@pytest.fixture
def run(tmp_path: Path) -> Path:
    graph = mg.build(mg.read_log(clicks(), items=items(12)))
    mg.train(graph, "gru4rec", config=CONFIG, out=tmp_path / "run", device="cpu", progress=False)
    return tmp_path / "run"


def _refreshed(run: Path, *arguments: object) -> mg.Refreshed:
    return mg.refresh(run, *arguments, device="cpu", progress=False)  # type: ignore[arg-type]


def test_settings_are_read_before_the_log(run: Path) -> None:
    nothing_new = mg.read_log(clicks())
    assert not _refreshed(run, nothing_new).swapped
    with pytest.raises(ConfigError, match="trainng: .*did you mean 'training'"):
        _refreshed(run, nothing_new, {"trainng": {"epochs": 1}})
    with pytest.raises(ConfigError, match="model.dim: expected 8 as in the run of warm_start, got 16"):
        _refreshed(run, nothing_new, {"model": {"dim": 16}})


def test_a_new_column_is_named(run: Path) -> None:
    log = mg.read_log(clicks(1), items=items(14).assign(colour="red"))
    with pytest.raises(SchemaError, match=r"items: .*trained with \(item_id, category, year\), got 'colour'; leave it"):
        _refreshed(run, log)
    assert not (run / "refreshed").exists()


def test_a_log_in_which_nothing_is_known_is_told_of(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "micgraph"):
        _refreshed(run, later(1))
        assert not [text for text in caplog.messages if text.startswith("refresh:")]
        strange = clicks(2).assign(
            user_id=lambda rows: "other " + rows["user_id"], item_id=lambda rows: "other " + rows["item_id"]
        )
        found = _refreshed(run, mg.read_log(strange))
    (told,) = [text for text in caplog.messages if text.startswith("refresh:")]
    assert found.swapped and f"all {found.new['clicks']} new clicks are of users and on items that" in told
    assert f"({found.new['users']} users, {found.new['items']} items)" in told


def test_what_serves_a_run_is_not_there_yet(run: Path) -> None:
    expected = f"{run / 'serving'}: expected what serves the run, got nothing yet; make it by micgraph index RUN"
    with pytest.raises(ArtifactError) as caught:
        mg.Recommender.load(run / "serving")
    assert str(caught.value).startswith(expected)
    assert expected in refusal_of("recommend", str(run / "serving"), "--users", "u1")


def test_a_table_of_items_is_no_log(run: Path, tmp_path: Path) -> None:
    items(12).to_csv(tmp_path / "items.csv", index=False)
    line = refusal_of("refresh", str(run), str(tmp_path / "items.csv"))
    assert "got the columns item_id, category, year; name it with" in line
    assert line.endswith("or pass it as items= beside a log if it is a table of these")
