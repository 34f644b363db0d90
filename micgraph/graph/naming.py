"""What ``columns=`` may say: our name -> the source's name, each spelt as one of the two is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from micgraph import schema
from micgraph.schema import SchemaError, did_you_mean

EVENT_COLUMNS = (
    schema.USER_ID,
    schema.ITEM_ID,
    schema.TIMESTAMP,
    schema.ORDINAL,
    schema.SESSION_ID,
    schema.DURATION,
    schema.WEIGHT,
)
LOG_COLUMNS = (*EVENT_COLUMNS, schema.EVENT)
KNOWN = (*LOG_COLUMNS, schema.TITLE, schema.CATEGORY, schema.TAGS, schema.PROVIDER, schema.EMBEDDING)
NEEDED = (schema.USER_ID, schema.ITEM_ID, schema.TIMESTAMP)
NEAR = 0.8  # likeness from which another name is taken for a slip: "titel" is one of title, "subtitle" is not


def as_names(columns: Any) -> dict[str, str]:
    """What ``columns=`` says, nothing for None.

    Raises:
        SchemaError: it is no mapping of texts to texts.
    """
    if columns is None:
        return {}
    if not isinstance(columns, Mapping) or not all(isinstance(n, str) for pair in columns.items() for n in pair):
        remedy = 'write it as {"item_id": "article"}: our name -> yours'
        raise SchemaError("columns", "a mapping of names to names", repr(columns), remedy)
    return dict(columns)


def check(columns: Mapping[str, str], found: Iterable[str]) -> None:
    """Refuse entries that would be ignored.

    A feature table may have any columns, so an unknown name of ours is an error only where it is nearly a known one.
    That a log's own column exists is for :func:`require`, which knows the table.

    Args:
        columns: our name -> the source's name.
        found: the columns of all given tables, under their own names.

    Raises:
        SchemaError: an entry is reversed, its name of ours is misspelt, or no table has its column.
    """
    present = list(dict.fromkeys(found))
    for ours, theirs in columns.items():
        if _is_reversed(columns, ours, present):
            remedy = f'the mapping is our name -> yours: write columns={{"{theirs}": "{ours}"}}'
            raise SchemaError("columns", f"one of our names before {theirs!r}", repr(ours), remedy)
        if ours not in KNOWN and get_close_matches(str(ours), KNOWN, n=1, cutoff=NEAR):
            remedy = f"{did_you_mean(str(ours), KNOWN, '')} If not, rename the column in its table"
            raise SchemaError("columns", "names of ours before theirs", repr(ours), remedy)
        if ours not in LOG_COLUMNS and theirs not in present:
            remedy = did_you_mean(str(theirs), present, "name a column of the log, items= or users=")
            got = f"only the columns {', '.join(present)}"
            raise SchemaError("columns", f"a column {theirs!r} for {ours!r}", got, remedy)
        if theirs in NEEDED and theirs not in columns and ours not in KNOWN:
            remedy = f'the mapping is our name -> yours: write columns={{"{theirs}": ...}}, or leave the entry out'
            got = f"{ours!r}, which takes {theirs!r} away from the log"
            raise SchemaError("columns", f"one of our names before {theirs!r}", got, remedy)


def _is_reversed(columns: Mapping[str, str], ours: str, present: list[str]) -> bool:
    """Whether an entry has a column before one of our names.

    It is so too where some table has both, unless both change places: nobody gives the name of a column to another one.
    Of two names of ours the first may be a column's as well; they are reversed where the second is not.
    """
    theirs = columns[ours]
    if theirs not in KNOWN or ours not in present or theirs in columns:
        return False
    return theirs not in present if ours in KNOWN else True


def require(
    argument: str, names: Iterable[str], types: Mapping[str, Any], found: Iterable[str], columns: Mapping[str, str]
) -> None:
    """Refuse a table without the columns ``names``.

    Args:
        types: the table's columns under our names.
        found: its columns under their own names, which is how the error names them.

    Raises:
        SchemaError: one is missing.
    """
    present = list(found)
    for name in names:
        if name not in types:
            wanted = columns.get(name, name)
            near = get_close_matches(str(wanted), present, n=1)
            remedy = f'name it with columns={{"{name}": ...}}'
            remedy = f'did you mean columns={{"{name}": "{near[0]}"}}?' if near and near[0] != wanted else remedy
            features = [
                kind for kind, id_name in (("items", schema.ITEM_ID), ("users", schema.USER_ID)) if id_name in types
            ]
            if argument == "log" and len(features) == 1 and schema.TIMESTAMP not in types and not near:
                remedy += f", or pass it as {features[0]}= beside a log if it is a table of these"
            raise SchemaError(argument, f"a column {wanted!r}", f"the columns {', '.join(present)}", remedy)
