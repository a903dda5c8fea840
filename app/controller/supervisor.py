"""Keeps one bottle's sidecar alive: starts it, watches it, restarts it on a schedule, gives it up.

While it is down nobody accepts on the bottle's listener, which the session holder keeps, so nothing leaves. The
policy, placeholders, canary and authority stay the same over a restart; the secrets are read again. Nothing polls.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from app import secrets
from app.backends.base import Box
from app.controller import gitgate
from app.controller.record import Process
from app.controller.sensitive import SENSITIVE, unpacked
from app.controller.session import Session
from app.core.health import Restarts
from app.core.model import SidecarHealth
from app.core.text import printable
from app.errors import CarboyError, NotFound
from app.processes.identity import ProcessId, kill_and_wait, same, wait_end
from app.processes.spawner import Zygote, last_line
from app.tasks import cancel_and_wait, spawn
from sidecar.allowance import Allowance, Lease
from sidecar.contract import SidecarConfig, UpstreamSettings
from sidecar.control import Channel, ChannelClosed, RemoteError, connect
from sidecar.secret import REVEAL

log = logging.getLogger(__name__)

READY_SECONDS = 30.0
STOP_SECONDS = 3.0
"""A sidecar ends its connections and flushes its spool in this time, or is killed."""
FROM_SIDECAR = frozenset({"spooled", "lease"})
"""Notes that a sidecar sends."""
CONTROL_SOCKET = "control.sock"
LOG = "sidecar.log"

type Upstream = Callable[[], Awaitable[UpstreamSettings]]
type Notes = Callable[[str, dict[str, Any]], None]
type LoginsOf = Callable[[Session], Awaitable[Mapping[str, secrets.Secret]]]
"""The secrets of a session that are logins of this host, as they are now."""
type Allow = Callable[[Session], Awaitable[Allowance | None]]
"""What a new sidecar may let through from its first moment; None: nothing metered."""


class Supervisor:
    """One sidecar. `start` or `adopt`, then it is watched until `stop`."""

    def __init__(
        self,
        session: Session,
        zygote: Zygote,
        upstream: Upstream,
        notes: Notes,
        allow: Allow,
        logins: LoginsOf | None = None,
    ) -> None:
        self._logins = logins
        self._session = session
        self._zygote = zygote
        self._upstream = upstream
        self._notes = notes
        self._allow = allow
        self._channel: Channel | None = None
        self._restarts = Restarts()
        self._giving = asyncio.Lock()
        self._now = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    # --- what the launcher and the sessions call --------------------------------------------------------------------

    async def start(self, box: Box | None = None) -> None:
        """Fork and configure it; with a `box`, on that box's listener. Raises with the last line of its log."""
        process = await self._launch(box)
        self._healthy()
        self._watch(process)

    async def listen(self, box: Box) -> None:
        """Let it accept on the box's listener."""
        listener = await box.listener()
        with listener:
            await self.call("listen", {}, [listener.fileno()])

    async def adopt(self) -> None:
        """Find the one that a former controller started; start another where it is gone."""
        recorded = self._session.record.sidecar
        process = recorded.identity if recorded is not None else None
        if process is not None and same(process) and await self._dial():
            self._healthy()
            self._watch(process)
            return
        if process is not None:
            await kill_and_wait(process)
        self._watching = spawn(self._restart("it ended while no controller was there"), name=self._name)

    async def restart(self) -> None:
        """Now, by the operator's wish: a fresh one, with all attempts ahead."""
        self._restarts = Restarts()
        process = self._session.record.sidecar
        if self._watching is None:
            raise CarboyError("This bottle has no sidecar to restart", "", "wrong_state")
        self._now.set()
        if process is not None and same(process.identity):
            await self._end(process.identity)

    async def stop(self) -> None:
        """For good."""
        await cancel_and_wait(self._watching)
        self._watching = None
        process = self._session.record.sidecar
        if process is not None:
            await self._end(process.identity)
        self.let_go()

    def let_go(self) -> None:
        """Stop watching; it lives on."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    async def give(self, given: Mapping[str, secrets.Secret]) -> None:
        """Values for secrets that it lacks, or new ones. Kept in memory for its next restart as well."""
        async with self._giving:  # what was read first must not arrive last
            await self._give(given)

    async def _give(self, given: Mapping[str, secrets.Secret]) -> None:
        before, session = self._session.typed, self._session
        session.typed = {**before, **given}
        values, missing = await self._secrets()
        if missing and not session.view.missing_secrets:
            # it has them all, and takes a whole set only
            session.typed = before
            raise CarboyError(
                f"The sidecar would lose {', '.join(missing)}, which only it knows",
                f"Give all of them at once: {', '.join(sorted({*missing, *given}))}",
                "secret_missing",
            )
        if self._channel is not None and not self._channel.closed:
            body = {name: value.reveal() for name, value in values.items()}
            await self.call("secrets", {"secrets": body})
        session.show(missing_secrets=missing)

    async def _secrets(self) -> tuple[dict[str, secrets.Secret], tuple[str, ...]]:
        """What this bottle's secrets are now, and the names of those that are nowhere."""
        session = self._session
        logins = await self._logins(session) if self._logins is not None else {}
        located = await asyncio.to_thread(
            secrets.locate,
            session.record.secrets,
            typed={**session.typed, **logins},
            environment=session.environment,
        )
        values = {name: found.value for name, found in located.items() if found.value is not None}
        return values, tuple(sorted(set(located) - set(values)))

    async def call(self, op: str, body: dict[str, Any], fds: list[int] | None = None) -> dict[str, Any]:
        """Ask the sidecar. Raises CarboyError where it is down or refuses."""
        if self._channel is None or self._channel.closed:
            raise CarboyError("The sidecar of this bottle is not running", "It is restarted by itself", "sidecar_down")
        try:
            answer, _ = await self._channel.call(op, body, fds or (), timeout=READY_SECONDS)
        except (ChannelClosed, RemoteError, TimeoutError) as error:
            raise CarboyError(f"The sidecar did not do it: {_said(error)}", f"See {self._log}", "sidecar") from None
        return answer

    # --- starting ---------------------------------------------------------------------------------------------------

    @property
    def slow(self) -> str:
        """Why the next start takes seconds; empty where it does not."""
        return self._zygote.slow

    @property
    def _name(self) -> str:
        return f"sidecar {self._session.slug}"

    @property
    def _log(self) -> Path:
        return self._session.state_folder / LOG

    async def _launch(self, box: Box | None) -> ProcessId:
        session = self._session
        child = await self._zygote.fork("sidecar", f"carboy-s {session.slug}", self._log)
        try:
            # on record before it knows anything: an unconfigured one ends with its channel
            session.update(sidecar=Process.of(child.process))
            async with self._giving:
                await self._configure(child.channel, box)
                self._channel = child.channel
        except BaseException as error:
            child.kill()
            child.close()
            if isinstance(error, ChannelClosed | RemoteError | TimeoutError):
                raise CarboyError(
                    f"The sidecar did not start: {last_line(self._log) or _said(error)}", f"See {self._log}", "sidecar"
                ) from None
            raise
        child.channel.notes = self._heard
        os.close(child.pidfd)
        return child.process

    async def _configure(self, channel: Channel, box: Box | None) -> None:
        config = await self._config()
        spool = os.open(self._session.spool_folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        fds = [spool]
        try:
            if box is not None:
                fds.append((await box.listener()).detach())
            await channel.call("configure", config.model_dump(mode="json", context=REVEAL), fds, timeout=READY_SECONDS)
        finally:
            for fd in fds:
                os.close(fd)

    async def _config(self) -> SidecarConfig:
        session, record = self._session, self._session.record
        if session.ca_key is None or session.canary is None:
            assert session.box is not None
            session.ca_key = await session.box.kept("ca_key")
            session.canary = await session.box.kept("canary")
        if session.sensitive is None and session.box is not None:
            with contextlib.suppress(NotFound):  # of a bottle that an older version started
                session.sensitive = unpacked(await session.box.kept(SENSITIVE))
        values, missing = await self._secrets()
        session.show(missing_secrets=missing)
        folder = session.state_folder / gitgate.FOLDER
        await self._find_git_keys()
        git = await asyncio.to_thread(gitgate.config_of, record.manifest, folder, values, session.git_keys.get)
        return SidecarConfig(
            slug=session.slug,
            session_id=session.id,
            policy=record.policy,
            allowance=await self._allow(session),
            upstream=await self._upstream(),
            ca_cert_pem=record.ca_certificate,
            ca_key_pem=session.ca_key,
            secrets=values,
            sensitive=dict(session.sensitive or {}),
            placeholders=record.placeholders,
            canary_name=record.canary_name,
            canary=session.canary,
            control_socket=str(session.run_folder / CONTROL_SOCKET),
            control_token=secrets.Secret(record.control_token),
            spool_dir=str(session.spool_folder),
            git=git,
        )

    async def _find_git_keys(self) -> None:
        """Deploy keys that a former controller made: the session holder has them."""
        session, found = self._session, dict(self._session.git_keys)
        for name, entry in session.record.manifest.bottle.git_gate.repos.items():
            if entry.key.provider != "static" and name not in found and session.box is not None:
                with contextlib.suppress(NotFound):
                    found[name] = await session.box.kept(f"git_key:{name}")
        session.git_keys = found

    async def _dial(self) -> bool:
        path = self._session.run_folder / CONTROL_SOCKET
        try:
            self._channel = await connect(path, self._session.record.control_token, notes=self._heard)
        except (OSError, TimeoutError, ChannelClosed, RemoteError):
            return False
        return True

    def _heard(self, note: str, body: dict[str, Any]) -> None:
        """Its own word for that alone which it may say: `up`, on which much is done anew, is ours."""
        if note in FROM_SIDECAR:
            self._notes(note, body)

    # --- watching ---------------------------------------------------------------------------------------------------

    def _watch(self, process: ProcessId) -> None:
        self._watching = spawn(self._watch_on(process), name=self._name, on_error=self._broken)

    async def _watch_on(self, process: ProcessId) -> None:
        await self._over(process)
        code = self._zygote.exit_codes.get(process.pid)
        await self._restart(last_line(self._log) or ending(code))

    async def _over(self, process: ProcessId) -> None:
        """Wait for its end. One that can no longer be spoken to is ended: nobody could cut its bottle off, and what it
        was told last may not be on record."""
        assert self._channel is not None
        end = spawn(wait_end(process), name=f"{self._name} end")
        silent = spawn(self._channel.wait_closed(), name=f"{self._name} channel")
        try:
            await asyncio.wait((end, silent), return_when=asyncio.FIRST_COMPLETED)
            done, _ = await asyncio.wait((end,), timeout=STOP_SECONDS)
            if not done:
                log.warning("the %s runs and cannot be spoken to: it is ended", self._name)
                await kill_and_wait(process)
        finally:
            await cancel_and_wait(end, silent)

    async def _restart(self, error: str) -> None:
        """Until one runs again; then watch that one."""
        while True:
            self._drop_channel()
            self._restarts = self._restarts.down(time.monotonic())
            await self._wait_turn(error)
            try:
                process = await self._launch(self._session.box)
            except (CarboyError, OSError) as failure:
                error = str(failure)
                continue
            self._healthy()
            await self._over(process)
            error = last_line(self._log) or ending(self._zygote.exit_codes.get(process.pid))

    async def _wait_turn(self, error: str) -> None:
        health = self._restarts.health(time.time(), error)
        if self._now.is_set():  # the operator ended it to have another one
            self._restarts = Restarts()
        else:
            self._session.sidecar_is(health)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(health.next_retry):
                    await self._now.wait()
                    self._restarts = Restarts()
        self._now.clear()

    def _healthy(self) -> None:
        self._restarts = self._restarts.up(time.monotonic())
        self._session.sidecar_is(SidecarHealth(state="healthy", attempt=self._restarts.attempt, at=time.time()))
        self._notes("spooled", {})  # whatever the former one left is read as well
        self._notes("up", {})

    def _drop_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _broken(self, error: BaseException) -> None:
        log.error("the watch over %s failed", self._name, exc_info=error)
        self._session.sidecar_is(SidecarHealth(state="failed", last_error="carboy's own fault", at=time.time()))

    async def _end(self, process: ProcessId) -> None:
        if self._channel is not None and not self._channel.closed:
            with contextlib.suppress(ChannelClosed, RemoteError, TimeoutError):
                await self._channel.call("stop", {}, timeout=STOP_SECONDS)
                async with asyncio.timeout(STOP_SECONDS):
                    await wait_end(process)
        await kill_and_wait(process)


def ending(code: int | None) -> str:
    if code is None:
        return "it ended"
    return f"killed by signal {-code}" if code < 0 else f"it ended with code {code}"


def _said(error: BaseException) -> str:
    """In one short line: a sidecar that fails may say anything, and it goes into our log."""
    return printable(str(error), 300) or type(error).__name__


async def unlimited(session: Session) -> Allowance | None:
    """Where nobody keeps budgets: no limit for what is metered."""
    providers = dict.fromkeys(entry.provider for entry in session.record.policy.metered)
    leases = tuple(Lease(id=f"free-{number}", provider=name) for number, name in enumerate(providers))
    return Allowance(leases=leases)
