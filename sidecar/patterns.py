"""Regular expressions for rules, matched in time linear in the text, whatever pattern and text are. Pure.

The text comes from the bottle, and Python's own engine backtracks: `(a+)+$` on forty letters would hang the sidecar.
Python's parser reads the pattern; a set of states walks the text. What that cannot express (back-references,
look-around, word boundaries) is refused with a sentence when the rule is read.
"""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

MAX_STATES = 2000
"""Size of a compiled pattern; `{1000}` on a group would otherwise make it as large as it likes."""
MAX_STEPS = 10 * MAX_STATES
"""Of compiling: nothing, repeated, adds no state, and may be repeated four thousand million times."""
MAX_CACHED = 4096
"""Remembered steps of one pattern; forgotten all at once when full."""

type Test = Callable[[str], bool]
type _Steps = dict[tuple[frozenset[int], str], frozenset[int]]

_parser: Any = importlib.import_module("re._parser")
_flags: Any = importlib.import_module("re")

_CATEGORIES: dict[str, Test] = {
    "CATEGORY_DIGIT": lambda c: c.isascii() and c.isdigit(),
    "CATEGORY_SPACE": lambda c: c in " \t\n\r\f\v",
    "CATEGORY_WORD": lambda c: c.isascii() and (c.isalnum() or c == "_"),
}


@dataclass
class _Node:
    """`test` consumes one character; without it the node is a way through, `at` one that holds at an end only."""

    test: Test | None = None
    at: str = ""
    next: list[int] = field(default_factory=list[int])


class Pattern:
    """A compiled pattern. Raises ValueError for what is no regular expression or not supported."""

    def __init__(self, source: str) -> None:
        self.source = source
        try:
            tree = _parser.parse(source)
        except (_flags.error, RecursionError, OverflowError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if tree.state.flags & (_flags.MULTILINE | _flags.LOCALE):
            raise ValueError("flags other than (?i), (?s) and (?x) are not supported in rules")
        self._ignore_case = bool(tree.state.flags & _flags.IGNORECASE)
        self._dot_all = bool(tree.state.flags & _flags.DOTALL)
        self._nodes: list[_Node] = []
        self._steps = 0
        self._accept = self._node(_Node())
        start = self._sequence(tree, self._accept)
        self._start = self._through([start], beginning=True)
        self._cache: _Steps = {}

    def fullmatch(self, text: str) -> bool:
        """True if the whole of `text` matches."""
        states = self._start
        for character in text:
            key = (states, character)
            after = self._cache.get(key)
            if after is None:
                after = self._step(states, character)
                if len(self._cache) >= MAX_CACHED:
                    self._cache.clear()
                self._cache[key] = after
            if not after:
                return False
            states = after
        return self._accept in self._through(states, beginning=not text, end=True)

    def _step(self, states: frozenset[int], character: str) -> frozenset[int]:
        hit: list[int] = []
        for state in states:
            node = self._nodes[state]
            if node.test is not None and node.test(character):
                hit.extend(node.next)
        return self._through(hit, beginning=False)

    def _through(self, states: Iterable[int], *, beginning: bool, end: bool = False) -> frozenset[int]:
        """`states` and all that is reached from them without a character."""
        seen: set[int] = set()
        todo = list(states)
        while todo:
            state = todo.pop()
            if state in seen:
                continue
            seen.add(state)
            node = self._nodes[state]
            passes = not node.at or (node.at == "beginning" and beginning) or (node.at == "end" and end)
            if node.test is None and passes:
                todo.extend(node.next)
        return frozenset(seen)

    # --- building ---------------------------------------------------------------------------------------------------

    def _node(self, node: _Node) -> int:
        if len(self._nodes) >= MAX_STATES:
            raise ValueError("the regular expression is too large")
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _sequence(self, items: Iterable[Any], then: int) -> int:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise ValueError("the regular expression is too large")
        for op, value in reversed(list(items)):
            then = self._item(str(op), value, then)
        return then

    def _item(self, op: str, value: Any, then: int) -> int:
        match op:
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                return self._node(_Node(test=self._test(op, value), next=[then]))
            case "BRANCH":
                return self._node(_Node(next=[self._sequence(branch, then) for branch in value[1]]))
            case "SUBPATTERN":
                _, added, removed, items = value
                if added or removed:
                    raise ValueError("flags inside a group are not supported in rules")
                return self._sequence(items, then)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, repeated = value
                return self._repeat(int(least), most, repeated, then)
            case "AT":
                return self._anchor(str(value), then)
            case _:
                raise ValueError(f"{op.lower().replace('_', ' ')} is not supported in rules: they must match fast")

    def _repeat(self, least: int, most: Any, items: Any, then: int) -> int:
        if str(most) == "MAXREPEAT":
            loop = self._node(_Node(next=[then]))
            self._nodes[loop].next.insert(0, self._sequence(items, loop))
            then = loop
        else:
            done = then
            for _ in range(int(most) - least):
                then = self._node(_Node(next=[self._sequence(items, then), done]))
        for _ in range(least):
            then = self._sequence(items, then)
        return then

    def _anchor(self, where: str, then: int) -> int:
        places = {
            "AT_BEGINNING": "beginning",
            "AT_BEGINNING_STRING": "beginning",
            "AT_END": "end",
            "AT_END_STRING": "end",
        }
        if where not in places:
            raise ValueError("word boundaries are not supported in rules")
        return self._node(_Node(at=places[where], next=[then]))

    def _test(self, op: str, value: Any) -> Test:
        if op == "ANY":
            return (lambda c: True) if self._dot_all else (lambda c: c != "\n")
        if op == "IN":
            return self._any_of(value)
        letter = chr(value)
        same: Test = (lambda c: c == letter) if not self._ignore_case else (lambda c: c.lower() == letter.lower())
        return same if op == "LITERAL" else (lambda c: not same(c))

    def _any_of(self, items: list[tuple[Any, Any]]) -> Test:
        negate = any(str(op) == "NEGATE" for op, _ in items)
        tests = [self._member(str(op), value) for op, value in items if str(op) != "NEGATE"]
        if self._ignore_case:
            return lambda c: any(t(c) or t(c.lower()) or t(c.upper()) for t in tests) != negate
        return lambda c: any(t(c) for t in tests) != negate

    def _member(self, op: str, value: Any) -> Test:
        if op == "LITERAL":
            letter = chr(value)
            return lambda c: c == letter
        if op == "RANGE":
            low, high = cast(tuple[int, int], value)
            return lambda c: low <= ord(c[:1]) <= high
        name = str(value)
        positive = name.replace("CATEGORY_NOT_", "CATEGORY_")
        if op != "CATEGORY" or positive not in _CATEGORIES:
            raise ValueError(f"{name} is not supported in rules")
        test = _CATEGORIES[positive]
        return test if positive == name else (lambda c: not test(c))
