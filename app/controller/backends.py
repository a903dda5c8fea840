"""The backends as the controller uses them: how their session holders are forked and found again, and which one a
launch takes. A backend never learns who asks; this is the piece between."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from app.backends import select
from app.backends.base import Backend
from app.backends.docker.backend import DockerBackend
from app.backends.local.backend import LocalBackend
from app.controller.preflight import Selected
from app.controller.record import Process
from app.controller.session import Session
from app.core.capabilities import ways
from app.core.model import BackendReport
from app.core.schema import Manifest
from app.errors import CarboyError
from app.manifests.starters import library
from app.processes.spawner import Child, Zygote

HOLDER_SOCKET = "holder.sock"
LOG = "holder.log"


class Backends:
    """All backends of this host, by name, in the order in which `auto` tries them."""

    def __init__(self, zygote: Zygote, session_of: Callable[[str], Session], states: Path) -> None:
        self._zygote = zygote
        self._session_of = session_of
        every: tuple[Backend, ...] = (
            LocalBackend(self._fork_holder, self._token),
            DockerBackend(self._fork_holder, self._token, library() / "images", states),
        )
        self._all: dict[str, Backend] = {backend.name: backend for backend in every}

    def named(self, name: str) -> Backend:
        if name not in self._all:
            raise select.unknown(name)
        return self._all[name]

    async def select(self, wish: str | None, manifest: Manifest) -> Selected:
        """The backend for this launch with all that was tried, or why there is none."""
        try:
            bottle = manifest.bottle
            every = tuple(self._all.values())
            chosen = await select.choose(every, wish or bottle.backend, bottle.isolation, bottle.runtime)
        except CarboyError as error:
            return None, tuple(getattr(error, "tried", ())), error
        return chosen.backend, chosen.tried, None

    async def reports(self) -> tuple[BackendReport, ...]:
        """What each backend finds when it really tries, side by side."""
        found = await asyncio.gather(*(backend.probe() for backend in self._all.values()))
        return tuple(one.model_copy(update={"ways": ways(one.capabilities)}) for one in found)

    async def cleanup(self, live: frozenset[str], kept: frozenset[str]) -> list[str]:
        removed: list[str] = []
        for backend in self._all.values():
            removed += await backend.cleanup(live, kept)
        return removed

    async def preserve(self, name: str, state: Path) -> None:
        """What of a session that ended badly lies outside its folder: keep it, release what endangers."""
        if name in self._all:
            await self._all[name].preserve(state)

    async def forget(self, name: str, state: Path) -> None:
        """Remove what the sandbox of a dead session holder left outside its own folders. Idempotent."""
        if name in self._all:
            await self._all[name].forget(state)

    async def _fork_holder(self, session_id: str) -> Child:
        """A session holder that is on record, and answers on its own socket, before it makes anything."""
        session = self._session_of(session_id)
        child = await self._zygote.fork("holder", f"carboy-h {session.slug}", session.state_folder / LOG)
        try:
            session.update(holder=Process.of(child.process))
            socket = str(session.run_folder / HOLDER_SOCKET)
            await child.channel.call("open", {"socket": socket, "token": session.record.holder_token}, timeout=10)
        except BaseException:
            child.kill()
            child.close()
            raise
        return child

    def _token(self, session_id: str) -> str:
        return self._session_of(session_id).record.holder_token
