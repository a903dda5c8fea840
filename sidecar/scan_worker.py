"""The process that does half of each large scan: what of it needs nothing but the text (`dlp.aside`).

It is forked off before the sidecar locks itself in, and locks itself in before it reads anything: no file, no socket,
no process. It learns the needles of the secrets to look for once a large text comes, and tells places in texts. Those
go through memory that both share, all else through a socket pair. When the sidecar is gone, it ends. What it fails at
is an exception in the scan, so the request is refused; the scans after that are done without it.
"""

import contextlib
import logging
import mmap
import select
import socket
import sys
import threading
from typing import Any

import orjson

from sidecar import confine, lean
from sidecar.dlp import aside
from sidecar.dlp.aside import Found, Searched, Wanted
from sidecar.dlp.known import Needles
from sidecar.dlp.matcher import Backend, Hits, backend
from sidecar.dlp.runs import Split
from sidecar.dlp.searches import shapes
from sidecar.forked import forked

log = logging.getLogger(__name__)

ROOM = 64 * 1024 * 1024
"""Bytes of a text at most: more than a body may have. What is not used takes no memory."""
MAX_NEEDLES = 3
"""Sets of needles that it keeps: those of one bottle's engines."""
SECONDS = 60.0
"""For one part of a scan, which takes a tenth of a second for the most hostile megabyte."""
IDLE_SECONDS = 5
"""After so long without a text, what the searches took of memory goes back to the system."""
_PARTS = 3
"""What `aside.here` gives."""


class WorkerFailed(Exception):
    """The process ended or does not answer: the text was not searched to its end."""


def start() -> "ScanWorker":
    """Fork it and have it help with large texts. The caller has no threads, and has compiled the rules."""
    memory = mmap.mmap(-1, ROOM)
    worker = ScanWorker(forked("scan worker", lambda sock: _Work(sock, memory).serve()), memory)
    aside.use(worker)
    return worker


def _send(sock: socket.socket, message: Any) -> None:
    data = orjson.dumps(message)
    sock.sendall(len(data).to_bytes(4, "big") + data)


def _receive(sock: socket.socket) -> Any:
    """The next message. Raises EOFError at the end."""
    return orjson.loads(_exactly(sock, int.from_bytes(_exactly(sock, 4), "big")))


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        if not (more := sock.recv(size - len(data))):
            raise EOFError
        data += more
    return bytes(data)


# --- in the sidecar -----------------------------------------------------------------------------------------------


class ScanWorker:
    """The sidecar's side, for any number of threads: who finds it busy does the work without it."""

    def __init__(self, sock: socket.socket, memory: mmap.mmap) -> None:
        sock.settimeout(SECONDS)
        self._sock = sock
        self._memory = memory
        self._busy = threading.Lock()
        self._known: list[int] = []
        """Numbers of the needles that it has, or compiles; what was wanted last is last."""
        self._compiling = False
        self._gone = False

    def begin(self, name: Backend, text: bytes, wanted: Wanted) -> Searched | None:
        """Have this text searched. None while it searches another one or does not know the needles yet."""
        if len(text) > ROOM or not self._busy.acquire(blocking=False):
            return None
        begun = False
        try:
            if not self._gone and self._knows(name, wanted.needles):
                self._memory[: len(text)] = text
                needles = wanted.needles.number if wanted.needles else 0
                order = {"backend_name": name, "size": len(text), "rules": wanted.rules, "needles": needles}
                _send(self._sock, {"search": order})
                begun = True
        except (OSError, EOFError) as error:
            self._failed(error)
        finally:
            if not begun:
                self._busy.release()
        return _Answers(self) if begun else None

    def settle(self) -> None:
        """Wait until it has compiled what it was given to learn."""
        with self._busy:
            if self._compiling:
                _receive(self._sock)
                self._compiling = False

    def rest(self) -> None:
        """Give back the memory that texts went through."""
        if sys.platform == "linux" and self._busy.acquire(blocking=False):
            try:
                self._memory.madvise(mmap.MADV_REMOVE)
            finally:
                self._busy.release()

    def answer(self) -> Found:
        """Its next one. Raises WorkerFailed."""
        try:
            pairs, overflow, signs = _receive(self._sock)
        except (OSError, EOFError, ValueError) as error:
            self._failed(error)
            raise WorkerFailed("the process that helps with scans has failed") from error
        return Found(Hits(pairs, overflow), dict(signs))

    def done(self) -> None:
        self._busy.release()

    def _knows(self, name: Backend, needles: Needles | None) -> bool:
        if self._compiling:
            if not select.select([self._sock], [], [], 0)[0]:
                return False
            _receive(self._sock)
            self._compiling = False
        if needles is None:
            return True
        if known := needles.number in self._known:
            self._known.remove(needles.number)
        self._known = [*self._known, needles.number][-MAX_NEEDLES:]
        if not known:
            words = [word.decode("ascii") for word in needles.words]
            order = {"backend_name": name, "words": words, "once": needles.once, "known": self._known}
            _send(self._sock, {"learn": order})
            self._compiling = True
        return known

    def _failed(self, error: Exception) -> None:
        log.error("the process that helps with scans has failed (%s): they take longer now", type(error).__name__)
        self._gone = True
        self._sock.close()


class _Answers:
    """Those of one search. What is not asked for is waited for at the end: the next search begins after it."""

    def __init__(self, worker: ScanWorker) -> None:
        self._worker = worker
        self._left = _PARTS
        self._open = True

    def __iter__(self) -> "_Answers":
        return self

    def __next__(self) -> Found:
        if not self._left:
            raise StopIteration
        self._left -= 1
        try:
            return self._worker.answer()
        except WorkerFailed:
            self._left = 0
            raise

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            for _ in self:
                pass
        finally:
            self._worker.done()


# --- in the process itself ----------------------------------------------------------------------------------------


class _Work:
    def __init__(self, sock: socket.socket, memory: mmap.mmap) -> None:
        self._sock = sock
        self._memory = memory
        self._needles: dict[int, Needles] = {}

    def serve(self) -> None:
        """Until the sidecar is gone. It is locked in when it is first needed: that would cost an idle one 2 MB."""
        select.select([self._sock], [], [])
        confine.isolate()
        confine.compute_only()
        lean.keep_freed()
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                self._one()
                if not select.select([self._sock], [], [], IDLE_SECONDS)[0]:
                    lean.give_back()

    def _one(self) -> None:
        [(what, order)] = _receive(self._sock).items()
        if what == "learn":
            self._learn(**order)
        else:
            self._search(**order)

    def _learn(self, backend_name: Backend, words: list[str], once: list[bool], known: list[int]) -> None:
        """What was learned is the last of what is `known` from now on."""
        shapes(backend_name)
        new = Needles([word.encode("ascii") for word in words], once, backend(backend_name))
        self._needles = {number: self._needles.get(number, new) for number in known}
        lean.give_back()  # compiling takes ten times what stays of it
        _send(self._sock, True)

    def _search(self, backend_name: Backend, size: int, rules: bool, needles: int) -> None:
        wanted = Wanted(rules, self._needles[needles] if needles else None)
        for hits, signs in aside.here(shapes(backend_name), Split.of(self._memory[:size]), wanted):
            _send(self._sock, (hits.pairs, hits.overflow, list(signs.items())))
