"""What happens to the bytes of one answer on their way to the agent: decoded, looked through for instructions, and
without any real credential. Made for streams: what may go on goes on at once. What it raises ends the flow.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from sidecar.dlp.echo import EchoRedactor
from sidecar.dlp.finding import Finding
from sidecar.dlp.injection_deltas import AnswerWatch
from sidecar.egress.refusal import Refusal
from sidecar.egress.turns import AT_A_STRETCH
from sidecar.meter.decode import Decoder

MAX_DROPPED = 1024 * 1024
"""Read and dropped of an answer that was ended, so that the agent gets to read why; then the flow is cut."""

MOST_AT_ONCE = 256 * 1024
"""Bytes that are looked through in one turn, where that takes no longer than `AT_A_STRETCH`."""
MOST_LINES = 64
"""Lines of events that are looked through by themselves: an event costs up to half a millisecond, however short it is,
and what came before says nothing of the next."""
FIRST_STEP, LEAST_STEP = 4 * 1024, 1024
"""Bytes that are looked through by themselves: at first, and where they cost most (events of a few bytes each)."""

type Found = Callable[[Sequence[Finding]], Refusal | None]
"""Told of findings; gives the refusal where they end the answer."""


class BadAnswer(Exception):
    """The answer must not go on. Says nothing of what was in it."""


class Nothing:
    """An answer that has no body."""

    names: frozenset[str] = frozenset()
    holding = False
    packed = False

    def release(self) -> bytes:
        return b""

    def feed(self, data: bytes) -> bytes:
        if data:
            raise BadAnswer("it has a body where none belongs")
        return b""


class AnswerFilter:
    """One HTTP answer. `expected` is the length that the agent was told, if it was told one."""

    def __init__(
        self,
        *,
        decoder: Decoder | None,
        echo: EchoRedactor | None,
        watch: AnswerWatch | None,
        found: Found,
        events: bool,
        expected: int | None,
    ) -> None:
        self._decoder = decoder
        self._echo = echo
        self._watch = watch
        self._found = found
        self._events = events
        self._expected = expected
        self._packed: Iterator[bytes] | None = None
        self._rest = b""
        self._step = FIRST_STEP
        self._given = 0
        self._dropped = 0
        self._over = False
        self._refusal: Refusal | None = None

    @property
    def names(self) -> frozenset[str]:
        """Names of the secrets that were taken out."""
        return self._echo.names if self._echo is not None else frozenset()

    @property
    def holding(self) -> bool:
        """Something waits for what comes next."""
        return self._echo is not None and self._echo.holding and not self._over

    @property
    def packed(self) -> bool:
        """Of what came, more is to be done than is done at once: `release` goes on with it, before anything else is
        fed."""
        return self._packed is not None

    def release(self) -> bytes:
        """What goes on although nothing came: more of what did, else what waits for the next piece."""
        if self._packed is not None:
            return self._turn(self._packed)
        out = self._echo.release() if self._echo is not None and not self._over else b""
        self._given += len(out)
        return out

    def feed(self, data: bytes) -> bytes:
        """What goes on of these bytes; none are the end."""
        if not data:
            self._ended()
            return self._passed(b"", last=True)
        self._packed = iter((data,)) if self._decoder is None else self._decoder.feed(data)
        return self._turn(self._packed)

    def _ended(self) -> None:
        """Half of an answer must not pass for one: the agent gets it without the encoding that tells where it ends. An
        event stream has an end of its own, and servers leave off the encoding's."""
        if self._decoder is not None and not (self._decoder.whole or self._events or self._over):
            raise BadAnswer("it breaks off inside of its content encoding")

    def _turn(self, packed: Iterator[bytes]) -> bytes:
        """As much as is done at once. A piece of some kilobytes may hold sixty megabytes, or many thousand events."""
        out: list[bytes] = []
        now = started = time.perf_counter()
        left = MOST_AT_ONCE
        while True:
            self._rest = self._rest or next(packed, b"")
            if not self._rest:
                self._packed = None
                break
            if left <= 0 or now - started > AT_A_STRETCH:
                break
            size = self._size()
            piece, self._rest = self._rest[:size], self._rest[size:]
            out.append(self._passed(piece))
            left -= len(piece)
            before, now = now, time.perf_counter()
            if now - before > AT_A_STRETCH:
                self._step = max(LEAST_STEP, self._step // 4)
            elif now - before < AT_A_STRETCH / 4:
                self._step = min(MOST_AT_ONCE, self._step * 4)
        return b"".join(out)

    def _size(self) -> int:
        """Bytes that are looked through next."""
        size = self._step
        if self._echo is not None and self._echo.in_events:
            while size > LEAST_STEP and self._rest.count(b"\n", 0, size) > MOST_LINES:
                size //= 2
        return size

    def _passed(self, piece: bytes, *, last: bool = False) -> bytes:
        was_over = self._over
        out = self._piece(piece) if piece else b""
        if last and not self._over and self._watch is not None:
            self._judge(self._watch.finish())
        if self._over and not was_over:
            out += self._last_words(None if self._expected is None else self._expected - self._given - len(out))
        if last and not self._over and self._echo is not None:
            out += self._echo.finish()
        self._given += len(out)
        if self._expected is not None and (self._given > self._expected or (last and self._given < self._expected)):
            raise BadAnswer("its length is not what was announced")
        return out

    def _piece(self, piece: bytes) -> bytes:
        if self._over:
            self._dropped += len(piece)
            if self._dropped > MAX_DROPPED:
                raise BadAnswer("it was ended")
            return b""
        self._judge(self._watch.feed(piece) if self._watch is not None else ())
        if self._over:
            return b""
        return piece if self._echo is None else self._echo.feed(piece)

    def _judge(self, findings: Sequence[Finding]) -> None:
        self._refusal = self._found(findings) if findings else None
        self._over = self._refusal is not None

    def _last_words(self, room: int | None) -> bytes:
        """Why it ended, as long as the agent was told that the rest would be."""
        assert self._refusal is not None
        body = self._refusal.body()
        text = b"event: error\ndata: " + body.strip() + b"\n\n" if self._events else b"\n" + body
        if room is None:
            return text
        if len(text) > room:
            text = f"\ncarboy refused this answer ({self._refusal.code}): {self._refusal.reason}\n".encode()
        return text[: max(0, room)].ljust(max(0, room))
