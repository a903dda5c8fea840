"""Between one program's terminal and all who look at it: output to everyone, input from anyone, never a byte lost
while they keep up.

A reader that is a little slow slows the program down, as a slow terminal does; one that stands still is told and
dropped, so that it cannot stop the program. Single-threaded, on the holder's event loop.
"""

import asyncio
import contextlib
import os
import socket
import termios
from collections import deque
from collections.abc import Callable
from typing import Protocol

from app.processes import stream

CHUNK = 65536
HIGH, LOW = 32 * 1024, 16 * 1024
"""Bytes waiting for one reader at which the program is paused, and at which it goes on: what is drawn, at a tenth of a
megabyte a second where lines are short, before the answer to a key is seen."""
SENT = 32 * 1024
"""Bytes in such a reader's socket (SO_SNDBUF, which Linux doubles for its own accounts)."""
PIPE_HIGH = 512 * 1024
"""HIGH of a program without a terminal: no key waits for an answer, and who reads it may stand still, as a pager."""
STALLED_SECONDS = 5.0
"""A reader that took nothing for this long while the program waits for it is dropped."""
INPUT_HIGH = 64 * 1024
"""Input waiting for the program at which its sender is not read any more."""
REPLIES_HIGH = 16 * 1024
"""Input waiting for the program at which its own questions go unanswered: one that asks and never reads would fill this
process's memory, and keep the operator's keys out."""


class Replay(Protocol):
    """What a new reader is shown first."""

    def feed(self, data: bytes) -> None: ...
    def resize(self, rows: int, cols: int) -> None: ...
    def redraw(self) -> bytes: ...


class RawReplay:
    """Of a program without a terminal: its last output as it was."""

    LIMIT = 4 * 1024 * 1024

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > 2 * self.LIMIT:
            del self._data[: -self.LIMIT]

    def resize(self, rows: int, cols: int) -> None:
        del rows, cols

    def redraw(self) -> bytes:
        return bytes(self._data[-self.LIMIT :])


