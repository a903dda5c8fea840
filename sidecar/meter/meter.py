"""Meters one HTTP answer: raw chunks as they pass in, usage out when it has ended.

It is given copies and gives nothing back to the stream, so it can neither change nor hold a byte. It never raises on
what it is fed: an answer that cannot be read ends as `unmetered`, which is shown, never as silence.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Self

from sidecar.meter.decode import PIECE, Decoder, Undecodable
from sidecar.meter.dialects import choose
from sidecar.meter.dialects.responses import Responses
from sidecar.meter.dialects.tally import Tally
from sidecar.meter.faults import Fault, classify, network_fault
from sidecar.meter.frames import Event, Frames
from sidecar.meter.learned import Calibration
from sidecar.meter.loads import Tree
from sidecar.meter.request import RequestFacts
from sidecar.meter.settle import settle
from sidecar.meter.usage import Flag, Usage, Window
from sidecar.meter.windows import windows_from_codex, windows_from_headers

BYTES_A_TOKEN = 4
"""Of an answer that cannot be read: what text has, so that frames around it make it more rather than less."""

_STREAMS = ("event-stream", "eventstream", "grpc", "protobuf")
"""Types of answers that may be a model's on any page of a metered host, though nothing in them could be read."""
_NO_TEXT = ("audio/", "image/", "video/")


