"""Searches by hyperscan (vectorscan on ARM). Owns compiled databases and one scratch space a thread and database.

The scan runs without the interpreter's lock; each hit takes it back for about 0.7 µs, which is why hits are limited.
Compiling the rules takes seconds, so what was compiled once may be given back: `offer` it before the first search is
made, a `Recording` has it. Nothing here reads or writes files.
"""

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import hyperscan  # pyright: ignore[reportMissingTypeStubs]

from sidecar.dlp.cores import Cores
from sidecar.dlp.matcher import Backend, Hits, Searcher, Spec
from sidecar.dlp.shape import spelled

_hs: Any = cast(Any, hyperscan)  # the binding has no types


_offered: dict[str, bytes] = {}
_loaded: dict[str, Any] = {}
_recording: "Recording | None" = None

_THREADS = 4
"""Compiling runs without the interpreter's lock; each takes some ten megabytes."""


class Recording:
    """Of what is asked for from now on, what it compiles to. For a process that searches nothing and has no secrets:
    their needles would be in it as well."""

    def __init__(self) -> None:
        global _recording
        self._pool = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1))
        self._made: dict[str, Future[bytes]] = {}
        _recording = self

    def add(self, key: str, expressions: list[bytes], flags: list[int], *, literal: bool) -> None:
        if key not in self._made:
            work = partial(_new, expressions, flags, literal=literal)
            self._made[key] = self._pool.submit(lambda: _hs.dumpb(work()))

    def result(self) -> dict[str, bytes]:
        """All of it, by key; nothing is recorded any more."""
        global _recording
        _recording = None
        with self._pool:
            return {key: each.result() for key, each in self._made.items()}


def offer(compiled: Mapping[str, bytes]) -> None:
    """Use these, by the key they were recorded under, in place of compiling. Trusted: it is the rules themselves."""
    _offered.update(compiled)


def _compiled(expressions: list[bytes], flags: list[int], *, literal: bool) -> Any:
    key = hashlib.sha256(repr((_hs.__version__, expressions, flags, literal)).encode()).hexdigest()
    if _recording is not None:
        return _recording.add(key, expressions, flags, literal=literal)
    if key in _loaded:
        return _loaded[key]
    if (known := _offered.pop(key, None)) is not None:
        try:
            database = _loaded[key] = _hs.loadb(known, _hs.HS_MODE_BLOCK)
            _hs.Scratch(database)  # one that was made for another processor fails here
        except _hs.error:
            _loaded.pop(key, None)
        else:
            return database
    return _new(expressions, flags, literal=literal)


def _new(expressions: list[bytes], flags: list[int], *, literal: bool) -> Any:
    database = _hs.Database(mode=_hs.HS_MODE_BLOCK)
    ids = list(range(len(expressions)))
    database.compile(expressions=expressions, ids=ids, elements=len(ids), flags=flags, literal=literal)
    return database


class _Database:
    """One compiled database. Hyperscan forbids two scans with one scratch space at a time."""

    def __init__(self, expressions: list[bytes], flags: list[int], *, literal: bool) -> None:
        self._empty = not expressions
        if self._empty:
            return
        self._db: Any = _compiled(expressions, flags, literal=literal)
        self._local = threading.local()

    def scan(self, text: bytes, limit: int) -> Hits:
        pairs: list[tuple[int, int]] = []
        if self._empty or not text:
            return Hits(pairs, False)
        scratch: Any = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = _hs.Scratch(self._db)
        append = pairs.append

        def on_match(index: int, start: int, end: int, flags: int, context: object) -> bool | None:
            append((index, end))
            return True if len(pairs) >= limit else None

        try:
            self._db.scan(text, match_event_handler=on_match, scratch=scratch)
        except _hs.ScanTerminated:
            return Hits(pairs, True)
        return Hits(pairs, False)


class Hyperscan:
    """The fast backend."""

    name: Backend = "hyperscan"

    def __init__(self) -> None:
        # an unsupported processor shows here, not at the first request
        _Database([b"a"], [0], literal=False).scan(b"a", 2)

    def expressions(self, specs: Sequence[Spec]) -> Searcher:
        flags = [_hs.HS_FLAG_DOTALL | (_hs.HS_FLAG_CASELESS if spec.caseless else 0) for spec in specs]
        # those without case begin with a keyword: many words, of which nothing long is shared
        sources = [spec.source if spec.caseless else spelled(spec.source) for spec in specs]
        return _Database([source.encode("ascii") for source in sources], flags, literal=False)

    def literals(self, words: Sequence[bytes], once: Sequence[bool]) -> Searcher:
        # NUL ends a literal in the binding: callers pass letters and digits only
        if any(b"\0" in word or not word for word in words):
            raise ValueError("a literal is not empty and has no NUL")
        return Cores(words, once, _literals)


def _literals(words: Sequence[bytes], once: Sequence[bool]) -> Searcher:
    flags = [_hs.HS_FLAG_SINGLEMATCH if single else 0 for single in once]
    return _Database(list(words), flags, literal=True)
