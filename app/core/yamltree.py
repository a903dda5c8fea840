"""YAML text to plain values with the line of each, within fixed bounds. Pure.

The parser's events are turned into values here, instead of by the library's constructors: no tags, so no objects; a
ceiling on depth and on values, also those that an alias or `<<` repeats; duplicate keys are errors; and only the
scalars of YAML 1.2's core schema are anything but text. It must never raise anything but `YamlFault`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent
from ruamel.yaml.reader import ReaderError

MAX_DEPTH = 24
MAX_VALUES = 8000
"""Far beyond any manifest (the deepest key of the schema is at depth 8), far below what hurts."""
MAX_NUMBER = 40
"""Digits of a number; Python itself stops at 4,300 with an exception."""

Path = tuple[str | int, ...]
Value = Any

_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Value] = {"": None, "~": None} | {
    word: value
    for name, value in (("null", None), ("true", True), ("false", False))
    for word in (name, name.capitalize(), name.upper())
}


class YamlFault(Exception):
    """What is wrong with the text, where (line from 1; 0 if unknown), and how to mend it."""

    def __init__(self, message: str, hint: str, line: int = 0) -> None:
        super().__init__(message)
        self.message, self.hint, self.line = message, hint, line


@dataclass(frozen=True)
class Document:
    """`value` is made of dict, tuple, str, int, float, bool and None. `lines` says where each path begins."""

    value: Value
    lines: dict[Path, int] = field(default_factory=dict[Path, int])

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing that holds it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 0


@dataclass
class _Node:
    """One parsed value: a scalar, or the nodes of a list, or the (key, value) nodes of a mapping."""

    line: int
    kind: str
    text: str = ""
    plain: bool = False
    items: list["_Node"] = field(default_factory=list["_Node"])
    done: bool = False


def parse(text: str, *, text_under: frozenset[str] = frozenset()) -> Document:
    """The single document in `text`. Numbers directly under the top-level keys `text_under` stay as written."""
    try:
        root = _Builder(iter(YAML(typ="safe", pure=True).parse(text))).document()
    except YamlFault:
        raise
    except ReaderError as error:
        raise YamlFault(
            f"a character that YAML does not allow ({ord_name(error.character)})", "Remove that character"
        ) from None
    except MarkedYAMLError as error:
        raise _marked(error) from None
    except (YAMLError, ValueError, RecursionError, OverflowError, AssertionError) as error:
        raise YamlFault(f"not valid YAML: {_first_line(str(error))}", "Check indentation, colons and quotes") from None
    if root is None:
        return Document(None)
    plain = _Plain(text_under)
    return Document(plain.value(root, ()), plain.lines)


def ord_name(character: object) -> str:
    """A character as U+0000, for messages that must not contain it."""
    if isinstance(character, int):
        return f"U+{character:04X}"
    text = str(character)
    return f"U+{ord(text):04X}" if len(text) == 1 else "unknown"


class _Builder:
    """Events to nodes. An alias is the same node again."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, _Node] = {}
        self._count = 0

    def document(self) -> _Node | None:
        root: _Node | None = None
        for event in self._events:
            name = type(event).__name__
            if name == "DocumentStartEvent" and (root is not None or event.version or event.tags):
                raise YamlFault("more than one YAML document, or a % directive", "Keep one block of keys", _line(event))
            if name.startswith(("Stream", "Document")):
                continue
            root = self._node(event, 0)
        return root

    def _node(self, event: Any, depth: int) -> _Node:
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_VALUES:
            raise YamlFault("nested too deeply or too many values", "Split it into several files", _line(event))
        if isinstance(event, AliasEvent):
            return self._alias(event)
        if getattr(event, "ctag", None) is not None and str(event.ctag) != "!":
            tag = _first_line(str(event.ctag))[:60]
            raise YamlFault(f"the tag {tag} is not used here", "Remove the tag", _line(event))
        if isinstance(event, ScalarEvent):
            plain = event.style is None and event.ctag is None
            node = _Node(_line(event), "scalar", str(event.value), plain, done=True)
        elif isinstance(event, SequenceStartEvent):
            node = _Node(_line(event), "list")
        elif isinstance(event, MappingStartEvent):
            node = _Node(_line(event), "map")
        else:
            raise YamlFault("not valid YAML", "Check indentation, colons and quotes", _line(event))
        if event.anchor is not None:
            self._anchors[str(event.anchor)] = node
        if node.kind != "scalar":
            self._fill(node, depth)
        return node

    def _fill(self, node: _Node, depth: int) -> None:
        for event in self._events:
            if type(event).__name__ in ("SequenceEndEvent", "MappingEndEvent"):
                break
            node.items.append(self._node(event, depth + 1))
        node.done = True

    def _alias(self, event: AliasEvent) -> _Node:
        node = self._anchors.get(str(event.anchor))
        if node is None:
            raise YamlFault(f"*{str(event.anchor)[:60]} names no anchor before it", "Write the value out", _line(event))
        if not node.done:
            raise YamlFault(f"*{str(event.anchor)[:60]} contains itself", "Write the value out", _line(event))
        return node


