"""A container as its session holder has it: namespaces entered for the listening socket, mounts, masks and checks; the
agent's terminal through a pump. The same face as the local engine's `Sandbox`, so that a holder holds either.

Synchronous and single-threaded, as it forks. Makes no container and removes none: that is the backend's.
"""

import contextlib
import os
import signal
import socket
import termios
import tty
from collections.abc import Callable
from functools import partial
from typing import Self

from app.backends.base import BoxSpec, Check, Command, Usage
from app.backends.docker import hosts, pump, script
from app.backends.docker.entering import Inside, Place
from app.backends.docker.helper import Helper
from app.backends.local import homes, placeholders, tree
from app.backends.local.layout import checked_project
from app.backends.local.sandbox import Child


class Container:
    """Made by `build`. Call `close` in the end."""

    def __init__(self, spec: BoxSpec, place: Place) -> None:
        self.engine = place.engine
        self.init_pid = place.pid
        self.notes: tuple[str, ...] = ()
        self.reason = ""
        self._spec = spec
        self._place = place
        self._socket = hosts.socket_path(place.url)
        self._listener: socket.socket | None = None
        self._pumps: dict[int, int] = {}
        self._closed = False
        self._inside: Inside | Helper | None = None
        self._pidfd = -1
        self._again = False
        self._frozen = False

    @classmethod
    def build(cls, spec: BoxSpec, place: Place) -> Self:
        """Bring the running container to where the agent may start in it. Raises CarboyError, OSError."""
        made = cls(spec, place)
        try:
            made._enter()
        except BaseException:
            made.close()
            raise
        return made

    @classmethod
    def find(cls, spec: BoxSpec, place: Place) -> Self:
        """One whose agent runs, and whose former holder was killed."""
        made = cls(spec, place)
        made._found()
        made._again = True
        return made

    @property
    def memory_is_held(self) -> bool:
        return not self._place.bounds

    # --- what the holder asks -----------------------------------------------------------------------------------------

    def listen(self, port: int) -> socket.socket:
        if self._listener is None:  # the sidecar that had the former one is gone, and the port free again
            root = os.geteuid() == 0
            inside = Inside(self._spec, self._place, mapped=True) if root else Helper(self._spec, self._place)
            try:
                self._listener = socket.socket(fileno=inside.listen(port))
            finally:
                inside.close()
        return self._listener.dup()

    def check(self, port: int) -> list[Check]:
        assert self._inside is not None
        found = self._inside.check(port)
        return [Check(str(one["name"]), bool(one["ok"]), str(one["detail"])) for one in found]

    def spawn(self, command: Command) -> Child:
        """The agent: the container's main process, let through its gate."""
        open_gate = (lambda: True) if self._again else self._gate(command)
        report, reporting = os.pipe()
        ours, theirs = os.openpty() if command.tty else os.pipe()
        if command.tty:
            tty.setraw(theirs)
            termios.tcsetwinsize(ours, (command.rows, command.cols))
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            os.close(report)
            target = pump.Target(self._socket, self._place.id, command.tty, theirs, open_gate, reporting)
            pump.run(target)
        os.close(theirs)
        os.close(reporting)
        os.set_blocking(report, False)
        self._pumps[pid] = report
        return Child(pid, os.pidfd_open(pid), ours)

    def _gate(self, command: Command) -> Callable[[], bool]:
        """What lets it through."""
        folder = script.prepare(self._spec.run)
        script.write_start(folder, command, self._spec.env, self._place.bounds)
        return partial(script.open_gate, folder)

    def reaped(self, pid: int) -> None:
        report = self._pumps.pop(pid, -1)
        if report >= 0:
            with contextlib.suppress(BlockingIOError):
                self.reason = self.reason or os.read(report, 500).decode(errors="replace")
            os.close(report)

    def freeze(self) -> None:
        """Where the engine itself cannot pause a container."""
        self._frozen = True
        tree.stop_all(self._roots(), self.init_pid)

    def thaw(self) -> None:
        """What the engine paused is woken by the pump, before it passes a signal on."""
        if self._frozen:
            self._frozen = False
            tree.continue_all(self._roots(), self.init_pid)

    def usage(self) -> Usage:
        """Where the engine itself does not measure."""
        stats = tree.measure(tree.descendants(self._roots()) - {self.init_pid})
        return Usage(stats.memory, stats.pids, stats.cpu_seconds)

    def unlinked(self) -> int:
        """Bytes of files without a name on the disk of its folders."""
        return tree.unlinked(tree.descendants(self._roots()), os.stat(self._spec.state).st_dev)

    def _roots(self) -> set[int]:
        """The container's first process, and what else was started in its namespace from outside."""
        return {self.init_pid, *tree.in_namespace(self.init_pid)}

    def kill(self) -> None:
        for pid in self._pumps:  # first, so that each knows why its container ends
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, pump.KILL)
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Let go of everything but the container. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.kill()
        if self._listener is not None:
            self._listener.close()
        if self._inside is not None:
            self._inside.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        placeholders.forget(self._spec.state)

    # --- entering -----------------------------------------------------------------------------------------------------

    def _found(self) -> None:
        """The container's process, proved to be it: what is entered as root must be no stranger's."""
        try:
            pidfd = os.pidfd_open(self._place.pid)
        except ProcessLookupError:
            raise hosts.elsewhere(self._place.url) from None
        if not hosts.is_here(self._place.pid, self._spec.session_id):
            os.close(pidfd)
            raise hosts.elsewhere(self._place.url)
        self._pidfd = pidfd

    def _enter(self) -> None:
        self._found()
        homes.prepare(self._spec)
        project = None if self._spec.project is None else checked_project(self._spec)
        root = os.geteuid() == 0
        inside = self._inside = (
            Inside(self._spec, self._place, mapped=True) if root else Helper(self._spec, self._place)
        )
        state = self._spec.state
        if project is None:
            _, fd = inside.finish(None)
        else:
            shown = project if self._spec.project_copy is None else str(self._spec.project_copy.resolve())
            writable = self._spec.project_writable
            with placeholders.placing(state, shown, self._spec.masks, writable=writable) as stand:
                standing, fd = inside.finish(project)
                stand(standing)
        self._listener = socket.socket(fileno=fd)
