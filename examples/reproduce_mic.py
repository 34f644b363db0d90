"""MIC's tables and figures again: users held out, seen items filtered, and beside it ("seen too") not filtered, as the
paper's figures are; those of its "+ MIC" are of the three channels fused.

    python examples/reproduce_mic.py --table 1 --data ml-1m --raw PATH --seeds 3     # base models and each + MIC
    python examples/reproduce_mic.py --table 4 --data ml-1m --raw PATH               # ablations, with diversity
    python examples/reproduce_mic.py --figure 4 --data ml-1m --raw PATH              # recall against diversity
    python examples/reproduce_mic.py --figure 5 --data ml-1m --raw PATH              # 8 losses x 3 channels
    python examples/reproduce_mic.py --best --data ml-1m --raw PATH                  # the best row; last line JSON

A command that was interrupted goes on where it was: each row and seed is a file under --out. Several commands with
different --rows may fill one --out at the same time. --trials 8 --epochs 10 tunes every row with the same budget on
the validation users, the ablations too, each for the tasks that it has; what is chosen is frozen before the test users
are looked at. --users 0.1 keeps a tenth of the training users.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import printed
from commands import REFERENCES, last_line, options, plan_of, tabulate

import micgraph as mg
from micgraph import datasets
from micgraph.config import dotted, merge, read_yaml
from micgraph.experiments import FUSED, FUSED_AGAINST_BOTH, U2I, Report, Row, View, figures, held_out_users, spaces
from micgraph.graph.events import Log
from micgraph.pipeline import evaluate

READERS: dict[str, Callable[[str], Log]] = {
    "ml-1m": datasets.movielens_1m,
    "amazon-book": datasets.amazon_book,
    "taobao": datasets.taobao,
    "steam": datasets.steam,
}
BACKBONES = ("mic_dnn", "gru4rec", "comirec_sa", "comirec_dr", "sasrec")
COLUMNS = (*printed.MIC_METRICS, "diversity@50", "coverage@50", *printed.seen_too(printed.MIC_METRICS))
ABLATION_COLUMNS = (*printed.MIC_ABLATION_METRICS, *printed.seen_too(printed.MIC_ABLATION_METRICS))
SHORT: dict[str, Any] = {
    "model": {"dim": 64, "history": 20, "dropout": 0.2, "item_bias": True},
    "sampling": {"samples": "positions", "strict": False, "batch_size": 128, "anchors_per_query": 4},
    "training": {"epochs": 16, "lr": 0.005, "validate_every": 2},
}
LONG: dict[str, Any] = {
    "model": {"dim": 64, "history": 200, "dropout": 0.3},
    "sampling": {"samples": "positions", "strict": False, "batch_size": 16, "anchors_per_query": 4},
    "training": {"epochs": 20, "lr": 0.003, "validate_every": 2},
}
CUTS: dict[str, Any] = {
    "model": {"dim": 64, "history": 20, "dropout": 0.2, "item_bias": True},
    "sampling": {"samples": "clicks", "batch_size": 1024},
    "training": {"epochs": 16, "lr": 0.005, "validate_every": 2},
}
SETTINGS = {"mic_dnn": SHORT, "gru4rec": LONG, "comirec_sa": SHORT, "comirec_dr": CUTS, "sasrec": LONG}
"""Every backbone's own: a mean over many films blurs the sitting that the targets belong to, a state does not. Chosen
on the validation users with a tenth of the training users, for the backbones without tasks."""
TASK_WEIGHT = 0.1
"""Of each of MIC's tasks where nothing is tuned."""
BASE_SEARCH: dict[str, Any] = {
    "training.lr": {"values": [0.002, 0.003, 0.005]},
    "model.dropout": {"values": [0.1, 0.3, 0.5]},
    "training.weight_decay": {"values": [0.0, 0.01, 0.1]},
}
ABLATED = "comirec_sa"
LAMBDA_DIV = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
LOSSES = ("ui", "uu", "ii")
BEST_CONFIG = Path(__file__).resolve().parents[1] / "configs" / "ml1m_best.yaml"


