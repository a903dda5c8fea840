"""Cuts an answer's bytes into events: server-sent events, JSON values one after another, elements of a JSON array.

The same events come out however the bytes were split. At most `MOST_EVENT` bytes are held; of a larger event the
sieve keeps what metering needs. Which of the two forms it is, is told by the first byte, not by the content type:
compatible servers get that header wrong, and no event stream begins with a bracket.
"""

import re
from dataclasses import dataclass
from typing import Protocol

from sidecar.meter.loads import Tree, Unreadable, loads, tree
from sidecar.meter.mend import mend
from sidecar.meter.scan import CLOSING, ESCAPE, MOST_DEPTH, OPEN_ARRAY, OPENING, QUOTE, STRING, STRUCTURE
from sidecar.meter.sieve import Sieve

MOST_EVENT = 1024 * 1024
"""Bytes of one event that are read whole."""


LEAST_EVENT = 12
"""Bytes below which an object cannot hold a usage: `{}` by the million costs its bytes, not an event each."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event's object. `cut`: it was never ended. `oversized`: only the sieve's members are in it."""

    body: Tree
    cut: bool = False
    oversized: bool = False
    bad: bool = False
    done: bool = False
    """The stream's end mark, `[DONE]`."""


class Splitter(Protocol):
    def feed(self, data: bytes) -> list[Event]: ...

    def finish(self) -> list[Event]: ...


class _Gathered:
    """The bytes of one event while it arrives: a buffer, then a sieve."""

    __slots__ = ("buffer", "sieve", "size")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.sieve: Sieve | None = None

    def add(self, data: bytes | bytearray) -> None:
        if self.sieve is not None:
            self.sieve.feed(data)
            return
        self.buffer += data
        if len(self.buffer) > MOST_EVENT:
            self.sieve = Sieve()
            self.sieve.feed(self.buffer)
            self.buffer = bytearray()

    def tells(self) -> bool:
        """Whether there is enough for anything that is metered; drops it if not."""
        if self.sieve is not None or len(self.buffer) >= LEAST_EVENT:
            return True
        self.buffer = bytearray()
        return False

    def event(self, cut: bool = False) -> Event:
        """What was gathered, as an event; empties it."""
        buffer, sieve = self.buffer, self.sieve
        self.buffer, self.sieve = bytearray(), None
        if sieve is not None:
            return Event(sieve.result(), cut, oversized=True)
        value = mend(bytes(buffer)) if cut else loads(buffer)
        if value is Unreadable:
            return Event({}, cut, bad=True)
        return Event(tree(value), cut)


