"""Alarms of bottles' canaries, on record: the first at once, and those within a minute of it as one row that says how
many. The audit trail is kept for good, and a bottle can raise some each second; each has its line in the log."""

import asyncio
from dataclasses import dataclass

from app.controller.audit import Audit
from app.core.model import StreamEvent
from app.tasks import spawn

QUIET_SECONDS = 60.0


@dataclass
class _Since:
    """What came after the last row of a session."""

    timer: asyncio.TimerHandle
    more: int = 0
    last: StreamEvent | None = None


class Canaries:
    """Used on the loop only. `close()` puts on record what waits."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._quiet: dict[str, _Since] = {}

    def alarm(self, session_id: str, event: StreamEvent) -> None:
        """A notice that a canary was about to leave."""
        since = self._quiet.get(session_id)
        if since is None:
            self._record(session_id, event, 1)
        else:
            since.more, since.last = since.more + 1, event

    async def close(self) -> None:
        for session_id, since in tuple(self._quiet.items()):
            since.timer.cancel()
            if since.last is not None:
                await self._written(session_id, since.last, since.more)
        self._quiet.clear()

    def _record(self, session_id: str, event: StreamEvent, times: int) -> None:
        timer = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._over, session_id)
        self._quiet[session_id] = _Since(timer)
        spawn(self._written(session_id, event, times), name="canary-alarm")

    def _over(self, session_id: str) -> None:
        since = self._quiet.pop(session_id)
        if since.last is not None:
            self._record(session_id, since.last, since.more)

    async def _written(self, session_id: str, event: StreamEvent, times: int) -> None:
        text = str(event.data.get("text", ""))
        await self._audit.record(
            "canary-alarm",
            slug=event.slug,
            session_id=session_id,
            actor="sidecar",
            text=text,
            may_wait=True,
            **({"times": times} if times > 1 else {}),
        )
