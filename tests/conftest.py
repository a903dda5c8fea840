"""What all tests share: a private home for carboy, and waiting without sleeping blindly."""

import ctypes
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from app.paths import Paths
from app.processes.spawner import Zygote
from sidecar import prepared
from sidecar.dlp import hyperscan_matcher
from tests.fork_server import ForkedZygote

# compiling the rules of the outbound scan takes seconds: once for all tests
os.environ.setdefault(prepared.VARIABLE, str(Path(tempfile.gettempdir()) / f"carboy-test-scans-{os.getuid()}"))

# neither how long an example takes, nor the making of the first (a table of all characters), says that it is wrong
settings.register_profile("carboy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("carboy")


def pytest_configure(config: pytest.Config) -> None:
    """Have them before there are workers, and in each of those before a module of tests asks for them."""
    hyperscan_matcher.offer(prepared.make_once(Path(os.environ[prepared.VARIABLE])))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where the end-to-end tests alone are wanted: no module that has none is imported."""
    only = config.option.markexpr == "e2e" and collection_path.suffix == ".py"
    return True if only and "e2e" not in collection_path.read_text() else None


@pytest.fixture(autouse=True)
def no_foster_parent() -> Iterator[None]:
    """A sandbox makes its process the parent of orphans (PR_SET_CHILD_SUBREAPER); a test's process must not stay one,
    or what later tests start and detach would become its children, never reaped."""
    yield
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)  # linux/prctl.h


@pytest.fixture
def permissions_hold() -> Iterator[None]:
    """Permissions of files hold for the test itself, also where root runs it; not for threads that it finds."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root reads everything")
    libc, header, had = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, had) == 0  # linux/capability.h, version 3: effective, permitted, inheritable, twice
    without = (ctypes.c_uint32 * 6)(*had)
    without[0] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    bits = libc.prctl(27, 0, 0, 0, 0)  # linux/prctl.h: PR_GET_SECUREBITS
    # access(2) asks for what root might have, unless a change of ids no longer changes capabilities
    assert libc.prctl(28, bits | 1 << 2, 0, 0, 0) == 0  # linux/securebits.h: SECBIT_NO_SETUID_FIXUP
    assert libc.capset(header, without) == 0
    yield
    assert libc.capset(header, had) == 0
    assert libc.prctl(28, bits, 0, 0, 0) == 0


@pytest.fixture
def carboy_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh CARBOY_HOME with a path short enough for unix sockets; the real one is never touched."""
    home = Path(tempfile.mkdtemp(prefix="cb-"))
    monkeypatch.setenv("CARBOY_HOME", str(home))
    for name in ("CARBOY_BACKEND", "CARBOY_DRY_RUN", "CARBOY_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    yield home
    for made in (home, home.with_name(f"{home.name}-project")):  # the second is tests.integration.launching's
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def paths(carboy_home: Path) -> Paths:
    return Paths.resolve({**os.environ, "CARBOY_HOME": str(carboy_home)})


@pytest.fixture
async def zygote(tmp_path: Path) -> AsyncIterator[Zygote]:
    """Starts with its first order."""
    one = ForkedZygote(tmp_path)
    yield one
    await one.close()


async def until(condition: Callable[[], Awaitable[object] | object], timeout: float = 100.0) -> object:
    """Wait until `condition` gives something true and return it; fails with its last answer after `timeout` s."""
    import asyncio
    import inspect

    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"still {answer!r} after {timeout} s")
        await asyncio.sleep(0.02)


FORKING = (
    "tests/backends/", "tests/cli/test_cli_bottles.py", "tests/integration/test_demo_tui.py",
    "tests/processes/test_zygote.py", "tests/sidecar/test_kernel_seccomp.py", "tests/terminal/test_programs.py",
    "tests/tui/test_attach.py",
)  # fmt: skip
"""Modules that fork in the test process itself. The product forks from processes without threads only (zygote, session
holder); here pytest's and asyncio's threads are about, and the children only make system calls before they execute."""
FORK_WARNING = r"This process \(pid=\d+\) is multi-threaded, use of fork.* may lead to deadlocks:DeprecationWarning"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hide that one warning there, so that every other one is seen."""
    for item in items:
        if item.path.relative_to(config.rootpath).as_posix().startswith(FORKING):
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{FORK_WARNING}"))


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Long bytes are named by their argument: compressed ones hold the time, and each worker has another name."""
    return argname if isinstance(val, bytes) and len(val) > 32 else None
