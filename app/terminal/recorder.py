"""The transcript: everything an agent printed, as asciicast v2, in a file that stays whole whatever is killed.

Each event is one line in one `write` to a file opened for appending; a reader skips a torn last line. Size is bounded:
a full file becomes `<name>.1` (the one before is dropped) and the new one opens with a note. A disk that is full, or
gone, stops the recording and nothing else. Control characters are escaped, so that a transcript can be looked at with
`cat`.
"""

import codecs
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.terminal.surface import MAX_COLS, MAX_ROWS

MAX_BYTES = 32 << 20
"""Of one file; two are kept. A day of Claude Code is about 20 MB."""
MAX_LINE = 1 << 20
"""Bytes of one line that a reader takes; an agent's output comes in pieces of 64 KiB at most."""
_C1 = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


@dataclass(frozen=True)
class Event:
    """One line of a recording: seconds since its start; `o` output, `r` resize (COLSxROWS), `m` note."""

    at: float
    kind: str
    data: str


@dataclass(frozen=True)
class Header:
    """The first line: the terminal's size, and when it began (seconds since 1970)."""

    cols: int
    rows: int
    began: int


def header_line(header: Header) -> bytes:
    return _line({"version": 2, "width": header.cols, "height": header.rows, "timestamp": header.began})


def event_line(event: Event) -> bytes:
    return _line([round(event.at, 3), event.kind, event.data])


def _line(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_C1)
    return text.encode("utf-8", "replace") + b"\n"


def parse_header(line: bytes) -> Header | None:
    """The header, or None if this is not an asciicast v2."""
    found = _json(line)
    if not isinstance(found, dict) or found.get("version") != 2:
        return None
    cols, rows, began = (found.get(key, 0) for key in ("width", "height", "timestamp"))
    if not isinstance(cols, int) or not isinstance(rows, int) or not isinstance(began, int | float):
        return None
    return Header(min(max(cols, 1), MAX_COLS), min(max(rows, 1), MAX_ROWS), int(began))


def parse_event(line: bytes) -> Event | None:
    """The event, or None for a line that is torn or is none."""
    match _json(line):
        case [int() | float() as at, str() as kind, str() as data]:
            return Event(float(at), kind, data)
        case _:
            return None


def _json(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


class Recorder:
    """Writes one transcript. Not thread-safe; one per terminal. `failed` says why it stopped, if it did."""

    def __init__(self, path: Path, cols: int, rows: int, began: float, *, limit: int = MAX_BYTES) -> None:
        """`began` and every later `at` are seconds since 1970. An existing transcript is continued."""
        self.path = path
        self.failed = ""
        self._limit = limit
        self._size = (cols, rows)
        self._began = began
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._fd = -1
        self._written = 0
        self._torn = False
        self._open()

    def output(self, data: bytes, at: float) -> None:
        """What the agent printed. A character cut in two is kept until its rest comes."""
        text = self._decode(data)
        if text:
            self._write(Event(at - self._began, "o", text))

    def resize(self, cols: int, rows: int, at: float) -> None:
        self._size = (cols, rows)
        self._write(Event(at - self._began, "r", f"{cols}x{rows}"))

    def note(self, text: str, at: float) -> None:
        """A marker: `exit 0`, `detached` …"""
        self._write(Event(at - self._began, "m", text))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _open(self) -> None:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self.path, flags, 0o600)
            self._written = os.fstat(self._fd).st_size
        except OSError as error:
            self.failed = error.strerror or str(error)
            return
        if self._written:
            self._continue()
        else:
            self._put(header_line(Header(*self._size, int(self._began))))

    def _continue(self) -> None:
        """Go on with the clock of a transcript that is already there, after a line that may be torn."""
        first = os.pread(self._fd, 4096, 0).split(b"\n", 1)[0]
        header = parse_header(first)
        self._torn = os.pread(self._fd, 1, self._written - 1) != b"\n"
        if header is None:
            self._rotate("what was here was no transcript")
        else:
            self._began = float(header.began)

    def _write(self, event: Event) -> None:
        line = event_line(event)
        if self._fd >= 0 and self._written + len(line) > self._limit:
            self._rotate(f"earlier output is in {self.path.name}.1, older is dropped")
        self._put(line)

    def _rotate(self, note: str) -> None:
        self.close()
        self._torn = False
        try:
            os.replace(self.path, self.path.with_name(self.path.name + ".1"))
        except OSError as error:
            self.failed = error.strerror or str(error)
            return
        self._open()
        self._put(event_line(Event(0.0, "m", note)))

    def _put(self, line: bytes) -> None:
        if self._fd < 0:
            return
        if self._torn:
            line = b"\n" + line
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            self.failed = error.strerror or str(error)
            self.close()
            return
        self._written += written
        self._torn = written != len(line)


def read(path: Path) -> tuple[Header | None, Iterator[Event]]:
    """A transcript's header and events, one by one. Lines that are torn, overlong or foreign are left out."""
    with path.open("rb") as file:
        header = parse_header(file.readline(MAX_LINE))
    return header, _events(path)


def _events(path: Path) -> Iterator[Event]:
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            event = parse_event(line)
            if event is not None:
                yield event
