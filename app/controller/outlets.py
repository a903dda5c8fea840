"""Where notices go besides the app: the operator's own command, and a webhook. Both are settings of this host, run by
the controller, so that they work with no window open.

Bounded: notices that come together go together, one delivery at a time, each with a limit of time. The command gets its
words by environment and stdin, never by argv, and nothing of the controller's environment that could hold a token.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable

import orjson

from app.core.notices import Notice, together
from app.core.schema import EnvSecret, Settings, is_private_address
from app.errors import CarboyError
from app.secrets import locate
from app.tasks import cancel_and_wait, spawn

log = logging.getLogger(__name__)

GATHER_SECONDS = 1.0
"""What comes within this time of the first one goes out as one message."""
LIMIT_SECONDS = 10.0
MOST_WAITING = 100
_KEPT = frozenset(
    {"DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "HOME", "LANG", "LOGNAME", "PATH", "TZ", "USER", "WAYLAND_DISPLAY"}
    | {"XDG_RUNTIME_DIR"}
)

type ReadSettings = Callable[[], Awaitable[Settings]]


class Outlets:
    """`fault` says what is wrong with a delivery, until one succeeds: every client shows it."""

    def __init__(self, settings: ReadSettings, *, gather: float = GATHER_SECONDS, limit: float = LIMIT_SECONDS) -> None:
        self._settings = settings
        self._gather = gather
        self._limit = limit
        self._waiting: deque[Notice] = deque(maxlen=MOST_WAITING)
        self._news = asyncio.Event()
        self._task = spawn(self._run(), name="notices go out")
        self.fault = ""

    def send(self, notice: Notice) -> None:
        """Returns at once."""
        self._waiting.append(notice)
        self._news.set()

    async def close(self) -> None:
        """What waits still goes out, within one delivery's time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limit):
                while self._waiting:
                    await self._deliver()
        await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(self._gather)
            await self._deliver()

    async def _deliver(self) -> None:
        batch = list(self._waiting)
        self._waiting.clear()
        settings = await self._settings()
        batch = [notice for notice in batch if notice.about in settings.notify_on]
        if batch:
            self.fault = "; ".join(await self.deliver(batch, settings))

    async def deliver(self, batch: list[Notice], settings: Settings | None = None) -> list[str]:
        """Bring these to every outlet that is set. Returns what went wrong, in the operator's words."""
        found = settings or await self._settings()
        faults: list[str] = []
        if found.notify_command:
            faults += await self._guarded("notify_command", self._command(found.notify_command, batch))
        if found.notify_webhook is not None:
            faults += await self._guarded("notify_webhook", self._post(found, batch))
        return faults

    async def _guarded(self, name: str, work: Awaitable[str]) -> list[str]:
        try:
            async with asyncio.timeout(self._limit):
                wrong = await work
        except TimeoutError:
            wrong = f"did not end within {self._limit:.0f} s"
        except Exception as error:  # a host's own program or network may fail in any way
            detail = error.message if isinstance(error, CarboyError) else type(error).__name__
            wrong = getattr(error, "strerror", None) or detail
        if wrong:
            log.warning("%s %s", name, wrong)
        return [f"{name} {wrong}"] if wrong else []

    async def _command(self, argv: tuple[str, ...], batch: list[Notice]) -> str:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=command_environment(batch, dict(os.environ)),
            cwd="/",
            start_new_session=True,
        )
        try:
            await process.communicate(orjson.dumps([notice.model_dump(mode="json") for notice in batch]))
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        return "" if process.returncode == 0 else f"ended with code {process.returncode}"

    async def _post(self, settings: Settings, batch: list[Notice]) -> str:
        import aiohttp

        url = await asyncio.to_thread(_webhook, settings)
        title, text = together(batch)
        said = f"{title}\n{text}" if text else title
        # `text` and `content` are what the common chat services read
        body = {
            "title": title,
            "text": said,
            "content": said,
            "notices": [one.model_dump(mode="json") for one in batch],
        }
        async with (
            aiohttp.ClientSession(trust_env=False) as http,
            http.post(url, json=body, allow_redirects=False, proxy=settings.egress.upstream_proxy) as response,
        ):
            return "" if response.status < 300 else f"was answered with {response.status}"


def _webhook(settings: Settings) -> str:
    """The address; one that is a secret comes from the keyring. Blocks."""
    found = settings.notify_webhook
    if not isinstance(found, EnvSecret):
        return found or ""
    value = locate([found.secret])[found.secret].value
    if value is None:
        raise CarboyError(f"needs the secret {found.secret}", f"carboy secret set {found.secret}", "secret_missing")
    address = value.reveal().strip()
    if not is_private_address(address):
        raise CarboyError(f"needs an address https://host/path; the secret {found.secret} holds another", "", "notify")
    return address


def command_environment(batch: list[Notice], environ: dict[str, str]) -> dict[str, str]:
    """What the operator's command is told. Pure."""
    title, text = together(batch)
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith("LC_")}
    return kept | {
        "CARBOY_ABOUT": batch[0].about if len(batch) == 1 else "several",
        "CARBOY_LEVEL": batch[0].level,
        "CARBOY_BOTTLE": batch[0].slug if len({notice.slug for notice in batch}) == 1 else "",
        "CARBOY_TITLE": title,
        "CARBOY_TEXT": text,
    }
