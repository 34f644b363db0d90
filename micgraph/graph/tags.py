"""Tags of items that come as text, which is all that a CSV file has, as the lists that they mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from micgraph.schema import TAGS, SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATOR = "|"
_EXPECTED = 'lists of tags, as lists or as text: a JSON list such as ["a", "b"], or a|b'
_REMEDY = "rewrite the column, or name it otherwise where it holds no tags"


def with_tag_lists(table: pa.Table) -> pa.Table:
    """The table of items with the column ``tags``, if it has one, as lists.

    Args:
        table: of items. Its tags may be lists of anything but fractions, or texts: a JSON list, or tags with ``|``
            between them. A text without ``|`` is one tag, an empty one none, and blanks around a tag do not count.

    Raises:
        SchemaError: the tags are numbers, broken JSON, or texts that separate them by something else.
    """
    import pyarrow as pa
    import pyarrow.types as t

    from micgraph.ids import is_text

    if TAGS not in table.column_names:
        return table
    kind = table.schema.field(TAGS).type
    kind = kind.value_type if t.is_dictionary(kind) else kind
    if t.is_null(kind) or _lists_tags(kind):
        return table
    if not is_text(kind):
        raise SchemaError(f"items.{TAGS}", _EXPECTED, str(kind), _REMEDY)
    texts = table[TAGS].to_pylist()
    _refuse_other_separators([text for text in texts if text])
    lists = pa.array([None if text is None else _tags(text) for text in texts], pa.list_(pa.large_string()))
    return table.set_column(table.column_names.index(TAGS), TAGS, lists)


def _lists_tags(kind: pa.DataType) -> bool:
    import pyarrow.types as t

    listed = t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind)
    return listed and not t.is_floating(kind.value_type)


def _refuse_other_separators(texts: list[str]) -> None:
    """``a,b`` would be one tag that no other item has: nothing to find neighbours by, and nothing to see."""
    plain = [text for text in texts if not text.lstrip().startswith("[")]
    if any(SEPARATOR in text for text in plain):
        return
    if other := next((text for text in plain if "," in text or ";" in text), None):
        raise SchemaError(f"items.{TAGS}", _EXPECTED, f"text such as {other!r}", f"separate the tags by {SEPARATOR}")


def _tags(text: str) -> list[str]:
    tags: Any = text.split(SEPARATOR)
    if text.lstrip().startswith("["):
        try:
            tags = json.loads(text)
            "".join(tag for tag in tags if isinstance(tag, str)).encode()  # "\\ud800" is half a character
        except (ValueError, RecursionError):
            tags = [None]
        if not all(isinstance(tag, (str, int)) for tag in tags):
            raise SchemaError(f"items.{TAGS}", _EXPECTED, f"text such as {text!r}", "write it as JSON, or as a|b")
    return [tag for tag in (str(tag).strip() for tag in tags) if tag]
