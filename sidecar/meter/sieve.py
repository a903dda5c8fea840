"""Reads of one JSON object, however large, only the members that metering needs. Owns no more than 64 KiB.

A final event repeats the whole answer, images in base64 included: several megabytes around forty bytes of usage. It
is never built as a tree; wanted members are cut out as they pass, the rest is skipped at the speed of `re`.
"""

from typing import Any

from sidecar.meter.loads import Tree, Unreadable, loads
from sidecar.meter.scan import (
    CLOSING,
    COLON,
    COMMA,
    ESCAPE,
    MEMBERS,
    MOST_DEPTH,
    OPEN_OBJECT,
    OPENING,
    QUOTE,
    STRING,
    STRUCTURE,
)

MOST_MEMBER = 16 * 1024
"""Bytes of one wanted member; usage objects are under 1 KiB."""

MOST_INSIDE = 4

ENTERED = frozenset((b"response", b"message", b"interaction"))
"""Objects whose own members are looked at: Responses and Code Assist wrap the answer in the first, Anthropic in the
second, Gemini's interactions in the third."""

WANTED = frozenset(
    b"type object id model status background error incomplete_details usage delta service_tier stop_reason "
    b"modelVersion responseId usageMetadata prompt_eval_count eval_count done done_reason x_groq status_code headers "
    b"stream stream_options previous_response_id previous_interaction_id deferred thread "
    b"event_type".split()
)


class Sieve:
    """Feed it one object's bytes; `result()` is what was wanted of it, as far as it came."""

    def __init__(self) -> None:
        self._top: Tree = {}
        self._inside: list[Tree] = []
        """The objects that are looked at and still open, outermost first."""
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._key_next = False
        self._in_key = False
        self._key = b""
        self._kept: bytearray | None = None
        """The key or the wanted value that is being read; None while skipping."""

    def feed(self, data: bytes | bytearray) -> None:
        at, end = 0, len(data)
        while at < end and self._depth <= MOST_DEPTH:
            at = self._string(data, at) if self._in_string else self._outside(data, at)

    def result(self) -> Tree:
        return self._top

    def _string(self, data: bytes | bytearray, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return self._keep(data, at, at + 1)
        match = STRING.match(data, at)
        then = match.end() if match else at
        self._keep(data, at, then)
        if then == len(data):
            return then
        if data[then] == ESCAPE:  # the last byte of this piece
            self._escaped = True
            return self._keep(data, then, then + 1)
        self._in_string = False
        if self._in_key:
            self._in_key = False
            self._key, self._kept = _plain(bytes(self._kept or b"")), None
            return then + 1
        return self._keep(data, then, then + 1)

    def _outside(self, data: bytes | bytearray, at: int) -> int:
        looking = self._depth == len(self._inside)
        match = (MEMBERS if looking else STRUCTURE).match(data, at)
        then = match.end() if match else at
        self._keep(data, at, then)
        if then == len(data):
            return then
        byte = data[then]
        if looking and byte in (COLON, COMMA):
            self._between(byte)
            return then + 1
        if byte in CLOSING:
            self._close(looking)
        self._keep(data, then, then + 1)
        if byte == QUOTE:
            self._open_string(looking)
        elif byte in OPENING:
            self._open(byte, looking)
        return then + 1

    def _keep(self, data: bytes | bytearray, begin: int, end: int) -> int:
        if self._kept is not None:
            self._kept += data[begin:end]
            if len(self._kept) > MOST_MEMBER:
                self._kept = None
        return end

    def _between(self, byte: int) -> None:
        if byte == COLON:
            self._kept = bytearray() if self._key in WANTED else None
            if self._kept is not None and self._inside:
                self._inside[-1].pop(self._key.decode(), None)  # the last of the same name counts, also a long one
            return
        self._end_member()
        self._key_next = True

    def _open_string(self, looking: bool) -> None:
        self._in_string = True
        if looking and self._key_next and self._inside:
            self._key_next, self._in_key, self._kept = False, True, bytearray()

    def _open(self, byte: int, looking: bool) -> None:
        self._depth += 1
        if not looking or byte != OPEN_OBJECT:
            return
        if not self._inside:
            if self._depth == 1 and not self._top:
                self._inside.append(self._top)
        elif self._key in ENTERED and len(self._inside) < MOST_INSIDE:
            entered: Tree = {}
            self._inside[-1][self._key.decode()] = entered
            self._inside.append(entered)
        self._key_next = self._depth == len(self._inside)
        if self._key_next:
            self._key, self._kept = b"", None

    def _close(self, looking: bool) -> None:
        if looking and self._inside:
            self._end_member()
            self._inside.pop()
            self._key = b""
        self._depth = max(0, self._depth - 1)

    def _end_member(self) -> None:
        kept, self._kept = self._kept, None
        if kept is None or not self._inside:
            return
        value: Any = loads(kept)
        if value is not Unreadable:
            self._inside[-1][self._key.decode()] = value


def _plain(key: bytes) -> bytes:
    """A member's name without its escapes."""
    if b"\\" not in key:
        return key
    name = loads(b'"' + key + b'"')
    return name.encode("utf-8", "replace") if isinstance(name, str) else key
