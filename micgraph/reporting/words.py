"""What a report says in sentences: what was measured on what, how its parts are to be read, and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence

from micgraph.reporting.examples import LATEST, RECALLS
from micgraph.reporting.judging import Comparison, Judged
from micgraph.reporting.users import Bucket

NO_HOLDOUT = (
    "Not measured: no held-out part was given, and none of the graph's own split was found beside the runs. Pass one "
    "with --holdout (holdout= in Python)."
)
NO_EPOCHS = "No run has an epoch on record."
NO_CATEGORIES = "Diversity is not shown: it needs items of several categories, and lists of two items or more."
NO_MAP = "No map: the graph has too few items."
METRICS = (
    "Bold: the best of its column. recall: share of a user's distinct held-out items in his list, mean over users. "
    "hit: share of all held-out clicks whose item is in the list. ndcg: with an ideal list of as many hits as are "
    "possible. coverage: share of the catalogue that anybody is shown. diversity: share of the pairs of a list whose "
    "categories differ. Fused lists are those that recommend gives."
)
TRADE_OFF = (
    "Longer lists find more and show more of the catalogue. All curves are of the fused lists, grey is popularity."
)
POPULARITY = (
    "What is found of clicks on rare items and of those on popular ones, in the fused lists. A curve that falls to "
    "the left more steeply than another's belongs to a run that lives more on popular items."
)
VECTORS = (
    "Alignment: mean squared distance of a user's vector and the vector of an item that he went on to click, 0 to 4. "
    "Uniformity: the logarithm of the mean of exp(-2 d²) over pairs of vectors at distance d; the lower, the more "
    "evenly they lie (Wang & Isola 2020). Both on unit vectors. They describe the spaces; a better value need not "
    "mean better lists."
)


def runs(n: int) -> str:
    """How many runs there are."""
    return "1 run" if n == 1 else f"{n} runs"


def judged_on(found: Comparison) -> str:
    """What was measured on what, and what it does not tell."""
    graph = found.graph
    about = f"All runs are trained on one graph of {graph.n_users:,} users and {graph.n_items:,} items. "
    seeds = "Every run is one training with one seed: a small difference between two runs may be the seed's. "
    if found.data is None:
        return about + seeds + NO_HOLDOUT
    part = found.data.manifest.get("part") or "held-out"
    named = f"the {part} part of the split" + (f" ({found.source})" if found.source else "")
    n, clicks = len(found.data), len(found.data.clicks.items)
    drawn = f" drawn at random (seed {found.seed}) from {found.of_users:,}" if n < found.of_users else ""
    how = "without the items that a user has clicked before" if found.filter_seen else "items clicked before included"
    only = "; only clicks on items new to their user count" if found.new_only else ""
    text = f"{about}All lists below are judged on {named}: {clicks:,} clicks of {n:,} users{drawn}, {how}{only}. "
    return text + seeds + _chosen_on(found)


def _chosen_on(found: Comparison) -> str:
    """What the held-out part has already decided: epochs, learned fusions, and what no run has on record."""
    assert found.data is not None
    mine = (found.data.manifest.get("split"), found.data.manifest.get("part"))
    seen = [run for run in found.runs if run.validation and (run.validation["split"], run.validation["part"]) == mine]
    text = "No run has chosen its epoch on this part. "
    if seen:
        text = f"On this very part the epoch was chosen for {_labels(seen)}, which flatters them a little. "
    fitted = [run for run in seen if run.learned]
    if fitted:
        text += f"The learned fusion of {_labels(fitted)} was fitted on it too: these fused rows are in-sample, "
        text += "compare them on another part. "
    text += "Settings that tune or tune_fusion found on this part flatter a run as well, and so does a learned fusion "
    return text + "taken over from another run that had this part; a run does not have these on record."


def _labels(runs: Sequence[Judged]) -> str:
    return ", ".join(run.label for run in runs)


def epochs(found: Comparison) -> str:
    """What the curves are, and which run has no validation."""
    text = (
        "The parts of the loss are means over an epoch's steps before they are weighted; losses of other parts, "
        "temperatures or negatives cannot be compared with each other. Where mining begins (mining.start), uu and ii "
        "change what they contrast, so that their curves may jump there."
    )
    lacking = [run.label for run in found.runs if not any("valid/" in name for row in run.epochs for name in row)]
    return text + (
        f" Without a validation part, hence without metrics over epochs: {', '.join(lacking)}." if lacking else ""
    )


def channels(found: Comparison) -> str:
    """What is counted of channels."""
    return (
        f"What the {found.k} best items of each channel alone hold of the held-out clicks. Only its own: those that "
        "no other channel of the same run finds. Recall lost: how much less the fused lists find without the "
        "channel, below 0 where they are better without. Also in: the share of the channel's items that another "
        "one's list has too."
    )


def users(buckets: Sequence[Bucket]) -> str:
    """Which users are cold, and how few they are."""
    none = next(one for one in buckets if one.name == "0")
    few = sum(one.users for one in buckets if one.name in ("0", "1-4"))
    if not few:
        return "Every user of the held-out part has five or more known items in his history: nobody is cold here."
    return (
        f"{few:,} of {sum(one.users for one in buckets):,} users have fewer than five known items, {none.users:,} none."
    )


def item_map(found: Comparison) -> str:
    """What the map is, and what it is not."""
    n = len(found.runs[0].items.items)
    which = "all items" if n == found.graph.n_items else f"{n:,} items drawn at random (seed {found.seed})"
    return (
        f"The vectors of {which} by which I2I compares them, put on a plane by t-SNE: near points were near before, "
        "but distances between clusters, their sizes and the axes mean nothing, and each map has its own plane. The "
        "table has what can be compared: how much of the vectors' variance any two axes can show at most, and how "
        "many of an item's nearest ten among these items (by cosine of the whole vectors) are of its category, which "
        "item vectors read where it is a field of the items."
    )


def examples(found: Comparison) -> str:
    """How the users were chosen."""
    assert found.rows is not None and found.data is not None
    return (
        f"{len(found.rows)} users drawn at random (seed {found.seed}) from the {len(found.data):,} judged ones, "
        f"whatever their lists look like, with the {RECALLS} best items of the fused lists. They show how lists come "
        "about, not how good a run is."
    )


def story(found: Comparison, row: int) -> list[str]:
    """What one user had clicked, the latest first, and what he went on to click."""
    assert found.data is not None
    data, graph = found.data, found.graph
    past = data.histories.rows(row, row + 1).items.tolist()
    later = list(dict.fromkeys(data.clicks.rows(row, row + 1).items.tolist()))
    latest = [item if item < graph.n_items else -1 for item in past[: -LATEST - 1 : -1]]
    known = [item for item in later if item < graph.n_items]
    had = f"History, the latest of {len(past):,} first: {_named(found, latest)}." if past else "No history."
    strangers = len(later) - len(known)
    more = f"; and {strangers:,} that the graph does not know" if strangers else ""
    return [had, f"Clicked later: {_named(found, known[:LATEST])}{_rest(len(known))}{more}."]


def _rest(n: int) -> str:
    return f", and {n - LATEST:,} more" if n > LATEST else ""


def _named(found: Comparison, items: Sequence[int]) -> str:
    if not items:
        return "nothing that the graph knows"
    return "; ".join(title or "an unknown item" for title in found.graph.titles(list(items)))
