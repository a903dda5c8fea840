"""One engine's API, spoken to on threads: the SDK blocks, and no event loop may. Its errors come out as ours.

The SDK is imported when it is first needed: it costs a tenth of a second, which no first paint may pay.
"""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from app.errors import CarboyError, NotFound, disk_full

if TYPE_CHECKING:
    from docker import DockerClient

OLDEST = (1, 41)
"""The API of engine 20.10, the first with all that is asked here."""
CALL_SECONDS = 120
THREADS = 16
_REFUSED = (errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE)


class Engine:
    """`call` runs a function of the SDK's client on a thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.podman = False
        """Whether it is Podman behind the same API; known from the first call on."""
        self.rootless = False
        """Whether it runs as the user itself, in a user namespace of its own; known from the first call on."""
        self.elsewhere = False
        """Whether its containers' processes are not this host's, as in a virtual machine; known from a probe on."""
        self.runtimes: frozenset[str] = frozenset()
        """The names of the runtimes that it has; known from the first call on."""
        self.controls = True
        """Whether it can bound and pause what runs in it: not a rootless one on version 1 of control groups."""
        self._client: DockerClient | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")

    async def call[T](self, work: Callable[["DockerClient"], T]) -> T:
        """The result of `work`. Raises CarboyError; a cancelled caller leaves the call to its own end."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run, work)

    def _run[T](self, work: Callable[["DockerClient"], T]) -> T:
        try:
            return work(self._connected())
        except CarboyError:
            raise
        except Exception as error:
            raise translated(error, self.url) from None

    def _connected(self) -> "DockerClient":
        if self._client is None:
            import docker

            client = docker.DockerClient(base_url=self.url, version="auto", timeout=CALL_SECONDS, max_pool_size=THREADS)
            self.podman = "podman" in str(client.version().get("Components", "")).lower()
            info = client.info()
            self.rootless = bool(info.get("Rootless")) or "rootless" in str(info.get("SecurityOptions"))
            self.controls = not (self.rootless and str(info.get("CgroupVersion", "1")).removeprefix("v") == "1")
            self.runtimes = frozenset(str(name) for name in info.get("Runtimes") or {})
            self._client = client
        return self._client


def translated(error: Exception, url: str) -> CarboyError:
    """What the SDK raised, in words a person understands. Pure."""
    text = str(getattr(error, "explanation", "") or error)
    found = _system_error(error)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(found, PermissionError):
        return CarboyError(
            f"The engine's socket {url} may not be used by this user",
            "Join its group (`sudo usermod -aG docker $USER`, then log in again), or use rootless Podman",
            "docker_denied",
        )
    if (found is not None and found.errno in _REFUSED) or (found is None and "Connection aborted" in text):
        return CarboyError(f"No engine answers at {url}", "Start it: `sudo systemctl start docker`", "docker_down")
    if "container-init binary" in text:
        return CarboyError(
            f"The engine lacks its small init program: {text[:300]}", "Install it: `sudo apt install catatonit`",
            "docker",
        )  # fmt: skip
    if "no space left" in text.lower():
        return disk_full("the engine's storage", "Make room there: `docker system df` shows what takes it")
    if "no such image" in text.lower() or type(error).__name__ == "ImageNotFound":
        return NotFound(f"The image is missing: {text[:300]}", "It is built at the next launch", "image_missing")
    if status == 404:
        return NotFound(f"The engine knows it not: {text[:300]}", "", "docker_gone")
    if status == 409:
        return CarboyError(f"The engine refuses: {text[:300]}", "Look with `carboy list`", "docker_conflict")
    return CarboyError(f"The engine refuses: {text[:500]}", "Look at the engine's own log", "docker")


def _system_error(error: BaseException) -> OSError | None:
    """The operating system's error below what requests and urllib3 wrap around it."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or not isinstance(one, BaseException):
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and isinstance(one.errno, int):
            return one
        waiting += [one.__cause__, one.__context__, *one.args]
    return None
