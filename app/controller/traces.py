"""Traces on disk: for each bottle a folder of hourly buckets by the events' own time, sealed read-only two hours after
their hour. Append-only; an event that is written twice is read once. Blocks: called beside the loop."""

import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from app.core.trace import Trace, bucket_name, of_usage, sealed, start_of
from app.core.usage import UsageRow
from app.paths import private_folder

log = logging.getLogger(__name__)

FOLDER = "traces"
MOST_LINE = 64 * 1024


class Traces:
    """`state` is carboy's state folder."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER

    def answers(self, slug: str, session_id: str, rows: Iterable[UsageRow]) -> None:
        """Write what models answered. A trace that cannot be written is told in the log: the store has the usage."""
        try:
            self.write(slug, [of_usage(slug, session_id, row) for row in rows], time.time())
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

    def read(self, slug: str) -> list[Trace]:
        """All of a bottle's, in the order of their own time, each once."""
        found: dict[str, Trace] = {}
        for entry in _entries(self._folder / slug):
            if start_of(entry.name) is not None and entry.is_file(follow_symlinks=False):
                for one in _traces(Path(entry.path)):
                    found.setdefault(one.id, one)
        return sorted(found.values(), key=lambda one: (one.created_at, one.id))


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
