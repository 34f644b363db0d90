"""What item towers are given of the graph, against loops over the clicks: above all, that nothing to come is in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph import rng
from micgraph.graph.context import Bipartite, Hops, ItemContext, Reads, Sampled, Whole
from micgraph.graph.recgraph import RecGraph
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.context import ContextMaker, surroundings
from micgraph.sampling.plan import Batch, Requires
from micgraph.sampling.samples import SamplingConfig
from micgraph.schema import ConfigError
from tests.toy import Rows, random_rows, toy_graph, with_sessions

N_ITEMS, SPAN = 7, 10
ALL = 64  # a fanout that takes every neighbour
CLICKED, CLICKS_OF = ("user", "clicks", "item"), ("item", "rev_clicks", "user")
HELD, HOLDS = ("session", "contains", "item"), ("item", "rev_contains", "session")
click = st.tuples(st.integers(0, 25), st.integers(0, N_ITEMS - 1))
logs = st.lists(st.lists(click, max_size=9).map(lambda r: sorted(r, key=lambda c: c[0])), min_size=1, max_size=5)
samples = st.sampled_from(["clicks", "users", "positions"])


def graph_of(rows: Rows) -> RecGraph:
    return with_sessions(toy_graph(rows, N_ITEMS), rows, SPAN)


def batches(rows: Rows, kind: str, strict: bool, reads: Reads) -> list[tuple[Batch, dict[int, int]]]:
    """The batches of an epoch, and the time of the first target in each of every user that is in it."""
    config = SamplingConfig(samples=kind, batch_size=3, strict=strict)
    try:
        made = BatchSampler(graph_of(rows), config, [Requires(item_anchors=True, item_view=True)], 4, 0, reads)
    except ConfigError:  # no click can be a target
        return []
    flat = [(user, time) for user, row in enumerate(rows) for time, _ in row]
    found, order = [], made.order(0)
    for step in range(made.steps):
        cut = made.samples.cut(order[3 * step : 3 * step + 3], rng.make_key(0, "epoch", 0))
        targets = [flat[eid] for eid in cut.target.tolist()]
        found.append((made.batch(0, step, order), {u: min(t for v, t in targets if v == u) for u, _ in targets}))
    return found


def told_clicks(rows: Rows, first: dict[int, int]) -> list[tuple[int, int, int]]:
    """(user, time, item) of every click that is before the user's first target."""
    return [(u, t, i) for u, row in enumerate(rows) for t, i in row if u not in first or t < first[u]]


def ids(batch: Batch, context: ItemContext, items: torch.Tensor) -> tuple[list[int], list[int]]:
    """Numbers of the item and user nodes, which the toy's id fields tell."""
    beside = (context.beside["item_id"].values - 1).tolist()
    assert isinstance(context.messages, Hops)
    return items.tolist() + beside, (context.messages.users["user_id"].values - 1).tolist()


def contexts(batch: Batch) -> list[tuple[ItemContext, torch.Tensor]]:
    assert batch.context is not None and batch.anchor_context is not None
    return [(batch.context, batch.items), (batch.anchor_context, batch.items[batch.item_anchor])]


@settings(max_examples=30)
@given(logs, samples, st.booleans())
def test_no_message_comes_from_a_click_at_or_after_a_users_first_target(rows: Rows, kind: str, strict: bool) -> None:
    """Along clicks, in either direction, each click that may be told is told, and no other."""
    reads = Reads(0, Sampled(("clicks",), (ALL, ALL)))
    for batch, first in batches(rows, kind, strict, reads):
        told = Counter((u, i) for u, _, i in told_clicks(rows, first))
        for context, asked in contexts(batch):
            items, users = ids(batch, context, asked)
            assert len(set(items)) == len(items) and len(set(users)) == len(users)
            hops = context.messages
            heard = Counter((users[s], items[r]) for s, r in hops.edges[CLICKED].T.tolist())
            read = Counter((users[r], items[s]) for s, r in hops.edges[CLICKS_OF].T.tolist())
            assert not heard - told and not read - told
            asked_for = set(asked.tolist())  # they hear everything that may be told
            assert {p: n for p, n in heard.items() if p[1] in asked_for} == {
                p: n for p, n in told.items() if p[1] in asked_for
            }


