"""What stores are made of: entries that sort, keys of ids, numbers of items, and shared commits."""

from __future__ import annotations

import threading
import time
import uuid
from hashlib import blake2b

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micgraph.schema import InputError, StoreError
from micgraph.stores.codec import merge, pack, unpack
from micgraph.stores.group_commit import GroupCommit
from micgraph.stores.keys import item_keys, user_keys
from micgraph.stores.numbers import ItemNumbers
from tests.stores.oracle import rows

INT64 = st.integers(-(2**63), 2**63 - 1)
pairs = st.lists(st.tuples(INT64 | st.integers(-2, 2), INT64 | st.integers(-2, 2)), max_size=20)


def packed(events):
    time, item = (np.array([event[side] for event in events], np.int64) for side in (0, 1))
    return pack(item, time)


@given(pairs, pairs)
def test_entries_sort_as_events_do_and_come_back(one, other):
    entries = packed(one)
    assert sorted(entries) == packed(sorted(one)) and all(len(entry) == 16 for entry in entries)
    assert rows(unpack([b"".join(entries), b"", b"".join(packed(other))])) == [one, [], other]


@given(pairs, pairs.filter(bool), st.integers(1, 8))
def test_a_merged_history_is_the_last_of_both(old, new, size):
    history = b"".join(packed(sorted(set(old))[-size:]))
    expected = sorted({*sorted(set(old))[-size:], *new})[-size:]
    assert merge(history, packed(new), size) == b"".join(packed(expected))


def test_keys_of_users():
    assert user_keys([7, -7]) == [b"i7", b"i-7"]
    assert user_keys(np.array([2**64 - 1], np.uint64)) == [b"i18446744073709551615"]
    assert user_keys(np.array([7], np.int8)) == user_keys(pd.Series([7.0])) == [b"i7"]
    assert user_keys(["7", "ü", ""]) == [b"s7", b"s\xc3\xbc", b"s"]
    assert user_keys(pa.array(["7"]).dictionary_encode()) == [b"s7"]
    someone = uuid.UUID(int=5)
    assert user_keys([someone]) == [b"u" + someone.bytes]
    longest = "x" * 500
    assert user_keys([longest, longest + "y"]) == [
        b"s" + longest.encode(),
        b"h" + blake2b(longest.encode() + b"y", digest_size=32).digest(),
    ]
    assert user_keys([]) == []


def test_keys_of_items():
    assert item_keys([7, -(2**63), 2**63 - 1]).tolist() == [7, -(2**63), 2**63 - 1]
    for ids, raw in ((["a", "ü"], [b"a", b"\xc3\xbc"]), ([uuid.UUID(int=5)], [uuid.UUID(int=5).bytes])):
        expected = [int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True) for text in raw]
        assert item_keys(ids).tolist() == expected and item_keys(ids).dtype == np.int64
    assert item_keys([]).dtype == np.int64 and item_keys([]).shape == (0,)


@pytest.mark.parametrize("render", [user_keys, item_keys])
@pytest.mark.parametrize("ids", [[1, None], ["a", None], [1.5], [True], [b"a"], [1, "a"], [[1]], [2**64]])
def test_ids_without_a_key_are_refused(render, ids):
    with pytest.raises(InputError, match="^(users|items|ids): "):
        render(ids)


def test_items_beyond_int64_are_refused():
    with pytest.raises(InputError, match=f"below 2.*got {2**63}"):
        item_keys(np.array([2**63], np.uint64))


@given(st.lists(INT64 | st.integers(-40, 40), unique=True, max_size=60), st.lists(INT64 | st.integers(-40, 40)))
def test_numbers_of_items(keys, asked):
    place = {key: number for number, key in enumerate(keys)}
    numbers = ItemNumbers(np.array(keys, np.int64))
    assert numbers.find(np.array(keys + asked, np.int64)).tolist() == [place.get(key, -1) for key in keys + asked]


def test_two_items_of_one_key_are_refused():
    with pytest.raises(InputError, match="^keys: .*got 5 twice, the second time at 3"):
        ItemNumbers(np.array([4, 5, 0, 5, 0]))


class Disk:
    """A commit that waits until it may go on."""

    def __init__(self, fails=None):
        self.groups, self.inside, self.go_on = [], threading.Event(), threading.Event()
        self.fails = fails or {}

    def commit(self, works):
        self.inside.set()
        assert self.go_on.wait(30)
        self.groups.append(sorted(works))
        if len(self.groups) in self.fails:
            raise self.fails[len(self.groups)]


def run_four(disk):
    """Thread 0 commits; 1, 2 and 3 come while it does. What each of them met with."""
    group, met = GroupCommit(disk.commit), {}

    def work(number):
        try:
            group(number)
            met[number] = None
        except BaseException as error:  # noqa: B036 an interrupt is what is tested
            met[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    threads[0].start()
    assert disk.inside.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(group._waiting) < 3:
        pass
    disk.go_on.set()
    for thread in threads:
        thread.join()
    return met


def test_what_waits_shares_a_commit():
    disk = Disk()
    assert run_four(disk) == dict.fromkeys(range(4))
    assert disk.groups == [[0], [1, 2, 3]]


def test_who_is_done_does_not_wait_for_the_next_commit():
    """Thread 0's work is on disk while thread 1's is not: 0 goes on."""
    turns, returned = [threading.Event(), threading.Event()], []
    group = GroupCommit(lambda works: turns[works[0]].wait(30))
    threads = [threading.Thread(target=lambda n=n: (group(n), returned.append(n))) for n in (0, 1)]
    threads[0].start()
    while not group._busy:
        pass
    threads[1].start()
    while not group._waiting:
        pass
    turns[0].set()
    threads[0].join(30)
    assert returned == [0]
    turns[1].set()
    threads[1].join(30)
    assert returned == [0, 1] and not group._busy


def test_threads_that_write_again_and_again_do_not_take_turns():
    groups, start = [], threading.Barrier(4)
    group = GroupCommit(lambda works: (groups.append(sorted(works)), time.sleep(0.002)), pause=2)

    def write(thread):
        start.wait()
        for number in range(20):
            group((number, thread))

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sum(groups, [])) == [(number, thread) for number in range(20) for thread in range(4)]
    assert len(groups) <= 23 and [len(works) for works in groups].count(4) >= 17


def test_a_commit_that_fails_fails_for_all_of_its_group():
    met = run_four(Disk({2: StoreError("store", "room", "none", "make some")}))
    assert met[0] is None and len({id(met[number]) for number in (1, 2, 3)}) == 3
    for number in (1, 2, 3):
        assert str(met[number]) == "store: expected room, got none; make some" and isinstance(met[number], StoreError)


def test_an_interrupted_thread_leaves_the_others_to_another():
    disk = Disk({2: KeyboardInterrupt()})
    met = run_four(disk)
    assert [type(met[number]) for number in range(4)].count(KeyboardInterrupt) == 1 and len(disk.groups) == 3
    assert sorted(disk.groups[1]) == [1, 2, 3] and len(disk.groups[2]) == 2
    assert all(met[number] is None for number in (0, *disk.groups[2]))
