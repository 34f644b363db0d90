"""YAML as plain values, from people: what is no YAML, names a setting twice or is a trap is one kind of error."""

from __future__ import annotations

from typing import Any

MOST_VALUES = 100_000
"""So many values a text may stand for: with aliases (``*a``) a few lines can stand for billions."""

_FAULTS = (AttributeError, IndexError, KeyError, OverflowError, TypeError)
"""What PyYAML raises over ``!!bool maybe``, ``!!timestamp x`` and the like, besides its own errors and ValueError."""


def values_of(text: str) -> Any:
    """The mappings, lists, texts, numbers and times that a YAML text stands for; no other objects are made.

    Raises:
        ValueError: no YAML, a name twice in one mapping, a value that is none of its type, one that holds itself, too
            deep a nesting, or more than :data:`MOST_VALUES` values.
    """
    import yaml

    try:
        values = _loader()(text).get_single_data()
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except _FAULTS as error:
        raise ValueError(f"a value that is none of its type: {error}") from error
    except RecursionError as error:
        raise ValueError("too deep a nesting") from error
    _count(values, {}, set())
    return values


def _loader() -> Any:
    """PyYAML's safe loader, but for names that occur twice: it takes the last one and drops the others."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node: yaml.MappingNode = super().compose_mapping_node(anchor)
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if key.value in seen:
                        raise yaml.composer.ComposerError(None, None, f"{key.value!r} a second time", key.start_mark)
                    seen.add(key.value)
            return node

    return Loader


def _count(value: Any, known: dict[int, int], above: set[int]) -> int:
    """How many values there are in all, each as often as it is named.

    Args:
        known: id of a mapping or list -> how many values it is.
        above: ids of those that the value lies in.

    Raises:
        ValueError: too many, or a value that holds itself.
    """
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) in above:
        raise ValueError("a value that holds itself")
    if id(value) not in known:
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(one, known, above | {id(value)}) for one in inner)
    if known[id(value)] > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES} values")
    return known[id(value)]
