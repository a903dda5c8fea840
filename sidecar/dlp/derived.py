"""What was taken out of a text and where it stood there, and what taking out may cost. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

_SELDOM = 128 * 1024
"""Bytes of what ordinary text has next to none of, at most (see `Allowance.of`): text that is turned round, at three
times the cost, and text from which several kinds of escapes are taken off one by one as well."""

_VAIN = 512
"""What a start of nothing costs of the allowance: four thousand in a megabyte are no accident."""


class Derived(NamedTuple):
    """`data` came out of source text[start:end] by `name`; with `decode`, character after character.

    `turned`: in one of its layers it was turned round, and is not again.
    """

    name: str
    start: int
    end: int
    data: bytes
    decode: Callable[[bytes], bytes] | None = None
    turned: bool = False


class TooMuch(Exception):
    """Decoding would take more than its share of memory: the request is refused, not passed unscanned."""


@dataclass
class Allowance:
    """Bytes that all decoding of one scan may produce, that it may read in vain, that it may turn round, and those from
    which it may take several kinds of escapes off one by one."""

    left: int
    tries: int
    turned: int
    single: int

    @classmethod
    def of(cls, size: int) -> "Allowance":
        """For a text of `size` bytes: in proportion, and so much more that a small archive can be opened, or a whole
        tree of sources."""
        seldom = min(_SELDOM, (32 << 10) + size // 4)
        trees = min(4 * max(0, size - (1 << 20)), 32 << 20)
        return cls(4 * size + (8 << 20) + trees, 2 * size + (1 << 16), seldom, seldom)

    def attempt(self, data: bytes) -> None:
        """Pay for reading `data` where there may be a start at every other place."""
        self.tries -= len(data)
        if self.tries < 0:
            raise TooMuch("too many starts of compressed data")

    def vain(self) -> None:
        """Pay for a start that was none."""
        self.tries -= _VAIN
        if self.tries < 0:
            raise TooMuch("too many starts of compressed data")

    def one_by_one(self, size: int) -> bool:
        """Whether so many bytes more may be had; if so they are paid for."""
        enough = size <= self.single
        self.single -= size * enough
        return enough

    def take(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise TooMuch("decoded text is too large")
        return data


_ESCAPE = 14
"""Bytes of the longest escape: `\\u{10FFFF}`, or a surrogate pair."""


def source_span(decode: Callable[[bytes], bytes], source: bytes, start: int, end: int) -> tuple[int, int]:
    """Which part of `source` became decode(source)[start:end]; all of it where that cannot be told."""
    whole = decode(source)

    def boundary(target: int, *, after: bool) -> int | None:
        low, high = 0, len(source)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if len(decode(source[:middle])) >= target else (middle + 1, high)
        near = range(low, min(len(source), low + _ESCAPE) + 1) if after else range(low, max(-1, low - _ESCAPE), -1)
        for at in near:
            size = len(decode(source[:at]))
            if (size >= target if after else size <= target) and decode(source[:at]) + decode(source[at:]) == whole:
                return at
        return None

    first, last = boundary(start, after=False), boundary(end, after=True)
    return (0, len(source)) if first is None or last is None or first >= last else (first, last)
