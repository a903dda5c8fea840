"""The few calls that a session's own process makes to its engine: plain blocking HTTP over the unix socket, and the
stream that an attachment turns its connection into. No SDK: this runs in a process of a few megabytes for each bottle.
"""

import http.client
import json
import socket
from typing import Any
from urllib.parse import quote

SECONDS = 30.0
_MAX_HEAD, _MAX_BODY = 65536, 4 * 1024 * 1024


class EngineGone(Exception):
    """Nobody answers, or the answer makes no sense."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float | None) -> None:
        super().__init__("engine", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, method: str, target: str, *, seconds: float | None = SECONDS) -> tuple[int, dict[str, Any]]:
    """Status and JSON answer. Raises EngineGone."""
    connection = _Connection(path, seconds)
    try:
        connection.request(method, target, headers={"Content-Length": "0"})
        answer = connection.getresponse()
        body = answer.read(_MAX_BODY)
        data = json.loads(body) if body else {}
        return answer.status, data if isinstance(data, dict) else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise EngineGone(str(error)) from None
    finally:
        connection.close()


def container(identity: str, action: str) -> str:
    return f"/containers/{quote(identity, safe='')}/{action}"


def attach(path: str, identity: str, *, since: bool = True) -> socket.socket:
    """A container's terminal as a socket; with `since`, what it printed before comes first. Raises EngineGone."""
    target = container(identity, f"attach?stream=1&stdin=1&stdout=1&stderr=1&logs={int(since)}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(SECONDS)
        sock.connect(path)
        head = f"POST {target} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        sock.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
        status = _read_head(sock).split(b" ", 2)
        if len(status) < 2 or status[1] not in (b"101", b"200"):
            raise EngineGone(f"the attachment was refused: {b' '.join(status)[:200].decode(errors='replace')}")
        sock.settimeout(None)
    except OSError as error:
        sock.close()
        raise EngineGone(str(error)) from None
    except EngineGone:
        sock.close()
        raise
    return sock


def _read_head(sock: socket.socket) -> bytes:
    """Up to the empty line and not a byte beyond it: those are the terminal's."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        if not piece or len(head) > _MAX_HEAD:
            raise EngineGone("the engine closed the attachment")
        head += piece
    return bytes(head)


class Demultiplexer:
    """Output of a container without a terminal: frames of 8 bytes head (stream, length) and data."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> bytes:
        self._data += data
        found = bytearray()
        while len(self._data) >= 8:
            size = int.from_bytes(self._data[4:8])
            if len(self._data) < 8 + size:
                break
            found += self._data[8 : 8 + size]
            del self._data[: 8 + size]
        return bytes(found)
