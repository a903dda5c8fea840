"""Real credentials taken out of an answer before the agent sees it. Pure: bytes in, bytes out, while it streams.

One redactor for each answer, or for each direction of a WebSocket. An answer without a secret passes byte for byte and
at once; one that ends inside what may be a secret waits for its next piece, and of an event stream no longer than to
the end of its event, or for the next event where a delta ends so. Up to five letters of a secret may have gone on by
then. What it was told of the canary is not looked for: the agent has it.
"""

import re
from collections.abc import Iterable
from itertools import pairwise

from sidecar.dlp.echo_seek import EchoFailed, Knowing, Seeker, masked
from sidecar.dlp.echo_trails import CONTEXT, SSE_START, Piece, Trails

__all__ = ["EchoFailed", "EchoRedactor", "FrameRedactor", "in_events"]

MOST_EVENT = 1 << 20
"""Bytes of one event that are waited for; the rest of a larger one is treated as plain bytes."""

_SLICE = 256 * 1024
"""Bytes examined at a time: findings are limited for each."""

_REMEMBERED = 64
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_LINE_END = re.compile(rb"\n")
_DATA = re.compile(rb"(?:^|(?<=[\r\n]))data(?::[ ]?([^\r\n]*))?(?:\r\n|\n|\r|\Z)")
_LINES = ("ndjson", "jsonl", "json-lines", "json-seq", "stream+json", "json-stream")
_EVENTS = "text/event-stream"


def _end_of(content_type: str) -> re.Pattern[bytes] | None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _EVENTS:
        return _EVENT_END
    return _LINE_END if any(word in kind for word in _LINES) else None


def in_events(content_type: str) -> bool:
    """Whether an answer of this type tells its text event by event."""
    return _end_of(content_type) is not None


class _Bytes:
    """Any bytes: searched behind the end of what has gone on; the end that may begin a secret waits."""

    def __init__(self, seeker: Seeker) -> None:
        self._seeker = seeker
        self._gone = b""
        self._held = b""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        out: list[bytes] = []
        for at in range(0, max(len(data), 1), _SLICE):
            piece = data[at : at + _SLICE]
            out.append(self._step(piece, last=last and at + _SLICE >= len(data)))
        return b"".join(out)

    @property
    def holding(self) -> bool:
        return bool(self._held)

    def release(self) -> bytes:
        """What waits, as it is: it was looked through, and ends in what may have been the beginning of a secret."""
        out, self._held = self._held, b""
        self._gone = (self._gone + out)[-CONTEXT:]
        return out

    def _step(self, data: bytes, *, last: bool) -> bytes:
        if not data and not self._held:
            return b""
        gone = len(self._gone)
        text = self._gone + self._held + data
        spans = self._seeker.spans(text)
        until = len(text)
        if not last:
            until = max(gone, self._seeker.tail(text))
            if spans and spans[-1][1] > until:
                until = max(until, spans[-1][1])
        out = text[gone:until]
        if spans and spans[-1][1] > gone:
            out = masked(text[:until], spans)[gone:]
        self._gone, self._held = text[max(0, until - CONTEXT) : until], text[until:]
        return out


