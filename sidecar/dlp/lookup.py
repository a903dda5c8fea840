"""What each byte of a text is, told by a table: the first look of nearly every search, at the speed of memory.

`bytes.translate` takes up to a nanosecond for each byte, the library some tens of them at once. Pure; linear.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import stringzilla  # pyright: ignore[reportMissingTypeStubs]

Array = np.ndarray[Any, Any]
_sz: Any = cast(Any, stringzilla)  # the binding has no types

_EIGHT = 8

IN, OUT = b"\1", b"\0"
"""What a table of `kind` makes of a byte."""


def _agrees() -> bool:
    """Whether the library's code for this processor does what Python's does: what it got wrong would be overlooked."""
    table = bytes((code * 167 + 13) % 256 for code in range(256))
    text = bytes((place * place + place // 7) % 256 for place in range(700))
    parts = [text[start : start + size] for start in range(65) for size in (0, 1, 31, 64, 129, 600)]
    return all(_sz.translate(part, table) == part.translate(table) for part in parts)


lookup: Callable[[bytes, bytes], bytes] = _sz.translate if _agrees() else bytes.translate
"""`lookup(text, table)` is `text.translate(table)`."""


def kind(members: Callable[[int], object]) -> bytes:
    """The table of a kind of bytes, told by their codes."""
    return b"".join(IN if members(code) else OUT for code in range(256))


def true_at(found: Array) -> Array:
    """`np.flatnonzero` of booleans, few of them true: twice as fast. It takes a wrong guess for each of them, so here
    it is asked for eight at a time, then for those alone."""
    whole = len(found) // _EIGHT * _EIGHT
    eights = found[:whole].view(np.uint64)
    some = np.flatnonzero(eights != 0)
    inside = np.flatnonzero(eights[some].view(np.bool_))
    places = some[inside // _EIGHT] * _EIGHT + inside % _EIGHT
    rest = np.flatnonzero(found[whole:])
    return np.concatenate((places, rest + whole)) if len(rest) else places


def rows(text: bytes, table: bytes, least: int) -> Iterator[tuple[int, int]]:
    """Where `least` and more bytes of a `kind` stand in a row: start and end of each."""
    kinds = lookup(text, table)
    if len(text) >= _LARGE and least >= _BLOCKS[0][0]:
        return _in_blocks(kinds, least)
    return _one_by_one(kinds, least)


def _one_by_one(kinds: bytes, least: int) -> Iterator[tuple[int, int]]:
    sign = IN * least
    end = 0
    while (start := kinds.find(sign, end)) >= 0:
        end = kinds.find(OUT, start)
        end = end if end >= 0 else len(kinds)
        yield start, end


def _in_blocks(kinds: bytes, least: int) -> Iterator[tuple[int, int]]:
    """As `_one_by_one`, by whole blocks, of which such a row holds one at least. Without the interpreter's lock, which
    a search for bytes holds until it is done."""
    size, steps = next((size, steps) for needed, size, steps in reversed(_BLOCKS) if needed <= least)
    full: Array = np.frombuffer(kinds, np.bool_, len(kinds) // size * size)
    for ones in steps:
        full = full.view(ones.dtype) == ones
    blocks = np.flatnonzero(full)
    apart = np.flatnonzero(np.diff(blocks) > 1)
    firsts = blocks[np.concatenate(([0], apart + 1))] if len(blocks) else blocks
    lasts = blocks[np.concatenate((apart, [len(blocks) - 1]))] if len(blocks) else blocks
    for first, last in zip((firsts * size).tolist(), (lasts * size).tolist(), strict=True):
        start = kinds.rfind(OUT, 0, first) + 1
        end = kinds.find(OUT, last + size)
        end = end if end >= 0 else len(kinds)
        if end - start >= least:
            yield start, end


def _blocks(*dtypes: type[np.unsignedinteger[Any]]) -> tuple[int, int, tuple[Any, ...]]:
    """(bytes in a row that hold an aligned block, its size, what each of its parts looks like if all is of the kind)"""
    ones = tuple(np.frombuffer(b"\1" * np.dtype(each).itemsize, each)[0] for each in dtypes)
    size = math.prod(each.itemsize for each in ones)
    return 2 * size - 1, size, ones


_BLOCKS = (
    _blocks(np.uint64),
    _blocks(np.uint64, np.uint16),
    _blocks(np.uint64, np.uint32),
    _blocks(np.uint64, np.uint64),
    _blocks(np.uint64, np.uint64, np.uint64),
)
_LARGE = 64 * 1024
"""Bytes of a text from which blocks are faster as well."""
