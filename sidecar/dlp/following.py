"""What must follow a literal for its expression to match, a class for each byte. Read off the expression, once, when
the portable search is compiled: of the places of a literal in a text few have it, and each of the others costs a try.

A class is a number of 256 bits. A sequence is a linked list of classes, branches and repetitions; `heads_of` says what
its first byte can be and which sequence is left then. What cannot be told is everything, so that no match is lost.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sidecar.dlp.matcher import Spec
from sidecar.dlp.shape import parsed

EVERY = (1 << 256) - 1
ANYTHING = (1 << 257) - 1
"""The class of what is behind the end of an expression: any byte, or the end of the text."""

AHEAD = 12
"""Bytes behind a literal that are looked at."""

_STATES = 64
_CAPITALS = ((1 << 26) - 1) << 65

Node = int | tuple[Any, ...]
"""A class; (branches,); or (least, most, nodes)."""

State = tuple[Node, Any] | None
Heads = list[tuple[int, State]]


def following(spec: Spec) -> dict[bytes, tuple[int, ...]]:
    """For each literal with which matches begin the classes of the bytes behind it; nothing where a match may begin
    with something else."""
    start = [pushed(nodes_of(parsed(spec.source), caseless=spec.caseless), None)]
    words = frozenset(word.lower() if spec.caseless else word for word in spec.literals)
    found: dict[bytes, tuple[int, ...]] = {}
    if not _begin(start, words, b"", found, caseless=spec.caseless):
        return {}
    return {word: found.get(word, ()) for word in words}


def one_byte(spec: Spec) -> int | None:
    """The class of an expression that is one."""
    whole = parsed(spec.source)
    nodes = nodes_of(whole, caseless=spec.caseless) if whole.getwidth() == (1, 1) else []
    return nodes[0] if len(nodes) == 1 and isinstance(nodes[0], int) and len(whole) == 1 else None


def _begin(
    states: Sequence[State],
    words: frozenset[bytes],
    before: bytes,
    found: dict[bytes, tuple[int, ...]],
    *,
    caseless: bool,
) -> bool:
    """Whether whatever the states match begins with one of these rests of words; `found` takes what follows each."""
    if b"" in words:
        found[before] = _behind(states)
        return True
    heads = _all_heads(states)
    if heads is None:
        return False
    together = _union(heads)
    codes = codes_of(together & ~_CAPITALS if caseless else together)
    return len(codes) <= len({word[0] for word in words}) and all(
        bool(rest := frozenset(word[1:] for word in words if word[0] == code))
        and _begin(
            [after for kind, after in heads if kind >> code & 1],
            rest,
            before + bytes([code]),
            found,
            caseless=caseless,
        )
        for code in codes
    )


def _behind(states: Sequence[State]) -> tuple[int, ...]:
    found: list[int] = []
    while len(found) < AHEAD and (heads := _all_heads(states)) is not None:
        together = _union(heads)
        if together & EVERY == EVERY:
            break
        found.append(together)
        states = [rest for _, rest in heads]
    return tuple(found)


def codes_of(kind: int) -> list[int]:
    """The bytes of a class."""
    return [code for code in range(kind.bit_length()) if kind >> code & 1]


def _union(heads: Heads) -> int:
    together = 0
    for kind, _ in heads:
        together |= kind
    return together


def _all_heads(states: Iterable[State]) -> Heads | None:
    """The heads of several sequences; None where they are too many to tell."""
    heads: Heads = []
    for state in states:
        _heads(state, heads)
    return heads if len(heads) <= _STATES else None


def heads_of(state: State) -> Heads:
    """What the first byte can be, and what is left behind it; `ANYTHING` behind the end."""
    found: Heads = []
    _heads(state, found)
    return found


def _heads(state: State, found: Heads) -> None:
    if state is None:
        found.append((ANYTHING, None))
        return
    node, rest = state
    if isinstance(node, int):
        found.append((node, rest))
    elif len(node) == 1:
        for branch in node[0]:
            _heads(pushed(branch, rest), found)
    else:
        least, most, item = node
        if most:
            _heads(pushed(item, ((max(0, least - 1), most - 1, item), rest)), found)
        if not least:
            _heads(rest, found)


def pushed(nodes: Sequence[Node], rest: State) -> State:
    """A sequence that begins with `nodes`."""
    for node in reversed(nodes):
        rest = (node, rest)
    return rest


def nodes_of(parsed: Any, *, caseless: bool) -> list[Node]:
    """What the parser read, without groups and anchors."""
    nodes: list[Node] = []
    for op, argument in parsed:
        name = str(op)
        if name == "SUBPATTERN":
            nodes += nodes_of(argument[-1], caseless=caseless)
        elif name == "BRANCH":
            nodes.append(([nodes_of(branch, caseless=caseless) for branch in argument[1]],))
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            nodes.append((int(argument[0]), int(argument[1]), nodes_of(argument[2], caseless=caseless)))
        elif name != "AT":
            kind = _kind(name, argument)
            nodes.append(_folded(kind) if caseless else kind)
    return nodes


def _folded(kind: int) -> int:
    capitals, small = kind & _CAPITALS, kind & _CAPITALS << 32
    return kind | capitals << 32 | small >> 32


def _kind(name: str, argument: Any) -> int:
    if name == "LITERAL":
        return 1 << argument
    if name == "NOT_LITERAL":
        return EVERY & ~(1 << argument)
    if name == "ANY":
        return EVERY
    if name != "IN":
        raise ValueError(f"an expression with {name}")
    kind, negated = 0, False
    for op, value in argument:
        what = str(op)
        if what == "NEGATE":
            negated = True
        elif what == "LITERAL":
            kind |= 1 << value
        elif what == "RANGE":
            kind |= (1 << value[1] + 1) - (1 << value[0])
        else:
            kind |= _category(str(value))
    return EVERY & ~kind if negated else kind


@cache
def _category(name: str) -> int:
    """`\\d`, `\\s` and so on, as RE2 knows them or wider."""
    sources = {"CATEGORY_DIGIT": rb"\d", "CATEGORY_SPACE": rb"\s", "CATEGORY_WORD": rb"\w"}
    source = sources.get(name)
    if source is None:
        return EVERY
    return sum(1 << code for code in range(256) if re.match(source, bytes([code])))
