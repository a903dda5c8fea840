"""Reads JSON that was cut off: what arrived of a body before its connection broke. Pure, linear."""

import re
from typing import Any

from sidecar.meter.loads import Unreadable, loads
from sidecar.meter.scan import (
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    CLOSING,
    COMMA,
    ESCAPE,
    OPEN_OBJECT,
    OPENING,
    QUOTE,
    STRING,
)

_TELLING = re.compile(rb'[^"{}\[\],]*+')
_HALF_ESCAPE = re.compile(rb"\\u?[0-9a-fA-F]{0,3}$")


def mend(data: bytes) -> Any:
    """The value with everything that is whole in it, a last string as far as it came; `Unreadable` if nothing is.

    A number at the very end may be half a number: it is dropped.
    """
    closers, in_string, mark = _scan(data)
    for text, tail in _endings(data, closers, in_string, mark):
        value = loads(text.decode("utf-8", "ignore").encode() + tail)
        if value is not Unreadable:
            return value
    return Unreadable


def _endings(data: bytes, closers: bytes, in_string: bool, mark: int) -> list[tuple[bytes, bytes]]:
    """What to try, the most complete first."""
    tries: list[tuple[bytes, bytes]] = []
    if in_string:
        tries = [(data, b'"' + closers), (_HALF_ESCAPE.sub(b"", data[-6:]), b'"' + closers)]
        tries[1] = (data[:-6] + tries[1][0], tries[1][1])
    elif data.rstrip()[-1:] in (b'"', b"}", b"]"):
        tries = [(data, closers)]
    before = data[:mark]
    return [*tries, (before, _scan(before)[0])]


def _scan(data: bytes) -> tuple[bytes, bool, int]:
    """The brackets that would close `data`, whether it ends inside a string, and where its last member begins."""
    stack: list[int] = []
    at, end, mark = 0, len(data), 0
    while at < end:
        match = _TELLING.match(data, at)
        at = match.end() if match else at
        if at == end:
            break
        byte = data[at]
        if byte == QUOTE:
            match = STRING.match(data, at + 1)
            at = match.end() if match else end
            if at >= end or data[at] == ESCAPE:
                return _closing(stack), True, mark
        elif byte in OPENING:
            stack.append(CLOSE_OBJECT if byte == OPEN_OBJECT else CLOSE_ARRAY)
            mark = at + 1
        elif byte in CLOSING and stack:
            stack.pop()
        elif byte == COMMA:
            mark = at
        at += 1
    return _closing(stack), False, mark


def _closing(stack: list[int]) -> bytes:
    return bytes(reversed(stack))
