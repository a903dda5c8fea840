"""JSON from outside, read without ever raising."""

from typing import Any, cast

from sidecar import json_values

type Tree = dict[str, Any]


class Unreadable:
    """The answer of `loads` for what is not JSON: None is a value."""


def loads(data: bytes | bytearray | str) -> Any:
    """The value, or `Unreadable`."""
    try:
        return json_values.read(data)
    except (ValueError, RecursionError):
        return Unreadable


def tree(value: object) -> Tree:
    """`value` if it is an object, else an empty one: readers ask for keys without asking for types first."""
    return cast(Tree, value) if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return cast(list[Any], value) if isinstance(value, list) else []
