"""Instructions that an answer tells in pieces, event by event: looked for in each event as it comes, and in what its
reader puts together of many. Pure; bounded; an event too large to be read ends the answer.

As for the echo of credentials (`echo_trails`), each place of the events' JSON is a text of its own, whatever the
provider calls it. A place that was not seen before also goes on in the text of its last name: some streams give every
event a number of its own.
"""

from collections import OrderedDict
from collections.abc import Iterator

from sidecar.dlp.echo_trails import BEFORE, SSE_START, Place, read
from sidecar.dlp.finding import Finding
from sidecar.dlp.injection import InjectionWatch, readable
from sidecar.dlp.matcher import Backend

MOST_EVENT = 4 * 1024 * 1024
"""Bytes of one event that are waited for. The largest seen are pictures in base64, of some 2 MB."""
MOST_PLACES = 256
"""Texts that are followed at once; each keeps a kilobyte of what was said."""

type _Key = tuple[object, ...]


class AnswerWatch:
    """One answer, or one direction of a WebSocket. Each code is told once. An answer that is not `text` by what is said
    of it is read all the same where it looks like some."""

    def __init__(
        self, where: str = "response", *, events: bool = False, text: bool = True, name: Backend | None = None
    ) -> None:
        self._where = where
        self._name: Backend | None = name
        self._whole = InjectionWatch(where, name)
        self._lines = Lines() if events else None
        self._begun = False
        self._places: OrderedDict[_Key, InjectionWatch] = OrderedDict()
        self._told: set[str] = set()
        self._text = text

    def feed(self, data: bytes) -> tuple[Finding, ...]:
        """More of an answer's decoded bytes."""
        if data and not self._begun:
            self._begun = True
            if SSE_START.match(data):
                self._lines, self._text = self._lines or Lines(), True
        if not self._text and not readable(data):
            return ()
        found = [*self._whole.feed(data)]
        for payload in self._lines.feed(data) if self._lines is not None else ():
            found += self._event(payload)
        return self._new(found)

    def message(self, data: bytes) -> tuple[Finding, ...]:
        """A whole message of a WebSocket."""
        return self._new(
            [*self._whole.feed(data), *(self._event(data) if len(data) <= MOST_EVENT else [self._limits()])]
        )

    def finish(self) -> tuple[Finding, ...]:
        """There is no more."""
        found = [*self._whole.feed(b"", last=True)]
        for payload in self._lines.finish() if self._lines is not None else ():
            found += self._event(payload)
        for watch in self._places.values():
            found += watch.feed(b"", last=True)
        return self._new(found)

    def _event(self, payload: bytes | None) -> list[Finding]:
        if payload is None:
            return [self._limits()]
        found: list[Finding] = []
        for leaf in read(payload).leaves:
            if leaf.place not in self._places:
                found += self._place((*leaf.place[-1:], None)).feed(leaf.text)
            found += self._place(leaf.place).feed(leaf.text)
        return found

    def _place(self, place: Place) -> InjectionWatch:
        watch = self._places.pop(place, None) or InjectionWatch(self._where, self._name)
        self._places[place] = watch
        if len(self._places) > MOST_PLACES:
            self._places.popitem(last=False)
        return watch

    def _limits(self) -> Finding:
        title = "An event that is too large to be read"
        return Finding("injection", "injection_limits", "block", "limits", title, self._where, "raw", 0, 0, "")

    def _new(self, found: list[Finding]) -> tuple[Finding, ...]:
        fresh: list[Finding] = []
        for finding in found:
            if finding.code not in self._told:
                self._told.add(finding.code)
                fresh.append(finding)
        return tuple(fresh)


class Lines:
    """Cuts a stream into the payloads of its events: `data` of server-sent events, or lines that are JSON. None stands
    for one that was too large."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._after_return = False

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        if self._after_return and data:
            data = data.removeprefix(b"\n")  # the rest of a line's end
            self._after_return = False
        for line in data.splitlines(keepends=True):
            self._line += line
            if line.endswith((b"\r", b"\n")):
                yield from self._ended()
            if self._size + len(self._line) > MOST_EVENT:
                self._line, self._data, self._size = bytearray(), [], 0
                yield None
        self._after_return = data.endswith(b"\r") or (self._after_return and not data)

    def finish(self) -> Iterator[bytes | None]:
        if self._line:
            yield from self._ended()
        yield from self._event()

    def _ended(self) -> Iterator[bytes | None]:
        line, self._line = bytes(self._line).rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf"), bytearray()
        if line[:5] in (b"data:", b"data"):
            value = line[5:].removeprefix(b" ")
            self._data.append(value)
            self._size += len(value) + 1
        elif line.lstrip(BEFORE)[:1] in (b"{", b"["):
            yield line
        elif not line:
            yield from self._event()

    def _event(self) -> Iterator[bytes | None]:
        if self._data:
            payload, self._data, self._size = b"\n".join(self._data), [], 0
            yield payload