class Relay:
    """The program's end (`fd`: a pseudo-terminal's master, or a pipe's reading end) and its readers."""

    def __init__(
        self, fd: int, replay: Replay, *, on_output: Callable[[bytes], None], on_end: Callable[[], None], tty: bool
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._replay = replay
        self._on_output = on_output
        self._on_end = on_end
        self.tty = tty
        self._input = bytearray()
        self._readers: set[Reader] = set()
        self._reading = False
        self._open = True
        self._code: int | None = None
        os.set_blocking(fd, False)
        self.balance()

    def attach(self, sock: socket.socket, rest: bytes, rows: int, cols: int) -> None:
        """A new reader on `sock`: gets the screen as it is, then all that follows."""
        self.resize(rows, cols)
        reader = Reader(sock, self)
        self._readers.add(reader)
        reader.send(stream.OUTPUT, self._replay.redraw())
        reader.received(rest)
        if self._code is not None:
            reader.finish(self._code)

    def write(self, data: bytes) -> None:
        """Input for the program; dropped where it has no terminal or has ended."""
        if not self.tty or not self._open or not data:
            return
        waiting = bool(self._input)
        self._input += data
        if not waiting:
            self._flush_input()

    def reply(self, data: bytes) -> None:
        """An answer to a question of the program's."""
        if len(self._input) < REPLIES_HIGH:
            self.write(data)

    def resize(self, rows: int, cols: int) -> None:
        """The last one who says a size decides."""
        if not self.tty or not self._open:
            return
        with contextlib.suppress(OSError, termios.error):
            if termios.tcgetwinsize(self._fd) != (rows, cols):
                self._replay.resize(rows, cols)
                termios.tcsetwinsize(self._fd, (rows, cols))

    def finish(self, code: int) -> None:
        """The program has ended: tell all readers, let go of its terminal."""
        self._end()
        self._code = code
        for reader in list(self._readers):
            reader.finish(code)

    def forget(self, reader: "Reader") -> None:
        self._readers.discard(reader)
        self.balance()

    @property
    def input_full(self) -> bool:
        return len(self._input) > INPUT_HIGH

    def balance(self) -> None:
        """Read from the program exactly while no reader is behind."""
        want = self._open and not any(reader.behind for reader in self._readers)
        if want and not self._reading:
            self._loop.add_reader(self._fd, self._readable)
        elif not want and self._reading:
            self._loop.remove_reader(self._fd)
        self._reading = want

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last process let go of the terminal (pty(7))
            data = b""
        if not data:
            self._end()
            self._on_end()
            return
        self._on_output(data)
        self._replay.feed(data)
        for reader in list(self._readers):
            reader.send(stream.OUTPUT, data)
        self.balance()

    def _flush_input(self) -> None:
        try:
            while self._input:
                del self._input[: os.write(self._fd, self._input[:CHUNK])]
        except BlockingIOError:
            self._loop.add_writer(self._fd, self._flush_input)
        except OSError:
            self._input.clear()
        if not self._input:
            self._loop.remove_writer(self._fd)
        for reader in list(self._readers):
            reader.balance()

    def _end(self) -> None:
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        os.close(self._fd)


class Reader:
    """One attachment."""

    def __init__(self, sock: socket.socket, relay: Relay) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._relay = relay
        self._decoder = stream.Decoder()
        self._out: deque[memoryview] = deque()
        self._queued = 0
        self._ending = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._reading = False
        self.behind = False
        self._high = HIGH if relay.tty else PIPE_HIGH
        sock.setblocking(False)
        if relay.tty:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT)
        self.balance()

    def send(self, kind: bytes, data: bytes) -> None:
        if self._ending or self._closed:
            return
        idle = not self._out
        for start in range(0, max(len(data), 1), CHUNK):
            self._queue(kind, data[start : start + CHUNK])
        if idle:
            self._flush()
        if not self._closed and not self.behind and self._queued > self._high:
            self.behind = True
            self._set_timer(self._drop)

    def finish(self, code: int) -> None:
        """Tell it how the program ended; close once that is out, or soon."""
        self.send(stream.EXIT, str(code).encode())
        self._end_soon()

    def received(self, data: bytes) -> None:
        try:
            for kind, body in self._decoder.feed(data):
                if kind == stream.INPUT:
                    self._relay.write(body)
                elif kind == stream.RESIZE:
                    self._relay.resize(*stream.parse_size(body))
                else:
                    raise stream.BadStream
        except stream.BadStream:
            self._close()

    def balance(self) -> None:
        """Read from the peer exactly while the program takes input."""
        want = not self._closed and not self._relay.input_full
        if want and not self._reading:
            self._loop.add_reader(self._sock, self._readable)
        elif not want and self._reading:
            self._loop.remove_reader(self._sock)
        self._reading = want

    def _readable(self) -> None:
        try:
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        self.received(data)
        self.balance()

    def _queue(self, kind: bytes, data: bytes) -> None:
        frame = stream.encode(kind, data)
        self._out.append(memoryview(frame))
        self._queued += len(frame)

    def _flush(self) -> None:
        try:
            while self._out:
                sent = self._sock.send(self._out[0])
                self._queued -= sent
                self._out[0] = self._out[0][sent:]
                if not self._out[0]:
                    self._out.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._flush)
        except OSError:
            self._last_words()
            self._close()
            return
        self._progress()

    def _last_words(self) -> None:
        """The peer has gone; what it typed before that still counts."""
        with contextlib.suppress(OSError):
            while not self._relay.input_full and (data := self._sock.recv(CHUNK)):
                self.received(data)

    def _progress(self) -> None:
        if not self._out:
            self._loop.remove_writer(self._sock)
            if self._ending:
                self._close()
                return
        if not self.behind:
            return
        if self._queued <= LOW:
            self.behind = False
            self._set_timer(None)
            self._relay.balance()
        else:
            self._set_timer(self._drop)

    def _drop(self) -> None:
        """It stands still: what is queued beyond the frame on its way is given up, then it is told."""
        while len(self._out) > 1:
            self._queued -= len(self._out.pop())
        self._queue(stream.DROPPED, b"too slow")
        self.behind = False
        self._relay.forget(self)
        self._end_soon()

    def _end_soon(self) -> None:
        self._ending = True
        if not self._out:
            self._close()
        else:
            self._set_timer(self._close)

    def _set_timer(self, action: Callable[[], None] | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if action is None else self._loop.call_later(STALLED_SECONDS, action)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._set_timer(None)
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._relay.forget(self)
