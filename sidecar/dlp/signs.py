"""Up to six bytes in a row of which each match of an expression holds some: what makes it cheap to tell that a text
holds none. Read off the expression, once, when the portable search is compiled; a superset, as `following`.

Any place between two parts of an expression will do, since every match passes it: that one is taken whose next bytes
are the rarest in texts. Where an expression has branches, each may take its own.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sidecar.dlp.following import ANYTHING, EVERY, Node, State, codes_of, heads_of, nodes_of, pushed
from sidecar.dlp.shape import parsed

LENGTH = 6
_SHORTER = 4
_LEAST = 2
_PAIR = 0.3
_PATHS = 256


class Sign(NamedTuple):
    """Classes of bytes in a row, always `LENGTH` of them; `size`: the whole match is so long; 0 where there is more."""

    classes: tuple[int, ...]
    size: int


@cache
def _weights() -> tuple[float, ...]:
    """About how frequent each byte is in code and prose."""
    groups = (
        (b" ", 0.08),
        (b"etaoinsrlcdu", 0.035),
        (b"mpfghybwvkxjzq", 0.012),
        (b'\n",.:_-/()=', 0.012),
        (b"\\", 0.03),
        (b"0123456789", 0.012),
    )
    found = [0.0003 if code < 32 or code > 126 else 0.005 for code in range(256)]
    for group, weight in groups:
        for code in group:
            found[code] = weight
    return tuple(found)


@cache
def _share(kind: int) -> float:
    return min(1.0, sum(_weights()[code] for code in codes_of(kind & EVERY)))


def cost(signs: Sequence[Sign]) -> float:
    """About how many places in a byte of text have such a sign, and how many at least its first two bytes, which is
    looked for first."""
    pairs = {sign.classes[:2] for sign in signs}
    total = sum(_PAIR * _share(first) * _share(second) for first, second in pairs)
    for sign in signs:
        share = 1.0
        for kind in sign.classes:
            share *= _share(kind)
        total += share
    return total


@cache
def signs_of(source: str) -> tuple[Sign, ...]:
    """The rarest signs of which every match holds one; none where nothing can be told."""
    best = _best(nodes_of(parsed(source), caseless=False), None)
    if best is None:
        return ()
    if "\\A" in source:  # a sign does not tell that it stands at the start
        return tuple(sign._replace(size=0) for sign in best)
    return tuple(best)


def _best(nodes: Sequence[Node], after: State, *, first: bool = True) -> list[Sign] | None:
    """The rarest signs of what passes through `nodes`, behind which it goes on with `after`; `first`: a match begins
    there."""
    found: list[list[Sign]] = []
    for at, node in enumerate(nodes):
        rest = pushed(nodes[at + 1 :], after)
        begins = first and at == 0
        for length in (LENGTH, _SHORTER):
            paths: list[tuple[tuple[int, ...], bool]] = []
            if _paths((node, rest), (), paths, length):
                found.append([_sign(path, ended=ended and begins) for path, ended in paths])
                break
        if not isinstance(node, int) and (inner := _inner(node, rest, first=begins)) is not None:
            found.append(inner)
    return min(found, key=cost, default=None)


def _inner(node: Any, rest: State, *, first: bool) -> list[Sign] | None:
    """Signs from within a branch, or a repetition of at least one."""
    if len(node) == 1:
        each = [_best(branch, rest, first=first) for branch in node[0]]
        return None if any(signs is None for signs in each) else [sign for signs in each for sign in signs or ()]
    least, most, item = node
    return _best(item, ((least - 1, most - 1, item), rest), first=first) if least else None


def _sign(path: tuple[int, ...], *, ended: bool) -> Sign:
    return Sign((*path, *[ANYTHING] * (LENGTH - len(path))), len(path) if ended else 0)


def _paths(state: State, before: tuple[int, ...], found: list[tuple[tuple[int, ...], bool]], length: int) -> bool:
    """The classes of the next bytes in each way that a match may go on, and whether it ends there; False where they
    are too many, or too few bytes."""
    if len(before) == length:
        found.append((before, state is None))
        return len(found) <= _PATHS
    for kind, rest in heads_of(state):
        if kind == ANYTHING:
            found.append((before, True))
            if len(before) < _LEAST:
                return False
        elif not _paths(rest, (*before, kind), found, length):
            return False
    return len(found) <= _PATHS