class Meter:
    """One answer of a metered host. Make it by `for_response` when the headers are there."""

    def __init__(
        self,
        tally: Tally | None,
        purpose: choose.Purpose,
        status: int,
        headers: Mapping[str, str],
        facts: RequestFacts,
        learned: Calibration,
        now: float,
    ) -> None:
        self.windows: tuple[Window, ...] = windows_from_headers(headers, now)
        """Gauges that the headers told of, and events since."""
        self.fault: Fault | None = None
        """What went wrong, once it is known: after `finish` at the latest."""
        self.unfinished = False
        """It came to its end without an error, and the model had not ended it; known after `finish`."""
        self._tally = tally
        self._purpose: choose.Purpose = purpose
        self._status = status
        self._headers = headers
        self._type = headers.get("content-type", "").lower()
        self._facts = facts
        self._learned = learned
        self._now = now
        self._frames = Frames()
        self._flags: set[Flag] = set()
        self._result: Usage | None = None
        self._decoder: Decoder | None = None
        self._coming: Iterator[bytes] | None = None
        self._body: Tree = {}
        self._size = 0
        self._read = False
        """Something of it was JSON."""
        try:
            self._decoder = Decoder(headers.get("content-encoding", ""))
        except Undecodable:
            self._flags.add("bad_encoding")

    @classmethod
    def for_response(
        cls,
        path: str,
        status: int,
        headers: Mapping[str, str],
        facts: RequestFacts,
        *,
        now: float,
        learned: Calibration | None = None,
    ) -> Self | None:
        """The meter for an answer, or None where there is nothing to meter (a page that costs nothing).

        `now` is the time that relative resets count from; `learned` is the bottle's own, kept from answer to answer.
        Whose answer it is (provider, host, bottle) stays with the caller: the API is told by path and shape.
        """
        lower = {name.lower(): value for name, value in headers.items()}
        purpose = choose.purpose(facts.method, path)
        if purpose == "free" and not windows_from_headers(lower, now):
            return None
        tally = choose.by_path(path) if purpose == "call" else None
        return cls(tally, purpose, status, lower, facts, learned or Calibration(), now)

    def feed(self, chunk: bytes, most: int = sys.maxsize) -> None:
        """One raw chunk as it passes, still encoded. Of what it holds no more than some `most` bytes are read now."""
        self.read_on()
        self._size += len(chunk)
        if self._decoder is not None and self._result is None:
            self._coming = _slices(self._decoder.feed(chunk))
            self.read_on(most)

    @property
    def packed(self) -> bool:
        """There is more in what came than was read yet."""
        return self._coming is not None

    def read_on(self, most: int = sys.maxsize) -> None:
        """As much more of what came: some kilobytes may hold sixty megabytes of events."""
        try:
            for piece in self._coming or ():
                for event in self._frames.feed(piece):
                    self._see(event)
                most -= len(piece)
                if most <= 0:
                    return
        except Undecodable:
            self._flags.add("bad_encoding")
            self._decoder = None
        self._coming = None

    def so_far(self) -> Usage | None:
        """What would be written if it broke off here; None where nothing can be said, or it has ended."""
        tally = self._tally
        if tally is None or tally.ended or not tally.recognised or self._status >= 300 or self._result is not None:
            return None
        return settle(tally, self._facts, self._learned, frozenset(), complete=False)

    def finish(self, complete: bool) -> Usage:
        """The usage; asked again, the same. `complete` is false when the connection broke or somebody hung up."""
        if self._result is not None:
            return self._result
        self.read_on()
        for event in self._frames.finish():
            self._see(event)
        self._result = self._usage(complete)
        self._find_fault(complete, self._result)
        return self._result

    def _see(self, event: Event) -> None:
        if event.oversized:
            self._flags.add("oversized_event")
        if event.bad:
            self._flags.add("bad_event")
            return
        self._read = self._read or not event.cut or bool(event.body)
        if event.cut and event.body:
            self._flags.add("broken_json")
        if self._status >= 300:
            self._body = self._body or event.body
            return
        if self._tally is None and self._purpose == "unknown":
            self._tally = choose.by_event(event.body)
        if event.body.get("type") == "codex.rate_limits":
            self.windows = windows_from_codex(event.body, self._now)
        elif self._tally is not None:
            self._tell(self._tally, event)

    def _tell(self, tally: Tally, event: Event) -> None:
        if event.done:
            tally.done()
            return
        ended = tally.ended
        tally.cut = event.cut
        tally.see(event.body)
        if event.cut:
            tally.ended = ended

    def _usage(self, complete: bool) -> Usage:
        tally = self._tally
        flags = frozenset(self._flags)
        if self._status >= 300 or self._purpose == "free":
            return Usage(tally.name if tally else "", self._facts.model, billable=False, complete=complete)
        if self._purpose == "deferred":
            return Usage("", self._facts.model, complete=complete, unmetered=True, flags=("deferred",))
        if tally is None:
            # an unknown page: telemetry without usage is no warning, a stream or what could not be read is one
            unread = "bad_encoding" in flags or any(kind in self._type for kind in _STREAMS)
            made = self._by_size if unread else 0
            named = Usage("", self._facts.model, billable=unread, unmetered=unread, complete=complete)
            return replace(named, output=made, estimated=made > 0, flags=tuple(sorted(flags)))
        if isinstance(tally, Responses) and self._facts.method == "GET" and not tally.background:
            return Usage(tally.name, tally.model, response_id=tally.response_id, billable=False, complete=complete)
        if tally.error is not None and tally.counts is None and not tally.text.characters:
            return Usage(tally.name, tally.model or self._facts.model, billable=False, complete=complete)
        found = settle(tally, self._facts, self._learned, flags, complete)
        if self._untold(tally):
            return replace(found, output=max(found.output, self._by_size), unmetered=True)
        if (self._only_accepted(tally) or tally.background) and not tally.ended:
            # accepted, and worked on after this answer: who never asks for it again must not have it for nothing
            return replace(found, unmetered=True, flags=tuple(sorted({*found.flags, "deferred"})))
        return found

    def _only_accepted(self, tally: Tally) -> bool:
        return self._facts.background and tally.counts is None and not tally.text.characters

    def _untold(self, tally: Tally) -> bool:
        """Whether it neither said numbers nor showed text, though it may be an answer: in a form that was asked for to
        hide what it says (Gemini's `alt=proto`), or of an API that nobody here knows."""
        if tally.counts is not None or tally.text.characters or not self._by_size:
            return False
        return not self._read or self._purpose == "unknown"

    @property
    def _by_size(self) -> int:
        """Tokens of an answer in which nothing can be counted: it is not for nothing."""
        return 0 if any(kind in self._type for kind in _NO_TEXT) else self._size // BYTES_A_TOKEN

    def _find_fault(self, complete: bool, usage: Usage) -> None:
        error = self._tally.error if self._tally else None
        if self._purpose not in ("call", "deferred") and self._tally is None:
            return  # telemetry that was refused is no fault of an answer
        if self._status >= 400:
            self.fault = classify(self._status, self._headers, self._body, now=self._now, windows=self.windows)
        elif error is not None:
            self.fault = classify(None, self._headers, error, now=self._now, windows=self.windows)
        elif complete and self._cut_short():
            self.unfinished = True
            what = "the answer ended before the model had ended it" if self._read else "that was no answer of a model"
            self.fault = network_fault(what)
        elif not complete and not usage.complete and usage.billable:
            self.fault = network_fault("")

    def _cut_short(self) -> bool:
        """Whether an answer that is whole by its framing has no end of the model's in it, or nothing at all."""
        tally = self._tally
        if tally is None or self._purpose != "call" or self._status >= 300 or tally.ended or tally.background:
            return False
        if self._read:
            return self._facts.stream and "oversized_event" not in self._flags
        # a sound or a picture is an answer, and so is what only hides its form
        told = self._size == 0 or any(kind in self._type for kind in ("html", "json", "event-stream"))
        return told and "bad_encoding" not in self._flags


def _slices(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for at in range(0, len(piece), PIECE):
            yield piece[at : at + PIECE]
