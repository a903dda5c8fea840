"""Channels between our own processes: calls, replies and notes on a unix stream socket, with descriptors.

One `Channel` a peer, on an inherited socket pair or on a dialled unix socket (`connect`, `serve`). A peer that breaks
the protocol is cut off: nothing is resynchronised. Must never log a body, since bodies carry secrets.
"""

import array
import asyncio
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.contract import Note, Reply, Request
from sidecar.framing import MAX_FDS, BadFrame, Inbox, close_fds, pack
from sidecar.tasks import spawn

log = logging.getLogger(__name__)

MAX_QUEUED = 32 * 1024 * 1024
"""Bytes waiting for a peer that does not read: two largest frames. Beyond it the peer is taken for dead."""
MAX_SERVING = 256
"""Requests of one peer in work at once."""
_CLOEXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class ChannelClosed(Exception):
    """The peer is gone, was cut off, or this side closed."""


class RemoteError(Exception):
    """The peer could not do what was asked. `body` holds the error as data where the peer gave it (`as_dict`)."""

    def __init__(self, message: str, body: dict[str, Any]) -> None:
        super().__init__(message)
        self.body = body


@dataclass(frozen=True)
class HandOver:
    """An answer after which the socket is no channel any more: `take(sock, rest)` gets it once the reply is out.

    `rest` are bytes that the peer has sent already.
    """

    body: dict[str, Any]
    take: Callable[[socket.socket, bytes], None]


type Answer = dict[str, Any] | tuple[dict[str, Any], Sequence[int]] | HandOver | None
type Handler = Callable[[str, dict[str, Any], list[int]], Awaitable[Answer]]
"""`await handler(op, body, fds)`. The descriptors are the handler's own; those in its answer are closed when sent."""
type Got = tuple[dict[str, Any], list[int]]
"""A reply's body and descriptors."""
type NoteHandler = Callable[[str, dict[str, Any]], None]


