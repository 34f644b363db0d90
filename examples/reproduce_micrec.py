"""MicRec's tables and figure again: trained before a cut, tested on the window after it.

    python examples/reproduce_micrec.py --table 2 --data complete-journey --seeds 3          # models and MicRec
    python examples/reproduce_micrec.py --table 4 --data complete-journey                    # ablation, with coverage
    python examples/reproduce_micrec.py --figure 3 --data complete-journey                   # tasks on more models
    python examples/reproduce_micrec.py --table 2 --data globo --raw PATH
    python examples/reproduce_micrec.py --channels --data complete-journey            # each channel alone, and fused

Complete Journey: trained on what households bought before December 2017, tested on the products that each bought in
December for the first time; products bought at least 5 times before December. A household's later purchases of a
product are no events, so HIT@N is the share of distinct (household, product) that were found; recall, in which rows
are compared, is the mean over households. Globo: clicks of the 12 hours after 2017-10-16 12:00, HIT@N a click, and
beside it over the clicks on articles that were clicked before; it has no titles. In both, settings and numbers of
epochs are chosen one window earlier (November; the 12 hours before), then every row is trained up to the cut and
tested once. --channels compares what each channel finds alone with the fused lists, in HIT@200; what each of them has
to choose (:func:`micgraph.experiments.channel_views`) is chosen one window earlier too, on at most 2,000 users.

A command that was interrupted goes on where it was: each row and seed is a file under --out. Several commands with
different --rows may fill one --out at the same time.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import printed
from commands import REFERENCES, last_line, options, plan_of, tabulate

from micgraph import datasets
from micgraph.config import merge
from micgraph.experiments import FUSED, U2I, Bench, Row, View, after_a_cut, channel_views
from micgraph.schema import SIMILAR

KS = (50, 100, 200, 500)
CHANNEL_KS, CHANNEL_METRIC, FUSION_USERS = (50, 200), "hit@200", 2000
RECENT = View(", last 6h", recent="6h")
CONFIG: dict[str, dict[str, Any]] = {
    "complete-journey": {
        "model": {"dim": 64, "history": 200, "dropout": 0.2, "item_bias": True, "user_fields": []},
        "tasks": {"matching": {"negatives": "popularity", "count": 512}},
        "sampling": {"samples": "positions", "batch_size": 8, "beta": 0.5},
        "training": {"epochs": 4, "lr": 0.002},
    },
    "globo": {
        "model": {"dim": 64, "history": 20, "dropout": 0.1},
        "sampling": {"samples": "users", "batch_size": 1024},
        "training": {"epochs": 5, "lr": 0.002},
    },
}
COSINE: dict[str, Any] = {"weight": 0.3, "cosine": True, "tau": 0.2}
TASKS: dict[str, dict[str, dict[str, Any]]] = {
    "complete-journey": {
        **dict.fromkeys(("fea", "sem", "sess"), COSINE),
        **dict.fromkeys(("rfm", "cfm"), {"weight": 0.3}),
    },
    "globo": {},
}
"""Where a task differs from its defaults, which are the paper's. Looked at in November, as CONFIG was: there the fields
of users, which CONFIG leaves out, took more than they gave."""
BASE_SEARCH: dict[str, Any] = {
    "training.lr": {"values": [0.001, 0.002, 0.005]},
    "model.dropout": {"values": [0.0, 0.1, 0.3]},
    "training.weight_decay": {"values": [0.0, 0.01, 0.1]},
}
TASK_WEIGHTS: dict[str, Any] = {"values": [0.1, 0.3, 1.0]}
MODELS = {"FM": "fm", "YoutubeDNN": "youtube_dnn", "DeepFM": "deepfm", "AutoInt": "autoint", "ICAN": "ican"}
CONTRASTS = {
    "RFM": "rfm",
    "CFM": "cfm",
    "RFM* = MicRec (fea)": "fea",
    "MicRec (fea+sess)": "fea+sess",
    "MicRec (final)": "fea+sess+sem",
}
STEPS = ("RFM* = MicRec (fea)", "MicRec (fea+sess)", "MicRec (final)")
FUSED_ROWS = ("MicRec (final)", "MicRec", "DeepFM + fea+sess+sem")
"""The full models, whose channels are fused too, against the base without them: MicRec is of U2I alone. DeepFM is the
best base in November."""
FUSION: dict[str, Any] = {
    "fusion": "learned",
    "learn_from": ["u2i_score", "u2i_rank", "i2i_weight", "i2i_count"],
    "neighbors": "ease",
    "lambda_div": 0.0,
    "m": 200,
    "m3": 100,
}
"""Chosen in November on 400 households and one model, among five."""
NEIGHBORS = {"complete-journey": ("near", "co_occurs", "ease"), "globo": ("near", "co_occurs")}
"""What I2I may read where channels are compared; Globo is too large for a linear model of its articles."""
NO_TITLES = "the data has neither titles nor categories, so no item is semantically similar to another"
NO_FIELDS = "items have no field but their id, so there is none to mask and none to leave"


def references(data: str) -> list[Row]:
    """Popularity, of the last hours too where news are read, ItemKNN and EASE."""
    recent = [Row("popularity 6h", baseline="popularity", config={"window": "6h"})] if data == "globo" else []
    return [*recent, *REFERENCES]


def row(name: str, encoder: str, tasks: str, data: str, bench: Bench, *base: str) -> Row:
    """One row: an encoder with tasks ("" for none), or the reason why the data cannot have it."""
    names = [task for task in tasks.split("+") if task]
    config = merge(CONFIG[data], {"tasks": {task: TASKS[data].get(task, {}) for task in names}})
    search = BASE_SEARCH | {f"tasks.{task}.weight": TASK_WEIGHTS for task in names}
    model = "+".join(filter(None, [encoder, tasks]))
    views: tuple[View, ...] = (U2I,) if data == "complete-journey" else (U2I, RECENT)
    if name in FUSED_ROWS and data == "complete-journey":
        views = (U2I, View(FUSED.label, FUSED.channels, against=("",)))
    return Row(name, model, None, config, search, base, views, (FUSION,), missing=_lacks(tasks, bench))


def table_2(data: str, bench: Bench) -> list[Row]:
    """Reference rows, the five models, and ICAN with each contrast: against ICAN, and each of MicRec's also against the
    one with a task less, for the paper says that every task helps."""
    rows = [row(name, encoder, "", data, bench) for name, encoder in MODELS.items()]
    less = {more: name for name, more in zip(STEPS, STEPS[1:], strict=False)}
    for name, tasks in CONTRASTS.items():
        rows.append(row(name, "ican", tasks, data, bench, "ICAN", *filter(None, [less.get(name)])))
    return [*references(data), *rows]


def table_4(data: str, bench: Bench) -> list[Row]:
    """The full model and the same without each task."""
    less = {"- feature": "sem+sess", "- semantic": "fea+sess", "- session": "fea+sem", "- all": ""}
    rows = [row("MicRec", "ican", "fea+sem+sess", data, bench)]
    return rows + [row(name, "ican", tasks, data, bench, "MicRec") for name, tasks in less.items()]


def figure_3(data: str, bench: Bench) -> list[Row]:
    """YoutubeDNN and AutoInt, as in the paper, and DeepFM with more and more tasks, each against none and against one
    less."""
    rows = []
    for name in ("YoutubeDNN", "AutoInt", "DeepFM"):
        before: list[str] = []
        for tasks in ("", "fea", "fea+sess", "fea+sess+sem"):
            label = f"{name} + {tasks}" if tasks else name
            rows.append(row(label, MODELS[name], tasks, data, bench, *dict.fromkeys([*before[:1], *before[-1:]])))
            before.append(label)
    return rows


def channels(data: str, bench: Bench) -> list[Row]:
    """A base and one with tasks, each channel alone and all fused."""
    views = channel_views(NEIGHBORS[data], CONFIG[data]["model"]["history"])
    tasks = "fea+sess+sem" if data == "complete-journey" else "fea+sess"
    rows = [row("DeepFM", "deepfm", "", data, bench), row(f"DeepFM + {tasks}", "deepfm", tasks, data, bench)]
    return [*references(data), *(replace(one, base=one.name, views=views) for one in rows)]


def bench_of(data: str, raw: str | None, users: float, graphs: Path) -> Bench:
    """The data under its protocol; its graphs are kept in a folder."""
    if data == "complete-journey":
        log = datasets.complete_journey(5, before="2017-12-01", distinct=True)
        title = "Complete Journey, products new to their household, December 2017"
        return after_a_cut(log, title, "2017-12-01", "31d", "2017-11-01", KS, users, graphs=graphs)
    title = "Globo, the 12 hours after 2017-10-16 12:00"
    times = ("2017-10-16 12:00", "12h", "2017-10-16 00:00")
    log = datasets.globo(raw or "")
    return after_a_cut(log, title, *times, KS, users, filter_seen=False, monitor="hit@500", graphs=graphs)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the data, fill what was asked for, write it down."""
    args = _arguments(argv)
    name = "channels" if args.channels else f"table-{args.table}" if args.table else f"figure-{args.figure}"
    plan = plan_of(args, f"micrec-{args.data}-{name}")
    bench = bench_of(args.data, args.raw, args.users, plan.out / "graphs")
    if args.channels:
        bench = replace(bench, ks=CHANNEL_KS, monitor=CHANNEL_METRIC, fusion_users=FUSION_USERS)
        columns = [f"{metric}@{k}" for metric in ("hit", "recall", "coverage") for k in CHANNEL_KS]
        report = tabulate(channels(args.data, bench), bench, plan, args, name, columns, CHANNEL_METRIC)
        print(last_line(report, CHANNEL_METRIC))
        return
    decides = f"{'recall' if args.data == 'complete-journey' else 'hit'}@{KS[-1]}"
    hits = tuple(f"hit@{k}" for k in KS)
    beside = tuple(f"{'recall' if args.data == 'complete-journey' else 'hit_known'}@{k}" for k in KS)
    cold = tuple(f"{name}@{KS[-1]}" for name in ("hit_cold_items", "hit_cold_users", "coverage"))
    paper = None
    if args.table == 2:
        rows = table_2(args.data, bench)
        paper = printed.shares(printed.MICREC if args.data == "complete-journey" else printed.MICREC_NEWS, hits)
    elif args.table == 4:
        rows = table_4(args.data, bench)
        paper = printed.shares(printed.MICREC_ABLATION, (hits[0], hits[-1], cold[-1]))
    else:
        rows = figure_3(args.data, bench)
    report = tabulate(rows, bench, plan, args, name, (*beside, *hits, *cold), decides, paper)
    print(last_line(report, decides))


def _lacks(tasks: str, bench: Bench) -> str | None:
    """Why the data cannot have these tasks."""
    if "sem" in tasks.split("+") and SIMILAR not in bench.graph.relations:
        return NO_TITLES
    if tasks in ("rfm", "cfm") and len(bench.graph.item_fields) < 2:
        return NO_FIELDS
    return None


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__ or "")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", type=int, choices=(2, 4))
    what.add_argument("--figure", type=int, choices=(3,))
    what.add_argument("--channels", action="store_true", help="each channel alone, and all fused")
    parser.add_argument("--data", choices=list(CONFIG), default="complete-journey")
    args = parser.parse_args(argv)
    if args.data == "globo" and args.raw is None:
        parser.error("--raw is needed: clicks.parquet, or the folder that has it")
    return args


if __name__ == "__main__":
    main()
