"""The controller's process: one for each user, started by the first client, ended when idle or asked.

Owns the order in which its parts come up and go down. Ending it, in whatever way, leaves bottles running: the next one
adopts them. It imports neither the proxy nor the TUI nor a backend's client library.
"""

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from app.errors import NO_ROOM, CarboyError, disk_full
from app.paths import Paths, private_folder
from app.processes.private import keep_to_itself
from app.search_path import here, leave_out

if TYPE_CHECKING:
    from app.controller.wiring import Wired

log = logging.getLogger(__name__)

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


REPLACE_SECONDS = 15.0
"""For a controller to end that was asked to; whoever waits for the new one waits for `START_SECONDS` in all."""
ASK_SECONDS = 3.0
"""For its answer, and for the lock until whoever has it then is asked."""


class Lock:
    """The right to be the controller: held from the start until the process ends, however it ends."""

    def __init__(self, *files: Path) -> None:
        self._files = files
        self._held: list[int] = []

    def take(self, within: float = 0) -> bool:
        """False if another process has it, also after so many seconds. Who waits gets it before who only tries."""
        for path in self._files:
            private_folder(path.parent)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._held.append(fd)
            if not _flock(fd, within):
                self.release()
                return False
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return True

    def release(self) -> None:
        for fd in self._held:
            os.close(fd)
        self._held.clear()


def _flock(fd: int, within: float) -> bool:
    """In the main thread, where it waits: by an alarm, since the call itself has no time limit."""
    if not within:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def over(_number: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, over)
    try:
        signal.setitimer(signal.ITIMER_REAL, within)
        fcntl.flock(fd, fcntl.LOCK_EX)
    except TimeoutError:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return True


def lock_of(paths: Paths) -> Lock:
    """One lock beside the socket and one beside the store: a runtime folder that was swept away while a controller
    lived must not let a second one write the same store."""
    return Lock(paths.run / "controller.lock", paths.state / "controller.lock")


@dataclass(frozen=True)
class Herald:
    """Tells whoever started us, through an inherited pipe, that we are ready or why not. Once."""

    fd: int | None = None

    def ready(self) -> None:
        self._say({"ready": os.getpid()})

    def busy(self) -> None:
        self._say({"busy": True})

    def failed(self, error: CarboyError) -> None:
        self._say({"error": error.as_dict()})

    def _say(self, verdict: dict[str, object]) -> None:
        if self.fd is None:
            return
        with contextlib.suppress(OSError):
            os.write(self.fd, orjson.dumps(verdict) + b"\n")
            os.close(self.fd)


class Idle:
    """Ends the controller after a time without live bottles and without clients. One timer, no polling."""

    def __init__(self, seconds: float, busy: Callable[[], bool], stop: Callable[[], None]) -> None:
        self._seconds = seconds
        self._busy = busy
        self._stop = stop
        self._timer: asyncio.TimerHandle | None = None

    def touch(self) -> None:
        """Something began or ended: count from now on."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._due)

    def _due(self) -> None:
        if self._busy():
            self.touch()
            return
        log.info("idle for %.0f minutes: ending", self._seconds / 60)
        self._stop()


def serve(*, detached: bool = False, ready_fd: int | None = None, stay: bool = False, replace: bool = False) -> int:
    """Be the controller until told otherwise; with `replace`, of whoever is it now. Returns the exit code."""
    os.umask(0o077)
    leave_out(here())
    herald = Herald(ready_fd)
    try:
        paths = Paths.resolve()
        lock = lock_of(paths)
        if detached:
            detach(ready_fd)
        if not (_take_over(paths, lock) if replace else lock.take()):
            herald.busy()
            if detached:
                return 0
            raise CarboyError("A controller is running already", "Stop it with: carboy serve --stop", "controller_runs")
        configure_logging()
        keep_to_itself()
        asyncio.run(Controller(paths, herald, stay=stay).run())
    except CarboyError as error:
        herald.failed(error)
        if not detached:
            raise
        log.error("%s", error.render())
        return error.exit_code
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        full = disk_full(str(error.filename or "a file"))
        herald.failed(full)
        if not detached:
            raise full from None
        return full.exit_code
    return 0


def _take_over(paths: Paths, lock: Lock) -> bool:
    """False if none of those that were asked has made room. It may be another one each time: another client, or another
    restart, may have started one between two looks."""
    from app.controller import wiring  # noqa: F401  (loaded before any is asked: there is none while that takes)

    until = time.monotonic() + REPLACE_SECONDS
    while time.monotonic() < until:
        asyncio.run(_ask_to_end(paths))
        if lock.take(ASK_SECONDS):
            return True
    return False


async def _ask_to_end(paths: Paths) -> None:
    from app.client import Client

    # none runs, it is ending, or it hangs: who has the lock is what counts
    with contextlib.suppress(CarboyError, TimeoutError):
        async with asyncio.timeout(ASK_SECONDS), await Client.connect(paths, start=False) as client:
            await client.shutdown(force=True)


def detach(ready_fd: int | None) -> None:
    """Become nobody's child, so that a client that lives long never has to reap us."""
    if os.fork():
        os._exit(0)
    os.chdir("/")
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)


def configure_logging() -> None:
    """To stderr, which is the log file of a detached controller."""
    level = os.environ.get("CARBOY_LOG_LEVEL", "INFO").upper()
    known = logging.getLevelNamesMapping().get(level, logging.INFO)
    logging.basicConfig(stream=sys.stderr, level=known, format=LOG_FORMAT, force=True)
    for noisy in ("asyncio", "watchfiles"):
        logging.getLogger(noisy).setLevel(max(known, logging.WARNING))


class Controller:
    """Brings the parts up, waits, takes them down."""

    def __init__(self, paths: Paths, herald: Herald, *, stay: bool = False) -> None:
        self._paths = paths
        self._stay = stay
        self._herald = herald
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        from app.controller.wiring import wire

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        # the terminal it was started from may close
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        async with contextlib.AsyncExitStack() as stack:
            wired = await wire(self._paths, stack, self._stopped.set)
            idle = Idle(wired.idle_seconds, lambda: self._stay or wired.busy(), self._stopped.set)
            wired.on_activity(idle.touch)
            idle.touch()
            await self._come_up(wired)
            await self._stopped.wait()
            log.info("ending; bottles run on")

    async def _come_up(self, wired: "Wired") -> None:
        await wired.server.start()
        # what start-up made stays: the collector need not look at it again
        gc.collect()
        gc.freeze()
        log.info("controller %d is ready on %s", os.getpid(), self._paths.controller_socket)
        self._herald.ready()
