"""One sandbox on this host, from its making to its end. Synchronous and single-threaded: it forks, and lives in the
session holder. The holder becomes a subreaper, so that what is started inside is its own child.
"""

import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.backends.base import BoxSpec, Check, Command, Usage
from app.backends.local import checks, finish, homes, placeholders, program, tree
from app.backends.local.bwrap import Bubblewrap
from app.backends.local.cgroup import Cgroup
from app.backends.local.cover import Cover
from app.backends.local.engine import Engine, Started, start
from app.backends.local.enter import Confinement, Namespaces
from app.backends.local.identity import Account
from app.backends.local.inside import Told, fork_and_ask
from app.backends.local.layout import DEFAULT_MEMORY, Layout, plan
from app.backends.local.nsbox import Nsbox
from app.errors import CarboyError
from sidecar.kernel import landlock, libc

ENGINES: dict[str, type[Engine]] = {"bubblewrap": Bubblewrap, "nsbox": Nsbox}
STEP_SECONDS = 20.0
KILL_SECONDS = 10.0


@dataclass(frozen=True)
class Child:
    """A program inside. `output_fd` is the terminal's master, or the read end of its merged output."""

    pid: int
    pidfd: int
    output_fd: int


class Sandbox:
    """Made by `build`. Call `close` in the end, whatever happened."""

    reason = ""
    """Why the agent ended, where the sandbox knows it."""

    def __init__(self, spec: BoxSpec, layout: Layout, account: Account, engine: str, started: Started) -> None:
        self.engine = engine
        self.init_pid = started.init_pid
        self._spec = spec
        self._layout = layout
        self._account = account
        self._started = started
        self._pidfd = os.pidfd_open(started.init_pid)
        self._namespaces = Namespaces.of(started.init_pid)
        self._confinement = Confinement.of(layout, spec.limits)
        self._cgroup = Cgroup.make(spec.session_id, spec.limits)
        self._children: set[int] = set()
        self._listener: socket.socket | None = None
        self._frozen = False
        self._closed = False

    @classmethod
    def build(cls, spec: BoxSpec, engine: str | None = None) -> "Sandbox":
        """A sandbox with nothing of the agent in it. Raises CarboyError; then everything is gone again."""
        name = engine or spec.engine or "bubblewrap"
        if name not in ENGINES:
            raise CarboyError(f"There is no sandbox engine {name!r}", f"Use one of {', '.join(ENGINES)}", "engine")
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        account = Account.of_this_process()
        homes.prepare(spec)
        layout = plan(spec)
        started = start(ENGINES[name](), layout, account)
        try:
            sandbox = cls(spec, layout, account, name, started)
        except BaseException:
            os.close(started.alive)
            _bury(started.init_pid, started.monitor_pid)
            raise
        try:
            sandbox._finish()
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    @property
    def notes(self) -> tuple[str, ...]:
        """Truths about how it is built that an operator should see."""
        found: list[str] = []
        if not landlock.abi():
            found.append("this kernel has no Landlock: one layer less")
        if self._cgroup is None:
            found.append("no cgroup: memory is watched, not limited by the kernel")
        return tuple(found)

    @property
    def memory_is_held(self) -> bool:
        """Whether the kernel keeps all of it within its memory, so that nobody has to look."""
        limit = self._spec.limits.memory or DEFAULT_MEMORY
        return self._cgroup is not None and self._cgroup.holds_memory(limit)

    def listen(self, port: int) -> socket.socket:
        """A duplicate of the listening socket on the sandbox's own loopback."""
        if self._listener is None or self._listener.getsockname()[1] != port:
            raise CarboyError(f"The sandbox listens on another port than {port}", "", "sandbox")
        return self._listener.dup()

    def check(self, port: int) -> list[Check]:
        """Prove from inside, as the agent would, that only the proxy can be reached."""
        answer, _ = self._ask(partial(checks.run, port), confined=True)
        return [Check(str(one["name"]), bool(one["ok"]), str(one["detail"])) for one in answer["checks"]]

    def spawn(self, command: Command) -> Child:
        """Run a program inside. The caller owns the descriptors and may wait for `pid`, its own child."""
        context = program.Context(
            self._namespaces, self._account, self._confinement, self._cgroup, self._layout.home, dict(self._spec.env)
        )
        pid, pidfd, output = program.launch(command, context)
        self._children.add(pid)
        return Child(pid, pidfd, output)

    def reaped(self, pid: int) -> None:
        """A child of `spawn` was waited for: its pid may soon be somebody else's, who must not be signalled for it."""
        self._children.discard(pid)

    def freeze(self) -> None:
        self._frozen = True
        if self._cgroup is None or not self._cgroup.freeze():
            tree.stop_all(self._roots(), self.init_pid)

    def thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            if self._cgroup is None or not self._cgroup.thaw():
                tree.continue_all(self._roots(), self.init_pid)

    def usage(self) -> Usage:
        stats = tree.measure(tree.descendants(self._roots()) - {self.init_pid})
        memory = self._cgroup.memory() if self._cgroup else None
        return Usage(stats.memory if memory is None else memory, stats.pids, stats.cpu_seconds)

    def unlinked(self) -> int:
        """Bytes of files without a name on the disk of its folders."""
        return tree.unlinked(tree.descendants(self._roots()), os.stat(self._spec.state).st_dev)

    def kill(self) -> None:
        """End everything inside, now: the kernel kills a process namespace with its process 1."""
        if self._cgroup is not None and self._frozen:
            self._cgroup.thaw()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Kill, bury, and let go of everything but the state folder. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.kill()
        os.close(self._started.alive)
        # process 1 is gone only when those inside whose parent we are have been waited for
        _bury(*self._children, self.init_pid, self._started.monitor_pid)
        os.close(self._pidfd)
        self._namespaces.close()
        if self._listener is not None:
            self._listener.close()
        if self._cgroup is not None:
            self._cgroup.remove()
        placeholders.forget(self._spec.state)

    def _roots(self) -> list[int]:
        return [self.init_pid, *self._children]

    def _finish(self) -> None:
        state, project = self._spec.state, self._layout.project
        if project is not None and self._spec.project_copy is not None:
            project = str(self._spec.project_copy.resolve())  # as the host sees it
        if project is None:
            _, fds = self._ask(self._last_touches, confined=False)
        else:
            writable = self._layout.project_writable
            with placeholders.placing(state, project, self._spec.masks, writable=writable) as stand:
                answer, fds = self._ask(self._last_touches, confined=False)
                stand(answer["placeholders"])
        self._listener = socket.socket(fileno=fds[0])

    def _last_touches(self) -> Told:
        """Runs inside."""
        finish.prepare()
        finish.write_files(self._layout.files)
        finish.open_parents(bind.target for bind in self._layout.binds)
        standing: list[str] = []
        if self._layout.project is not None:
            cover = Cover(self._layout.project, self._layout.project_writable)
            cover.apply(self._spec.masks)
            standing = cover.placeholders
        listener = finish.listen(self._spec.listen_port)
        finish.finish()
        return {"placeholders": standing}, [listener.detach()]

    def _ask(self, work: Any, *, confined: bool) -> tuple[dict[str, Any], list[int]]:
        def joined() -> Told:
            libc.set_dumpable(False)
            os.umask(0o022)
            self._namespaces.join(self._account, processes=False)
            os.chdir("/")
            if confined:
                self._namespaces.give_up_ownership()
                libc.drop_capabilities()
                libc.no_new_privileges()
            return work()

        return fork_and_ask(joined, seconds=STEP_SECONDS)


def _bury(*pids: int) -> None:
    """Wait for children of ours, those that are none (any more) being passed over; bounded."""
    deadline = time.monotonic() + KILL_SECONDS
    waiting = set(pids)
    while waiting and time.monotonic() < deadline:
        for pid in list(waiting):
            try:
                done, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                done = pid
            if done:
                waiting.discard(pid)
        if waiting:
            time.sleep(0.001)
