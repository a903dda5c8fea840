"""The few calls that a session's own process makes to its engine: plain blocking HTTP over the unix socket, and the
stream that an attachment (to the container, or to a program started in it) turns its connection into. No SDK: this
runs in a process of a few megabytes for each bottle.
"""

import http.client
import json
import socket
import time
from typing import Any
from urllib.parse import quote

SECONDS = 30.0
_MAX_HEAD, _MAX_BODY, _MAX_REST = 65536, 4 * 1024 * 1024, 2000


class EngineGone(Exception):
    """Nobody answers, or the answer makes no sense."""


class Frozen(EngineGone):
    """It is paused, by a snapshot for one: nobody is attached to it before it goes on."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float | None) -> None:
        super().__init__("engine", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    path: str, method: str, target: str, body: dict[str, Any] | None = None, *, seconds: float | None = SECONDS
) -> tuple[int, dict[str, Any]]:
    """Status and JSON answer. Raises EngineGone."""
    connection = _Connection(path, seconds)
    try:
        if body is None:
            connection.request(method, target, headers={"Content-Length": "0"})
        else:
            connection.request(method, target, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read(_MAX_BODY)
        data = json.loads(text) if text else {}
        return answer.status, data if isinstance(data, dict) else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise EngineGone(str(error)) from None
    finally:
        connection.close()


def container(identity: str, action: str) -> str:
    return f"/containers/{quote(identity, safe='')}/{action}"


def attach(path: str, identity: str, *, since: bool = True, patience: float = 0.0) -> socket.socket:
    """A container's terminal as a socket; with `since`, what it printed before comes first. One that is frozen has so
    many seconds to go on. Raises EngineGone."""
    target = container(identity, f"attach?stream=1&stdin=1&stdout=1&stderr=1&logs={int(since)}")
    deadline = time.monotonic() + patience
    while True:
        try:
            return _upgraded(path, target, {})
        except Frozen:
            _, found = ask(path, "GET", container(identity, "json"))
            state = found.get("State") or {}
            if time.monotonic() > deadline or not (state.get("Running") or state.get("Paused")):
                raise
            time.sleep(0.02)


def start(path: str, identity: str, command: list[str], user: str) -> tuple[str, socket.socket]:
    """A program beside the agent, without a terminal: its name for the engine, and its standard streams as a socket
    (what it prints comes in frames, see `Demultiplexer`). Raises EngineGone."""
    wanted = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Cmd": command, "User": user}
    status, made = ask(path, "POST", container(identity, "exec"), wanted)
    if status != 201:
        raise EngineGone(f"no program could be started: {str(made.get('message'))[:200]}")
    name = str(made["Id"])
    return name, _upgraded(path, f"/exec/{quote(name, safe='')}/start", {"Detach": False, "Tty": False})


def run(path: str, identity: str, command: list[str], user: str, given: bytes = b"") -> tuple[int, bytes]:
    """Exit code and output of a short program, with `given` as its input. Raises EngineGone."""
    name, sock = start(path, identity, command, user)
    output, frames = bytearray(), Demultiplexer()
    with sock:
        sock.settimeout(SECONDS)
        try:
            sock.sendall(given)
            sock.shutdown(socket.SHUT_WR)
            while data := sock.recv(65536):
                output += frames.feed(data)
                if len(output) > _MAX_BODY:
                    raise EngineGone("a program in the container does not stop printing")
        except OSError as error:
            raise EngineGone(str(error)) from None
    _, found = ask(path, "GET", f"/exec/{quote(name, safe='')}/json")
    return int(found.get("ExitCode") or 0), bytes(output)


def _upgraded(path: str, target: str, body: dict[str, Any]) -> socket.socket:
    """A connection that the engine has turned into a stream. Raises EngineGone."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(SECONDS)
        sock.connect(path)
        text = json.dumps(body).encode() if body else b""
        head = f"POST {target} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        kind = "Content-Type: application/json\r\n" if body else ""
        sock.sendall(f"{head}{kind}Content-Length: {len(text)}\r\n\r\n".encode() + text)
        status = _read_head(sock).split(b" ", 2)
        if len(status) < 2 or status[1] not in (b"101", b"200"):
            error = Frozen if status[1:2] == [b"409"] else EngineGone
            raise error(f"the attachment was refused: {b' '.join(status)[:200].decode(errors='replace')}")
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
    """Output without a terminal: frames of 8 bytes head (stream, length) and data. `only`: of that stream alone."""

    def __init__(self, only: int | None = None) -> None:
        self._data = bytearray()
        self._only = only
        self.rest = bytearray()
        """The first of what the other streams said."""

    def feed(self, data: bytes) -> bytes:
        self._data += data
        found = bytearray()
        while len(self._data) >= 8:
            size = int.from_bytes(self._data[4:8])
            if len(self._data) < 8 + size:
                break
            piece = self._data[8 : 8 + size]
            if self._only in (None, self._data[0]):
                found += piece
            else:
                self.rest += piece[: _MAX_REST - len(self.rest)]
            del self._data[: 8 + size]
        return bytes(found)
