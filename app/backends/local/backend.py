"""The local backend: session holders make its sandboxes. Makes nothing by itself but probes."""

import asyncio
from dataclasses import replace
from pathlib import Path

from app.backends import held
from app.backends.base import Backend, Box, BoxSpec, Progress
from app.backends.held import ForkHolder, HeldBox, TokenOf
from app.backends.local import layout, placeholders, probing
from app.core.model import BackendReport
from app.errors import CarboyError


class LocalBackend(Backend):
    """`fork_holder(session id)` gives a new session holder; `token(session id)` what its socket asks for."""

    name = "local"
    isolation = "process"
    capabilities = frozenset({"pause", "commit", "limits", "reattach"})

    def __init__(self, fork_holder: ForkHolder, token: TokenOf) -> None:
        self._fork_holder = fork_holder
        self._token = token
        self._engine: str | None = None
        self._report: BackendReport | None = None

    async def probe(self) -> BackendReport:
        """The first engine that really works. A good finding is kept; a bad one is looked for again each time."""
        if self._report is None or not self._report.works:
            self._report = await probing.probe()
            self._engine = self._report.engine or None
        return self._report

    def plan(self, spec: BoxSpec) -> list[str]:
        made = layout.plan(spec)
        lines = [f"sandbox ({spec.engine or self._engine or 'first engine that works'}), no network but the proxy"]
        lines += [f"home {made.home}, kept in {spec.state / 'home'}"]
        if made.project is not None:
            copied = "" if spec.project_copy is None else f"a copy in {spec.project_copy}, "
            lines.append(f"project {made.project} ({copied}{'read-write' if made.project_writable else 'read-only'})")
        lines += [f"read-only {mount.source} at {mount.target}" for mount in spec.mounts]
        return lines

    async def create(self, spec: BoxSpec, progress: Progress = lambda _: None) -> Box:
        if spec.engine is None:
            report = await self.probe()
            if not report.works:
                raise CarboyError(report.reason, report.fix, "no_engine")
            spec = replace(spec, engine=report.engine)
        progress("starting the session holder")
        holder = await self._fork_holder(spec.session_id)
        progress(f"building the sandbox with {spec.engine}")
        answer = await held.build(holder, spec)
        dial = held.dialler(spec.session_id, spec.run, self._token)
        box = HeldBox(spec.session_id, holder.channel, dial, str(answer.get("engine", "")))
        box.forked = holder
        return box

    async def adopt(self, slug: str, session_id: str, state: Path, run: Path) -> Box | None:
        del slug, state
        dial = held.dialler(session_id, run, self._token)
        found = await held.find(dial)
        if found is None:
            return None
        channel, status = found
        return HeldBox(session_id, channel, dial, str(status.get("engine", "")))

    async def cleanup(self, live: frozenset[str], kept: frozenset[str]) -> list[str]:
        """Control groups of sandboxes that are gone: all else of a sandbox ends with its holder."""
        del kept
        return await asyncio.to_thread(probing.remove_stale_groups, live)

    async def forget(self, state: Path) -> list[str]:
        """Remove what a dead session's masks left standing in its project."""
        return await asyncio.to_thread(placeholders.forget, state)
