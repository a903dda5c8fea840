"""A launch: from a plan without problems to a running agent, or to nothing at all.

Each step registers its undo before it makes anything, and the session's record is on disk before each thing exists,
so a launch that fails, is cancelled, or loses its controller at any moment leaves nothing that is not undone here or
by `cleanup`. The agent starts last: after its sidecar is healthy and the walls were tried from inside.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from app.backends import restore, workspace
from app.backends.base import BoxSpec, FileIn
from app.controller import ca, placeholders
from app.controller.agent_files import skill_files
from app.controller.deploykeys import DeployKeys
from app.controller.going_on import GoingOn
from app.controller.leftovers import remove_tree
from app.controller.origin import Origin
from app.controller.plan import Plan
from app.controller.record import SessionRecord
from app.controller.sensitive import SENSITIVE, packed, sensitive
from app.controller.session import OnChange, Session
from app.controller.spools import Spools
from app.controller.supervisor import Supervisor
from app.controller.transaction import StepState, Transaction, side_by_side
from app.core.lifecycle import Happening
from app.core.model import BottleView, LaunchStep
from app.core.repositories import gitconfig
from app.errors import NO_ROOM, CarboyError, disk_full
from app.paths import Paths, private_folder
from app.processes.identity import kill_and_wait
from app.providers.base import LAST, LaunchContext, Prepared
from app.tasks import spawn
from sidecar.contract import LISTEN_PORT
from sidecar.secret import Secret

log = logging.getLogger(__name__)

HOME = "/home/agent"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
AGENT_UID = 1000

type Progress = Callable[[LaunchStep], None]
type MakeSupervisor = Callable[[Session], Supervisor]


class Launch:
    """One launch. `run` gives the session with its agent running, or raises with everything undone."""

    def __init__(
        self,
        plan: Plan,
        paths: Paths,
        progress: Progress,
        on_change: OnChange,
        supervised: MakeSupervisor,
        deploy_keys: DeployKeys,
        spools: Spools,
        origin: Origin | None = None,
    ) -> None:
        self._deploy_keys = deploy_keys
        self._spools = spools
        self._going_on = None if origin is None else GoingOn(origin, paths)
        self._plan = plan
        self._paths = paths
        self._progress = progress
        self._transaction = Transaction(self._report)
        self._authority: ca.Authority | None = None
        self._prepared: Prepared | None = None
        self._canary: tuple[str, Secret] = placeholders.canary()
        self._placeholders = placeholders.placeholders(plan.shown.slug, plan.shapes)
        self.session = Session(
            record=self._first_record(),
            paths=paths,
            on_change=on_change,
            typed=plan.request.secrets,
            environment=plan.request.env,
            canary=self._canary[1],
            sensitive=sensitive(plan),
        )
        self._supervisor = supervised(self.session)
        self.session.supervisor = self._supervisor

    async def run(self) -> Session:
        try:
            with _plain_errors():
                await self._steps()
        except BaseException as error:
            log.warning("the launch of %s failed: %s", self.session.slug, error)
            try:
                await self._transaction.roll_back()
            finally:
                self._gone(error)
            raise
        return self.session

    async def _steps(self) -> None:
        step, going_on = self._transaction.step, self._going_on
        if going_on is not None and not going_on.origin.fork:
            async with step("set aside"):
                self._transaction.undoing("set aside", going_on.put_back)
                await going_on.set_aside()
                self.session.record = self.session.record.model_copy(update={"resumed_from": going_on.aside_name})
        async with step("state"):
            await self._make_state()
        if going_on is not None:
            async with step("restore"):
                self._transaction.undoing("restore", going_on.end)
                self.session.show(notes=(*self.session.view.notes, *await going_on.restore(self.session.state_folder)))
        async with step("authority"):
            self._authority = await asyncio.to_thread(ca.make)
            self.session.ca_key = self._authority.key
            self.session.update(ca_certificate=self._authority.certificate)
        if self.session.view.workspace == "copy" and not (self.session.state_folder / workspace.FOLDER).exists():
            async with step("workspace"):
                await self._copy_project()
        if any(repo.deploys for repo in self._plan.repos):
            async with step("deploy keys"):
                await self._make_deploy_keys()
        # side by side: each is on record, and both are undone whichever fails
        parts = {"sandbox": self._make_sandbox(), "sidecar": self._make_sidecar()}
        if self.session.view.workspace == "mount" and self._plan.project is not None:
            parts["restore-point"] = self._take_restore_point(self._plan.project)
        await side_by_side(**parts)
        box, prepared = self.session.box, self._prepared
        assert box is not None
        assert prepared is not None
        async with step("listener"):
            await self._supervisor.listen(box)
        async with step("self-test"):
            await self._self_test()
        async with step("agent"):
            await box.start(prepared.command)
            self.session.happened(Happening.STARTED, started_at=time.time())

    # --- steps ------------------------------------------------------------------------------------------------------

    async def _make_state(self) -> None:
        session = self.session
        private_folder(self._paths.state / "bottles")
        try:
            session.state_folder.mkdir(mode=0o700)
        except FileExistsError:
            raise CarboyError(f"The name {session.slug} is in use", "Choose another label", "name_in_use") from None
        self._transaction.undoing("state", self._remove_state)
        session.record.save(session.state_folder)
        session.on_change(session.view)
        session.spool_folder.mkdir(mode=0o700)
        self._spools.watch(session.slug, session.id, session.spool_folder, session.ack)
        private_folder(self._paths.run)
        private_folder(session.run_folder)

    async def _remove_state(self) -> None:
        await self._spools.forget(self.session.id, whatever=True)
        await asyncio.to_thread(remove_tree, self.session.run_folder)
        if not self.session.record.resumed_from:  # else what it holds is moved back first
            await asyncio.to_thread(remove_tree, self.session.state_folder)

    async def _copy_project(self) -> None:
        assert self._plan.project is not None
        stop = threading.Event()
        target = self.session.state_folder / workspace.FOLDER
        copying = spawn(
            asyncio.to_thread(workspace.copy, self._plan.project, target, stop), name="copy", on_error=lambda _: None
        )

        async def end() -> None:  # before the folder is removed under its hands
            stop.set()
            await asyncio.wait([copying])

        self._transaction.undoing("workspace", end)
        copied = await asyncio.shield(copying)
        self.session.show(notes=(*self.session.view.notes, *copied.notes))

    async def _take_restore_point(self, project: Path) -> None:
        """Beside the sandbox's making: the project as it is before the agent."""
        stop = threading.Event()
        async with self._transaction.step("restore point"):
            taking = spawn(
                asyncio.to_thread(restore.take, project, self.session.state_folder, stop), name="restore-point",
                on_error=lambda _: None,
            )  # fmt: skip

            async def end() -> None:  # before the folder is removed under its hands
                stop.set()
                await asyncio.wait([taking])

            self._transaction.undoing("restore point", end)
            missing = await asyncio.shield(taking)
            if missing:
                await asyncio.to_thread(remove_tree, self.session.state_folder / restore.FOLDER)
                self.session.show(notes=(*self.session.view.notes, missing))

    async def _make_deploy_keys(self) -> None:
        async def revoke() -> None:
            await self._deploy_keys.revoke(self.session)

        self._transaction.undoing("deploy keys", revoke)
        self.session.git_keys = await self._deploy_keys.make(self.session, self._plan.repos, self._plan.forge_tokens)

    async def _make_sandbox(self) -> None:
        plan, session = self._plan, self.session
        assert plan.backend is not None
        async with self._transaction.step("sandbox"):
            prepared = self._prepared = await asyncio.to_thread(self._prepare)
            self._transaction.undoing("sandbox", self._remove_sandbox)
            session.box = await plan.backend.create(self._spec(prepared), self._tell)
            session.show(engine=session.box.engine or session.view.engine)
            assert self._authority is not None
            keys = {f"git_key:{name}": key for name, key in session.git_keys.items()}
            keys |= {"canary": self._canary[1], SENSITIVE: packed(session.sensitive or {})}
            await session.box.keep({"ca_key": self._authority.key, **keys})

    async def _remove_sandbox(self) -> None:
        if self.session.box is not None:
            await self.session.box.release()
        if self.session.record.holder is not None:
            await kill_and_wait(self.session.record.holder.identity)
        assert self._plan.backend is not None
        await self._plan.backend.forget(self.session.state_folder)

    async def _make_sidecar(self) -> None:
        async with self._transaction.step("sidecar"):
            if slow := self._supervisor.slow:
                self._report("sidecar", "running", None, slow)
            self._transaction.undoing("sidecar", self._supervisor.stop)
            await self._supervisor.start()

    async def _self_test(self) -> None:
        """Fail closed: a wall that does not hold, or one that could not be tried, ends the launch."""
        assert self.session.box is not None
        checks = await self.session.box.check()
        failed = [check for check in checks if not check.ok]
        if failed or not checks:
            found = "; ".join(f"{check.name}: {check.detail}" for check in failed) or "nothing was checked"
            raise CarboyError(
                f"The bottle's walls do not hold here: {found}",
                "Nothing was started. `carboy doctor` says what this machine lacks",
                "self_test",
            )

    # --- values -----------------------------------------------------------------------------------------------------

    def _first_record(self) -> SessionRecord:
        plan, shown = self._plan, self._plan.shown
        view = BottleView(
            slug=shown.slug,
            session_id=secrets.token_hex(6),
            label=shown.label,
            agent=shown.agent,
            bottles=shown.bottles,
            lineage=shown.lineage,
            provider=shown.provider,
            model=shown.model,
            backend=shown.backend,
            engine=shown.engine,
            isolation=shown.isolation,
            color=plan.request.color,
            state="launching",
            cwd=shown.cwd,
            workspace=shown.workspace,
            command=shown.command,
            created_at=time.time(),
            notes=(*plan.notes, *(self._going_on.origin.notes if self._going_on else ())),
            counted=tuple(sorted({entry.provider for entry in plan.policy.metered})),
            learn=plan.request.learn or plan.manifest.bottle.learn,
        )
        return SessionRecord(
            view=view,
            manifest=plan.manifest,
            policy=plan.policy,
            project=str(plan.project) if plan.project else None,
            holder_token=secrets.token_urlsafe(32),
            control_token=secrets.token_urlsafe(32),
            request=plan.request.model_copy(update={"secrets": {}, "env": {}, "resume": None, "fork": None}),
            placeholders=tuple(self._placeholders.values()),
            canary_name=self._canary[0],
            secrets={name: found.source for name, found in plan.secrets.items()},
            budget=dict(plan.budget),
            earlier=self._going_on.origin.earlier if self._going_on is not None else (),
            shutdown=plan.request.shutdown,
        )

    def _prepare(self) -> Prepared:
        """The agent's command and files, from its provider; and its skills."""
        plan, request = self._plan, self._plan.request
        assert plan.provider is not None
        assert plan.found is not None
        prepared = plan.provider.prepare(
            LaunchContext(
                manifest=plan.manifest,
                found=plan.found,
                project=str(plan.project) if plan.project else None,
                home=HOME,
                headless=request.headless,
                task=request.prompt,
                model=plan.shown.model,
                ca_file=ca.BUNDLE,
                proxy_url=f"http://127.0.0.1:{LISTEN_PORT}",
                placeholders={name: given.value for name, given in self._placeholders.items()},
                uid=AGENT_UID,
                rows=request.rows,
                cols=request.cols,
                command=request.command,
                login=plan.login,
                resume=LAST if self._has_spoken() else None,
            )
        )
        skills = skill_files(self._paths, plan.manifest, plan.provider.skills_folder(HOME))
        env = self._environment() | prepared.env | prepared.command.env
        return Prepared(replace(prepared.command, env=env), (*prepared.files, *skills), env)

    def _has_spoken(self) -> bool:
        """Whether there is a conversation to go on with: asked for one that never began, a CLI ends at once."""
        going, plan = self._going_on, self._plan
        if going is None or not going.has_home or plan.provider is None:
            return False
        reader = None if going.origin.asked else plan.provider.conversations(self.session.state_folder / "home")
        return reader is None or any(entry.kind != "about" for entry in reader.read())

    def _environment(self) -> dict[str, str]:
        """The bottle's variables: what points tools outwards last, so that no bottle file can turn them away."""
        plan = self._plan
        secret = {name: self._placeholders[token].value for name, token in plan.secret_env.items()}
        basics = {"HOME": HOME, "USER": "agent", "LOGNAME": "agent", "PATH": PATH, "LANG": "C.UTF-8", "TMPDIR": "/tmp"}  # noqa: S108
        terminal = {"TERM": "dumb" if plan.request.headless else "xterm-256color"}
        if not plan.request.headless:
            terminal["COLORTERM"] = "truecolor"
        own = {self._canary[0]: self._canary[1].reveal(), "CARBOY": "1"}
        return basics | terminal | dict(plan.env) | secret | own | ca.variables(LISTEN_PORT)

    def _spec(self, prepared: Prepared) -> BoxSpec:
        plan, session = self._plan, self.session
        assert plan.found is not None
        assert self._authority is not None
        return BoxSpec(
            slug=session.slug,
            session_id=session.id,
            state=session.state_folder,
            run=session.run_folder,
            project=plan.project,
            project_writable=session.view.workspace in ("mount", "copy"),
            project_copy=session.state_folder / workspace.FOLDER if session.view.workspace == "copy" else None,
            home=HOME,
            mounts=plan.found.mounts,
            files=(*ca.files(self._authority.certificate), *self._git_files(), *prepared.files),
            env=prepared.env,
            hostname=session.slug,
            listen_port=LISTEN_PORT,
            limits=plan.manifest.bottle.limits,
            masks=plan.masks,
            engine=plan.report.engine if plan.report else None,
            image=plan.image if self._going_on is None else self._going_on.image or plan.image,
            image_base=plan.settings.image_base,
            runtime=plan.manifest.bottle.runtime,
            tty=prepared.command.tty,
        )

    def _git_files(self) -> tuple[FileIn, ...]:
        """Who commits in the bottle, and that its repositories are the gate's."""
        text = gitconfig(self._plan.repos, self._plan.manifest.bottle.git_gate.user)
        return (FileIn(f"{HOME}/.gitconfig", text.encode()),) if text else ()

    # --- telling ----------------------------------------------------------------------------------------------------

    def _report(self, step: str, state: StepState, ms: float | None, detail: str) -> None:
        try:
            self._progress(
                LaunchStep(
                    session_id=self.session.id, slug=self.session.slug, step=step, state=state, ms=ms, detail=detail
                )
            )
        except Exception:
            log.exception("a launch's progress could not be told")

    def _tell(self, text: str) -> None:
        """A line of what takes long: an image that is built."""
        self._report("sandbox", "running", None, text)

    def _gone(self, error: BaseException) -> None:
        """Tell that it is over; nothing of it is on disk any more."""
        text = "cancelled" if isinstance(error, asyncio.CancelledError) else str(error)
        view = self.session.view.model_copy(update={"state": "failed", "error": text[:500], "ended_at": time.time()})
        self.session.record = self.session.record.model_copy(update={"view": view})
        self.session.over.set()
        self.session.on_change(view)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """System errors in words a person understands."""
    try:
        yield
    except OSError as error:
        raise _system_error(error) from error


def _system_error(error: OSError) -> CarboyError:
    if error.errno in NO_ROOM:
        full = disk_full(str(error.filename or "the state folder"))
        return CarboyError(full.message, f"{full.hint}. The launch was undone", full.code)
    return CarboyError(f"The system refused: {error}", "The launch was undone", "system")
