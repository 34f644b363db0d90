"""Rows in words: every number is the frame's, and the sum that is written is the score."""

from __future__ import annotations

import re

import pytest
import torch

from micgraph.retrieval.learned import LearnedFusion
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import InputError, UnknownIdError

LEARNED = LearnedFusion(["u2i_score", "u2u_count", "i2i"], [0.2, 0.5, 0.1], [2.0, 0.7, 0.5], [1.0, -0.4, 0.7])
NUMBER = r"-?[\d.]+(?:e-?\d+)?"
FUSIONS = [
    {},
    {"basic": "score", "count_scale": "log", "lambda_mic": 2.0, "k2": 2, "k3": 3},
    {"lambda_div": 0.0, "decay": 0.5},
    {"fusion": "rrf", "k3": 2},
    {"fusion": "quotas", "quotas": {"u2i": 2, "i2i": 1}},
    {"fusion": "learned", "lambda_div": 0.3},
]


def test_a_degraded_list_says_why(world):
    rec = Recommender(world(2))
    ask = {"histories": [["i03"]], "channels": ["i2i"]}
    frame = rec.recommend(k=20, **ask)
    assert frame["degraded"].all()
    popular = int((frame["channels"] == "popular").sum())
    said = rec.explain(None, frame["item_id"][19], k=20, **ask).splitlines()[-1]
    assert said == f"The list is degraded: {popular} of its items are popular ones that fill up."
    strange = rec.recommend(histories=[["unheard of"]], k=5)
    said = rec.explain(None, strange["item_id"][0], k=5, histories=[["unheard of"]]).splitlines()[-1]
    assert strange["degraded"].all()
    assert "U2U and I2I found nothing" in said
    assert "degraded" not in rec.explain("u01", rec.recommend("u01", k=2)["item_id"][0], k=2)


def test_another_name_of_an_argument_is_refused(world):
    with pytest.raises(InputError, match="candidate: expected one of .*; did you mean 'candidates'"):
        Recommender(world(2)).explain("u01", "i01", candidate=["i01"])


def value(sum_in_words):
    """What is left of the last "=" of a line, without the remarks in brackets, as a number."""
    left, _, right = sum_in_words.rstrip(".").rpartition(" = ")
    plain = left.partition(": ")[2].rpartition("; score ")[2]
    plain = re.sub(r" of (U2I|U2U|I2I)", "", re.sub(r" \((?![\d.]+ \+)[^()]*\)", "", plain))
    assert re.fullmatch(r"[-\d.e+*/ ()]+", plain), plain
    return eval(plain), float(right)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("seed", [1, 5])
def test_the_words_say_what_the_frame_says(world, fusion, seed):
    w = world(seed, **fusion)
    w.model.search = torch.randn(25, 4, generator=torch.Generator().manual_seed(seed))
    w.learned = LEARNED
    rec = Recommender(w)
    frame, cuts, brought = rec.recommend(["u01", "u05"], k=12), 0, 0
    for row in frame[frame["channels"] != "popular"].to_dict("records"):
        head, *lines = rec.explain(row["user_id"], row["item_id"], k=12).splitlines()
        assert head == f"{row['item_id']} is at place {row['rank']} of 12, score {row['score']:.6f}."
        for line in lines[3:]:
            left, right = value(line)
            assert left == pytest.approx(right, abs=2e-5)
        assert value(lines[-1])[1] == pytest.approx(row["score"], abs=1e-6)
        assert lines[0].startswith("U2I: at place" if "u2i" in row["channels"] else "U2I: not in its list")
        assert lines[0].endswith(f"score {row['u2i_score']:.6f}.")
        for line, name in ((lines[1], "u2u"), (lines[2], "i2i")):
            count = row[f"{name}_count"]
            assert line.startswith(name.upper()) and ("does not bring it" in line) == (count == 0)
            if count:
                brought += 1
                assert ("once" if count == 1 else f"{count} times") in line
                total = float(re.search(f"add up to ({NUMBER})", line)[1].rstrip("."))
                assert total == pytest.approx(row[f"{name}_score"], abs=1e-5)
                cuts += "not among" in line
                assert ("not among" in line) == (name not in row["channels"])
        if isinstance(row["trigger"], str):
            assert any(row["trigger"].split(":", 1)[1] in line for line in lines[1:3])
    assert brought > 5 and (cuts > 0 or "k3" not in fusion)