class Channel:
    """One peer. Both sides may call, answer and send notes at any time; calls run side by side.

    `sock` is a connected unix stream socket, which the channel owns from here on. Reading starts with the loop's next
    turn, so give the handlers here or before that: a request that nobody answers breaks the protocol, as descriptors do
    that nobody asked for. The peer may be a less trusted part.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        handler: Handler | None = None,
        notes: NoteHandler | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._sock = sock
        self._sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._handler = handler
        self.notes = notes
        self.on_close = on_close
        self._inbox = Inbox()
        self._out: deque[tuple[memoryview, list[int]]] = deque()
        self._queued = 0
        self._seq = 0
        self._waiting: dict[int, tuple[asyncio.Future[Got], int]] = {}
        """What is waited for, and how many descriptors may come with it."""
        self._upgrade: int | None = None
        self._serving = 0
        self._drained = asyncio.Event()
        self._drained.set()
        self._closed = asyncio.Event()
        self._loop.add_reader(sock.fileno(), self._readable)

    # --- what callers use -------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def serve(self, handler: Handler) -> None:
        """Answer the peer's requests with `handler` from now on."""
        self._handler = handler

    async def call(
        self,
        op: str,
        body: dict[str, Any] | None = None,
        fds: Sequence[int] = (),
        *,
        takes: int = 0,
        timeout: float | None = None,
    ) -> Got:
        """Ask the peer; returns the reply's body and descriptors, at most `takes`, which are the caller's to close.

        `fds` stay the caller's. Raises RemoteError, ChannelClosed or TimeoutError.
        """
        return await self._reply(*self._request(op, body, fds, takes), timeout)

    async def upgrade(
        self, op: str, body: dict[str, Any] | None = None, *, timeout: float | None = None
    ) -> tuple[dict[str, Any], socket.socket, bytes]:
        """Ask for something after which the socket is a stream of its own; the channel ends without closing it.

        Returns the reply, the socket (non-blocking) and the stream's first bytes, if any came already.
        """
        self._upgrade, future = self._request(op, body, ())
        answer, _ = await self._reply(self._upgrade, future, timeout)
        sock, rest = self._release()
        return answer, sock, rest

    def note(self, name: str, body: dict[str, Any] | None = None) -> None:
        """Tell the peer something. Does nothing on a closed channel: a note is news, not a request."""
        if not self.closed:
            self._send(pack(Note(note=name, body=body or {})), [])

    async def drain(self) -> None:
        """Wait until all that was queued is with the kernel (or the channel is closed)."""
        await self._drained.wait()

    def close(self) -> None:
        """End the channel. Calls that wait raise ChannelClosed. Idempotent."""
        if self.closed:
            return
        sock, _ = self._release()
        sock.close()

    # --- reading ----------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            data, fds = _receive(self._sock)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, BadFrame) as error:
            log.debug("channel: %s", error)
            self.close()
            return
        if not data:
            close_fds(fds)
            self.close()
            return
        try:
            self._inbox.feed(data, fds)
            self._dispatch()
        except BadFrame as error:
            log.warning("channel: the peer broke the protocol: %s", error)
            self.close()

    def _dispatch(self) -> None:
        while not self.closed and (item := self._inbox.take()) is not None:
            message, fds = item
            if isinstance(message, Request):
                self._take_request(message, fds)
            elif isinstance(message, Reply):
                if self._take_reply(message, fds):
                    return
            else:
                close_fds(fds)
                self._take_note(message)

    def _take_request(self, message: Request, fds: list[int]) -> None:
        if self._handler is None or self._serving >= MAX_SERVING:
            close_fds(fds)
            raise BadFrame("a request that nobody answers here" if self._handler is None else "too many at once")
        self._answer_soon(message, fds)

    def _take_reply(self, message: Reply, fds: list[int]) -> bool:
        """True where the bytes after this reply are no frames."""
        future, takes = self._waiting.pop(message.re, (None, len(fds)))
        if future is None or future.done() or len(fds) > takes:
            close_fds(fds)
            if len(fds) > takes:
                if future is not None and not future.done():
                    future.set_exception(ChannelClosed("the peer broke the protocol"))
                raise BadFrame("descriptors that nobody asked for")
            return False
        if not message.ok:
            close_fds(fds)
            future.set_exception(RemoteError(message.error or "the peer failed", message.body))
            return False
        future.set_result((message.body, fds))
        if self._upgrade == message.re:
            self._loop.remove_reader(self._sock.fileno())
            return True
        return False

    def _take_note(self, message: Note) -> None:
        if self.notes is None:
            return
        try:
            self.notes(message.note, message.body)
        except Exception:
            log.exception("channel: a note's handler failed")

    # --- answering --------------------------------------------------------------------------------------------------

    def _answer_soon(self, request: Request, fds: list[int]) -> None:
        self._serving += 1
        spawn(self._answer(request, fds), name=f"channel-{request.op[:40]}")

    async def _answer(self, request: Request, fds: list[int]) -> None:
        assert self._handler is not None
        try:
            answer = await self._handler(request.op, request.body, fds)
        except Exception as error:
            self._reply_error(request, error)
            return
        finally:
            self._serving -= 1
        if isinstance(answer, HandOver):
            await self._hand_over(request, answer)
            return
        body, given = answer if isinstance(answer, tuple) else (answer or {}, ())
        try:
            if not self.closed:
                self._send(pack(Reply(re=request.seq, ok=True, body=body, fds=len(given))), list(given))
        except (BadFrame, TypeError, ValueError) as error:
            self._reply_error(request, error)
        finally:
            close_fds(list(given))

    def _reply_error(self, request: Request, error: Exception) -> None:
        if self.closed:
            return
        as_dict = getattr(error, "as_dict", None)
        body: dict[str, Any] = as_dict() if callable(as_dict) else {}  # pyright: ignore[reportAssignmentType]
        text = f"{type(error).__name__}: {error}" if not body else str(error)
        self._send(pack(Reply(re=request.seq, ok=False, body=body, error=text[:2000])), [])

    async def _hand_over(self, request: Request, answer: HandOver) -> None:
        if self.closed:
            return
        self._send(pack(Reply(re=request.seq, ok=True, body=answer.body)), [])
        await self.drain()
        if self.closed:
            return
        sock, rest = self._release()
        answer.take(sock, rest)

    # --- writing ----------------------------------------------------------------------------------------------------

    def _request(
        self, op: str, body: dict[str, Any] | None, fds: Sequence[int], takes: int = 0
    ) -> tuple[int, asyncio.Future[Got]]:
        if self.closed:
            raise ChannelClosed("the channel is closed")
        self._seq += 1
        frame = pack(Request(seq=self._seq, op=op, body=body or {}, fds=len(fds)))
        future: asyncio.Future[Got] = self._loop.create_future()
        self._waiting[self._seq] = future, takes
        self._send(frame, list(fds))
        return self._seq, future

    async def _reply(self, asked: int, future: asyncio.Future[Got], timeout: float | None) -> Got:
        try:
            async with asyncio.timeout(timeout):
                return await future
        except BaseException:
            self._waiting.pop(asked, None)
            if future.done() and not future.cancelled() and future.exception() is None:
                close_fds(future.result()[1])  # it came in the very moment in which its caller went
            raise

    def _send(self, frame: bytes, fds: list[int]) -> None:
        if len(fds) > MAX_FDS:
            raise ValueError(f"at most {MAX_FDS} descriptors with one message")
        if self._queued + len(frame) > MAX_QUEUED:
            log.warning("channel: the peer does not read; cutting it off")
            self.close()
            return
        self._out.append((memoryview(frame), [os.dup(fd) for fd in fds]))
        self._queued += len(frame)
        if self._drained.is_set():
            self._flush()

    def _flush(self) -> None:
        """Write what the kernel takes; ask to be called again for the rest."""
        try:
            while self._out:
                data, fds = self._out[0]
                sent = _transmit(self._sock, data, fds)
                close_fds(fds)
                self._queued -= sent
                if sent < len(data):
                    self._out[0] = (data[sent:], [])
                else:
                    self._out.popleft()
        except (BlockingIOError, InterruptedError):
            if self._drained.is_set():
                self._drained.clear()
                self._loop.add_writer(self._sock.fileno(), self._flush)
            return
        except OSError as error:
            log.debug("channel: %s", error)
            self.close()
            return
        if not self._drained.is_set():
            self._loop.remove_writer(self._sock.fileno())
            self._drained.set()

    # --- ending -----------------------------------------------------------------------------------------------------

    def _release(self) -> tuple[socket.socket, bytes]:
        """Let go of the socket: nothing is read or written here any more, and all that waited is told."""
        rest = self._inbox.rest()
        if self.closed:
            return self._sock, rest
        self._closed.set()
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._inbox.close()
        for _, fds in self._out:
            close_fds(fds)
        self._out.clear()
        self._drained.set()
        waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_exception(ChannelClosed("the peer is gone"))
        if self.on_close is not None:
            self._loop.call_soon(self.on_close)
        return self._sock, rest


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    fds = array.array("i")
    data, ancillary, flags, _ = sock.recvmsg(262144, socket.CMSG_SPACE(MAX_FDS * fds.itemsize), _CLOEXEC)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    received = list(fds)
    if flags & socket.MSG_CTRUNC:
        close_fds(received)
        raise BadFrame("more descriptors than fit")
    if not _CLOEXEC:
        for fd in received:
            os.set_inheritable(fd, False)
    return data, received


def _transmit(sock: socket.socket, data: memoryview, fds: list[int]) -> int:
    if not fds:
        return sock.send(data)
    return sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def peer_uid(sock: socket.socket) -> int:
    """The user behind a connected unix socket, as the kernel recorded it when the connection was made."""
    if hasattr(socket, "SO_PEERCRED"):
        return struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    # macOS: struct xucred {u_int version; uid_t uid; …} by LOCAL_PEERCRED on level 0 (sys/un.h, sys/ucred.h)
    version, uid = struct.unpack_from("Ii", sock.getsockopt(0, 0x001, 76))
    if version != 0:
        raise OSError("the peer's credentials have an unknown version")
    return uid
