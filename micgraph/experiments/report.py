"""What a directory of results says: means over seeds, and tests of each line against the one that it builds on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from micgraph import disk
from micgraph.disk import write_text
from micgraph.experiments.deciles import Gain, cells, gains
from micgraph.experiments.record import RESULTS, Line, Record, refuse_mixed
from micgraph.experiments.row import Row, comparisons
from micgraph.significance import holm, paired_bootstrap, welch


@dataclass(frozen=True)
class Summary:
    """One line of the table over its seeds.

    Attributes:
        name: the line's.
        values: metric and cut -> one number a seed.
        seconds: of training, mean over seeds.
        parameters: of the model.
        seeds: how many there are.
    """

    name: str
    values: dict[str, list[float]]
    seconds: float
    parameters: int
    seeds: int

    def cell(self, metric: str) -> str:
        """Mean ± standard deviation, or a dash where the line has no such figure."""
        values = self.values.get(metric, [])
        if not values:
            return "-"
        return f"{np.mean(values):.4f}" + (f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else "")


@dataclass(frozen=True)
class Comparison:
    """A line against the one that it builds on, in one metric.

    Attributes:
        line, base: their names.
        metric: what is compared.
        difference, low, high: of the means, with the 95% interval of a paired bootstrap over test users, whose numbers
            are means over seeds.
        p: of that bootstrap, and ``p_holm`` corrected for all comparisons of the table.
        p_welch: of Welch's test over seeds, None with one seed on a side; ``p_welch_holm`` as above.
    """

    line: str
    base: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    p_welch: float | None
    p_welch_holm: float | None


@dataclass(frozen=True)
class Report:
    """A table; :meth:`write` puts it on disk as Markdown and JSON.

    Attributes:
        title: of the table.
        columns: metrics and cuts that are shown.
        lines: in the table's order.
        comparisons: of the metric that decides.
        printed: line -> metric and cut -> the paper's figure.
        missing: row -> why it is not there.
        notes: on the data.
        extra: line's row -> further figures, means over seeds.
        gains: of the same comparisons by the popularity of the clicked items, at the deciding metric's cut.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    printed: Mapping[str, Mapping[str, float]]
    missing: Mapping[str, str]
    notes: tuple[str, ...]
    extra: Mapping[str, Mapping[str, float]]
    gains: tuple[Gain, ...] = ()

    @classmethod
    def of(
        cls,
        out: Path,
        rows: Sequence[Row],
        title: str,
        columns: Sequence[str],
        decides: str,
        printed: Mapping[str, Mapping[str, float]] | None = None,
        missing: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
    ) -> Report:
        """The report on everything that is in a directory, whichever process put it there.

        Args:
            out: the directory of the table.
            rows: all rows of the table, in its order.
            title: of the table.
            columns: metrics and cuts to show.
            decides: the metric in which lines are compared.
            printed: the paper's figures by line.
            missing: why rows cannot be had; one without a result is said to be still to run.
            notes: on the data.

        Raises:
            ConfigError: results of other data, another number of trials or epochs, or other overrides lie beside each
                other.
        """
        found = {row.name: _records(out, row) for row in rows}
        refuse_mixed(found)
        groups = {name: [r.lines[name] for r in found[row.name]] for row in rows for name in row.lines}
        groups = {name: group for name, group in groups.items() if group}
        lines = [_summary(name, found[row.name], groups[name]) for row in rows for name in row.lines if name in groups]
        reasons = {row.name: "not run yet" for row in rows if not found[row.name]} | dict(missing or {})
        pairs = [(line, base) for line, base in comparisons(list(rows)) if line in groups and base in groups]
        extra = {name: _means([r.extra or {} for r in records]) for name, records in found.items() if records}
        return cls(
            title,
            tuple(columns),
            tuple(lines),
            tuple(_compare(groups, pairs, decides)),
            printed or {},
            reasons,
            tuple(notes),
            {name: figures for name, figures in extra.items() if figures},
            tuple(gains(groups, pairs, int(decides.partition("@")[2]))),
        )

    def markdown(self) -> str:
        """The table, its tests and its notes."""
        parts = [f"# {self.title}", *self.notes, _grid(self._rows())]
        if self.comparisons:
            what = f"Differences in {self.comparisons[0].metric}, with 95% intervals and p of a paired bootstrap over "
            what += "test users, and p of Welch's test over seeds; in brackets after Holm's correction for this table."
            parts += [what, _grid(self._tests())]
        if self.gains:
            what = f"Differences in {self.gains[0].metric} by the popularity of the clicked item, rarest items first: "
            what += "each decile holds about a tenth of the training clicks. A star marks a 95% interval of a paired "
            what += "bootstrap over test users that leaves out 0, not corrected for the number of deciles."
            parts += [what, _grid(cells(self.gains))]
        if self.missing:
            parts.append("\n".join(f"- {name}: {reason}" for name, reason in self.missing.items()))
        return "\n\n".join(parts) + "\n"

    def write(self, out: Path, name: str) -> Path:
        """Write ``name.md`` and ``name.json`` into the directory; returns the first."""
        write_text(out / f"{name}.json", json.dumps(asdict(self), indent=1))
        path = out / f"{name}.md"
        disk.write_text(path, self.markdown())
        return path

    def _rows(self) -> list[list[str]]:
        paper = [column for column in self.columns if any(column in figures for figures in self.printed.values())]
        extra = list(dict.fromkeys(name for figures in self.extra.values() for name in figures))
        head = ["", *self.columns, *(f"{column} (paper)" for column in paper), *extra, "seconds", "parameters", "seeds"]
        rows = [head]
        for line in self.lines:
            printed = self.printed.get(line.name, {})
            figures = self.extra.get(line.name, {})
            rows.append(
                [
                    line.name,
                    *(line.cell(column) for column in self.columns),
                    *(f"{printed[column]:.4f}" if column in printed else "-" for column in paper),
                    *(f"{figures[name]:.4f}" if name in figures else "-" for name in extra),
                    f"{line.seconds:.0f}",
                    f"{line.parameters:,}",
                    str(line.seeds),
                ]
            )
        return rows

    def _tests(self) -> list[list[str]]:
        rows = [["line", "against", "difference", "95% interval", "p users (Holm)", "p seeds (Holm)"]]
        for one in self.comparisons:
            seeds = "-" if one.p_welch is None else f"{one.p_welch:.4f} ({one.p_welch_holm:.4f})"
            interval = f"{one.low:+.4f} to {one.high:+.4f}"
            users = f"{one.p:.4f} ({one.p_holm:.4f})"
            rows.append([one.line, one.base, f"{one.difference:+.4f}", interval, users, seeds])
        return rows