def test_the_users_and_clicks_that_are_named_are_the_nearest(world):
    rec = Recommender(world(2))
    frame = rec.recommend(["u01"], k=15)
    similar = dict(zip(*(rec.similar_users("u01", k=11)[c] for c in ("similar_id", "score")), strict=True))
    named = 0
    for item in frame["item_id"][frame["u2u_count"] > 0]:
        found = re.search(r"the most similar (u\d\d) \((.*?)\)", rec.explain("u01", item, k=15))
        assert float(found[2]) == pytest.approx(similar[found[1]], abs=1e-5)
        named += 1
    assert named


def test_popular_rows_and_people_with_histories(world):
    w = world(4, k1=1)
    rec = Recommender(w)
    ask = {"histories": [["i03"]], "channels": ["i2i"], "filter_seen": False, "exclude": ["i07"]}
    frame = rec.recommend(k=20, **ask)
    popular = frame[frame["channels"] == "popular"].iloc[0]
    clicks = int(w.graph.popularity()[int(popular["item_id"][1:])])
    found = (frame["channels"] != "popular").sum()
    expected = f"{popular['item_id']} is at place {popular['rank']} of 20: a popular item ({clicks:,} clicks), "
    assert rec.explain(None, popular["item_id"], k=20, **ask) == "\n".join(
        [
            f"{expected}for the channels gave {found} items.",
            f"The list is degraded: {20 - found} of its items are popular ones that fill up.",
        ]
    )
    text = rec.explain(None, frame["item_id"][0], k=20, **ask)
    assert "most of i03 (" in text and "U2U" not in text and "U2I:" not in text


def test_why_an_item_may_not_be_in_the_list(world):
    w = world(2)
    rec = Recommender(w)
    seen, other = f"i{w.clicks[1][0]:02}", f"i{next(i for i in range(25) if i not in w.clicks[1]):02}"
    rest = [f"i{i:02}" for i in range(25) if f"i{i:02}" not in (seen, other)]
    for item, asked, message in (
        (seen, {}, f"{seen}'.* the history has: it is left out as seen; pass filter_seen=False"),
        (seen, {"exclude": [seen], "candidates": [seen, *rest]}, "left out as seen"),
        (seen, {"exclude": [seen], "filter_seen": False}, "exclude= leave out; allow it"),
        (other, {"exclude": [[other]]}, "exclude= leave out"),
        (other, {"candidates": rest}, "candidates= or exclude= leave out"),
        (other, {"candidates": [rest]}, "candidates= or exclude= leave out"),
    ):
        with pytest.raises(InputError, match=message):
            rec.explain("u01", item, k=1, **asked)
    assert seen in rec.explain("u01", seen, k=25, filter_seen=False)
    with pytest.raises(InputError, match="left out as seen"):
        rec.explain(None, "i07", k=5, histories=[["i07", "i08"]])


def test_bad_questions(world):
    rec = Recommender(world(2))
    out = sorted({f"i{i:02}" for i in range(25)} - set(rec.recommend(["u01"], k=3)["item_id"]))[0]
    for arguments, error, message in (
        (("u01", "zz"), UnknownIdError, "zz"),
        (("who", "i01"), UnknownIdError, "who"),
        (("u01", out, 3), InputError, "not among them"),
    ):
        with pytest.raises(error, match=message):
            rec.explain(*arguments)
    with pytest.raises(InputError, match="one person"):
        rec.explain(None, "i01", histories=[["i01"], ["i02"]])
