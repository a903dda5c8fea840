"""Brings what sidecars wrote to their spools into the store, once, and tells them when it is safe.

A spool's lines are a less trusted part's word: each is validated by the wire type, a bad one is counted and skipped,
and none ever stops the rest. Events and the position read up to are stored in one transaction; only then is the
sidecar told (`ack`), and only then do subscribers see them.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from app.controller.events import Bus
from app.controller.metering import LAST_TIME, Report
from app.core.journal import times_of
from app.core.model import StreamEvent
from app.core.usage import UsageRow, within
from app.store.base import NewEvent, Position
from app.store.metering import Counted, Metering
from app.tasks import cancel_and_wait, spawn
from sidecar.allowance import IntentEvent, ProgressEvent, SaidInfo, UsageEvent, WindowEvent
from sidecar.contract import ContentEvent, EgressEvent, ProposalEvent, SpoolEvent
from sidecar.spool import SpoolReader

log = logging.getLogger(__name__)

BATCH_LINES = 500
"""Lines in one transaction: enough to share the disk flush, few enough that a live log is never late."""

BATCH_BYTES = 4 * 1024 * 1024
"""Of those: what a compromised sidecar writes must not fill this process's memory."""

RETRY_SECONDS = 2.0
"""After a failure of ours (full disk, locked database): the spool keeps everything, so waiting loses nothing."""

type Ack = Callable[[Position], Awaitable[None]]
type Write = Callable[[tuple[NewEvent, ...], tuple[ContentEvent, ...]], None]
_EVENT: TypeAdapter[Any] = TypeAdapter(SpoolEvent)


@dataclass(frozen=True)
class Parsed:
    """A batch of lines as events; `bad` lines were skipped."""

    events: tuple[NewEvent, ...]
    bad: int
    proposals: tuple[ProposalEvent, ...] = ()
    report: Report = field(default_factory=Report)
    contents: tuple[ContentEvent, ...] = ()


@dataclass(frozen=True)
class Counts:
    """Where a session's usage counts: its scopes, and when it began."""

    scopes: tuple[str, ...] = ()
    since: float = 0.0


def parse(lines: list[tuple[Position, bytes]]) -> Parsed:
    """Validate lines. Pure; raises nothing whatever the lines hold."""
    events: list[NewEvent] = []
    proposals: list[ProposalEvent] = []
    contents: list[ContentEvent] = []
    report = Report()
    bad = 0
    for _, line in lines:
        try:
            event = _EVENT.validate_json(line)
            if isinstance(event, ProposalEvent):
                _check_proposal(event)
                proposals.append(event)
            elif isinstance(event, IntentEvent | ProgressEvent | UsageEvent | WindowEvent):
                orjson.dumps(event.model_dump(mode="json"))  # refuses what is not text
                report.take(event)
            elif isinstance(event, ContentEvent):
                contents.append(event)
            else:
                events.append(new_event(event))
        except (ValueError, TypeError, RecursionError):
            bad += 1
    if bad:
        events.append(_bad_lines(bad, lines[-1][0]))
    return Parsed(tuple(events), bad, tuple(proposals), report, tuple(contents))


def _check_proposal(event: ProposalEvent) -> None:
    if not 0 <= event.at < LAST_TIME or not 0 <= (event.expires_at or 0.0) < LAST_TIME:
        raise ValueError("not a time")
    orjson.dumps(event.model_dump(mode="json"))  # refuses what is not text


def new_event(event: Any) -> NewEvent:
    """A validated spool event as the store keeps it. Raises ValueError or TypeError for numbers that no honest sidecar
    writes and that the store, or whoever formats them, could not take."""
    payload = event.model_dump(mode="json")
    if not 0 <= event.at < LAST_TIME or not math.isfinite(payload.get("ms", 0.0)):
        raise ValueError("not a time")
    orjson.dumps(payload)  # refuses integers beyond 64 bits and what is not text
    if isinstance(event, EgressEvent):
        return NewEvent(event.id, event.at, "egress", payload, event.decision, event.host)
    return NewEvent(event.id, event.at, "notice", payload)


def _bad_lines(count: int, at: Position) -> NewEvent:
    # the id follows from the place, so that reading the same lines again gives the same notice
    identity = f"unreadable-{at.segment}-{at.offset}"
    text = f"{count} line{'s' if count > 1 else ''} of the sidecar's journal could not be read"
    payload = {
        "id": identity,
        "at": time.time(),
        "kind": "notice",
        "level": "error",
        "code": "spool_unreadable",
        "text": text,
    }
    return NewEvent(identity, payload["at"], "notice", payload)


@dataclass(frozen=True)
class Tally:
    """Ended requests of one session, as the store holds them; `at` is when one began or ended last."""

    allowed: int = 0
    refused: int = 0
    at: float = 0.0

    @classmethod
    def of(cls, counts: dict[str, int]) -> "Tally":
        return cls(sum(counts.get(name, 0) for name in _ALLOWED), sum(counts.get(name, 0) for name in _REFUSED))

    def plus(self, events: list[StreamEvent]) -> "Tally":
        """With these, which were just kept."""
        egress = [item for item in events if item.kind == "egress"]
        closed = [item for item in egress if item.data.get("phase") == "closed"]
        return Tally(
            self.allowed + sum(times_of(item.data) for item in closed if item.data["decision"] in _ALLOWED),
            self.refused + sum(times_of(item.data) for item in closed if item.data["decision"] in _REFUSED),
            max([self.at, *(item.at for item in egress)]),
        )


_ALLOWED, _REFUSED = ("allow", "redact"), ("deny", "hold")
type Tallied = Callable[[str, Tally], None]


