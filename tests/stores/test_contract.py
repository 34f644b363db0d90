"""One contract, held by every kind of store against an oracle that keeps everything."""

from __future__ import annotations

import random
import threading
from itertools import count

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micgraph.schema import InputError, StoreError
from tests.stores.oracle import Oracle, columns, rows

EDGES = [-(2**53), -1, 0, 1, 2**53 - 1, 2**53]
WIDE = [-(2**63), -1, 0, 255, 256, 2**63 - 1]
USERS = [b"a", b"ab", b"\x00\xff", b"*" * 480]
events = st.tuples(
    st.sampled_from(USERS), st.integers(0, 3) | st.sampled_from(WIDE), st.integers(0, 9) | st.sampled_from(EDGES)
)
ROUND = count()
SIZES = (1, 3, 60)


@pytest.mark.parametrize("size", SIZES)
def test_it_holds_the_latest_distinct_events_in_order(open_store, size):
    store = open_store(size=size)

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.lists(events, max_size=12), max_size=4), st.integers(1, size), st.randoms())
    def check(bulks, m, chance):
        mark, oracle = b"%d:" % next(ROUND), Oracle(size)
        for bulk in bulks:
            own = [(mark + user, item, time) for user, item, time in bulk]
            store.append(*columns(own))
            oracle.append(own)
            asked = chance.choices([mark + user for user in USERS] + [b"nobody"], k=6)
            assert rows(store.read(asked)) == oracle.read(asked)
            found = store.read(asked, m)
            assert rows(found) == oracle.read(asked, m)
            assert [rows(store.read([user], m))[0] for user in asked] == rows(found)
        everything = [(mark + b"again" + user, item, time) for bulk in bulks for user, item, time in bulk]
        chance.shuffle(everything)  # one by one, in any order: the same histories
        for event in everything:
            store.append(*columns([event]))
        again = [mark + b"again" + user for user in USERS]
        assert rows(store.read(again)) == oracle.read([mark + user for user in USERS])

    check()


def test_nobody_knows_anybody_at_first(open_store):
    found = open_store().read([b"i1", b"i2", b"i1"])
    assert found.indptr.tolist() == [0, 0, 0, 0] and found.items.shape == found.time.shape == (0,)
    assert (found.indptr.dtype, found.items.dtype, found.time.dtype) == (torch.int64,) * 3


def test_nothing_asked_nothing_given(open_store):
    store = open_store()
    store.append([], [], [])
    store.append([], np.zeros(0, np.int32), torch.zeros(0, dtype=torch.int64))
    assert store.read([]).indptr.tolist() == [0]


def test_arrays_of_several_kinds_are_taken(open_store):
    store, users = open_store(), [b"i1"] * 3
    store.append(users, torch.tensor([5, 6, 7]), np.array([30, 10, 20], np.uint16))
    store.append(users, np.array([5, 6, 7], np.uint64), (30, 10, 20))
    assert rows(store.read(users[:1])) == [[(10, 6), (20, 7), (30, 5)]]


def test_a_bulk_of_many_users_is_read_at_once(open_store):
    chance, store, oracle = random.Random(5), open_store(size=4), Oracle(4)
    users = [b"i%d" % user for user in range(2_500)]  # more than one script of Redis
    clicks = [(chance.choice(users), chance.randrange(9), chance.randrange(99)) for _ in range(11_000)]
    store.append(*columns(clicks))
    oracle.append(clicks)
    asked = chance.choices([*users, b"nobody"], k=12_000)
    assert rows(store.read(asked, 3)) == oracle.read(asked, 3)


def test_what_was_written_is_there_when_opened_again(open_store):
    store = open_store(size=3)
    store.append([b"i1"] * 4, [1, 2, 3, 4], [4, 3, 2, 1])
    store.close()
    again = open_store(size=3)
    assert rows(again.read([b"i1"])) == [[(2, 3), (3, 2), (4, 1)]]
    again.close()
    with pytest.raises(InputError, match=r"size: expected 3, which the store keeps, got 5; pass size=3"):
        open_store(size=5)
    assert rows(open_store(size=3).read([b"i1"], 1)) == [[(4, 1)]]


