"""Learning mode's edge: reads what a session was refused out of the store, and writes the bottle file that the operator
made of it. A file that is there is never overwritten, and the new one is checked like any other first."""

import asyncio
from collections.abc import Mapping
from typing import Any

from app.controller.approving import Desk
from app.controller.audit import Audit
from app.core.learning import LearnReport, LearnSave, bottle_file, learn
from app.core.manifest import parse_bottle
from app.core.model import BottleView
from app.errors import CarboyError
from app.files import atomic_write
from app.manifests.suffixes import shared_domain
from app.paths import Paths, private_folder
from app.store.base import EventQuery, Store

PAGE = 5000
MOST_EVENTS = 100_000
"""Refusals looked at, the newest: repeated ones were counted together when they were written."""


class Learning:
    """`desk` knows live and preserved sessions."""

    def __init__(self, paths: Paths, store: Store, audit: Audit, desk: Desk) -> None:
        self._paths = paths
        self._store = store
        self._audit = audit
        self._desk = desk

    async def report(self, view: BottleView) -> LearnReport:
        """What this session was refused."""
        events = await self._refusals(view)
        session = self._desk.session(view.session_id)
        present = session.record.policy.routes if session is not None else ()
        made = await asyncio.to_thread(learn, view.slug, events, present, view.bottles)
        dropped = await self._store.dropped(session_id=view.session_id, decision="deny")
        return made.model_copy(update={"dropped": dropped})

    async def _refusals(self, view: BottleView) -> list[tuple[float, Mapping[str, Any]]]:
        found: list[tuple[float, Mapping[str, Any]]] = []
        before: int | None = None
        while len(found) < MOST_EVENTS:
            query = EventQuery(session_id=view.session_id, decision="deny", before=before, limit=PAGE)
            page = await self._store.events(query)
            found += [(event.at, event.data) for event in page]
            if len(page) < PAGE:
                break
            before = page[0].seq
        return found

    async def save(self, view: BottleView, asked: LearnSave) -> str:
        """Write the bottle file; its path."""
        report = await self.report(view)
        known = {item.host for item in report.hosts if not item.known}
        if strange := sorted(set(asked.hosts) - known):
            raise CarboyError(
                f"{strange[0]} is none of the new hosts that {view.slug} was refused",
                "`carboy learn` lists them; one that has a route already is widened by `carboy routes --edit`",
                "learn_host",
            )
        text = bottle_file(report, asked.hosts, view.bottles)
        file = await asyncio.to_thread(self._write, asked.name, text)
        await self._audit.record(
            "learned", slug=view.slug, session_id=view.session_id, file=file, hosts=list(asked.hosts)
        )
        return file

    def _write(self, name: str, text: str) -> str:
        file = self._paths.bottles / f"{name}.md"
        parse_bottle(text.encode(), name, str(file), shared_domain)
        private_folder(self._paths.bottles)
        if file.exists() or file.is_symlink():
            raise CarboyError(f"{file} is there already", "Choose another --name", "name_in_use")
        atomic_write(file, text.encode(), 0o600)
        return str(file)
