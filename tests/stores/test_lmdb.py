"""What only LMDB does: directories, room, several processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from micgraph.schema import ArtifactError, InputError, MissingExtraError, StoreError
from micgraph.stores.lmdb_store import LmdbStore
from tests.stores.oracle import rows

lmdb = pytest.importorskip("lmdb", reason="the serve extra is not installed")
REPOSITORY = Path(__file__).resolve().parents[2]
OTHER = """
import sys
from micgraph.stores.lmdb_store import LmdbStore
with LmdbStore(sys.argv[1], size=40) as store:
    for event in range(20):
        store.append([b"i1"], [2 * event + 1], [2 * event + 1])
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("made", ["files", "file", "noise"])
def test_a_place_of_something_else_is_refused_and_stays(tmp_path, made):
    path = tmp_path / "store"
    if made == "file":
        path.write_text("thesis")
    else:
        path.mkdir()
        (path / ("data.mdb" if made == "noise" else "thesis.tex")).write_bytes(b"years of work" * 999)
    before = contents(tmp_path)
    with pytest.raises(ArtifactError, match=r"such as thesis.tex; choose another path" if made == "files" else "store"):
        LmdbStore(path)
    assert contents(tmp_path) == before


def test_another_programs_lmdb_is_refused_and_stays(tmp_path):
    with lmdb.open(str(tmp_path)) as env, env.begin(write=True) as txn:
        txn.put(b"theirs", b"value")
    for lock in (True, False):
        if not lock:
            (tmp_path / "lock.mdb").unlink()
        before = contents(tmp_path)
        locks = {str(tmp_path / "lock.mdb"): before.get(str(tmp_path / "lock.mdb"))}  # LMDB's own, where it is used
        with pytest.raises(ArtifactError, match="expected a store written by micgraph, got another program's LMDB"):
            LmdbStore(tmp_path)
        assert {**contents(tmp_path), **(locks if lock else {})} == before


def test_a_store_without_its_lock_file_is_opened(tmp_path):
    with LmdbStore(tmp_path) as store:
        store.append([b"i1"], [1], [1])
    (tmp_path / "lock.mdb").unlink()
    with pytest.raises(InputError, match="size: expected 60"):
        LmdbStore(tmp_path, size=9)
    assert not (tmp_path / "lock.mdb").exists()
    with LmdbStore(tmp_path) as store:
        assert rows(store.read([b"i1"])) == [[(1, 1)]]


def test_another_format_is_refused(tmp_path):
    LmdbStore(tmp_path).close()
    with lmdb.open(str(tmp_path), max_dbs=2) as env, env.begin(write=True) as txn:
        txn.put(b"store", b'{"format": 9, "size": 60}', db=env.open_db(b"about", txn=txn))
    with pytest.raises(ArtifactError, match="expected a store of format 2, got format 9"):
        LmdbStore(tmp_path)


def test_one_process_opens_it_once(tmp_path):
    with LmdbStore(tmp_path) as store:
        store.append([b"i1"], [1], [1])
        with pytest.raises(ArtifactError, match="open the store once for all threads"):
            LmdbStore(tmp_path)
        assert rows(store.read([b"i1"])) == [[(1, 1)]]


def test_a_full_store_says_so_and_keeps_what_it_had(tmp_path):
    with LmdbStore(tmp_path, map_size=1 << 20) as store:
        done = 0
        with pytest.raises(StoreError, match="room for more.*open it with a larger map_size"):
            for done in range(10_000):
                store.append([b"%d:%d" % (done, user) for user in range(500)], range(500), [done] * 500)
        assert done > 1
        assert rows(store.read([b"%d:7" % (done - 1), b"%d:7" % done])) == [[(done - 1, 7)], []]
    with LmdbStore(tmp_path, map_size=1 << 24) as store:
        store.append([b"%d:7" % done], [7], [done])
        assert rows(store.read([b"0:499", b"%d:7" % done])) == [[(0, 499)], [(done, 7)]]


def test_two_processes_write_the_same_user(tmp_path):
    with LmdbStore(tmp_path, size=40) as store:
        other = subprocess.Popen([sys.executable, "-c", OTHER, str(tmp_path)], cwd=REPOSITORY)
        for event in range(20):
            store.append([b"i1"], [2 * event], [2 * event])
        assert other.wait(60) == 0
        assert rows(store.read([b"i1"])) == [[(event, event) for event in range(40)]]


@pytest.mark.parametrize("size", [0, 1e9, None, True])
def test_a_map_of_no_size_is_refused(tmp_path, size):
    with pytest.raises(InputError, match="^map_size: "):
        LmdbStore(tmp_path / "store", map_size=size)
    assert not (tmp_path / "store").exists()


def test_without_the_package_the_remedy_is_the_pip_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'micgraph\[serve\]'"):
        LmdbStore(tmp_path / "store")
    assert not (tmp_path / "store").exists()
