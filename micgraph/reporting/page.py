"""The report's page: its parts in their order, each with what it says, what it is of, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from micgraph.document import Picture, document, figure
from micgraph.graph.tables import Table
from micgraph.reporting import figures, tables, words
from micgraph.reporting.item_map import groups
from micgraph.reporting.judging import Comparison
from micgraph.reporting.looks import key
from micgraph.reporting.users import by_history

_STYLE = """
h2 { font-size: 1.2rem; border-top: 1px solid var(--grid); padding-top: 1.2rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; overflow-wrap: anywhere; }
p { color: var(--ink); font-size: .95rem; max-width: 46rem; }
figcaption, .note { color: var(--muted); font-size: .85rem; }
nav ul, .key { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; margin: .6rem 0;
  font-size: .9rem; }
a { color: var(--s0); }
.key svg { display: inline-block; width: 1.4rem; height: 1rem; margin-right: .35rem; vertical-align: -.15rem; }
main { overflow-wrap: anywhere; }
.wide { margin: .8rem 0; overflow-wrap: normal; }
figure .wide { margin: 0; }
th { white-space: nowrap; }
.figures { grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
.wide:focus-visible { outline: 2px solid var(--s0); }
.best { font-weight: 700; color: var(--ink); background: var(--grid); }
details { margin: .6rem 0; font-size: .95rem; }
summary { cursor: pointer; }
.text td { white-space: normal; }
.text td:nth-child(3), .text td:nth-child(4) { min-width: 10rem; }
"""


def page(found: Comparison) -> str:
    """The whole page as HTML."""
    parts = [
        ("runs", "Runs", _runs(found)),
        ("epochs", "Over epochs", _epochs(found)),
        ("trade-off", "Recall, coverage, diversity", _trade_off(found)),
        ("channels", "Channels", _channels(found)),
        ("popularity", "Popularity of what is found", _popularity(found)),
        ("users", "Cold and warm users", _users(found)),
        ("vectors", "Alignment and uniformity", _vectors(found)),
        ("map", "Map of item vectors", _map(found)),
        ("examples", "Example users", _examples(found)),
    ]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in parts)
    body = f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n<main>\n'
    body += "\n".join(
        f'<section id="{name}">\n<h2>{title}</h2>\n{"".join(blocks)}\n</section>' for name, title, blocks in parts
    )
    return document(f"micgraph: {words.runs(len(found.runs))} compared", f"{body}\n</main>", _STYLE)


def _runs(found: Comparison) -> Iterable[str]:
    yield _said(words.judged_on(found))
    yield _shown(tables.settings(found))
    if found.data is None:
        return
    yield _shown(tables.reached(found))
    yield _said(words.METRICS, "note")


def _epochs(found: Comparison) -> Iterable[str]:
    if not any(run.epochs for run in found.runs):
        yield _said(words.NO_EPOCHS)
        return
    yield _said(words.epochs(found))
    yield _key(found)
    yield _pictures([*figures.losses(found.runs), *figures.validation(found.runs)])


def _trade_off(found: Comparison) -> Iterable[str]:
    if found.data is None or found.popularity is None:
        yield _said(words.NO_HOLDOUT)
        return
    diverse = f"diversity@{found.k}" in found.popularity.values
    yield _said(words.TRADE_OFF if diverse else f"{words.TRADE_OFF} {words.NO_CATEGORIES}")
    yield _key(found, "popularity")
    curves = [figures.trade_off(found, against) for against in ("coverage", *(["diversity"] if diverse else []))]
    yield _pictures([*curves, figures.channels_apart(found)])
    yield _details("The numbers", tables.over_lengths(found))


def _channels(found: Comparison) -> Iterable[str]:
    if found.data is None:
        yield _said(words.NO_HOLDOUT)
        return
    yield _said(words.channels(found))
    yield _key(found, lines=False)
    rows = [row for _, row in tables.of_channels(found)]
    yield _pictures([figures.contributions(found, rows, int(len(found.data.clicks.items)))])
    yield _shown(tables.channels(found))


def _popularity(found: Comparison) -> Iterable[str]:
    if found.data is None:
        yield _said(words.NO_HOLDOUT)
        return
    yield _said(words.POPULARITY)
    yield _key(found, "popularity")
    yield _pictures(list(figures.deciles(found)))
    yield _details("The numbers", tables.deciles(found))


def _users(found: Comparison) -> Iterable[str]:
    if found.data is None or found.popularity is None:
        yield _said(words.NO_HOLDOUT)
        return
    results = [one for run in found.runs if (one := run.fused) is not None]
    buckets = [by_history(one, found.data, found.k) for one in [*results, found.popularity]]
    yield _said(words.users(buckets[0]))
    yield _key(found, "popularity")
    yield _pictures([figures.by_history(found, buckets)])
    yield _details("The numbers", tables.by_history(found, buckets))


def _vectors(found: Comparison) -> Iterable[str]:
    if found.data is None:
        yield _said(words.NO_HOLDOUT)
        return
    yield _said(words.VECTORS)
    yield _key(found, lines=False)
    yield _pictures([figures.vectors(found)])
    yield _shown(tables.vectors(found))


def _map(found: Comparison) -> Iterable[str]:
    pictures = list(figures.item_maps(found))
    if not pictures:
        yield _said(words.NO_MAP)
        return
    yield _said(words.item_map(found))
    names = [name for name, _ in groups(found.graph, found.runs[0].items.items)]
    coloured = [name for name in names if name not in figures.GREY_NAMES]
    yield key(coloured, lines=False, beside=" and ".join(name for name in names if name in figures.GREY_NAMES))
    yield _pictures(pictures)
    yield _shown(tables.maps(found))


def _examples(found: Comparison) -> Iterable[str]:
    if found.data is None or found.rows is None:
        yield _said(words.NO_HOLDOUT)
        return
    yield _said(words.examples(found))
    for at, row in enumerate(found.rows.tolist()):
        yield f"<h3>User {escape(str(found.data.user_ids[row].as_py()))}</h3>"
        yield from (_said(text) for text in words.story(found, row))
        for run in found.runs:
            hits = sum(one.hit for one in run.recalls[at])
            title = f"{run.label}: {hits} of {len(run.recalls[at])} clicked later"
            yield _details(title, tables.recalled(found, run, at), "text", opened=run is found.runs[0])


def _said(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>\n' if kind else f"<p>{escape(text)}</p>\n"


def _key(found: Comparison, beside: str = "", lines: bool = True) -> str:
    return key([run.label for run in found.runs], lines, beside) + "\n"


def _pictures(pictures: Sequence[Picture]) -> str:
    return '<div class="figures">\n' + "\n".join(map(figure, pictures)) + "\n</div>\n"


def _shown(table: Table, kind: str = "") -> str:
    return f'<div class="{f"wide {kind}".strip()}" tabindex="0">{table.html()}</div>\n'


def _details(title: str, table: Table, kind: str = "", opened: bool = False) -> str:
    state = " open" if opened else ""
    return f"<details{state}><summary>{escape(title)}</summary>\n{_shown(table, kind)}</details>\n"
