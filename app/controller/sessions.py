"""The live registry: every session of this host, found again at start, launched, steered, and let go at its end.

The only place where a session's life changes. It never starts an agent outside a launch, never touches the store, and
believes nothing that a sandbox says beyond how its agent ended.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app import manifests
from app.backends.base import Backend, Box, ExecResult, Exit, Terminal
from app.controller import endings, gitgate, holding, leftovers, record, saved
from app.controller.backends import Backends
from app.controller.conversations import Following, Told
from app.controller.deploykeys import DeployKeys
from app.controller.health import Stall, last_sign, stall_seconds
from app.controller.keeping import Keeping
from app.controller.launcher import Launch, Progress
from app.controller.logins import Logins
from app.controller.origin import Origin
from app.controller.outbound import Outbound
from app.controller.plan import Plan
from app.controller.preflight import make_plan
from app.controller.session import OnChange, Session
from app.controller.spools import Spools
from app.controller.supervisor import Allow, Supervisor, unlimited
from app.controller.transcript import TranscriptTerminal
from app.core.lifecycle import Happening, ends_well
from app.core.model import LIVE, BackendReport, BottleView, CleanupReport, LaunchRequest, Preflight
from app.errors import CarboyError, NotFound
from app.paths import Paths
from app.processes.identity import kill_and_wait, same, wait_end
from app.processes.spawner import Zygote
from app.settings import load_settings
from app.tasks import cancel_and_wait, spawn
from sidecar.contract import UpstreamSettings
from sidecar.secret import Secret

log = logging.getLogger(__name__)

ENDS_SECONDS = 5.0
"""A holder without an agent ends when its controller does; killing the sandbox takes it some milliseconds."""


class Sessions:
    """All sessions. `adopt()` once at start, `close()` at the end; bottles run on."""

    def __init__(self, paths: Paths, *, on_change: OnChange, spools: Spools, zygote: Zygote | None = None) -> None:
        self._paths = paths
        self._on_change = on_change
        self._spools = spools
        self._zygote = zygote or Zygote(paths.state)
        self._backends = Backends(self._zygote, self._session_of, paths.state / "bottles")
        self._deploy_keys = DeployKeys(paths, self._upstream)
        self._sessions: dict[str, Session] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._logins = Logins(Outbound(paths, self._zygote))
        self.keeping = Keeping(paths, self, self._backends, on_change)
        self.planned: Callable[[Session], Awaitable[None]] = _nothing
        """Awaited with each session before anything of it is made; what it raises ends the launch."""
        self.foreseen: Callable[[Session, Preflight], Awaitable[Preflight]] = _as_it_is
        """A preflight with what only others know of such a session."""
        self.on_entries: Told = lambda session, entries: None
        """Told what came in a session's conversation."""
        self.on_sidecar: Callable[[str], None] = lambda _: None
        """Told the session's id whenever its sidecar answers again."""
        self.on_lease: Callable[[str, dict[str, Any]], None] = lambda *_: None
        """Told the session's id and what its sidecar says of a lease that runs low."""
        self.allow: Allow = unlimited
        self.spooled_out: Callable[[Session], Awaitable[None]] = _nothing
        """What a new sidecar may let through; and awaited once all that an ended one wrote is in the store."""

    @property
    def zygote(self) -> Zygote:
        return self._zygote

    # --- who changes live policies ----------------------------------------------------------------------------------

    def live(self) -> list[Session]:
        return [session for session in self._sessions.values() if session.live]

    def over(self) -> list[Session]:
        return [session for session in self._sessions.values() if not session.live]

    def session(self, session_id: str) -> Session | None:
        return next((session for session in self._sessions.values() if session.id == session_id), None)

    def known(self, slug: str) -> Session | None:
        return self._sessions.get(slug)

    def put(self, session: Session) -> None:
        self._sessions[session.slug] = session

    def drop(self, slug: str) -> None:
        self._sessions.pop(slug, None)

    # --- what the server asks ---------------------------------------------------------------------------------------

    def views(self) -> list[BottleView]:
        """Every known session, live and ended, loudest first, then newest."""
        views = [session.view for session in self._sessions.values()]
        return sorted(views, key=lambda view: (-view.attention, -view.created_at))

    async def preflight(self, request: LaunchRequest) -> Preflight:
        plan, origin = await self._plan(request)
        if plan.problems:
            return plan.shown
        return await self.foreseen(self._launch(plan, origin, lambda _: None).session, plan.shown)

    async def launch(self, request: LaunchRequest, progress: Progress) -> BottleView:
        """Launch, or raise with everything undone. Cancelling undoes as well."""
        plan, origin = await self._plan(request, launching=True)
        if plan.problems:
            raise plan.problems[0]
        # the name was chosen as the plan's last act, and nothing is awaited until it is taken here
        former = self._sessions.get(plan.shown.slug)
        if former is not None and (former.live or origin is None or origin.session_id != former.id):
            raise CarboyError(f"The name {former.slug} is in use", "Choose another label", "name_in_use")
        launch = self._launch(plan, origin, progress)
        session = launch.session
        self._sessions[session.slug] = session
        for content in request.confirm:
            await asyncio.to_thread(manifests.confirm, self._paths, content)
        try:
            if plan.provider is not None:  # what cannot be renewed ends the launch before anything is made
                await self._logins.fresh(plan.provider, plan.manifest)
            await self.planned(session)
            await launch.run()
        except BaseException:
            self._sessions.pop(session.slug, None)
            if former is not None:
                self._sessions[former.slug] = former
                self._on_change(former.view)
            raise
        self._follow(session, launched=True)
        if origin is not None and not origin.fork:
            await self._keep_former(session)
        return session.view

    async def _keep_former(self, session: Session) -> None:
        """It lives: what it goes on from is part of it now. A failure here is finished at the next start."""
        aside = self._paths.state / saved.ASIDE / session.record.resumed_from
        try:
            await self.keeping.finish(aside, session.state_folder, self._backends.named(session.view.backend))
            session.update(resumed_from="")
        except (CarboyError, OSError):
            log.exception("what %s went on from could not be cleared away yet", session.slug)

    async def stop(self, slug: str, grace: float = 5.0) -> BottleView:
        """Ask the agent to end; kill it after `grace` seconds. Returns once it has ended."""
        return await self._bring_down(slug, lambda box: box.stop(grace))

    async def kill(self, slug: str) -> BottleView:
        return await self._bring_down(slug, lambda box: box.kill())

    async def freeze(self, slug: str) -> BottleView:
        session, box = self._running(slug)
        async with session.lock:
            after = session.view.state
            if after != "running":
                session.happened(Happening.FREEZE)  # raises with the reason
            await box.pause()
            session.happened(Happening.FREEZE)
        return session.view

    async def put_by(self, slug: str, why: str) -> BottleView:
        return await self.keeping.put_by(slug, why)

    async def thaw(self, slug: str) -> BottleView:
        session, box = self._running(slug)
        async with session.lock:
            if session.view.state != "frozen":
                session.happened(Happening.THAW)
            await box.unpause()
            session.happened(Happening.THAW, last_activity=time.time())  # it could not do anything before
        return session.view

    async def restart_sidecar(self, slug: str) -> BottleView:
        session, _ = self._running(slug)
        assert session.supervisor is not None
        await session.supervisor.restart()
        return session.view

    async def give_secrets(self, slug: str, given: Mapping[str, Secret]) -> BottleView:
        """Values for secrets that this bottle uses: in memory only, for its sidecar and that one's next restart."""
        session, _ = self._running(slug)
        used = sorted(session.record.secrets)
        if foreign := sorted(set(given) - set(used)):
            hint = f"It uses {', '.join(used)}" if used else "It uses none"
            raise CarboyError(f"{slug} uses no secret {', '.join(foreign)}", hint, "secret_unknown")
        assert session.supervisor is not None
        async with session.lock:
            await session.supervisor.give(given)
        return session.view

    async def terminal(self, slug: str, rows: int, cols: int) -> Terminal:
        """The agent's terminal; of a session that is over, its transcript."""
        session = self.named(slug)
        if session.box is None or not session.live:
            return await TranscriptTerminal.open(session.state_folder / "transcript.cast")
        return await session.box.attach(rows, cols)

    async def wait(self, slug: str) -> BottleView:
        """The session's last view, once it is over."""
        session = self.named(slug)
        if session.live:
            await session.over.wait()
        return session.view

    async def routes(self, slug: str) -> list[dict[str, Any]]:
        """The live policy's routes, in the manifest's own keys."""
        routes = self.named(slug).record.policy.routes
        return [route.model_dump(mode="json", exclude_defaults=True) for route in routes]

    async def exec(self, slug: str, argv: Sequence[str], timeout: float) -> ExecResult:
        """Run a command beside the agent."""
        _, box = self._running(slug)
        return await box.exec(argv, timeout=timeout)

    def named_record(self, slug: str) -> tuple[record.SessionRecord, Path]:
        """A session's record, and its state folder."""
        session = self.named(slug)
        return session.record, session.state_folder

    async def reports(self) -> tuple[BackendReport, ...]:
        """What each backend finds when it really tries (the doctor asks)."""
        return await self._backends.reports()

    # --- start and end of the controller ----------------------------------------------------------------------------

    async def adopt(self) -> None:
        """Find all sessions again: follow what runs, finish what ended meanwhile, undo what is half made."""
        found = await asyncio.to_thread(record.all_sessions, self._paths.state / "bottles")
        known = [kept for slug, kept in found.items() if kept is not None and kept.view.slug == slug]
        results = await asyncio.gather(*(self._adopt_one(kept) for kept in known), return_exceptions=True)
        for kept, result in zip(known, results, strict=True):
            if isinstance(result, BaseException):
                log.error("%s could not be adopted", kept.view.slug, exc_info=result)
        await self.keeping.recover()

    async def cleanup(self) -> CleanupReport:
        """Remove what interrupted launches and dead sessions left. Never what is live or preserved."""
        removed: list[str] = []
        found = await asyncio.to_thread(record.all_sessions, self._paths.state / "bottles")
        for slug, kept in found.items():
            removed += await self._clean_one(slug, kept)
        live = frozenset(session.id for session in self._sessions.values() if session.live)
        for folder in leftovers.stale_runs(self._paths.run, live):
            await asyncio.to_thread(leftovers.remove_tree, folder)
            removed.append(f"runtime folder {folder}")
        removed += await self._backends.cleanup(live, await asyncio.to_thread(saved.kept_ids, self._paths))
        removed += await self._deploy_keys.cleanup(live)
        for folder in await asyncio.to_thread(gitgate.expired, self._paths, time.time()):
            await asyncio.to_thread(leftovers.remove_tree, folder)
            removed.append(f"the backup of forced pushes {folder}")
        kept_slugs = tuple(sorted(self._sessions))
        return CleanupReport(removed=tuple(removed), kept=kept_slugs)

    async def close(self) -> None:
        """Let go of everything. Agents, holders and sidecars run on; the zygote ends."""
        await cancel_and_wait(*self._watching.values())
        for session in self._sessions.values():
            if session.supervisor is not None:
                session.supervisor.let_go()
        await self._zygote.close()

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _plan(self, request: LaunchRequest, *, launching: bool = False) -> tuple[Plan, Origin | None]:
        meant, origin = await self.keeping.origin(request, launching=launching)
        plan = await make_plan(
            meant, self._paths, self._taken, self._backends.select, launching=launching, slug=request.resume
        )
        return plan, origin

    def _launch(self, plan: Plan, origin: Origin | None, progress: Progress) -> Launch:
        more = (self._supervised, self._deploy_keys, self._spools, origin)
        return Launch(plan, self._paths, progress, self._on_change, *more)

    def _taken(self, slug: str) -> bool:
        return slug in self._sessions or self._paths.session_state(slug).exists()

    def named(self, slug: str) -> Session:
        session = self._sessions.get(slug)
        if session is None:
            hint = "`carboy list` shows them; of a purged one `carboy report` and `carboy logs` still tell"
            raise NotFound(f"There is no bottle {slug}", hint, "no_such_bottle")
        return session

    def _running(self, slug: str) -> tuple[Session, Box]:
        session = self.named(slug)
        if session.box is None or session.view.state not in ("running", "frozen", "stopping"):
            raise CarboyError(f"{slug} is {session.view.state}, not running", "", "wrong_state")
        return session, session.box

    def _session_of(self, session_id: str) -> Session:
        if (session := self.session(session_id)) is None:
            raise NotFound(f"There is no session {session_id}", "", "no_such_bottle")
        return session

    def _supervised(self, session: Session) -> Supervisor:
        def heard(note: str, body: dict[str, Any]) -> None:
            if note == "spooled":
                self._spools.poke(session.id)
            elif note == "up":
                self.on_sidecar(session.id)
            elif note == "lease":
                self.on_lease(session.id, body)

        return Supervisor(session, self._zygote, self._upstream, heard, self.allow, self._logins.values)

    async def _upstream(self) -> UpstreamSettings:
        return (await asyncio.to_thread(load_settings, self._paths)).upstream()

    async def _bring_down(self, slug: str, how: Callable[[Box], Awaitable[None]]) -> BottleView:
        session = self.named(slug)
        if not (session.live and session.finishing):
            session, box = self._running(slug)
            session.happened(Happening.STOP)
            try:
                await how(box)
            except CarboyError:
                if not session.finishing:  # it ended by itself in this very moment
                    raise
        return await session.until_over()

    def _follow(self, session: Session, *, launched: bool = False) -> None:
        """Watch over a running session until it ends."""
        assert session.box is not None
        session.box.notes = session.heard
        self._watching[session.id] = spawn(self._until_end(session, launched=launched), name=f"session {session.slug}")

    async def _until_end(self, session: Session, *, launched: bool) -> None:
        """Whatever comes first: the agent's end, or the end of the process that holds it."""
        assert session.box is not None
        stall = Stall(session, await asyncio.to_thread(stall_seconds, self._paths))
        stall.start()
        waits: list[asyncio.Task[Any]] = [
            spawn(session.box.wait(), name=f"agent {session.slug}", on_error=lambda _: None)
        ]
        following = Following(session, lambda one, entries: self.on_entries(one, entries), launched=launched)
        reading = spawn(following.run(), name=f"conversation {session.slug}")
        renewing = spawn(self._logins.keep_fresh(session), name=f"login {session.slug}")
        holder = session.record.holder
        if holder is not None:
            waits.append(spawn(wait_end(holder.identity), name=f"holder {session.slug}"))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stall.close()
            await cancel_and_wait(*waits, renewing, reading)
        await following.last()
        ended = endings.of(waits[0]) or await asyncio.to_thread(endings.read_exit, session.state_folder)
        if ended is None and (box := await holding.held_again(session, self._backends.named(session.view.backend))):
            session.box = box
            self._follow(session)
            return
        await self._finish(session, ended)

    async def _finish(self, session: Session, ended: Exit | None) -> None:
        """Release what costs or endangers; keep what is preserved; then tell."""
        session.finishing = True
        reason = await asyncio.to_thread(endings.read_reason, session.state_folder)
        if session.supervisor is not None:
            await session.supervisor.stop()
        spooled = await self._spools.forget(session.id)
        await self._deploy_keys.revoke(session)
        await gitgate.retire(self._paths, session.state_folder, f"{session.slug}-{session.id}")
        with contextlib.suppress(CarboyError):  # a full disk keeps it for the next controller, and no bottle alive
            await self.spooled_out(session)
        if session.box is not None:
            with contextlib.suppress(CarboyError, OSError, TimeoutError):
                await session.box.release()
        if session.record.holder is not None:
            await kill_and_wait(session.record.holder.identity)
        badly = ended is None or not ends_well(session.view.state, ended.code)
        await (self._backends.preserve if badly else self._backends.forget)(session.view.backend, session.state_folder)
        session.box = None
        session.ca_key = session.canary = None
        session.typed = session.environment = session.git_keys = {}
        happening = Happening.VANISHED if ended is None else Happening.EXITED
        code = None if ended is None else ended.code
        try:  # whatever an agent left in them: it has ended
            await asyncio.to_thread(leftovers.remove_tree, session.run_folder)
            if not badly:
                keep = "" if spooled else session.spool_folder.name
                await asyncio.to_thread(leftovers.strip, session.state_folder, but=keep)
        except OSError as failed:
            log.error("what %s left cannot be removed: %s", session.slug, failed)
        at = time.time() if ended is None else ended.at
        error = session.why or reason or ("" if ended is not None else "its session holder was killed")
        session.happened(happening, code, ended_at=at, error=error, kept="preserved" if badly else "")
        self._watching.pop(session.id, None)
        if not spooled or not session.saved:
            self._write_end(session)
        session.over.set()

    def _write_end(self, session: Session) -> None:
        """What the disk did not take of it, once it does."""
        writing = endings.written(
            session, self._spools, lambda: self._sessions.get(session.slug) is session, self.spooled_out
        )
        self._watching[session.id] = spawn(writing, name=f"end of {session.slug}")

    async def _adopt_one(self, kept: record.SessionRecord) -> None:
        session = Session(record=kept, paths=self._paths, on_change=self._on_change)
        if kept.view.state not in LIVE:
            session.over.set()
            self._sessions[session.slug] = session
            if session.spool_folder.is_dir():  # a full disk did not let its controller bring that in
                self._spools.watch(session.slug, session.id, session.spool_folder, session.ack)
                self._write_end(session)
            return
        self._on_change(kept.view)  # how it was: else nobody could tell that it ended meanwhile
        if kept.view.state == "launching":
            await self._undo_launch(session)
            return
        self._sessions[session.slug] = session
        session.supervisor = self._supervised(session)
        self._spools.watch(session.slug, session.id, session.spool_folder, session.ack)
        session.box = await self._dial(session)
        if session.box is None:
            ended = await asyncio.to_thread(endings.read_exit, session.state_folder)
            if ended is None:
                session.box = await holding.held_again(session, self._backends.named(session.view.backend))
            if session.box is None:
                await self._finish(session, ended)
                return
        await session.supervisor.adopt()
        await session.awake()
        seen = await asyncio.to_thread(last_sign, session.state_folder)
        session.show(save=False, last_activity=max(seen, session.view.last_activity or 0.0) or None)
        self._follow(session)

    async def _dial(self, session: Session) -> Box | None:
        holder = session.record.holder
        if holder is None or not same(holder.identity):
            return None
        backend: Backend = self._backends.named(session.view.backend)
        try:
            return await backend.adopt(session.slug, session.id, session.state_folder, session.run_folder)
        except (CarboyError, OSError, TimeoutError) as error:
            log.warning("the sandbox of %s does not answer: %s", session.slug, error)
            return None

    async def _undo_launch(self, session: Session) -> None:
        """A launch that its controller never finished: nothing of it may stay. Its holder ends by itself, and is given
        the time: it clears up what its sandbox needed in the project."""
        self._sessions[session.slug] = session  # the backend asks for its token by its id
        try:
            box = await self._dial(session)
        finally:
            del self._sessions[session.slug]
        if box is not None:
            with contextlib.suppress(CarboyError, OSError, TimeoutError):
                await box.release()
        elif session.record.holder is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wait_end(session.record.holder.identity), ENDS_SECONDS)
        for process in (session.record.sidecar, session.record.holder):
            if process is not None:
                await kill_and_wait(process.identity)
        await self._backends.forget(session.view.backend, session.state_folder)
        await self._deploy_keys.revoke(session)
        await asyncio.to_thread(leftovers.remove_tree, session.run_folder)
        if session.record.resumed_from:  # what it went on from comes back
            await self.keeping.put_back(self._paths.state / saved.ASIDE / session.record.resumed_from)
        else:
            await asyncio.to_thread(leftovers.remove_tree, session.state_folder)
        told = {"state": "failed", "error": "its controller was killed during the launch", "ended_at": time.time()}
        self._on_change(session.view.model_copy(update=told))

    async def _clean_one(self, slug: str, kept: record.SessionRecord | None) -> list[str]:
        if slug in self._sessions:
            session = self._sessions[slug]
            return [] if session.live else await holding.clear(session)
        folder = self._paths.session_state(slug)
        if kept is not None and kept.view.state == "launching":
            await self._undo_launch(Session(record=kept, paths=self._paths, on_change=self._on_change))
            return [f"the unfinished launch {slug}"]
        if kept is None and not (folder / record.FILE).exists() and not (folder / "home").exists():
            await asyncio.to_thread(leftovers.remove_tree, folder)
            return [f"the empty session folder {slug}"]
        return []


async def _nothing(session: Session) -> None:
    del session


async def _as_it_is(session: Session, preflight: Preflight) -> Preflight:
    return preflight
