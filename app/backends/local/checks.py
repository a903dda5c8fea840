"""The start-up self-test, run inside: the proxy answers, and nothing else can be reached. Only tries; the caller
decides."""

import encodings.idna  # noqa: F401 - inside there is no Python to load it from when a name is connected to
import errno
import os
import socket
from collections.abc import Sequence
from typing import Any

PROXY_SECONDS = 5.0
WALL_SECONDS = 0.5
_METADATA = ("169.254.169.254", 80)
# addresses that answer all over the world, so that a hole would show; nothing is sent that means anything
_OUTSIDE = (("1.1.1.1", 443), ("8.8.8.8", 443), ("2606:4700:4700::1111", 443))
_RESOLVERS = (("1.1.1.1", 53), ("8.8.8.8", 53), ("127.0.0.53", 53), ("127.0.0.11", 53))
_REFUSED = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPERM,
     errno.EACCES, errno.ECONNREFUSED}
)  # fmt: skip


def run(port: int) -> tuple[dict[str, Any], Sequence[int]]:
    checks = [
        _proxy(port),
        _walled("raw address", _OUTSIDE, socket.SOCK_STREAM),
        _walled("dns", _RESOLVERS, socket.SOCK_DGRAM),
        _walled("metadata", (_METADATA,), socket.SOCK_STREAM),
        _interfaces(),
    ]
    return {"checks": checks}, ()


def _finding(name: str, ok: bool, detail: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail}


def _proxy(port: int) -> dict[str, Any]:
    request = b"GET /health HTTP/1.1\r\nHost: carboy.internal\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PROXY_SECONDS) as connection:
            connection.sendall(request)
            answer = connection.recv(64)
    except OSError as error:
        return _finding("proxy", False, f"no answer: {error}")
    return _finding("proxy", answer.startswith(b"HTTP/1.1 200"), answer.split(b"\r\n")[0].decode("ascii", "replace"))


def _walled(name: str, addresses: Sequence[tuple[str, int]], kind: int) -> dict[str, Any]:
    """Every one of them must fail at once, by the network's own word: silence would prove nothing."""
    for address in addresses:
        outcome = _try(address, kind)
        if outcome not in _REFUSED:
            word = "reached" if outcome == 0 else os.strerror(outcome)
            return _finding(name, False, f"{address[0]} port {address[1]}: {word}")
    return _finding(name, True)


def _try(address: tuple[str, int], kind: int) -> int:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        with socket.socket(family, kind) as attempt:
            attempt.settimeout(WALL_SECONDS)
            attempt.connect(address)
            if kind == socket.SOCK_DGRAM:
                attempt.send(b"\0")
                attempt.recv(1)
    except TimeoutError:
        return errno.ETIMEDOUT
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _interfaces() -> dict[str, Any]:
    names = [name for _, name in socket.if_nameindex()]
    return _finding("interfaces", names == ["lo"], ", ".join(names))
