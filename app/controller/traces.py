"""Traces on disk: for each bottle a folder of hourly buckets by the events' own time, sealed read-only two hours after
their hour. Append-only; an event that is written twice is read once. Blocks: called beside the loop."""

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from app.core.model import BottleView
from app.core.trace import (
    HOUR,
    Said,
    Trace,
    TraceQuery,
    bucket_name,
    changed_at,
    of_call,
    of_state,
    over,
    sealed,
    start_of,
)
from app.core.usage import UsageRow
from app.paths import private_folder
from sidecar.allowance import SaidInfo

log = logging.getLogger(__name__)

FOLDER = "traces"
MOST_LINE = 64 * 1024
MOST_BYTES = 256 * 2**20
"""Of one bottle: some hundred thousand calls. The oldest hours make room: an agent's loop of calls fills no disk."""


class Traces:
    """`state` is carboy's state folder."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER

    def answers(
        self, slug: str, session_id: str, rows: Iterable[UsageRow], said: Mapping[str, SaidInfo] | None = None
    ) -> None:
        """Write what models answered, and what was said with it."""
        told = {} if said is None else said
        found = [one for row in rows for one in of_call(slug, session_id, row, _said(told.get(row.event_id)))]
        self._try(slug, found)

    def state(self, view: BottleView, before: str | None) -> None:
        """Write that a bottle came into another state."""
        self._try(view.slug, [of_state(view, changed_at(view, before, time.time()))])

    def _try(self, slug: str, traces: list[Trace]) -> None:
        """A trace that cannot be written is told in the log: the store has the usage."""
        try:
            self.write(slug, traces, time.time())
        except OSError as error:
            log.warning("traces of %s cannot be written: %s", slug, error)

    def write(self, slug: str, traces: Iterable[Trace], now: float) -> None:
        folder = private_folder(private_folder(self._folder) / slug)
        by_file: dict[str, list[bytes]] = {}
        for one in traces:
            by_file.setdefault(bucket_name(one.created_at, now), []).append(one.model_dump_json().encode() + b"\n")
        for name, lines in by_file.items():
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(folder / name, flags, 0o600)
            try:
                # a line that a full disk or a kill cut off must not swallow the next one
                torn = os.fstat(fd).st_size and _last_byte(folder / name) != b"\n"
                os.write(fd, (b"\n" if torn else b"") + b"".join(lines))
            finally:
                os.close(fd)
        self.seal(slug, now)

    def seal(self, slug: str, now: float) -> None:
        """Make the buckets of hours that are long over read-only; late events go to their siblings."""
        for entry in _entries(self._folder / slug):
            start = start_of(entry.name)
            if start is None or ".late." in entry.name or not sealed(start, now):
                continue
            if entry.stat(follow_symlinks=False).st_mode & 0o200:
                os.chmod(entry.path, 0o400)

    def tidy(self, now: float) -> None:
        """Of all bottles, also of those that write nothing any more: what is over is sealed, what is old or too much
        removed."""
        for bottle in _entries(self._folder):
            size = 0
            for entry in reversed(_entries(Path(bottle.path)) if bottle.is_dir(follow_symlinks=False) else []):
                start = start_of(entry.name)
                if start is None:
                    continue
                with contextlib.suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_size
                    if over(start, now) or size > MOST_BYTES:
                        os.unlink(entry.path)
            self.seal(bottle.name, now)
            with contextlib.suppress(OSError):  # one with something in it stays
                os.rmdir(bottle.path)

    def bottles(self) -> list[str]:
        """Those that have any."""
        return [entry.name for entry in _entries(self._folder) if entry.is_dir(follow_symlinks=False)]

    def read(self, slug: str, query: TraceQuery | None = None) -> list[Trace]:
        """A bottle's newest that match, in the order of their own time, each once. Reads no hour that lies before
        those."""
        asked = query or TraceQuery()
        found: dict[str, Trace] = {}
        hours: dict[float, list[str]] = {}
        for entry in _entries(self._folder / slug):
            start = start_of(entry.name)
            if start is not None and start + HOUR > asked.since and entry.is_file(follow_symlinks=False):
                hours.setdefault(start, []).append(entry.path)
        for start in sorted(hours, reverse=True):
            if len(found) >= asked.limit:
                break
            for path in hours[start]:
                for one in _traces(Path(path)):
                    if asked.wants(one):
                        found.setdefault(one.id, one)
        return sorted(found.values(), key=lambda one: (one.created_at, one.id))[-asked.limit :]


def _said(info: SaidInfo | None) -> Said | None:
    return None if info is None else Said.model_validate(info.model_dump())


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def _traces(path: Path) -> Iterator[Trace]:
    with path.open("rb") as file:
        while line := file.readline(MOST_LINE):
            try:
                yield Trace.model_validate_json(line)
            except ValidationError:  # cut off, or of another version
                continue


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)
