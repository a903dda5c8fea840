"""A container as its session holder has it: namespaces entered for the listening socket, mounts, masks and checks; the
agent's terminal through a pump. The same face as the local engine's `Sandbox`, so that a holder holds either.

Synchronous and single-threaded, as it forks. Makes no container and removes none: that is the backend's.
"""

import contextlib
import os
import signal
import socket
import tty
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from app.backends.base import BoxSpec, Check, Command, FileIn, Usage
from app.backends.docker import hosts, pump, script
from app.backends.local import checks, finish, homes, mounts, placeholders, stage
from app.backends.local.cover import Cover
from app.backends.local.identity import AGENT_NAME, Account
from app.backends.local.inside import Told, fork_and_ask
from app.backends.local.layout import PRIVATE, Bind, checked_project
from app.backends.local.sandbox import Child
from app.errors import CarboyError, NotSupported
from sidecar.kernel import landlock, libc

STEP_SECONDS = 20.0
_HIDDEN = ("/sys", "/proc/1/mem", "/proc/1/task")
"""The host's hardware, as the local engine hides it; and the memory of the container's init, which runs as the agent's
own user."""
_KINDS = (("net", mounts.NEW_NET), ("mnt", mounts.NEW_NS))


@dataclass(frozen=True)
class Place:
    """Where the container is, as the backend tells its holder."""

    url: str
    id: str
    pid: int
    image: str
    uid: int
    gid: int
    entered: bool
    engine: str = "docker"

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Place":
        return cls(
            str(data["url"]), str(data["id"]), int(data["pid"]), str(data["image"]),
            int(data["uid"]), int(data["gid"]), data["entered"] is True, str(data["engine"]),
        )  # fmt: skip


