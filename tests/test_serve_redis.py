"""A day of live traffic: no request knows its own click or a later one, whatever tells the service of clicks."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from micgraph.ids import IdMap
from micgraph.stores.keys import user_keys
from tests.redis_server import REDIS
from tests.small_data import GLOBO_CUT, HOUR, ran

ARTICLES, USERS, LATER = 30, 40, 100
TICK = 300_000
needs_redis = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
only = pytest.mark.parametrize("example", ["serve_redis"], indirect=True)


class Told:
    """A recommender that recommends whatever it was told of, in any way: it finds every article that leaks."""

    def __init__(self):
        self.users, self.items, self.told = IdMap(pa.array([0])), IdMap(pa.array([0])), set()
        self.graph = SimpleNamespace(last_time=0, popularity=lambda since: torch.ones(1))

    def observe(self, users, items, times):
        self.told |= set(items.tolist())

    def add_items(self, table):
        assert not set(table["item_id"].tolist()) & set(self.items.values.to_pylist())
        self.items = self.items.extend(pa.array(table["item_id"]))
        self.told |= set(table["item_id"].tolist())
        return len(table["item_id"])

    def reload(self, version):
        self.told |= version

    def recommend(self, users, k):
        return pa.table({"item_id": pa.array(sorted(self.told), pa.int64())})


@only
def test_only_what_was_clicked_before_is_told_of(example):
    """Articles are clicked once, twice at once, or twice: only second clicks can be hits, and all of them are."""
    times = {7: [0], 8: [TICK - 1], 9: [TICK], 10: [500, 500], 11: [TICK + 3, TICK + 4], 12: [1, 2 * TICK], 13: [3, 4]}
    clicks = sorted((at, item) for item, moments in times.items() for at in moments)
    at, item = (np.array(column) for column in zip(*clicks, strict=True))
    traffic = example.Traffic(np.arange(len(at)), item, at)
    versions = {}

    def refresh(now):
        versions[now] = set(item[at < now].tolist())
        return versions[now]

    service = example.Service(Told(), traffic, 0, TICK, 5, refresh=refresh)
    got = example.replay(service, traffic, np.arange(len(at)), "told")
    assert list(versions) == [TICK, 2 * TICK]
    assert service.added == len(times), "each once, in the tick that it was clicked in first"
    second = [item[:n].tolist().count(item[n]) > 0 and at[item == item[n]].min() < at[n] for n in range(len(at))]
    assert got.hit.tolist() == second and sum(second) == 3


@pytest.fixture
def clicks(tmp_path):
    """Globo's file: half of what is clicked after the cut is new, and some of it is clicked at the same moment."""
    rng, n = np.random.default_rng(0), 600
    second = np.sort(rng.integers(GLOBO_CUT - 8 * HOUR, GLOBO_CUT + 3 * HOUR, n))
    second[-100::10] = second[-99::10]
    user, article = rng.integers(0, USERS, n), rng.integers(0, ARTICLES, n)
    user[second >= GLOBO_CUT] += rng.integers(0, 5, int((second >= GLOBO_CUT).sum()))  # some of them are new
    article[(second >= GLOBO_CUT) & (rng.random(n) < 0.5)] += LATER
    columns = {"user_id": user, "session_id": user * 100 + second // (6 * HOUR) % 100}
    columns |= {"click_article_id": article, "click_timestamp": second * 1000}
    pq.write_table(pa.table(columns), tmp_path / "clicks.parquet")
    return user, article, second


@needs_redis
@only
def test_a_replay_of_real_services(example, tmp_path, monkeypatch, capsys, clicks):
    for package in ("redis", "faiss"):
        pytest.importorskip(package, reason="the example needs micgraph[serve,cpu]")
    monkeypatch.setattr(example, "HOURS", 3)
    monkeypatch.setattr(example, "K", 5)
    monkeypatch.setitem(example.CONFIG, "model", {"dim": 8, "history": 5})
    monkeypatch.setitem(example.CONFIG, "training", {"epochs": 1})
    watched = Watched(example, monkeypatch, clicks)
    lines, summary = ran(
        example, capsys, "--raw", str(tmp_path), "--share", "1", "--requests", "60", "--out", str(tmp_path / "runs")
    )
    assert len(watched.lists) == 180 and watched.asked == {"frozen": 60, "live": 60, "refresh": 60}
    for name in watched.asked:
        mine = [item in found for service, item, found in watched.lists if service == name]
        assert summary[f"hit@5_{name}"] == round(float(np.mean(mine)), 4)
    assert len(set(watched.ends)) == 3, "the graph of the cut, and of each of two refreshes"
    assert summary["hit@5_popular_6h"] == round(popular_hits(clicks, [item for _, item, _ in watched.lists[:60]]), 4)
    assert all(0 < summary[f"p50_ms_{stage}"] <= summary[f"p99_ms_{stage}"] for stage in example.STAGES)
    assert sum("new articles were added" in line for line in lines) == 2
    assert sorted(path.name for path in (tmp_path / "runs" / "share-1").iterdir()) == ["graph", "run"]


class Watched:
    """Looks at each request into everything that the service knows, and compares it with the log."""

    def __init__(self, example, monkeypatch, clicks):
        user, article, second = clicks
        at_cut = GLOBO_CUT * 1000
        self.lists, self.asked, self.ends = [], {}, []
        people = np.unique(user)
        ask, advance = example.Service.ask, example.Service.advance

        def watched_advance(service, now):
            service.now = now
            advance(service, now)

        def watched_ask(service, who):
            recommender, now = service._recommender, service.now
            live = recommender.retriever.live
            name = "frozen" if live is None else str(live.store.name).split()[-1]
            self.asked[name] = self.asked.get(name, 0) + 1
            end = (recommender.graph.epoch + recommender.graph.last_time) * 1000
            assert end < (now if name == "refresh" else at_cut)
            self.ends.append(end)
            assert set(recommender.items.values.to_pylist()) <= set(article[second * 1000 < now].tolist())
            if live is not None:
                kept = live.store.read(user_keys(people))
                got = np.stack([kept.time.numpy() // 1000, kept.items.numpy()], 1)
                past = (second * 1000 >= at_cut) & (second * 1000 < now)
                for n, person in enumerate(people.tolist()):
                    mine = past & (user == person)
                    rows = got[int(kept.indptr[n]) : int(kept.indptr[n + 1])].tolist()
                    assert sorted(rows) == sorted(map(list, set(zip(second[mine] * 1000, article[mine], strict=True))))
            found, times = ask(service, who)
            row = self.asked[name] - 1
            self.lists.append((name, self.clicked(example, clicks, now, who, row), found))
            return found, times

        monkeypatch.setattr(example.Service, "advance", watched_advance)
        monkeypatch.setattr(example.Service, "ask", watched_ask)

    def clicked(self, example, clicks, now, who, row):
        """The article that the user clicked then: the sample's draw where there are several."""
        user, article, second = clicks
        window = np.flatnonzero(second >= GLOBO_CUT)
        chosen = np.sort(np.random.default_rng(0).permutation(window)[:60])
        at = chosen[row]
        assert second[at] * 1000 == now and user[at] == who
        return int(article[at])


def popular_hits(clicks, items):
    """The share of these that are among the five most clicked of the last six hours before the cut."""
    user, article, second = clicks
    last = second[second < GLOBO_CUT].max()
    known = sorted(set(article[second < GLOBO_CUT].tolist()))
    recent = (second < GLOBO_CUT) & (second >= last - 6 * HOUR)
    rows = set(zip(user[recent].tolist(), article[recent].tolist(), second[recent].tolist(), strict=True))
    count = {one: sum(item == one for _, item, _ in rows) for one in known}
    best = sorted(known, key=lambda one: (-count[one], one))[:5]
    return float(np.mean([item in best for item in items]))


@needs_redis
@only
def test_the_server_ends_with_the_example(example):
    with example.redis_server() as url:
        port = int(url.rsplit(":", 1)[1])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@only
def test_without_redis_the_example_says_what_to_install(example, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"apt install redis-server.*micgraph\[serve\]"), example.redis_server():
        pass
