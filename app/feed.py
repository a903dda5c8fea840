"""Keeps the board in step with the controller: one connection, one event stream, resumed from the last event seen,
for as long as the app runs. It decides nothing and draws nothing; it reports through `Listener`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from app.build import other
from app.core.board import Board
from app.core.journal import Entry
from app.errors import CarboyError

if TYPE_CHECKING:
    from app.client import Client
    from app.core.approvals import ProposalView
    from app.core.model import Provenance, StreamEvent
    from app.core.notices import Notice
    from app.messages import Link

log = logging.getLogger(__name__)

BACKLOG = 5_000
"""Events asked for at the first connection: what the log and the refusals show of the time before this window."""
RETRY = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts while the controller does not answer; the last one repeats."""
SLICE = 0.004
"""Seconds of taking in events before other work gets its turn: a flood must not delay a key press."""

Connect = Callable[[], Awaitable["Client"]]


class Listener(Protocol):
    """Who hears of changes. Called on the event loop; must return at once."""

    def link_changed(self, link: Link, text: str) -> None: ...
    def board_replaced(self) -> None: ...
    def board_changed(self, entry: Entry | None = None, *, bottles: bool = False, catalogue: bool = False) -> None: ...
    def proposals_changed(self, proposals: tuple[ProposalView, ...]) -> None: ...
    def proposal_expired(self, proposal: ProposalView) -> None: ...
    def settings_read(self, settings: tuple[Provenance, ...]) -> None: ...
    def notices_read(self, notices: tuple[Notice, ...]) -> None: ...
    def noticed(self, notice: Notice) -> None: ...
    def warned(self, text: str) -> None: ...


class Feed:
    """`client` is None until the first answer, and stays the last one that worked while the controller is away."""

    def __init__(self, connect: Connect, board: Board, listener: Listener) -> None:
        self.connect = connect
        self.board = board
        self.listener = listener
        self.client: Client | None = None
        self._failures = 0
        self._waiting: dict[str, ProposalView] = {}

    async def run(self) -> None:
        """Connect, follow, and do it again for ever; only cancellation ends it."""
        while True:
            text = "the controller closed the connection"
            try:
                client = await self._connected()
                await self._follow(client)
            except (CarboyError, OSError) as error:
                text = error.render() if isinstance(error, CarboyError) else str(error)
            except Exception as error:
                log.exception("the event stream failed")
                text = f"{type(error).__name__}: {error}"
            self.listener.link_changed("lost", text)
            await asyncio.sleep(RETRY[min(self._failures, len(RETRY) - 1)])
            self._failures += 1

    async def _connected(self) -> Client:
        if self.client is None:
            self.client = await self.connect()
        client = self.client
        client.on_state = self._state
        client.on_other_build = lambda theirs: self.listener.warned(other(theirs))
        status = await client.status()
        if status.last_seq < self.board.last_seq:
            self.board.forget()
        self.board.replace(await client.bottles())
        if not self.board.last_seq:
            self.board.last_seq = max(0, status.last_seq - BACKLOG)
        await self._settings(client)
        await self._proposals(client)
        self.board.totals = await client.usage_totals()
        self.listener.notices_read(tuple(await client.notices()))
        self._failures = 0
        self.listener.link_changed("connected", "")
        self.listener.board_replaced()
        for text in status.warnings:
            self.listener.warned(text)
        return client

    async def _settings(self, client: Client) -> None:
        """Those of settings.yml. A file with a mistake in it is no reason to show no bottles: the last ones stay."""
        try:
            self.listener.settings_read(tuple(await client.settings()))
        except CarboyError as error:
            if error.code != "config":
                raise
            self.listener.warned(error.render())

    def _state(self, state: str) -> None:
        """The client restores a lost stream by itself; the operator should see that it is at it."""
        if state == "connected":
            self.listener.link_changed("connected", "")
        else:
            self.listener.link_changed("lost", "the connection to the controller was lost")

    async def _proposals(self, client: Client) -> None:
        self._waiting = {item.id: item for item in await client.proposals(state="pending")}
        self._tell_proposals()

    def _proposal(self, data: dict[str, Any]) -> None:
        """One proposal as it is now: new, changed, or decided."""
        from app.core.approvals import ProposalView

        view = ProposalView.model_validate(data)
        if view.state == "pending":
            self._waiting[view.id] = view
        elif self._waiting.pop(view.id, None) is not None and view.state == "expired":
            self.listener.proposal_expired(view)
        self._tell_proposals()

    def _tell_proposals(self) -> None:
        self.listener.proposals_changed(tuple(sorted(self._waiting.values(), key=lambda item: item.created_at)))

    async def _follow(self, client: Client) -> None:
        started = time.perf_counter()
        async for event in client.events(since=self.board.last_seq, here=True):
            await self._take(client, event)
            if time.perf_counter() - started > SLICE:
                await asyncio.sleep(0)
                started = time.perf_counter()

    async def _take(self, client: Client, event: StreamEvent) -> None:
        if event.kind in ("egress", "notice"):
            item = self.board.record(event)
            if item is not None:
                self.listener.board_changed(item)
            return
        self.board.last_seq = max(self.board.last_seq, event.seq)
        if event.kind == "bottle":
            from app.core.model import BottleView

            self.board.bottle(BottleView.model_validate(event.data), event.at)
            self.listener.board_changed(bottles=True)
        elif event.kind == "bottle_gone":
            self.board.gone(event.slug)
            self.listener.board_changed(bottles=True)
        elif event.kind == "catalogue":
            self.listener.board_changed(catalogue=True)
            await self._settings(client)
        elif event.kind == "proposal":
            self._proposal(event.data)
        elif event.kind == "notification":
            from app.core.notices import Notice

            self.listener.noticed(Notice.model_validate(event.data))
        elif event.kind == "usage":
            self.board.totals = event.data
            self.listener.board_changed()
        elif event.kind == "lagged":
            self.board.replace(await client.bottles())
            await self._proposals(client)
            self.listener.board_replaced()
