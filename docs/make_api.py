"""Writes docs/api.md from the docstrings of what is public: python docs/make_api.py."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import micgraph

PAGE = Path(__file__).with_name("api.md")
HEAD = """# API reference

Made by `python docs/make_api.py` from the docstrings: every public name of `micgraph`, in the order in which work goes,
then the pieces of its packages that other pages name. `mg` is `import micgraph as mg`. B, T, d and the like are sizes
of tensors; nodes are numbers from 0 inside, external ids only at the borders. Settings have a
[page of their own](settings.md). Every error is a `MicgraphError` and reads `argument: expected ..., got ...; remedy`.
"""
GROUPS: dict[str, tuple[str, ...]] = {
    "Logs and splits": ("read_log", "Log", "split", "Split", "Holdout"),
    "Graphs": ("build", "BuildConfig", "append", "RecGraph", "inspect"),
    "Training": ("train", "load_run", "Run", "tune", "Tuned", "register_encoder", "register_task"),
    "Judging": ("evaluate", "channel_report", "ChannelReport", "ab_test"),
    "Recommending": (
        *("Recommender", "LmdbStore", "RedisStore", "refresh", "Refreshed", "tune_fusion", "FusionChoice"),
        *("tune_index", "stage_times", "register_channel"),
    ),
}
PIECES: dict[str, tuple[str, ...]] = {
    "Reading graphs": (
        *("graph.relation.Relation", "graph.relation.window", "graph.relation.locate", "graph.relation.packed"),
        *("graph.tickets.draw", "graph.membership.members", "graph.product.propagate", "sampling.khop.khop"),
        *("sampling.pyg.KHopSampler", "graph.fields.Field", "ids.IdMap"),
    ),
    "Models": (
        *("nn.query.QueryEncoder", "nn.query.QueryInput", "nn.towers.TwoTower", "nn.export.BoundModel"),
        *("tasks.base.Task", "tasks.base.Reps", "sampling.plan.Requires", "sampling.plan.Batch"),
    ),
    "Searching and retrieval": (
        *("knn.VectorIndex", "knn.NeighborTable", "knn.Ragged", "knn.topk"),
        *("retrieval.channels.Queries", "retrieval.channels.Candidates", "retrieval.rankers.FusedRanker"),
    ),
    "Evaluation": ("evaluation.prepare", "evaluation.evaluate_ranker", "evaluation.Result"),
    "Data sets": tuple(
        f"datasets.{name}"
        for name in ("movielens_1m", "complete_journey", "globo", "mind_small_titles", "amazon_book", "steam", "taobao")
    ),
}
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
TITLES = {"Args": "Arguments"}


def public() -> dict[str, dict[str, Any]]:
    """What the page has: group -> shown name -> object. A public name without a group comes under "More"."""
    told = {name for names in GROUPS.values() for name in names}
    errors = [name for name in micgraph.__all__ if _is_error(getattr(micgraph, name))]
    more = tuple(name for name in micgraph.__all__ if name not in told and name not in errors)
    groups = {**GROUPS, **({"More": more} if more else {}), "Errors": tuple(errors)}
    found = {title: {f"mg.{name}": getattr(micgraph, name) for name in names} for title, names in groups.items()}
    return found | {title: {f"micgraph.{name}": _find(name) for name in names} for title, names in PIECES.items()}


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of a class and of those of its bases that are micgraph's, in their order."""
    seen = {f.name for f in fields(kind)} if is_dataclass(kind) else set()
    for base in kind.__mro__:
        if base.__module__.split(".")[0] == "micgraph":
            for name, value in vars(base).items():
                shown = isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value)
                if not name.startswith("_") and shown and name not in seen:
                    seen.add(name)
                    yield name, value


def page() -> str:
    """The whole page."""
    groups = public()
    slugs: set[str] = set()
    parts = [
        HEAD,
        *(f"- **{title}**: {', '.join(_link(name, slugs) for name in names)}" for title, names in groups.items()),
    ]
    text = "\n".join(parts) + "\n"
    for title, names in groups.items():
        text += f"\n## {title}\n"
        for name, value in names.items():
            text += "\n" + (_class(name, value) if isinstance(value, type) else _entry(f"### {name}", name, value))
    return text


