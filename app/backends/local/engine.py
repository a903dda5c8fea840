"""Starting an engine: a forked child turns into the sandbox's first process, and says when it stands.

Both engines end in the same keeper: a `cat` that is process 1 of the sandbox, reads a pipe that only the session
holder has the other end of, and so cannot outlive it. It runs nothing of the agent's and ignores its dead children.
"""

import contextlib
import json
import os
import select
import signal
import time
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from app.backends.local.identity import Account
from app.backends.local.layout import Layout
from app.backends.local.stage import stage
from app.errors import CarboyError

KEEPER = ("/usr/bin/env", "--ignore-signal=CHLD", "cat")
"""Process 1 inside. As such it cannot be signalled from inside; with SIGCHLD ignored the kernel buries orphans.
Not by a shell's `trap`: dash keeps SIGCHLD for itself, and the dead would fill the process limit."""
START_SECONDS = 20.0
"""A sandbox stands after some 20 ms; a machine under heavy load may take seconds."""
_MAX_MESSAGE = 4000


@dataclass(frozen=True)
class Pipes:
    """The child's ends: `alive` becomes its stdin, `ready` its stdout, `trouble` its stderr; `info` stays open."""

    alive: int
    ready: int
    trouble: int
    info: int


class Engine(Protocol):
    """Turns the calling (forked, already unprivileged) process into the sandbox. Writes `{"child-pid": n}` to
    `pipes.info` for process 1, and executes KEEPER (or as much as it) as that."""

    name: str

    def become(self, layout: Layout, account: Account, pipes: Pipes) -> NoReturn: ...


@dataclass
class Started:
    """A sandbox that stands. Closing `alive` ends it."""

    init_pid: int
    monitor_pid: int
    alive: int
    notes: tuple[str, ...] = field(default=())


def start(engine: Engine, layout: Layout, account: Account) -> Started:
    """Start `engine` and wait until process 1 runs. Raises CarboyError with what the engine said."""
    alive_read, alive_write = os.pipe()
    ready_read, ready_write = os.pipe()
    trouble_read, trouble_write = os.pipe()
    info_read, info_write = os.pipe()
    monitor = os.fork()
    if monitor == 0:
        _child(engine, layout, account, Pipes(alive_read, ready_write, trouble_write, info_write))
    for fd in (alive_read, ready_write, trouble_write, info_write):
        os.close(fd)
    try:
        os.write(alive_write, b".")
        init = _await(ready_read, info_read, trouble_read)
    except BaseException:
        os.close(alive_write)
        with contextlib.suppress(ProcessLookupError):
            os.kill(monitor, signal.SIGKILL)
        os.waitpid(monitor, 0)
        raise
    finally:
        for fd in (ready_read, info_read, trouble_read):
            os.close(fd)
    return Started(init, monitor, alive_write)


def _child(engine: Engine, layout: Layout, account: Account, pipes: Pipes) -> NoReturn:
    try:
        fresh_signals()
        os.umask(0o022)
        if account.dropped:
            layout = stage(layout, account)
            account.become()
        engine.become(layout, account, pipes)
    except CarboyError as error:
        os.write(pipes.trouble, json.dumps(error.as_dict()).encode())
    except BaseException as error:
        os.write(pipes.trouble, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(1)


def fresh_signals() -> None:
    """Default dispositions and an empty mask, as a program expects them."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _await(ready: int, info: int, trouble: int) -> int:
    """Wait for the keeper's echo; returns the pid of process 1 as the host sees it."""
    deadline = time.monotonic() + START_SECONDS
    message = b""
    open_ends = {ready, trouble}
    while open_ends:
        readable, _, _ = select.select(list(open_ends), [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise CarboyError("The sandbox did not start in time", "Run `carboy doctor`", "sandbox")
        if trouble in readable:
            piece = os.read(trouble, _MAX_MESSAGE)
            message += piece[: _MAX_MESSAGE - len(message)]
            if not piece:
                open_ends.discard(trouble)
        if ready in readable:
            if os.read(ready, 1):
                return int(json.loads(os.read(info, 4096))["child-pid"])
            open_ends.discard(ready)
    raise _failure(message.decode(errors="replace").strip())


def _failure(message: str) -> CarboyError:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        data = json.loads(message)
        return CarboyError(str(data["message"]), str(data["hint"]), str(data["code"]))
    return CarboyError(
        f"The sandbox could not be made: {message or 'no reason given'}", "Run `carboy doctor`", "sandbox"
    )