class _Plain:
    """Nodes to values, counting what aliases repeat."""

    def __init__(self, text_under: frozenset[str]) -> None:
        self.lines: dict[Path, int] = {}
        self._text_under = text_under
        self._count = 0

    def value(self, node: _Node, path: Path, line: int = 0) -> Value:
        self._count += 1
        if self._count > MAX_VALUES or len(path) > MAX_DEPTH:
            raise YamlFault("aliases repeat too many values", "Write the values out, or split the file", node.line)
        self.lines[path] = line or node.line
        if node.kind == "list":
            return tuple(self.value(item, (*path, index)) for index, item in enumerate(node.items))
        if node.kind == "map":
            return {key: self.value(value, (*path, key), where) for key, (value, where) in self._pairs(node).items()}
        as_text = len(path) == 2 and path[0] in self._text_under
        return _scalar(node, as_text=as_text)

    def _pairs(self, node: _Node, depth: int = 0) -> dict[str, tuple[_Node, int]]:
        """Keys in order with their value and line. Keys of the mapping itself win over those that `<<` brings."""
        own: dict[str, tuple[_Node, int]] = {}
        merged: dict[str, tuple[_Node, int]] = {}
        for key, value in zip(node.items[::2], node.items[1::2], strict=True):
            name = _key(key)
            if name == "<<" and key.plain:
                self._merge(value, merged, depth)
            elif name in own:
                raise YamlFault(
                    f"the key {name[:60]!r} is there twice (first in line {own[name][1]})", "Keep one", key.line
                )
            else:
                own[name] = (value, key.line)
        return own | {name: pair for name, pair in merged.items() if name not in own}

    def _merge(self, node: _Node, into: dict[str, tuple[_Node, int]], depth: int) -> None:
        sources = node.items if node.kind == "list" else [node]
        for source in sources:
            self._count += 1 + len(source.items)
            if depth > MAX_DEPTH or self._count > MAX_VALUES:
                raise YamlFault("<< repeats too many values", "Write the values out", node.line)
            if source.kind != "map":
                raise YamlFault("<< takes a mapping or a list of mappings", "Write the keys out", node.line)
            for name, pair in self._pairs(source, depth + 1).items():
                into.setdefault(name, pair)


def _key(node: _Node) -> str:
    if node.kind != "scalar" or (node.plain and node.text in ("", "~", "null")):
        raise YamlFault("a key must be a word", "Write keys as `name: value`", node.line)
    return node.text


def _scalar(node: _Node, *, as_text: bool) -> Value:
    text = node.text
    if not node.plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    number = bool(_INT.fullmatch(text) or _OCTAL_HEX.fullmatch(text) or _FLOAT.fullmatch(text))
    if not number or as_text:
        return text
    if len(text) > MAX_NUMBER:
        raise YamlFault(f"a number of more than {MAX_NUMBER} digits", "Put it in quotes if it is text", node.line)
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL_HEX.fullmatch(text):
        return int(text, 0)
    return _finite(float(text), node.line)


def _finite(value: float, line: int) -> float:
    if value in (float("inf"), float("-inf")):
        raise YamlFault("a number too large", "Put it in quotes if it is text", line)
    return value


def _line(event: Any) -> int:
    mark = getattr(event, "start_mark", None)
    return mark.line + 1 if mark is not None else 0


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return "".join(c if c.isprintable() else "?" for c in lines[0][:160]) if lines else "unreadable"


def _marked(error: MarkedYAMLError) -> YamlFault:
    mark = error.problem_mark or error.context_mark
    problem = _first_line(str(error.problem or error.context or "unreadable"))
    problem = re.sub(r"\('(<[^']*>)',\)", r"'\1'", problem)  # the library prints a tuple there
    if "\\t" in problem or "tab" in problem:
        return YamlFault("a tab where YAML wants spaces", "Indent with spaces", mark.line + 1 if mark else 0)
    if "mapping values are not allowed" in problem:
        hint = "Put quotes around a value that contains `: `, and check the indentation"
    else:
        hint = "Check indentation, colons, brackets and quotes near this line"
    return YamlFault(f"not valid YAML: {problem}", hint, mark.line + 1 if mark else 0)