class Container:
    """Made by `build`. Call `close` in the end."""

    memory_is_held = True

    def __init__(self, spec: BoxSpec, place: Place) -> None:
        self.engine = place.engine
        self.init_pid = place.pid
        self.notes: tuple[str, ...] = ()
        self.reason = ""
        self._spec = spec
        self._place = place
        self._socket = hosts.socket_path(place.url)
        self._account = Account(place.uid, place.gid, dropped=os.geteuid() == 0)
        self._listener: socket.socket | None = None
        self._pumps: dict[int, int] = {}
        self._closed = False
        self._namespaces: list[tuple[int, int]] = []
        self._pidfd = -1

    @classmethod
    def build(cls, spec: BoxSpec, place: Place) -> "Container":
        """Bring the running container to where the agent may start in it. Raises CarboyError, OSError."""
        made = cls(spec, place)
        try:
            if place.entered:
                made._enter()
            else:
                made._stand_outside()
        except BaseException:
            made.close()
            raise
        return made

    # --- what the holder asks -----------------------------------------------------------------------------------------

    def listen(self, port: int) -> socket.socket:
        del port
        assert self._listener is not None
        return self._listener.dup()

    def check(self, port: int) -> list[Check]:
        if not self._place.entered:
            raise NotSupported("The walls are tried by the relay container", "")
        answer, _ = self._ask(partial(checks.run, port), (mounts.NEW_NET,), confined=True)
        return [Check(str(one["name"]), bool(one["ok"]), str(one["detail"])) for one in answer["checks"]]

    def spawn(self, command: Command) -> Child:
        """The agent: the container's main process, let through its gate."""
        folder = script.prepare(self._spec.run)
        script.write_start(folder, command, self._spec.env)
        report, reporting = os.pipe()
        ours, theirs = os.openpty() if command.tty else os.pipe()
        if command.tty:
            tty.setraw(theirs)
            import termios

            termios.tcsetwinsize(ours, (command.rows, command.cols))
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            os.close(report)
            target = pump.Target(
                self._socket, self._place.id, command.tty, theirs, partial(script.open_gate, folder), reporting
            )
            pump.run(target)
        os.close(theirs)
        os.close(reporting)
        os.set_blocking(report, False)
        self._pumps[pid] = report
        return Child(pid, os.pidfd_open(pid), ours)

    def reaped(self, pid: int) -> None:
        report = self._pumps.pop(pid, -1)
        if report >= 0:
            with contextlib.suppress(BlockingIOError):
                self.reason = self.reason or os.read(report, 500).decode(errors="replace")
            os.close(report)

    def freeze(self) -> None:
        raise NotSupported("The engine itself pauses a container", "")

    def thaw(self) -> None:
        """The pump does, before it passes a signal on."""

    def usage(self) -> Usage:
        raise NotSupported("The engine itself measures a container", "")

    def kill(self) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        for pid in self._pumps:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, pump.KILL)

    def close(self) -> None:
        """Let go of everything but the container. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.kill()
        if self._listener is not None:
            self._listener.close()
        for fd, _ in self._namespaces:
            os.close(fd)
        if self._pidfd >= 0:
            os.close(self._pidfd)
        placeholders.forget(self._spec.state)

    # --- entering -----------------------------------------------------------------------------------------------------

    def _enter(self) -> None:
        """As root: everything that the local engine does from inside is done here too, by the same code."""
        self._pidfd = os.pidfd_open(self._place.pid)
        for name, kind in _KINDS:
            fd = os.open(f"/proc/{self._place.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            self._namespaces.append((fd, kind))
        homes.prepare(self._spec)
        project = None if self._spec.project is None else checked_project(self._spec)
        binds = self._binds(project)
        state = self._spec.state
        if project is None:
            _, fds = self._finish_inside(binds, None)
        else:
            shown = project if self._spec.project_copy is None else str(self._spec.project_copy.resolve())
            with placeholders.alone(state, shown):
                if self._spec.project_writable:
                    placeholders.record(state, shown, placeholders.expected(shown, self._spec.masks))
                answer, fds = self._finish_inside(binds, project)
                placeholders.record(state, shown, answer["placeholders"])
        self._listener = socket.socket(fileno=fds[0])
        if not landlock.abi():
            self.notes += ("this kernel has no Landlock: one layer less",)

    def _binds(self, project: str | None) -> list[Bind]:
        spec = self._spec
        binds = [Bind(os.path.realpath(mount.source), mount.target, mount.writable) for mount in spec.mounts]
        binds.append(Bind(str((spec.state / "home").resolve()), spec.home, writable=True, mapped=True))
        if project is not None:
            shown = project if spec.project_copy is None else str(spec.project_copy.resolve())
            binds.append(Bind(str((spec.state / "private").resolve()), PRIVATE, writable=True, mapped=True))
            binds.append(Bind(shown, project, spec.project_writable, mapped=True))
        return binds

    def _finish_inside(self, binds: list[Bind], project: str | None) -> tuple[dict[str, Any], list[int]]:
        namespaces: dict[tuple[int, int], int] = {}
        trees: list[tuple[Bind, int, bool]] = []
        try:
            for bind in binds:
                tree, folder = stage.take(bind, self._account, namespaces)
                trees.append((bind, tree, folder))
            return self._ask(partial(self._last_touches, trees, project), (mounts.NEW_NET, mounts.NEW_NS))
        finally:
            for fd in (*namespaces.values(), *(tree for _, tree, _ in trees)):
                os.close(fd)

    def _last_touches(self, trees: list[tuple[Bind, int, bool]], project: str | None) -> Told:
        """Runs inside, as the host's root, before anything of the agent."""
        finish.prepare()
        finish.write_files(self._files())
        for bind, tree, folder in trees:
            target = Path(bind.target)
            target.parent.mkdir(parents=True, exist_ok=True)
            if folder:
                target.mkdir(exist_ok=True)
            elif not target.exists():
                target.touch()
            attributes = mounts.ATTR_NOSUID | mounts.ATTR_NODEV
            mounts.set_attributes(tree, attributes | (0 if bind.writable else mounts.ATTR_RDONLY), recursive=True)
            mounts.attach(tree, bind.target)
        standing: list[str] = []
        if project is not None:
            _keep_capabilities()
            self._account.become()  # what a mapped mount takes is made by whom it is mapped to
            cover = Cover(project, self._spec.project_writable)
            cover.apply(self._spec.masks)
            standing = cover.placeholders
        listener = finish.listen(self._spec.listen_port)
        finish.close_proc()
        for path in _HIDDEN:
            finish.hide(path)
        mounts.set_attributes("/run", mounts.ATTR_RDONLY)
        return {"placeholders": standing}, [listener.detach()]

    def _files(self) -> tuple[FileIn, ...]:
        """Those beyond the home, and an account for the agent among the image's own."""
        home = self._spec.home.rstrip("/") + "/"
        rest = [file for file in self._spec.files if not file.target.startswith(home)]
        uid, gid = self._place.uid, self._place.gid
        user = f"{AGENT_NAME}:x:{uid}:{gid}:{AGENT_NAME}:{self._spec.home}:/bin/sh\n"
        return (
            *rest,
            FileIn("/etc/passwd", _with_account("/etc/passwd", user, uid)),
            FileIn("/etc/group", _with_account("/etc/group", f"{AGENT_NAME}:x:{gid}:\n", gid)),
            FileIn("/etc/resolv.conf", b"# there is no name server: the proxy resolves\n"),
        )

    def _ask(self, work: Any, kinds: Sequence[int], *, confined: bool = False) -> tuple[dict[str, Any], list[int]]:
        def joined() -> Told:
            libc.set_dumpable(False)
            os.umask(0o022)
            for fd, kind in self._namespaces:
                if kind in kinds:
                    mounts.enter(fd, kind)
            os.chdir("/")
            if confined:
                self._account.become()
                libc.drop_capabilities()
                libc.no_new_privileges()
            return work()

        return fork_and_ask(joined, seconds=STEP_SECONDS)

    # --- outside ------------------------------------------------------------------------------------------------------

    def _stand_outside(self) -> None:
        raise CarboyError("Docker bottles need root on this host", "Start carboy as root", "docker_denied")


def _keep_capabilities() -> None:
    """A change of uid takes none away from here on (capabilities(7))."""
    libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP)


_PR_SET_SECUREBITS, _NO_SETUID_FIXUP = 28, 1 << 2  # linux/prctl.h, linux/securebits.h
_MAX_ACCOUNTS = 1024 * 1024


def _with_account(path: str, line: str, number: int) -> bytes:
    """The image's accounts without one of that name or number, and the agent's."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_ACCOUNTS).decode(errors="replace")
    except OSError:
        text = "root:x:0:0:root:/root:/bin/sh\n" if path.endswith("passwd") else "root:x:0:\n"
    kept = [old for old in text.splitlines() if old.split(":")[0] != AGENT_NAME and f":{number}:" not in old[:200]]
    return ("\n".join(kept) + "\n" + line).encode()
