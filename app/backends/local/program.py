"""Starting one program in a sandbox: a forked child joins, forks into the process namespace, gets its terminal or
pipes, is confined, and executes it."""

import contextlib
import fcntl
import os
import socket
import termios
from dataclasses import dataclass
from typing import NoReturn

from app.backends.base import Command
from app.backends.local.cgroup import Cgroup
from app.backends.local.engine import fresh_signals
from app.backends.local.enter import Confinement, Namespaces, hand_out, open_terminal
from app.backends.local.identity import AGENT_NAME, Account
from app.errors import CarboyError
from sidecar.kernel import libc

_MAX_MESSAGE = 4096


@dataclass(frozen=True)
class Context:
    """The sandbox that the program goes to."""

    namespaces: Namespaces
    account: Account
    confinement: Confinement
    cgroup: Cgroup | None
    home: str
    env: dict[str, str]


def environment(context: Context, command: Command) -> dict[str, str]:
    """Nothing of the host's environment is in it."""
    base = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": context.home,
        "USER": AGENT_NAME,
        "LOGNAME": AGENT_NAME,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",  # noqa: S108 - the sandbox's own
    }
    if command.tty:
        base |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    return base | context.env | command.env


def launch(command: Command, context: Context) -> tuple[int, int, int]:
    """(pid, pidfd, output descriptor) of the running program. Raises CarboyError when it could not be executed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    trouble_read, trouble_write = os.pipe()
    output_read, output_write = (-1, -1) if command.tty else os.pipe()
    helper = os.fork()
    if helper == 0:
        _join(command, context, theirs, trouble_write, output_write)
    theirs.close()
    os.close(trouble_write)
    if output_write >= 0:
        os.close(output_write)
    os.waitpid(helper, 0)
    with ours:
        pid, pidfd, master = _collect(ours)
    with os.fdopen(trouble_read, "rb") as stream:
        trouble = stream.read(_MAX_MESSAGE).decode(errors="replace")
    output = master if command.tty else output_read
    if trouble or pid == 0 or output < 0:
        for fd in {pidfd, master, output_read} - {-1}:
            os.close(fd)
        if pid:
            os.waitpid(pid, 0)
        raise _not_started(command.argv[0], trouble)
    return pid, pidfd, output


def _not_started(program: str, trouble: str) -> CarboyError:
    """What `_become` reported, a reason and after it how to mend it, as the error that the operator reads."""
    why, _, hint = trouble.partition("\n")
    return CarboyError(f"{program} could not be started: {why or 'the sandbox is gone'}", hint, "start")


def _why(error: BaseException, command: Command) -> str:
    """An error of the program's process, for `_not_started`. Looks at the file from inside, where it was tried."""
    if not isinstance(error, OSError) or not error.filename:
        return f"{error}"
    path = os.fsdecode(error.filename)
    if path == command.cwd:
        return f"its working folder {path}: {error.strerror}"
    if isinstance(error, FileNotFoundError) and os.path.isfile(path):
        return "the interpreter that its first line names is not in the bottle"
    if isinstance(error, FileNotFoundError):
        return "it is not in the bottle\nThe system's programs are there, and the project's files, under the same paths"
    if isinstance(error, PermissionError) and os.path.isfile(path) and not os.access(path, os.X_OK):
        return f"it is not executable\nIf it is a program: chmod +x {path}"
    return f"{error.strerror}: {path}"


def _collect(channel: socket.socket) -> tuple[int, int, int]:
    """What helper and program pass out: the program's pid with its pidfd, and the terminal's master. All ends of the
    peer are closed once the program runs, or is dead."""
    pid, pidfd, master = 0, -1, -1
    while True:
        message, fds, _, _ = socket.recv_fds(channel, 64, 1, socket.MSG_CMSG_CLOEXEC)
        if not message:
            return pid, pidfd, master
        if message == b"tty":
            master = fds[0]
        else:
            pid, pidfd = int(message), fds[0]


def _join(command: Command, context: Context, channel: socket.socket, trouble: int, output: int) -> NoReturn:
    """The helper: joins, forks the program into the process namespace, tells its pid as the host sees it, ends."""
    try:
        libc.set_dumpable(False)
        fresh_signals()
        if context.cgroup is not None:
            context.cgroup.enter()
        context.namespaces.join(context.account)
        program = os.fork()
        if program == 0:
            _become(command, context, channel, trouble, output)
        pidfd = os.pidfd_open(program)
        hand_out(channel, [pidfd], str(program).encode())
    except BaseException as error:
        os.write(trouble, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(0)


def _become(command: Command, context: Context, channel: socket.socket, trouble: int, output: int) -> NoReturn:
    """The program's process, inside: every descriptor but its own three and the (close-on-exec) report is closed."""
    try:
        os.setsid()
        os.umask(0o022)
        if command.tty:
            master, standard = open_terminal(command.rows, command.cols)
            hand_out(channel, [master], b"tty")
            fcntl.ioctl(standard, termios.TIOCSCTTY, 0)
            ends = (standard, standard, standard)
        else:
            ends = (os.open("/dev/null", os.O_RDONLY), output, output)
        for number, fd in enumerate(ends):
            os.dup2(fd, number)
        context.namespaces.give_up_ownership()
        os.chdir(command.cwd)
        env = environment(context, command)
        context.confinement.limit()
        context.confinement.lock(keep=[trouble])
        os.execvpe(command.argv[0], list(command.argv), env)  # noqa: S606
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(trouble, _why(error, command).encode(errors="replace"))
    finally:
        os._exit(127)