@settings(max_examples=30)
@given(logs, samples, st.booleans())
def test_sessions_tell_no_click_at_or_after_their_users_first_target(rows: Rows, kind: str, strict: bool) -> None:
    reads = Reads(0, Sampled(("contains",), (ALL, ALL)))
    for batch, first in batches(rows, kind, strict, reads):
        stretches: dict[tuple[int, int], list[int]] = {}
        for user, time, item in told_clicks(rows, first):
            stretches.setdefault((user, time // SPAN), []).append(item)
        for context, asked in contexts(batch):
            items = asked.tolist() + (context.beside["item_id"].values - 1).tolist()
            inside: dict[int, list[int]] = {}
            for sender, receiver in context.messages.edges[HOLDS].T.tolist():
                inside.setdefault(receiver, []).append(items[sender])
            wanted = [sorted(found) for found in stretches.values() if set(found) & set(asked.tolist())]
            assert sorted(map(sorted, inside.values())) == sorted(wanted)
            reached = Counter(items[r] for _, r in context.messages.edges[HELD].T.tolist() if r < len(asked))
            assert reached == Counter(i for found in stretches.values() for i in found if i in set(asked.tolist()))


@settings(max_examples=30)
@given(logs, samples, st.booleans())
def test_the_whole_click_graph_is_cut_alike_in_both_directions(rows: Rows, kind: str, strict: bool) -> None:
    for batch, first in batches(rows, kind, strict, Reads(0, Whole())):
        told = Counter((u, i) for u, _, i in told_clicks(rows, first))
        for context, asked in contexts(batch):
            whole = context.messages
            assert isinstance(whole, Bipartite) and whole.keep is not None
            assert sorted(whole.item.tolist()) == list(range(N_ITEMS))
            assert whole.item[: len(asked)].tolist() == asked.tolist()
            for rel, keep, turned in ((whole.clicks, whole.keep[0], False), (whole.clicked_by, whole.keep[1], True)):
                ends = torch.stack([rel.row_index(), rel.col.long()], 1)[keep].tolist()
                assert Counter((b, a) if turned else (a, b) for a, b in ends) == told


@settings(max_examples=30)
@given(logs, samples, st.booleans(), st.integers(1, 3))
def test_the_latest_users_that_may_be_told(rows: Rows, kind: str, strict: bool, size: int) -> None:
    """Each user by the latest click on an item, the withheld ones left out of the last ``2 * size`` users."""
    for batch, first in batches(rows, kind, strict, Reads(size)):
        for context, asked in contexts(batch):
            audience = context.audience
            known = (audience.users["user_id"].values - 1).tolist()
            for line, item in enumerate(asked.tolist()):
                clicks = sorted((t, u) for u, row in enumerate(rows) for t, i in row if i == item)
                times = sorted((t, u) for u, t in {u: t for t, u in clicks}.items())[-2 * size :]
                want = [u for t, u in times if u not in first or t < first[u]][-size:]
                place = audience.place[line][audience.mask[line]]
                assert sorted(known[p] for p in place) == sorted(want)


def test_everything_takes_the_same_neighbours_always_and_withholds_nothing() -> None:
    rows = random_rows(n_items=N_ITEMS)
    graph = graph_of(rows)
    reads = Reads(2, Sampled(("clicks", "contains", "co_occurs", "similar"), (2, 2)))
    one, two = (surroundings(graph)(reads) for _ in range(2))
    assert all(torch.equal(ends, two.messages.edges[kind]) for kind, ends in one.messages.edges.items())
    clicks = [(u, i) for u, row in enumerate(rows) for _, i in row]
    assert Counter(map(tuple, one.messages.edges[CLICKED].T.tolist())) == Counter(clicks)
    assert one.messages.nodes_per_hop["user"][0] == len(rows) and not len(one.beside["item_id"])
    ends = one.messages.edges[("item", "similar", "item")]
    relation = graph.relation("similar")
    assert sorted(map(tuple, ends.flip(0).T.tolist())) == list(
        zip(relation.row_index().tolist(), relation.col.tolist(), strict=True)
    )


def test_counts_of_a_session_are_drawn_by_their_weights() -> None:
    rows = [[(0, 0), (1, 1)]] * 30 + [[(0, 0), (1, 2)]] * 10
    maker = ContextMaker(graph_of(rows), Reads(0, Sampled(("co_occurs",), (4000,))))
    context = maker.around(torch.tensor([0, 1, 2]), 5)
    sender, receiver = context.messages.edges[("item", "co_occurs", "item")]
    drawn = sender[receiver == 0]
    assert len(drawn) == 4000 and abs((drawn == 1).float().mean() - 0.75) < 0.03


def test_the_key_chooses_among_many_neighbours() -> None:
    rows = [[(t, t % N_ITEMS) for t in range(20)] for _ in range(12)]
    maker = ContextMaker(graph_of(rows), Reads(0, Sampled(("clicks",), (3, 2))))
    edges = [maker.around(torch.arange(3), key).messages.edges[CLICKED] for key in (1, 1, 2)]
    assert torch.equal(edges[0], edges[1]) and not torch.equal(edges[0], edges[2])
    assert Counter(edges[0][1].tolist())[0] == 3


def test_a_masked_context_leaves_out_the_asked_share() -> None:
    rows = random_rows(40, N_ITEMS, 12)
    graph, rate = graph_of(rows), 0.3
    for messages in (Sampled(("clicks", "similar"), (ALL, ALL)), Whole()):
        context = ContextMaker(graph, Reads(3, messages)).around(torch.arange(5), 1)
        masked = context.masked(7, rate)
        kept = masked.audience.mask
        assert not (kept & ~context.audience.mask).any()
        assert torch.equal(context.masked(7, rate).audience.mask, kept)
        assert not context.masked(7, 1.0).audience.mask.any()
        assert torch.equal(context.masked(7, 0.0).audience.mask, context.audience.mask)
        if isinstance(masked.messages, Hops):
            assert isinstance(context.messages, Hops)
            for kind, ends in masked.messages.edges.items():
                before = context.messages.edges[kind]
                assert sum(masked.messages.edges_per_hop[kind]) == ends.shape[1]
                assert not Counter(map(tuple, ends.T.tolist())) - Counter(map(tuple, before.T.tolist()))
            share = masked.messages.edges[CLICKED].shape[1] / context.messages.edges[CLICKED].shape[1]
        else:
            assert masked.messages.keep is not None
            there, back = masked.messages.keep
            clicks, clicked_by = masked.messages.clicks, masked.messages.clicked_by
            pairs = Counter(zip(clicks.row_index()[there].tolist(), clicks.col[there].tolist(), strict=True))
            turned = zip(clicked_by.col[back].tolist(), clicked_by.row_index()[back].tolist(), strict=True)
            assert pairs == Counter(turned), "both directions lose the same clicks"
            share = there.float().mean()
        assert abs(share - (1 - rate)) < 0.1


@pytest.mark.parametrize("messages", [None, Sampled(("clicks", "contains", "similar"), (ALL, ALL)), Whole()])
def test_what_a_view_leaves_out_does_not_depend_on_the_batch(messages: Sampled | Whole | None) -> None:
    rows = random_rows(40, N_ITEMS, 12)
    maker = ContextMaker(graph_of(rows), Reads(3, messages))

    def left(items: list[int]) -> tuple[set[tuple[int, int]], set[tuple[str, int, int]]]:
        """(item, user) of the latest users, and the edges that reach the item 2, that are left in a view."""
        context = maker.around(torch.tensor(items), 1).masked(7, 0.4)
        known = context.audience.users["user_id"].values.tolist()
        line = items.index(2)
        people = {known[p] for p in context.audience.place[line][context.audience.mask[line]].tolist()}
        edges = set()
        if isinstance(context.messages, Hops):
            numbers = items + (context.beside["item_id"].values - 1).tolist()
            nodes = {"user": context.messages.users["user_id"].values.tolist(), "item": numbers}
            for kind, ends in context.messages.edges.items():
                for sender, receiver in ends.T.tolist():
                    if kind[2] == "item" and receiver == line and kind[0] in nodes:
                        edges.add((kind[1], nodes[kind[0]][sender], 2))
        return people, edges

    alone, among = left([2]), left([0, 5, 2, 6])
    assert alone == among and alone[0]


@pytest.mark.parametrize("reads", [Reads(2), Reads(0, Whole()), Reads(0, Sampled(("clicks",), (2,)))])
def test_a_graph_without_times_is_refused(reads: Reads) -> None:
    graph = graph_of(random_rows(n_items=N_ITEMS))
    for name in ("clicks", "contains"):
        untimed = {**graph.relations, name: replace(graph.relation(name), time=None)}
        asked = reads if name == "clicks" else Reads(0, Sampled(("contains",), (2,)))
        with pytest.raises(ConfigError, match=f"times of the relation {name}"):
            ContextMaker(replace(graph, relations=untimed), asked)


def test_what_is_said_of_all_items_is_made_once() -> None:
    about = surroundings(graph_of(random_rows(n_items=N_ITEMS)))
    reads = Sampled(("clicks", "similar"), (2, 2))
    assert about(Reads(2, reads)) is about(Reads(2, reads)) and about(Reads(2, reads)) is not about(Reads(1, reads))


def test_relations_that_the_graph_lacks_are_named() -> None:
    graph = toy_graph(random_rows(n_items=N_ITEMS), N_ITEMS)
    assert list(ContextMaker(graph, Reads(0, Sampled(("contains", "similar"), (2,)))).relations) == [
        ("item", "similar", "item")
    ]
    with pytest.raises(ConfigError, match="relations"):
        ContextMaker(graph, Reads(0, Sampled(("contains",), (2,))))


def test_a_sampler_without_reads_gives_no_context() -> None:
    made = BatchSampler(graph_of(random_rows(n_items=N_ITEMS)), SamplingConfig(batch_size=4), [], 4)
    assert made.batch(0, 0).context is None and made.batch(0, 0).anchor_context is None
