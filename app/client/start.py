"""Finds the controller, or starts one: detached, in its own session, with a small environment and the log as output.

Must never leave a half-started controller unexplained: a start that fails shows the log's last lines.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from app.errors import CarboyError, from_dict, no_access
from app.paths import Paths, absolute, check_owner, private_folder
from app.search_path import here, without

START_SECONDS = 30.0
"""How long a start may take. It takes about a second; a loaded machine with many bottles to adopt needs more."""

TURN_SECONDS = 1.0
"""How long to wait for another controller, starting or ending, before trying to be it again."""

LOG_LINES = 12
LOG_LIMIT = 5 * 1024 * 1024
"""The log is put aside (`controller.log.1`) at a start when it is larger."""

_KEPT = frozenset(
    {"CURL_CA_BUNDLE", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH"}
    | {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}  # without it, a Python that lies elsewhere does not start
    | {"REQUESTS_CA_BUNDLE", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ", "USER", "WAYLAND_DISPLAY"}
    | {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONWARNINGS"}
)
_KEPT_PREFIXES = ("CARBOY_", "DOCKER_", "LC_", "XDG_", "NVM_", "PYENV_")


def small_environment(environ: dict[str, str]) -> dict[str, str]:
    """What a controller needs of the environment of whoever starts it first: no tokens, nothing of one shell."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    if "PATH" in kept:
        kept["PATH"] = without(kept["PATH"], here())
    return absolute(kept)


async def answers(paths: Paths) -> bool:
    """Whether somebody listens on the controller's socket."""
    try:
        _, writer = await asyncio.open_unix_connection(paths.controller_socket)
    except OSError:
        return False
    writer.close()
    return True


async def ensure(paths: Paths, *, start: bool = True) -> None:
    """Return once a controller answers. Raises CarboyError where none does and none can be started, and where somebody
    else's would: what is sent to a controller holds secrets."""
    with contextlib.suppress(FileNotFoundError):
        check_owner(paths.run)
    if await answers(paths):
        return
    if not start:
        raise CarboyError("No controller is running", "Start one with: carboy serve", "no_controller")
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while True:
        try:
            ours = await _start(paths)
        except OSError as error:
            raise no_access(error) or error from None
        # another one has the lock: it comes up (another client's won the race), or it is ending and makes room
        again = asyncio.get_running_loop().time() + (START_SECONDS if ours else TURN_SECONDS)
        while asyncio.get_running_loop().time() < min(again, deadline):
            if await answers(paths):
                return
            await asyncio.sleep(0.05)
        if asyncio.get_running_loop().time() >= deadline:
            raise _silent(paths, f"A controller is running but does not answer on {paths.controller_socket}")


async def replace(paths: Paths, *, stay: bool = False) -> None:
    """Start a controller in place of the one that runs, if any; returns once it answers. Bottles run on."""
    try:
        ours = await _start(paths, "--replace", *(("--stay",) if stay else ()))
    except OSError as error:
        raise no_access(error) or error from None
    if not ours:
        raise _silent(paths, "The controller that runs does not end")


async def _start(paths: Paths, *more: str) -> bool:
    """Start one and wait until it says that it is ready: True; False where another one has the lock."""
    private_folder(paths.state)
    _put_log_aside(paths.log)
    read, write = os.pipe()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(read, "rb", buffering=0)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        try:
            await asyncio.to_thread(_spawn, paths, write, more)
        finally:
            os.close(write)
        async with asyncio.timeout(START_SECONDS):
            line = await reader.readline()
    except TimeoutError:
        raise _failed(paths, f"The controller did not start within {START_SECONDS:.0f} s") from None
    finally:
        transport.close()
    return _read_verdict(paths, line)


def _silent(paths: Paths, text: str) -> CarboyError:
    hint = f"Look at {paths.log}; end it (its pid is in {paths.state / 'controller.lock'}) and try again"
    return CarboyError(text, hint, "controller_silent")


def _read_verdict(paths: Paths, line: bytes) -> bool:
    if not line.endswith(b"\n"):
        raise _failed(paths, "The controller ended while it started")
    verdict = orjson.loads(line)
    if "error" in verdict:
        raise from_dict(verdict["error"])
    return "busy" not in verdict


def _failed(paths: Paths, text: str) -> CarboyError:
    tail = last_lines(paths.log)
    return CarboyError(f"{text}{': ' + tail if tail else ''}", f"The whole log is {paths.log}", "controller_start")


def last_lines(path: Path, count: int = LOG_LINES) -> str:
    """The end of the log, on one line."""
    from app.core.text import printable

    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return printable(" | ".join(line.strip() for line in lines[-count:] if line.strip()), 2000)


def _spawn(paths: Paths, ready: int, more: Sequence[str]) -> None:
    """Run `carboy serve --detached`, which detaches itself and returns at once."""
    # `-m` puts the working folder first on the module path: it must be the one carboy lies in, never the project
    root = Path(__file__).resolve().parents[2]
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(paths.log, flags, 0o600)
    environ = small_environment(dict(os.environ))
    environ.pop("PYTHONSAFEPATH", None)
    try:
        subprocess.run(
            [sys.executable, "-m", "app", "serve", "--detached", "--ready-fd", str(ready), *more],
            cwd=root,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(ready,),
            start_new_session=True,
            check=False,
            timeout=START_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise _failed(paths, "The controller could not be started") from None
    finally:
        os.close(log)


def _put_log_aside(path: Path) -> None:
    try:
        if path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_name(path.name + ".1"))
    except OSError:
        return
