"""How an ordinary user's session holder has a container entered: a short-lived helper that the engine starts as root.

Whoever may use the engine may be root on its host; the helper does with that power what a carboy that runs as root does
itself, no more, for this one container, and ends with the launch. It speaks with its holder alone, over a socket in a
folder of the user's own.
"""

import contextlib
import json
import os
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from app.backends.base import BoxSpec
from app.backends.docker.entering import Inside, Place
from app.backends.local import wire
from app.errors import CarboyError

SOCKET = "enter.sock"
SECONDS = 45.0
_MAX = 32 * 1024 * 1024
_SOURCE = Path(__file__).parents[3]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from app.backends.docker.helper import main; main(sys.argv[2])"


class Helper:
    """The holder's end; the same face as `Inside`."""

    def __init__(self, spec: BoxSpec, place: Place) -> None:
        path = spec.run / SOCKET
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.settimeout(SECONDS)
            server.bind(str(path))
            server.listen(1)
            try:
                self._sock = _accepted(server, os.getuid() if place.rootless else 0)
            except TimeoutError:
                raise CarboyError("The engine's helper did not come", "Look at the engine's log", "docker") from None
        self._sock.settimeout(SECONDS)
        _send(self._sock, {"spec": wire.spec_to_json(spec), "place": place.to_json()})

    def finish(self, project: str | None) -> tuple[list[str], int]:
        answer, fds = self._call({"finish": True, "project": project})
        return [str(one) for one in answer["placeholders"]], fds[0]

    def listen(self, port: int) -> int:
        _, fds = self._call({"listen": port})
        return fds[0]

    def check(self, port: int) -> list[dict[str, Any]]:
        answer, _ = self._call({"check": port})
        self._sock.close()  # it has done all that it is for
        return list(answer["checks"])

    def close(self) -> None:
        self._sock.close()

    def _call(self, body: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        try:
            _send(self._sock, body)
            answer, fds = _receive(self._sock)
        except (OSError, EOFError) as error:
            raise CarboyError(f"The engine's helper is gone: {error}", "Try again", "docker") from None
        if "error" in answer:
            raise CarboyError(f"In the container: {answer['error']}", "Run `carboy doctor`", "sandbox")
        return answer, fds


def _accepted(server: socket.socket, wanted: int) -> socket.socket:
    """Only root connects here (of a rootless engine, the user itself): the folder is the user's own."""
    while True:
        peer, _ = server.accept()
        _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid == wanted:
            return peer
        peer.close()


def command(run: Path) -> list[str]:
    """What the helper's container runs, from the host's own root folder at /host."""
    return ["chroot", "/host", sys.executable, "-B", "-c", _START, str(_SOURCE), str(run / SOCKET)]


def main(path: str) -> None:
    """The helper."""
    sock = _connected(path)
    sock.settimeout(SECONDS)
    first, _ = _receive(sock)
    inside = Inside(wire.spec_from_json(first["spec"]), Place.from_json(first["place"]), mapped=False)
    with contextlib.suppress(EOFError):
        while True:
            asked, _ = _receive(sock)
            try:
                if "check" in asked:
                    _send(sock, {"checks": inside.check(int(asked["check"]))})
                elif "listen" in asked:
                    _send(sock, {}, [inside.listen(int(asked["listen"]))])
                else:
                    standing, listener = inside.finish(asked["project"])
                    _send(sock, {"placeholders": standing}, [listener])
            except (CarboyError, OSError) as error:
                _send(sock, {"error": str(error)[:2000]})


def _connected(path: str) -> socket.socket:
    deadline = time.monotonic() + SECONDS
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
            return sock
        except OSError:
            sock.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _send(sock: socket.socket, body: dict[str, Any], fds: list[int] | None = None) -> None:
    data = json.dumps(body).encode()
    message = len(data).to_bytes(4) + data
    sent = socket.send_fds(sock, [message], fds or [])
    sock.sendall(message[sent:])


def _receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, fds, _, _ = socket.recv_fds(sock, 4, 1)
    while 0 < len(data) < 4:
        data += sock.recv(4 - len(data))
    if not data:
        raise EOFError
    size = int.from_bytes(data)
    if size > _MAX:
        raise OSError("too long a message")
    body = bytearray()
    while len(body) < size:
        piece = sock.recv(min(65536, size - len(body)))
        if not piece:
            raise OSError("a message broke off")
        body += piece
    for fd in fds:
        os.set_inheritable(fd, False)
    return json.loads(bytes(body)), fds
