"""Follows what each running agent writes down of its conversation: whether it works or waits, its turns, its words.

Read when the agent did something and a little later, never on a clock of its own. What a bottle writes is shown and
handed on as data; it decides nothing here.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from app.controller.session import Session
from app.errors import CarboyError
from app.providers.base import Provider
from app.providers.conversation import Entry, Reader, Standing
from app.providers.registry import provider as provider_named

log = logging.getLogger(__name__)

GATHER = 1.0
"""Seconds after a sign of life before reading: output comes in bursts."""
SETTLE = 4.0
"""Seconds of silence after which it is read once more: the last record may be written after the last output."""

type Told = Callable[[Session, Sequence[Entry]], None]


class Following:
    """One session. `run` until it is cancelled, then `last` for what came at the end."""

    def __init__(self, session: Session, told: Told, *, launched: bool = False) -> None:
        """`launched`: its agent starts in this moment, so that whatever lies there is of a former start."""
        self._session = session
        self._told = told
        found = _provider(session)
        self._reader = found.conversations(session.state_folder / "home") if found is not None else None
        self._launched = launched
        self._left: Standing | None = None
        """Where a former start left it: nobody works on that."""
        self._resting = found.resting if found is not None else ()

    async def run(self) -> None:
        if self._reader is None:
            return
        session = self._session
        if self._launched:
            await self._read(self._reader)
            self._left = self._reader.standing
        while True:
            await asyncio.sleep(GATHER)
            session.active.clear()
            await self._read(self._reader)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE):
                    await session.active.wait()
                    continue
            await self._read(self._reader)
            await session.active.wait()

    async def last(self) -> None:
        if self._reader is not None:
            await self._read(self._reader)

    async def _read(self, reader: Reader) -> None:
        try:
            entries = await asyncio.to_thread(reader.read)
        except Exception:  # what a bottle wrote must not end the watch over it
            log.exception("the conversation of %s could not be read", self._session.slug)
            return
        now = reader.standing
        still = self._rests() or (self._launched and self._left in (None, now))
        doing = "waiting" if now.doing == "working" and still else now.doing
        self._session.show(
            save=False, doing=doing, turns=now.turns, tool_calls=now.tool_calls, conversation=now.conversation
        )
        if entries:
            self._told(self._session, entries)

    def _rests(self) -> bool:
        """What its terminal's title says, where what it wrote down has no end: it may ask for a permission."""
        return bool(self._resting) and self._session.view.title.startswith(self._resting)


def _provider(session: Session) -> Provider | None:
    try:
        return provider_named(session.view.provider)
    except CarboyError:  # a plugin that is gone
        return None
