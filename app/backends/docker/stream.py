"""Many connections over one stream: what a carried bottle has in place of a network (decision 18).

Both ends are this one file, with nothing but the standard library: a bottle's Python (3.9 or later) runs its text,
and listens; the host's end, which a bottle's bytes come to, connects. A frame out of place, too large or beyond what
was granted ends the whole stream (`Broken`): fail closed. Memory is bounded by connections times window.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
from collections.abc import Callable

READY, OPEN, DATA, END, RESET, ROOM = range(6)
HEAD = struct.Struct(">BIH")
PIECE = 16384
"""Most bytes of one frame's body."""
WINDOW = 128 * 1024
"""Bytes of one connection that may be on their way in one direction."""
CONNECTIONS = 256
FULL = 256 * 1024
"""From so much unsent on, no connection is read."""
OVERFULL = 1024 * 1024
"""An honest other end never brings us to this: what it may ask for is bounded."""
_CHUNK = 65536
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Broken(Exception):
    """The other end does not keep to the protocol, or is gone."""


class Parser:
    """Bytes to frames. Raises Broken."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        self._data += data
        found: list[tuple[int, int, bytes]] = []
        while len(self._data) >= HEAD.size:
            kind, number, size = HEAD.unpack_from(self._data)
            if kind > ROOM or size > PIECE or (size and kind in (OPEN, END, RESET)) or (kind == ROOM and size != 4):
                raise Broken("a frame that there is not")
            if len(self._data) < HEAD.size + size:
                break
            found.append((kind, number, bytes(self._data[HEAD.size : HEAD.size + size])))
            del self._data[: HEAD.size + size]
        return found


def frame(kind: int, number: int, body: bytes = b"") -> bytes:
    return HEAD.pack(kind, number, len(body)) + body


class Connection:
    """One of them, as one end has it. `room`: what may still be sent of it; `granted`: what may still come."""

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        self.sock = sock
        self.room = WINDOW
        self.granted = WINDOW
        self.unsent = bytearray()
        """One buffer: many small pieces must not cost more than their bytes."""
        self.taken = 0
        """Bytes written to the socket, not yet granted again."""
        self.read_all = False
        self.ended = False
        """The other end sends no more."""
        self.shut = False


class Mux:
    """One end. `read` gives the next bytes of the stream, b"" at its end; `writer` takes bytes, without waiting.

    With a `listener` it accepts connections and opens them; with `connect` it makes those that the other end opens.
    """

    def __init__(
        self,
        reader: int,
        writer: int,
        read: Callable[[], bytes],
        *,
        listener: socket.socket | None = None,
        connect: Callable[[], socket.socket] | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._reader, self._writer, self._read = reader, writer, read
        self._listener = listener
        self._connect = connect
        self._ready = ready
        self._parser = Parser()
        self._out = bytearray()
        self._last = 0
        self.connections: dict[int, Connection] = {}
        self._poll = selectors.DefaultSelector()
        self._watched: dict[int, int] = {}
        if listener is not None:
            listener.setblocking(False)
            self._out += frame(READY, 0)

    def run(self) -> None:
        """Until the stream ends. Raises Broken where it does not end well, OSError."""
        try:
            while self.step():
                pass
        finally:
            for one in self.connections.values():
                one.sock.close()
            self.connections.clear()
            self._poll.close()

    def step(self, seconds: float | None = None) -> bool:
        """Whatever can be done, once. False where the stream has ended."""
        self._watch_all()
        events = {key.fd: mask for key, mask in self._poll.select(seconds)}
        going = True
        if events.get(self._reader, 0) & _READ:
            going = self._from_stream()
        if self._listener is not None and events.get(self._listener.fileno(), 0) & _READ:
            self._accept()
        for one in list(self.connections.values()):
            happened = events.get(one.sock.fileno(), 0)
            if happened & _WRITE:
                self._to_socket(one)
            if happened & _READ and one.number in self.connections and len(self._out) < FULL:
                self._from_socket(one)
        self._flush()
        return going

    # --- what is waited for -------------------------------------------------------------------------------------------

    def _watch_all(self) -> None:
        wanted = {self._reader: _READ}
        if self._out:
            wanted[self._writer] = wanted.get(self._writer, 0) | _WRITE
        calm = len(self._out) < FULL
        if self._listener is not None and len(self.connections) < CONNECTIONS and calm:
            wanted[self._listener.fileno()] = _READ
        for one in self.connections.values():
            mask = _READ if calm and one.room and not one.read_all else 0
            mask |= _WRITE if one.unsent else 0
            if mask:
                wanted[one.sock.fileno()] = mask
        for fd in self._watched.keys() - wanted.keys():
            self._poll.unregister(fd)
        for fd, mask in wanted.items():
            if fd not in self._watched:
                self._poll.register(fd, mask)
            elif self._watched[fd] != mask:
                self._poll.modify(fd, mask)
        self._watched = wanted

    def _forget(self, one: Connection) -> None:
        """Before its number is another's: a closed descriptor must not stay registered."""
        fd = one.sock.fileno()
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)
        one.sock.close()
        del self.connections[one.number]

    # --- the stream ---------------------------------------------------------------------------------------------------

    def _send(self, kind: int, number: int, body: bytes = b"") -> None:
        self._out += frame(kind, number, body)
        if len(self._out) > OVERFULL:
            raise Broken("the other end asks for more than it takes")

    def _flush(self) -> None:
        while self._out:
            try:
                sent = os.write(self._writer, self._out[:_CHUNK])
            except BlockingIOError:
                return
            del self._out[:sent]

    def _from_stream(self) -> bool:
        try:
            data = self._read()
        except BlockingIOError:
            return True
        for kind, number, body in self._parser.feed(data):
            self._take(kind, number, body)
        return bool(data)

    def _take(self, kind: int, number: int, body: bytes) -> None:
        if kind == READY:
            self._ready()
            return
        if kind == OPEN:
            self._open(number)
            return
        one = self.connections.get(number)
        if one is None:
            if not 0 < number <= self._last:
                raise Broken("of a connection that never was")
            return  # it was closed on this side meanwhile
        if kind == DATA:
            self._data(one, body)
        elif kind == ROOM:
            one.room += int.from_bytes(body, "big")
            if one.room > WINDOW:
                raise Broken("more room than there is")
        elif kind == END:
            one.ended = True
            self._close_if_done(one)
        else:
            self._forget(one)

    def _open(self, number: int) -> None:
        if self._connect is None or number <= self._last or len(self.connections) >= CONNECTIONS:
            raise Broken("a connection that may not be")
        self._last = number
        try:
            sock = self._connect()
        except OSError:  # the sidecar is being restarted
            self._send(RESET, number)
            return
        sock.setblocking(False)
        self.connections[number] = Connection(number, sock)

    def _data(self, one: Connection, body: bytes) -> None:
        one.granted -= len(body)
        if one.granted < 0 or one.ended or not body:
            raise Broken("more than was granted")
        one.unsent += body
        self._to_socket(one)

    # --- one connection -----------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):  # whoever it was has gone already
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            self._last += 1
            self.connections[self._last] = Connection(self._last, sock)
            self._send(OPEN, self._last)

    def _from_socket(self, one: Connection) -> None:
        try:
            data = one.sock.recv(min(PIECE, one.room))
        except BlockingIOError:
            return
        except OSError:
            self._reset(one)
            return
        if data:
            one.room -= len(data)
            self._send(DATA, one.number, data)
            return
        one.read_all = True
        self._send(END, one.number)
        self._close_if_done(one)

    def _to_socket(self, one: Connection) -> None:
        try:
            while one.unsent:
                sent = one.sock.send(one.unsent)
                one.taken += sent
                del one.unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._reset(one)
            return
        if one.taken >= WINDOW // 2 or (one.taken and not one.unsent):
            one.granted += one.taken
            self._send(ROOM, one.number, one.taken.to_bytes(4, "big"))
            one.taken = 0
        self._close_if_done(one)

    def _close_if_done(self, one: Connection) -> None:
        if one.ended and not one.unsent and not one.shut:
            one.shut = True
            with contextlib.suppress(OSError):
                one.sock.shutdown(socket.SHUT_WR)
        if one.shut and one.read_all:
            self._forget(one)

    def _reset(self, one: Connection) -> None:
        self._send(RESET, one.number)
        self._forget(one)


def relay(port: int) -> None:
    """The bottle's end: its program. Ends with the stream, and so with whoever holds the other end."""
    os.set_blocking(0, False)
    os.set_blocking(1, False)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(CONNECTIONS)
    Mux(0, 1, lambda: os.read(0, _CHUNK), listener=listener).run()