def _records(out: Path, row: Row) -> list[Record]:
    """The stored results of a row, by seed."""
    found = [Record.load(path) for path in (out / RESULTS / row.slug).glob("seed-*.json")]
    return sorted(found, key=lambda record: record.seed)


def _summary(name: str, records: Sequence[Record], lines: Sequence[Line]) -> Summary:
    names = lines[0].values
    values = {metric: [line.values[metric] for line in lines if metric in line.values] for metric in names}
    seconds = float(np.mean([record.seconds for record in records]))
    return Summary(name, values, seconds, records[0].parameters, len(records))


def _compare(groups: Mapping[str, list[Line]], pairs: Sequence[tuple[str, str]], metric: str) -> list[Comparison]:
    """Every pair, with Holm's correction over all of them."""
    raw: list[tuple[tuple[str, str], Any, float | None]] = []
    for line, base in pairs:
        mine, theirs = (np.mean([one.per_user[metric] for one in groups[name]], axis=0) for name in (line, base))
        users = paired_bootstrap(mine, theirs, groups[line][0].weights[metric.partition("@")[0]])
        a, b = ([one.values[metric] for one in groups[name]] for name in (line, base))
        raw.append(((line, base), users, welch(a, b).p if min(len(a), len(b)) > 1 else None))
    users_holm = holm([users.p for _, users, _ in raw])
    seeds = [p for _, _, p in raw if p is not None and not math.isnan(p)]
    seeds_holm = iter(holm(seeds))
    return [
        Comparison(
            *names,
            metric,
            users.difference,
            users.low,
            users.high,
            users.p,
            float(corrected),
            p,
            None if p is None or math.isnan(p) else float(next(seeds_holm)),
        )
        for (names, users, p), corrected in zip(raw, users_holm, strict=True)
    ]


def _means(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in figures if name in one])) for name in figures[0]}


def _grid(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