class JsonValues:
    """Objects one after another (one body, NDJSON), or as the elements of one array (Gemini's plain stream)."""

    def __init__(self) -> None:
        self._gathered = _Gathered()
        self._base = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        if self._depth > MOST_DEPTH:
            return events
        at, end = 0, len(data)
        begin = 0 if self._depth > self._base else -1
        while at < end:
            if self._in_string:
                at = self._string(data, at)
                continue
            match = STRUCTURE.match(data, at)
            at = match.end() if match else at
            if at == end:
                break
            byte = data[at]
            at += 1
            if byte == QUOTE:
                self._in_string = True
            elif byte in OPENING:
                if self._depth == self._base == 0 and byte == OPEN_ARRAY:
                    self._base = 1
                elif self._depth == self._base:
                    begin = at - 1
                self._depth += 1
                if self._depth > MOST_DEPTH:
                    return [*events, Event({}, bad=True)]
            elif byte in CLOSING and self._depth:
                self._depth -= 1
                if self._depth < self._base:
                    self._base = 0
                elif self._depth == self._base and begin >= 0:
                    self._gathered.add(data[begin:at])
                    if self._gathered.tells():
                        events.append(self._gathered.event())
                    begin = -1
        if begin >= 0:
            self._gathered.add(data[begin:])
        return events

    def _string(self, data: bytes, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        match = STRING.match(data, at)
        at = match.end() if match else at
        if at == len(data):
            return at
        if data[at] == ESCAPE:
            self._escaped = True
        else:
            self._in_string = False
        return at + 1

    def finish(self) -> list[Event]:
        return [self._gathered.event(cut=True)] if MOST_DEPTH >= self._depth > self._base else []


_LINE_END = re.compile(rb"[\r\n]")
_DATA = b"data:"


class ServerSentEvents:
    """Reads the `data` lines (HTML standard, 9.2.6); the event's name is inside the data with every provider."""

    def __init__(self) -> None:
        self._line = bytearray()
        """The line that has not ended, until it is known for one of data; then what follows goes on to `_gathered`."""
        self._kind: bool | None = None
        """Whether the line that has not ended is one of data; None while its beginning is too short to tell."""
        self._gathered = _Gathered()
        self._has_data = False
        self._after_cr = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        at = 0
        if self._after_cr and data:
            self._after_cr = False
            at = 1 if data[0] == 0x0A else 0
        while match := _LINE_END.search(data, at):
            self._piece(data[at : match.start()])
            self._end_line(events)
            at = match.end()
            if data[at - 1] == 0x0D:
                if at == len(data):
                    self._after_cr = True
                elif data[at] == 0x0A:
                    at += 1
        if at < len(data):
            self._piece(data[at:])
        return events

    def finish(self) -> list[Event]:
        """An event whose empty line is missing: clients drop it, but a last usage without it is usage still."""
        events: list[Event] = []
        if self._line or self._kind is not None:
            self._end_line(events)
        if self._has_data:
            self._dispatch(events, cut=True)
        return events

    def _piece(self, data: bytes) -> None:
        """More of the line that has not ended."""
        if self._kind is None:
            self._line += data
            if len(self._line) <= len(_DATA):  # one more byte tells whether a space follows
                return
            self._begin(self._line)
            self._line = bytearray()
        elif self._kind:
            self._gathered.add(data)

    def _begin(self, line: bytearray) -> None:
        self._kind = line.startswith(_DATA)
        if self._kind:
            if self._has_data:
                self._gathered.add(b"\n")
            self._has_data = True
            self._gathered.add(line[6:] if line.startswith(b" ", 5) else line[5:])

    def _end_line(self, events: list[Event]) -> None:
        if self._kind is None:
            if not self._line:
                if self._has_data:
                    self._dispatch(events)
                return
            self._begin(self._line)
            self._line = bytearray()
        self._kind = None

    def _dispatch(self, events: list[Event], cut: bool = False) -> None:
        self._has_data = False
        gathered = self._gathered
        if gathered.sieve is None and bytes(gathered.buffer[:16]).strip() == b"[DONE]":
            events.append(Event({}, done=True))
            gathered.buffer = bytearray()
        if gathered.tells():
            events.append(gathered.event() if not cut else self._last())

    def _last(self) -> Event:
        event = self._gathered.event()
        return Event({}, cut=True) if event.bad else event


class Frames:
    """Chooses the splitter by the first byte that says something."""

    def __init__(self) -> None:
        self._splitter: Splitter | None = None
        self._head = b""

    def feed(self, data: bytes) -> list[Event]:
        if self._splitter is None:
            self._head += data
            stripped = _after_mark(self._head)
            if not stripped:
                self._head = self._head[:3]  # a byte order mark may still be coming; white space says nothing
                return []
            data, self._head = stripped, b""
            self._splitter = JsonValues() if stripped[0] in OPENING else ServerSentEvents()
        return self._splitter.feed(data)

    def finish(self) -> list[Event]:
        return self._splitter.finish() if self._splitter else []


_MARK = b"\xef\xbb\xbf"


def _after_mark(head: bytes) -> bytes:
    """`head` from its first telling byte on; empty while there is none yet."""
    if _MARK.startswith(head[:3]) and len(head) < 3:
        return b""
    return head.removeprefix(_MARK).lstrip()
