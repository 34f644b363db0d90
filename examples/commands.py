"""What the reproduction commands share: their options, and a table on disk from the results that are there."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from micgraph.config import dotted
from micgraph.experiments import Bench, Measure, Plan, Report, Row, chosen, figures, fill

__all__ = ["REFERENCES", "last_line", "options", "plan_of", "tabulate"]

REFERENCES = (
    Row("popularity", baseline="popularity"),
    Row("itemknn", baseline="itemknn", search={"k": {"values": [20, 50, 200]}}),
    Row("ease", baseline="ease", search={"l2": {"values": [100.0, 300.0, 1000.0]}}),
)
"""What every table has; where --trials is above 1, ItemKNN and EASE are chosen among three on validation data too."""


def options(description: str) -> argparse.ArgumentParser:
    """The options that every table takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", help="the data set's file or folder")
    parser.add_argument("--out", help="where results go; what is found there is gone on from")
    parser.add_argument("--seeds", type=int, default=1, help="how many times each row is trained")
    parser.add_argument("--rows", help="only these rows, separated by commas; the table shows all that are there")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of every row")
    parser.add_argument("--users", type=float, default=1.0, help="share of the training users that is kept")
    parser.add_argument(
        "--trials",
        type=int,
        default=1,
        help="runs among which validation chooses a row's settings; above 1 also 3 fits of ItemKNN and of EASE",
    )
    parser.add_argument("--epochs", type=int, help="at most so many, in trials and afterwards")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.add_argument("--keep-runs", action="store_true", help="leave the trained models in the directory")
    return parser


def plan_of(args: argparse.Namespace, default: str) -> Plan:
    """How the table is filled, as the options say."""
    out = Path(args.out or f"runs/{default}{'' if args.users == 1 else f'-users{args.users:g}'}")
    return Plan(out, args.seeds, dotted(args.set), args.trials, args.epochs, args.device, args.keep_runs)


def tabulate(
    rows: Sequence[Row],
    bench: Bench,
    plan: Plan,
    args: argparse.Namespace,
    name: str,
    columns: Sequence[str],
    decides: str,
    printed: Mapping[str, Mapping[str, float]] | None = None,
    measure: Measure | None = None,
) -> Report:
    """Fill the rows that were asked for, and write the table of everything that is in the directory.

    Args:
        rows: of the table.
        bench: the data.
        plan: see :func:`plan_of`.
        args: the options.
        name: of the files.
        columns: metrics that the table shows.
        decides: the metric in which rows are compared, and that the figure shows.
        printed: the paper's figures.
        measure: further figures of each run.
    """
    print(bench.title, *bench.notes, sep="\n", flush=True)
    missing = fill(chosen(list(rows), args.rows), bench, plan, lambda line: print(line, flush=True), measure)
    missing = {row.name: row.missing for row in rows if row.missing} | missing
    report = Report.of(plan.out, rows, bench.title, columns, decides, printed, missing, bench.notes)
    path = report.write(plan.out, name)
    print(f"\n{report.markdown()}\ntable: {path}")
    if report.lines:
        print(f"figure: {figures.lines(report, decides, plan.out / f'{name}.png')}")
    if report.gains:
        print(f"figure: {figures.by_popularity(report, plan.out / f'{name}-popularity.png')}")
    return report


def last_line(report: Report, metric: str) -> str:
    """JSON: each line's mean of the metric that decides."""
    means = {line.name: sum(values) / len(values) for line in report.lines if (values := line.values.get(metric))}
    return json.dumps({line: round(value, 4) for line, value in means.items()})