def test_four_threads_write_while_others_read(open_store):
    """No event lost, doubled or misordered; the threads share users, and give a third of the events twice."""
    size, threads, users = 25, 4, [b"i%d" % user for user in range(30)]
    chance, store, oracle = random.Random(1), open_store(size=size), Oracle(size)
    clicks = [(chance.choice(users), chance.randrange(99), chance.randrange(5_000)) for _ in range(4_000)]
    shares = [clicks[at::threads] + chance.sample(clicks, 300) for at in range(threads)]
    given, errors, done = set(clicks), [], threading.Event()

    def write(share):
        for start in range(0, len(share), 50):
            store.append(*columns(share[start : start + 50]))

    def read():
        while not done.is_set():
            for user, row in zip(users, rows(store.read(users)), strict=True):
                if not (len(row) <= size and row == sorted(set(row)) and given >= {(user, i, t) for t, i in row}):
                    errors.append(row)

    writers = [threading.Thread(target=write, args=(share,)) for share in shares]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    oracle.append(clicks)
    assert rows(store.read(users)) == oracle.read(users) and not errors


KEY = b"i1"
BAD_EVENTS = [
    ("users", "'i1'", (["i1"], [1], [1])),
    ("users", "105", (b"i1", [1, 1], [1, 1])),
    ("users", "0 bytes", ([b""], [1], [1])),
    ("users", "512 bytes", ([b"x" * 512], [1], [1])),
    ("items", "float64 .1.", ([KEY], [1.0], [1])),
    ("items", "0; ", ([KEY], [], [1])),
    ("items", "object", ([KEY], [None], [1])),
    ("items", "bool", ([KEY], [True], [1])),
    ("items", r"int64 \[1, 1\]", ([KEY], [[1]], [1])),
    ("items", str(2**63), ([KEY], np.array([2**63], np.uint64), [1])),
    ("timestamps", "float64 .1. with NaN", ([KEY], [1], [float("nan")])),
    ("timestamps", "2; ", ([KEY], [1], [1, 2])),
    ("timestamps", "<U", ([KEY], [1], ["2017-10-16"])),
    ("timestamps", f"{2**53 + 1}; .*not nanoseconds", ([KEY], [1], [2**53 + 1])),
    ("timestamps", str(-(2**53) - 1), ([KEY] * 2, [1, 1], [5, -(2**53) - 1])),
    ("timestamps", str(-(2**63)), ([KEY], [1], [-(2**63)])),
]


@pytest.mark.parametrize(("argument", "got", "bad"), BAD_EVENTS)
def test_bad_events_are_named_and_change_nothing(open_store, argument, got, bad):
    store = open_store()
    store.append([KEY], [7], [7])
    with pytest.raises(InputError, match=f"^{argument}: .*{got}"):
        store.append(*bad)
    assert rows(store.read([KEY])) == [[(7, 7)]]


@pytest.mark.parametrize("m", [0, -1, 4, 1.0, True, "2", float("nan")])
def test_a_count_that_cannot_be_read_is_named(open_store, m):
    with pytest.raises(InputError, match="^m: expected an integer from 1 to 3"):
        open_store(size=3).read([KEY], m)


def test_users_are_no_numbers(open_store):
    with pytest.raises(InputError, match="^users: expected keys of 1 to 511 bytes, got 1; make keys of ids by"):
        open_store().read([1])


@pytest.mark.parametrize("size", [0, -3, 2.0, None, True])
def test_a_store_of_no_size_is_refused(open_store, size):
    with pytest.raises(InputError, match="^size: expected an integer of at least 1"):
        open_store(size=size)
    assert rows(open_store(size=2).read([KEY])) == [[]]


def test_a_closed_store_says_so(open_store):
    with open_store() as store:
        store.append([KEY], [1], [1])
    store.close()
    for call in (lambda: store.append([KEY], [1], [2]), lambda: store.read([KEY])):
        with pytest.raises(StoreError, match="expected an open store, got a closed one"):
            call()
    assert rows(open_store().read([KEY])) == [[(1, 1)]]


def test_closing_waits_for_those_inside(open_store):
    """Threads that use a store while it is closed get their answer, or the error."""
    store, users, odd = open_store(), [b"i%d" % user for user in range(300)], []
    store.append(users, range(300), range(300))
    started = threading.Barrier(5)

    def use():
        started.wait()
        try:
            while True:
                if rows(store.read(users)) != [[(user, user)] for user in range(300)]:
                    odd.append("a wrong answer")
        except StoreError as error:
            if "closed" not in str(error):
                odd.append(str(error))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    store.close()
    for thread in threads:
        thread.join()
    assert not odd