class EchoRedactor:
    """Redacts one HTTP answer.

    Expects decoded bytes: ask upstream for `identity`, or take the content encoding off before. Nothing that it gives
    back is longer than what it was given, but events that were rewritten have other lengths: send them without a
    Content-Length. Not for answers to HEAD. Raises `EchoFailed` where the answer must end.
    """

    def __init__(self, engine: Knowing, content_type: str = "") -> None:
        self._seeker = Seeker(engine)
        self._bytes = _Bytes(self._seeker)
        self._trails = Trails(self._seeker)
        self._end = _end_of(content_type)
        self._begun = False
        self._buffer = bytearray()
        self._looked: int = 0
        self._large = False
        self._lines = {b"", b"\n", b"\r\n"}

    @property
    def names(self) -> frozenset[str]:
        """Names of the secrets that were taken out so far."""
        return frozenset(self._seeker.names)

    @property
    def in_events(self) -> bool:
        """It is told event by event."""
        return self._end is not None

    def feed(self, chunk: bytes) -> bytes:
        """What may go on now."""
        if not self._begun and chunk:
            self._begun = True
            if self._end is None and SSE_START.match(chunk):  # whatever the header says
                self._end = _EVENT_END
        if self._end is None:
            return self._bytes.feed(chunk)
        self._buffer += chunk
        out: list[bytes] = []
        for event in self._events():
            out += self._event(event)
        return b"".join(out)

    @property
    def holding(self) -> bool:
        """Something whole waits, since it ends in what may begin a secret."""
        return self._bytes.holding or not self._trails.idle

    def release(self) -> bytes:
        """What waits so: nothing more came for too long, and the agent may be waiting for it."""
        return self._bytes.release() + b"".join(_sent(self._trails.finish()))

    def finish(self) -> bytes:
        """What waited: the answer is over."""
        if self._end is None:
            return self._bytes.feed(b"", last=True)
        out: list[bytes] = []
        rest, self._buffer = bytes(self._buffer), bytearray()
        if rest:
            out += [self._bytes.feed(rest, last=True)] if self._large else self._event(rest)
        return b"".join((*out, *_sent(self._trails.finish())))

    def _events(self) -> Iterable[bytes]:
        """The whole events that the buffer begins with."""
        assert self._end is not None
        at = 0
        while match := self._end.search(self._buffer, max(at, self._looked)):
            event, at = bytes(self._buffer[at : match.end()]), match.end()
            self._looked = at
            yield event
        del self._buffer[:at]
        self._looked = max(0, len(self._buffer) - 3)
        if len(self._buffer) > MOST_EVENT or (self._large and self._buffer):
            part, self._buffer = bytes(self._buffer), bytearray()
            self._looked = 0
            yield part

    def _event(self, event: bytes) -> list[bytes]:
        assert self._end is not None
        ended = self._end.search(event, max(0, len(event) - 4)) is not None
        if self._large or (len(event) > MOST_EVENT and not ended):
            out = [*_sent(self._trails.finish()), self._bytes.feed(event, last=ended)]
            self._large = not ended
            return out
        if self._end is _LINE_END:
            return _sent(self._trails.add(event.rstrip(b"\r\n"), (event, None)))
        fields = list(_DATA.finditer(event))
        if not fields or any(before.end() != after.start() for before, after in pairwise(fields)):
            if self._trails.idle and len(event) <= 2:
                return [event]
            return _sent(self._trails.add(event, (event, None)))
        start, end = fields[0].start(), fields[-1].end()
        head = self._beside(event[:start])
        event = head + event[start:end] + self._beside(event[end:])
        payload = b"\n".join(field.group(1) or b"" for field in fields)
        return _sent(self._trails.add(payload, (event, (start, end))))

    def _beside(self, lines: bytes) -> bytes:
        """Lines of an event that are no data: its name, comments. They are the same again and again."""
        if lines in self._lines:
            return lines
        spans = self._seeker.spans(lines)
        if spans:
            return masked(lines, spans)
        if len(self._lines) < _REMEMBERED and len(lines) < 100:
            self._lines.add(lines)
        return lines


def _sent(events: list[tuple[bytes, Piece]]) -> list[bytes]:
    return [_framed(payload, piece) for payload, piece in events]


def _framed(payload: bytes, piece: Piece) -> bytes:
    """The event's bytes, with another payload where that was changed."""
    event, place = piece.tag
    if payload == piece.payload:
        return event
    if place is None:
        return payload + event[len(piece.payload) :]
    start, end = place
    lines = b"".join(b"data: " + line + b"\n" for line in payload.split(b"\n"))
    return event[:start] + lines + event[end:]


class FrameRedactor:
    """Redacts the messages of one direction of a WebSocket. Text and binary messages are given whole, in order."""

    def __init__(self, engine: Knowing) -> None:
        self._seeker = Seeker(engine)
        self._trails = Trails(self._seeker)

    @property
    def names(self) -> frozenset[str]:
        """Names of the secrets that were taken out so far."""
        return frozenset(self._seeker.names)

    def message(self, data: bytes, tag: object = None) -> list[tuple[bytes, object]]:
        """The messages that may go on now, each with the `tag` it came with (text or binary, say)."""
        return [(payload, piece.tag) for payload, piece in self._trails.add(data, tag)]

    @property
    def holding(self) -> bool:
        return not self._trails.idle

    def finish(self) -> list[tuple[bytes, object]]:
        """What waited: the connection closes, or nothing more came for too long."""
        return [(payload, piece.tag) for payload, piece in self._trails.finish()]
