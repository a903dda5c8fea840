"""Who brings sidecars' spools into the store, as the sessions see it. A declaration."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from app.store.base import Position

type Ack = Callable[[Position], Awaitable[None]]


class Spools(Protocol):
    """Who brings sidecars' spools into the store (`app.controller.ingest.Ingest`): for as long as a folder is the
    session's own. Before a resume has made it, and after one that was undone, the former session's has its place."""

    def watch(self, slug: str, session_id: str, folder: Path, ack: Ack) -> None: ...
    def poke(self, session_id: str) -> None: ...
    async def forget(self, session_id: str, *, whatever: bool = False) -> bool: ...
