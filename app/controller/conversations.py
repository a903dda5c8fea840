"""Follows what each running agent writes down of its conversation: whether it works or waits, its turns, its words.

Read when the agent did something and a little later, never on a clock of its own. What a bottle writes is shown and
handed on as data; it decides nothing here.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

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
STILL = 3.0
"""Seconds for which title and record say so: at a turn's begin and end one of them is ahead of the other."""

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
        self._provider = found
        self._stood = Standing(), 0.0
        """Where it stands still amid its turn, and since when."""

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
        self._session.show(
            save=False, turns=now.turns, tool_calls=now.tool_calls, conversation=now.conversation,
            **self._stands(now),
        )  # fmt: skip
        if entries:
            self._told(self._session, entries)

    def _stands(self, now: Standing) -> dict[str, Any]:
        """What it does, by its record and by its terminal's title: nothing is written down of asking for a permission,
        nor by Gemini CLI of a tool before it has ended."""
        left = self._launched and self._left in (None, now)
        asks = bool(now.asked) or self._shows("asking")
        still = now.doing == "working" and not left and (asks or self._shows("resting"))
        if not still or self._stood[0] != now:
            self._stood = now, time.monotonic()
        if now.doing == "idle":
            return {"doing": "idle", "asks_user": False}
        if still:
            return {"doing": "waiting", "asks_user": asks or time.monotonic() - self._stood[1] >= STILL}
        works = not left and (now.doing == "working" or (self._shows("working") and not asks))
        return {"doing": "working" if works else "waiting", "asks_user": asks}

    def _shows(self, what: Literal["resting", "asking", "working"]) -> bool:
        """Whether its terminal's title says so."""
        titles: tuple[str, ...] = getattr(self._provider, what, ())
        return bool(titles) and self._session.view.title.startswith(titles)


def _provider(session: Session) -> Provider | None:
    try:
        return provider_named(session.view.provider)
    except CarboyError:  # a plugin that is gone
        return None