def signature(name: str, value: Any) -> str:
    """As Python writes it, an argument a line where one line is too short."""
    found = inspect.signature(value)
    parts, kinds = [], [p.kind for p in found.parameters.values()]
    for one in (p for p in found.parameters.values() if p.name != "self"):
        star = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        if one.kind == one.KEYWORD_ONLY and one.VAR_POSITIONAL not in kinds and "*" not in parts:
            parts.append("*")
        kind = "" if one.annotation is one.empty else f": {_type(one.annotation)}"
        default = "" if one.default is one.empty else f"{' = ' if kind else '='}{_default(one.default)}"
        parts.append(f"{star}{one.name}{kind}{default}")
    back = "" if found.return_annotation in (found.empty, None, "None") else f" -> {_type(found.return_annotation)}"
    line = f"{name}({', '.join(parts)}){back}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){back}"


def markdown(doc: str) -> str:
    """A Google docstring as Markdown: text, then its sections as lists."""
    doc = inspect.cleandoc(doc)
    cuts = [*re.finditer(rf"^({'|'.join(SECTIONS)}):\n", doc, re.M)]
    ends = [*(cut.start() for cut in cuts[1:]), len(doc)][: len(cuts)]
    text = [_inline(doc[: cuts[0].start()] if cuts else doc)]
    for cut, end in zip(cuts, ends, strict=True):
        body = inspect.cleandoc("\n" + doc[cut.end() : end])
        entries = re.findall(r"^(\S[^:\n]*): (.*?)(?=^\S|\Z)", body, re.M | re.S)
        after = re.split(r"\n\n(?=\S)", doc[cut.end() : end], maxsplit=1)
        title = TITLES.get(cut[1], cut[1])
        if cut[1] in ("Returns", "Yields") or not entries:
            text.append(f"**{title}:** {_inline(body)}")
        else:
            text.append(f"**{title}**\n\n" + "\n".join(f"- `{name}`: {_flat(said)}" for name, said in entries))
        if len(after) > 1 and not after[1].startswith(" "):
            text.append(_inline(after[1]))
    return "\n\n".join(part for part in text if part)


def _class(name: str, kind: type) -> str:
    if _is_error(kind):
        return f"### {name}\n\n{markdown(kind.__doc__ or '')}\n"
    text = _entry(f"### {name}", name, kind)
    for member, value in members(kind):
        short = f"{name.rpartition('.')[2]}.{member}"
        if isinstance(value, property):
            text += f"\n#### {short}\n\n*property* — {markdown(_doc(kind, member))}\n"
        else:
            text += "\n" + _entry(f"#### {short}", short, getattr(kind, member), _doc(kind, member))
    return text


def _entry(heading: str, name: str, value: Any, doc: str | None = None) -> str:
    return f"{heading}\n\n```text\n{signature(name, value)}\n```\n\n{markdown(doc or value.__doc__ or '')}\n"


def _doc(kind: type, member: str) -> str:
    """Of a method, or of the one that it overrides."""
    docs = (getattr(vars(base).get(member), "__doc__", None) for base in kind.__mro__)
    return next((doc for doc in docs if doc), "")


def _inline(text: str) -> str:
    """Paragraphs and lists of a docstring, without Sphinx's marks."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?([\w]+)`", r"`\1`", text).replace("``", "`")
    blocks = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(block if block.lstrip().startswith("- ") else " ".join(block.split()) for block in blocks)


def _flat(text: str) -> str:
    return " ".join(_inline(text).split())


def _type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])", "", text)


def _default(value: Any) -> str:
    if value is MISSING or "<factory>" in repr(value):
        return "..."
    return f"{type(value).__name__}()" if is_dataclass(value) else repr(value)


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def _find(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(f"micgraph.{module}"), name)


def _link(name: str, slugs: set[str]) -> str:
    """A link to a heading: of two that differ in case alone the second is numbered, as GitHub does it."""
    slug = re.sub(r"[^a-z0-9_-]", "", name.lower())
    slug = f"{slug}-1" if slug in slugs else slug
    slugs.add(slug)
    return f"[{name.rpartition('.')[2]}](#{slug})"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
