"""Unix sockets of ours by path: how a channel is dialled and answered again after the inherited pair is gone.

The folder must be ours and closed to others, the peer must be the same user, and the first frame must carry the
token. Must never answer anything before that.
"""

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar.channel import (
    Answer,
    Channel,
    ChannelClosed,
    Handler,
    HandOver,
    NoteHandler,
    RemoteError,
    peer_uid,
)
from sidecar.secret import Secret
from sidecar.tasks import cancel_and_wait, spawn

__all__ = [
    "Accepted",
    "Answer",
    "Channel",
    "ChannelClosed",
    "HandOver",
    "Handler",
    "Listener",
    "NoteHandler",
    "RemoteError",
    "connect",
    "peer_uid",
    "serve",
]

log = logging.getLogger(__name__)

HELLO_SECONDS = 5.0
"""A peer of ours says hello at once; one that does not is not ours."""
MAX_STRANGERS = 16
"""Connections that have not said hello yet."""

type Accepted = Callable[[Channel], Handler]
"""Called with each peer that has proved itself; returns what answers it."""


async def connect(
    path: str | Path, token: str | Secret, *, notes: NoteHandler | None = None, timeout: float = HELLO_SECONDS
) -> Channel:
    """Dial the socket at `path` and say hello. Raises OSError where nobody of ours answers."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(sock, os.fspath(path))
        if peer_uid(sock) != os.geteuid():
            raise PermissionError(f"another user answers on {path}")
    except BaseException:
        sock.close()
        raise
    channel = Channel(sock, notes=notes)
    try:
        secret = token.reveal() if isinstance(token, Secret) else token
        await channel.call("hello", {"token": secret}, timeout=timeout)
    except ChannelClosed:
        raise PermissionError(f"the process behind {path} does not accept us") from None
    except BaseException:
        channel.close()
        raise
    return channel


class Listener:
    """An answered unix socket. `close()` removes it and leaves the channels that were accepted."""

    def __init__(self, sock: socket.socket, path: Path, token_ok: Callable[[str], bool], accepted: Accepted) -> None:
        self._sock = sock
        self._path = path
        self._inode = path.stat().st_ino
        self._token_ok = token_ok
        self._accepted = accepted
        self._strangers = 0
        self._task = spawn(self._accept(), name="control-socket")

    async def close(self) -> None:
        await cancel_and_wait(self._task)
        self._sock.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._sock)
            except OSError as error:
                # out of descriptors, most likely: the connection waits in the backlog
                log.warning("control socket: %s", error)
                await asyncio.sleep(1)
                continue
            if self._strangers >= MAX_STRANGERS or peer_uid(sock) != os.geteuid():
                sock.close()
                continue
            self._strangers += 1
            spawn(self._greet(sock), name="control-hello")

    async def _greet(self, sock: socket.socket) -> None:
        greeted = asyncio.Event()
        done = asyncio.Event()

        async def hello(op: str, body: dict[str, Any], fds: list[int]) -> Answer:
            token = body.get("token")
            if greeted.is_set() or fds or op != "hello" or not isinstance(token, str) or not self._token_ok(token):
                channel.close()
                return None
            greeted.set()
            channel.on_close = None
            channel.serve(self._accepted(channel))
            done.set()
            return {}

        channel = Channel(sock, handler=hello, on_close=done.set)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                await done.wait()
        except TimeoutError:
            channel.close()
        finally:
            self._strangers -= 1


async def serve(path: str | Path, token_ok: Callable[[str], bool], accepted: Accepted) -> Listener:
    """Answer on a 0600 socket at `path`. A left-over socket there is replaced.

    Raises PermissionError unless the folder is ours alone.
    """
    where = Path(path)
    return Listener(_bind(where), where, token_ok, accepted)


def _bind(path: Path) -> socket.socket:
    _check_folder(path.parent)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        mask = os.umask(0o177)
        try:
            sock.bind(os.fspath(path))
        finally:
            os.umask(mask)
        sock.listen(16)
    except BaseException:
        sock.close()
        raise
    return sock


def _check_folder(folder: Path) -> None:
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not a folder of ours alone (mode 0700)")