def search_of(tasks: str = "") -> dict[str, Any]:
    """What is tuned of a row with some tasks ("ui+ii", "mic" for all three): they share one weight and one temperature,
    whichever they are, so that an ablation is searched as the full model is."""
    own = {
        f"tasks.{tasks.replace('+', ',')}.weight": {"values": [0.03, 0.1, 0.3]},
        f"tasks.{tasks.replace('+', ',')}.tau": {"values": [0.1, 0.2, 0.5]},
    }
    return {**BASE_SEARCH, **(own if tasks else {})}


def settings_of(encoder: str, tasks: str = "") -> dict[str, Any]:
    """The settings of a row before anything is tuned."""
    return merge(SETTINGS[encoder], {"tasks": {task: {"weight": TASK_WEIGHT} for task in tasks.split("+") if task}})


def row(name: str, encoder: str, tasks: str = "", **more: Any) -> Row:
    """A backbone with some of MIC's tasks ("" for none)."""
    model = "+".join(filter(None, [encoder, tasks]))
    return Row(name, model, config=settings_of(encoder, tasks), search=search_of(tasks), **more)


def table_1() -> list[Row]:
    """Reference rows, then every backbone and the same with MIC: its tasks alone, and with its channels against the
    backbone alone, which is what the paper compares, and against the backbone's own channels."""
    rows = list(REFERENCES)
    for name in BACKBONES:
        rows.append(row(name, name, views=(U2I, FUSED)))
        rows.append(row(f"{name} + MIC", name, "mic", base=name, views=(U2I, FUSED_AGAINST_BOTH)))
    return rows


def table_4() -> list[Row]:
    """The full model, without each loss, perturbation and mining, and without each channel of the inference."""
    channels = [
        View(f", without {out.upper()}", tuple(c for c in FUSED.channels or () if c != out), base="full")  # type: ignore[misc]
        for out in ("u2u", "u2i", "i2i")
    ]
    whole = View("", FUSED.channels)
    less = {"- UU": "ui+ii", "- UI": "uu+ii", "- II": "ui+uu"}
    settings = {"- perturbation": {"perturb": {"sides": "none"}}, "- mining": {"mining": {"mode": "none"}}}
    rows = [row("full", ABLATED, "mic", views=(whole, *channels))]
    rows += [row(name, ABLATED, tasks, base="full", views=(whole,)) for name, tasks in less.items()]
    rows += [row(name, ABLATED, "mic", base="full", views=(whole,), fixed=fixed) for name, fixed in settings.items()]
    return [*rows, row("- all", ABLATED, base="full", views=(whole,))]


def figure_4() -> list[Row]:
    """The backbone's own candidates and MIC's three channels, each reordered for diversity more and more."""

    def views(channels: Any) -> tuple[View, ...]:
        return tuple(View(f", λ_div {weight:g}", channels, {"lambda_div": weight}) for weight in LAMBDA_DIV)

    return [
        row(ABLATED, ABLATED, views=views(("u2i",)), fusions=({"basic": "score"},)),
        row(f"{ABLATED} + MIC", ABLATED, "mic", base=ABLATED, views=views(FUSED.channels)),
    ]


