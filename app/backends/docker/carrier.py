"""The small process beside a session holder that is a carried bottle's way out: it starts the relay in the container by
the engine's own `exec`, and leads each connection that comes over that stream to the sidecar's socket.

It is apart from the holder, which keeps keys: what a bottle sends is taken apart here. The engine's stream is the
bottle's identity. When it ends (the engine was restarted, the relay killed), the relay is started again, as long as the
container runs. Forked from the holder; blocking; ends with it.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from app.backends.docker import hijack, stream
from app.backends.docker.hijack import EngineGone
from app.core.text import printable
from sidecar.kernel import libc

USER = "0:0"
"""Root without any capability: the agent can neither signal nor trace it, and it can do no more than the agent."""
PYTHON = ("python3", "-I", "-S", "-B", "-c")
AGAIN_SECONDS = (0.2, 5.0)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Way:
    """From a port in this container to that socket."""

    engine: str
    id: str
    port: int
    sidecar: str


def run(way: Way, tell: Callable[[str], None]) -> NoReturn:
    """The whole life of the process. `tell` gets an empty text when the relay listens, else what went wrong."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    wait = AGAIN_SECONDS[0]
    try:
        while True:
            began = time.monotonic()
            tell(_carry(way, lambda: tell("")))
            if _over(way):
                os._exit(0)
            wait = AGAIN_SECONDS[0] if time.monotonic() - began > AGAIN_SECONDS[1] else min(wait * 2, AGAIN_SECONDS[1])
            time.sleep(wait)
    finally:
        os._exit(1)


def program(port: int) -> list[str]:
    """The relay, as the container's Python is given it."""
    return [*PYTHON, f"{Path(stream.__file__).read_text()}\nrelay({port})\n"]


def _carry(way: Way, ready: Callable[[], None]) -> str:
    """Until the stream ends; why it did."""
    frames = hijack.Demultiplexer(only=1)
    try:
        _, sock = hijack.start(way.engine, way.id, program(way.port), USER)
        with sock:
            sock.setblocking(False)

            def read() -> bytes:
                """The next bytes of the relay; none but at the end."""
                while data := sock.recv(65536):
                    if found := frames.feed(data):
                        return found
                return b""

            fd = sock.fileno()
            stream.Mux(fd, fd, read, connect=lambda: _connected(way.sidecar), ready=ready).run()
    except (EngineGone, stream.Broken, OSError) as error:
        return f"{type(error).__name__}: {error}"[:300]
    said = printable(bytes(frames.rest).decode(errors="replace"), 300).strip()
    return said or "the relay ended"


def _connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # a sidecar that takes no more is not waited for
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def _over(way: Way) -> bool:
    try:
        status, found = hijack.ask(way.engine, "GET", hijack.container(way.id, "json"))
    except EngineGone:
        return False
    return status == 404 or (status == 200 and not (found.get("State") or {}).get("Running"))