@dataclass
class Listeners:
    """Who is told of what comes in. `proposed` comes before the line counts as read: it may come again, and must not
    be lost; what it raises makes it come again."""

    counted: Tallied = lambda *_: None
    proposed: Callable[[str, ProposalEvent], Awaitable[None]] | None = None
    kept: Callable[[str, list[StreamEvent]], None] = lambda *_: None
    counts: Callable[[str], Counts] = lambda _: Counts()
    traced: Callable[[str, str, tuple[UsageRow, ...], dict[str, SaidInfo]], None] = lambda *_: None
    """Beside the loop, and before the line counts as read: it may come again."""
    logged: Callable[[str], "Write | None"] = lambda _: None
    """Gives what writes the bottle's log file, if it has one: as `traced`, it may write the same again."""
    used: Callable[[str, Report, tuple[Counted, ...]], None] = lambda *_: None


class Spool:
    """One session's spool on its way into the store."""

    def __init__(self, bus: Bus, slug: str, session_id: str, folder: Path, ack: Ack, told: Listeners) -> None:
        self._bus = bus
        self._told = told
        self._tally = Tally()
        self._slug = slug
        self.session_id = session_id
        self.folder = folder
        self.ack = ack
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._position: Position | None = None
        self._task = spawn(self._run(), name=f"ingest {slug}")

    def poke(self) -> None:
        """There may be something new."""
        self._idle.clear()
        self._news.set()

    async def settled(self) -> None:
        """Wait until all that was there has been ingested."""
        await self._idle.wait()

    async def close(self) -> None:
        await cancel_and_wait(self._task)

    def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                while await self._batch():
                    pass
            except Exception:
                log.exception("the spool of %s could not be ingested; trying again", self._slug)
                await asyncio.sleep(RETRY_SECONDS)
                self._news.set()
                continue
            if not self._news.is_set():
                self._idle.set()

    async def _batch(self) -> bool:
        if self._position is None:
            self._position = await self._bus.store.position(self.session_id)
            self._tally = Tally.of(await self._bus.store.counts(self.session_id))
            self._told.counted(self.session_id, self._tally)
        reader = SpoolReader(self.folder, self._position)
        lines = await asyncio.to_thread(reader.read, BATCH_LINES, BATCH_BYTES)
        if not lines:
            return False
        # off the loop: 500 lines take some 10 ms to validate
        parsed = await asyncio.to_thread(parse, lines)
        if parsed.bad:
            log.debug("%d unreadable lines in the spool of %s", parsed.bad, self._slug)  # its log has a notice
        position = lines[-1][0]
        for proposal in parsed.proposals if self._told.proposed else ():
            assert self._told.proposed is not None
            await self._told.proposed(self.session_id, proposal)
        metering = self._metering(parsed.report)
        if metering is not None and metering.rows:
            rows, said = tuple(metering.rows), parsed.report.said
            await asyncio.to_thread(self._told.traced, self._slug, self.session_id, rows, said)
        write = self._told.logged(self.session_id)
        if write is not None:
            await asyncio.to_thread(write, parsed.events, parsed.contents)
        done = await self._bus.ingest(self._slug, self.session_id, parsed.events, position, metering)
        self._position = position  # whatever becomes of who is told: what was charged must not be told twice
        kept = done.events
        self._tally = self._tally.plus(kept)
        self._told.counted(self.session_id, self._tally)
        self._told.kept(self.session_id, kept)
        if parsed.report:
            self._told.used(self.session_id, parsed.report, done.counted)
        try:
            await self.ack(position)
        except Exception as error:
            # a sidecar that is down cannot be told; the next batch, or its restart, tells it
            log.debug("the sidecar of %s could not be told: %s", self._slug, error)
        return reader.more

    def _metering(self, report: Report) -> Metering | None:
        if not report.rows and not report.intents and not report.progress:
            return None
        counts, now = self._told.counts(self.session_id), time.time()
        rows = tuple(within(row, counts.since, now) for row in report.rows)
        return Metering(counts.scopes, tuple(report.intents), rows, tuple(report.progress))


class Ingest:
    """All spools. `watch` is called once per session (again after adoption), `poke` on each note."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._spools: dict[str, Spool] = {}
        self.told = Listeners()

    def watch(self, slug: str, session_id: str, folder: Path, ack: Ack) -> None:
        """Ingest this session's spool from where it stands. A second call replaces `ack`."""
        spool = self._spools.get(session_id)
        for former in [one for one in self._spools.values() if one.folder == folder and one is not spool]:
            former.stop()  # what is there from now on is not that session's
            del self._spools[former.session_id]
        if spool is None:
            spool = self._spools[session_id] = Spool(self._bus, slug, session_id, folder, ack, self.told)
        spool.ack = ack
        spool.poke()

    def poke(self, session_id: str) -> None:
        """A sidecar says that it spooled something."""
        if (spool := self._spools.get(session_id)) is not None:
            spool.poke()

    async def settle(self, session_id: str, timeout: float = 10.0) -> bool:
        """Bring in what is there now and wait for it, or for `timeout` seconds. Whether it is in the store."""
        if (spool := self._spools.get(session_id)) is None:
            return True
        spool.poke()
        try:
            async with asyncio.timeout(timeout):
                await spool.settled()
        except TimeoutError:
            log.warning("the spool of %s did not settle within %s s", session_id, timeout)
            return False
        return True

    async def forget(self, session_id: str, *, whatever: bool = False) -> bool:
        """The session has ended: ingest the rest, then stop watching. False where the store does not take it yet: then
        it is watched on, and to be kept. `whatever`: it is of no use to anybody."""
        done = await self.settle(session_id)
        if (done or whatever) and (spool := self._spools.pop(session_id, None)) is not None:
            await spool.close()
        return done

    async def close(self) -> None:
        for spool in tuple(self._spools.values()):
            await spool.close()
        self._spools.clear()
