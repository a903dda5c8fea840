"""Remembers when an operator was last in front of an app, through restarts: what happened since is "since you left"."""

import logging
import time
from pathlib import Path

import orjson

from app.files import atomic_write, read_bounded

log = logging.getLogger(__name__)

FILE = "presence.json"


class Presence:
    """`with presence:` for as long as an app is open. `away_from` is when the time began that the newest of them should
    tell about; 0 where nobody was ever here."""

    def __init__(self, state: Path) -> None:
        self._file = state / FILE
        self._here = 0
        self.away_from = self._read()

    @property
    def left(self) -> float:
        """When the operator left last, before being here now; 0 for never."""
        return self.away_from if self.here else self._read()

    @property
    def here(self) -> bool:
        return self._here > 0

    def __enter__(self) -> None:
        self._here += 1
        if self._here == 1:
            self.away_from = self._read()
            # a controller that is killed never sees the app leave: better too long ago than too late
            self._write(time.time())

    def __exit__(self, *_: object) -> None:
        self._here -= 1
        if self._here == 0:
            self._write(time.time())

    def _read(self) -> float:
        try:
            at = orjson.loads(read_bounded(self._file, 1024, follow=False))["left"]
            return float(at) if isinstance(at, int | float) else 0.0
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0

    def _write(self, at: float) -> None:
        try:
            atomic_write(self._file, orjson.dumps({"left": at}))
        except OSError as error:
            log.warning("%s cannot be written: %s", self._file, error)