def figure_5() -> list[Row]:
    """Every set of losses, each channel on its own."""
    rows = []
    views = tuple(View(f", {name.upper()}", (name,)) for name in FUSED.channels or ())
    for code in range(8):
        tasks = [task for place, task in enumerate(LOSSES) if code >> place & 1]
        name, base = "-".join(task.upper() for task in tasks) or "Base", "Base" if tasks else None
        rows.append(row(name, ABLATED, "+".join(tasks), base=base, views=views, fusions=({"basic": "score"},)))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Read the data, fill what was asked for, write it down."""
    args = _arguments(argv)
    log = READERS[args.data](args.raw)
    title = f"{args.data}, users held out"
    if args.best:
        _train_best(log, args)
        return
    name = f"table-{args.table}" if args.table else f"figure-{args.figure}"
    plan = plan_of(args, f"mic-{args.data}-{name}")
    bench = held_out_users(log, title, (20, 50), args.split_seed, args.users, graphs=plan.out / "graphs")
    if args.table == 1:
        report = tabulate(table_1(), bench, plan, args, name, COLUMNS, "recall@50", printed.mic(args.data))
    elif args.table == 4:
        paper = printed.shares(printed.MIC_ABLATION, printed.seen_too(printed.MIC_ABLATION_METRICS), 100)
        report = tabulate(table_4(), bench, plan, args, name, ABLATION_COLUMNS, "recall@50", paper)
    elif args.figure == 4:
        report = tabulate(figure_4(), bench, plan, args, name, ("recall@50", "diversity@50"), "recall@50")
        print(f"figure: {_draw_4(report, plan.out / 'recall-diversity.png')}")
    else:
        report = tabulate(figure_5(), bench, plan, args, name, ("recall@50",), "recall@50", measure=spaces)
        print(f"figure: {_draw_5(report, plan.out / 'spaces.png')}")
    print(last_line(report, "recall@50"))


def _train_best(log: Log, args: argparse.Namespace) -> None:
    """Train the row of configs/ml1m_best.yaml, and judge its U2I lists and its fused lists."""
    config = merge(read_yaml(args.config), dotted(args.set))
    if args.epochs is not None:
        config = merge(config, {"training": {"epochs": args.epochs}})
    parts = mg.split(log, "user_holdout", seed=args.split_seed)
    graph = mg.build(parts.train, config.get("build"))
    reached = []
    for seed in range(args.seeds):
        seeded = merge(config, {"training": {"seed": config.get("training", {}).get("seed", 0) + seed}})
        out = Path(args.out or "runs/mic-best") / f"seed-{seed}"
        run = mg.train(graph, config=seeded, validation=parts.valid, out=out, device=args.device, on_epoch=_tell)
        found = evaluate(run, parts.test, baselines=("popularity", "ease") if not seed else ())
        print(found, flush=True)
        own, fused = found[run.name], found[f"{run.name}, fused"]
        reached.append([result[f"recall@{k}"] for result in (own, fused) for k in (20, 50)])
    names = ("recall@20", "recall@50", "fused_recall@20", "fused_recall@50")
    means = [sum(column) / len(column) for column in zip(*reached, strict=True)]
    print(json.dumps({name: round(value, 4) for name, value in zip(names, means, strict=True)}))


def _tell(row: dict[str, float]) -> None:
    shown = ("epoch", "seconds", "loss", "valid/recall@20", "valid/recall@50")
    print("  ".join(f"{name} {row[name]:.4g}" for name in shown if name in row), flush=True)


def _means(report: Report, metric: str) -> dict[str, float]:
    return {line.name: sum(line.values[metric]) / line.seeds for line in report.lines if line.values.get(metric)}


def _draw_4(report: Report, path: Path) -> Path:
    recall, diversity = _means(report, "recall@50"), _means(report, "diversity@50")
    curves = []
    for row in figure_4():
        lines = [line for line in row.lines if line in recall and line in diversity]
        texts = [line.rpartition(" ")[2] for line in lines]
        curves.append(figures.Curve(row.name, [recall[n] for n in lines], [diversity[n] for n in lines], texts))
    return figures.curves(curves, "recall@50", "diversity@50", path)


def _draw_5(report: Report, path: Path) -> Path:
    recall, grid = _means(report, "recall@50"), []
    rows = [row for row in figure_5() if row.name in report.extra]
    for channel in FUSED.channels or ():
        value = [recall[f"{row.name}, {channel.upper()}"] for row in rows]
        line = []
        for x, y in (("ui_align", "uu_uniform"), ("ui_align", "ii_uniform"), ("uu_uniform", "ii_uniform")):
            points = [[report.extra[row.name][name] for row in rows] for name in (x, y)]
            title = f"{channel.upper()}: recall@50"
            line.append(figures.Panel(title, x, y, *points, value, [row.name for row in rows]))
        grid.append(line)
    return figures.panels(grid, path)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__ or "")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", type=int, choices=(1, 4))
    what.add_argument("--figure", type=int, choices=(4, 5))
    what.add_argument("--best", action="store_true", help="train the best row again")
    parser.add_argument("--data", choices=list(READERS), default="ml-1m")
    parser.add_argument("--split-seed", type=int, default=1230)
    parser.add_argument("--config", default=BEST_CONFIG, help="of --best")
    args = parser.parse_args(argv)
    tables = ("users", "trials", "rows", "keep_runs")
    given = [f"--{name.replace('_', '-')}" for name in tables if getattr(args, name) != parser.get_default(name)]
    if args.best and given:
        parser.error(f"--best trains one model on all training users: leave out {', '.join(given)}")
    if args.raw is None:
        parser.error("--raw is needed: the folder of the data set")
    return args


if __name__ == "__main__":
    main()
