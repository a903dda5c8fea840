"""kill -9 of the real controller during launches and runs, and of the TUI: agents run on, and nothing stays behind."""

import asyncio
import fcntl
import os
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from app.client import Client
from app.core.model import LIVE, BottleView, LaunchRequest
from app.errors import CarboyError
from app.paths import Paths
from app.tasks import spawn
from tests.conftest import until
from tests.controllers import forked
from tests.integration.launching import prepare, processes_of

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
TICKS = "while :; do echo x >> {name}.ticks; sleep 0.1; done"
LAUNCHES = 5


@pytest.fixture
async def client(paths: Paths) -> AsyncIterator[Client]:
    async with await Client.connect(paths) as one:
        yield one
        for view in await one.bottles():
            if view.state in LIVE:
                await one.kill(view.slug)
        pid = (await one.status()).pid
        await one.shutdown(force=True)
        await until(lambda: not psutil.pid_exists(pid))


def request(project: Path, name: str) -> LaunchRequest:
    script = TICKS.format(name=name)
    return LaunchRequest(
        bottles=("plain",), command=("/bin/sh", "-c", script), cwd=str(project), label=name, headless=True
    )


async def launch(client: Client, asked: LaunchRequest) -> BottleView | None:
    """The bottle, or None where its controller was killed meanwhile. Any other end is a failure."""
    try:
        async for item in client.launch(asked):
            if isinstance(item, BottleView):
                return item
    except CarboyError as error:
        if error.code not in ("connection_lost", "controller_silent", "name_in_use"):
            raise
    return None


async def kill_controller(client: Client) -> None:
    pid = (await client.status()).pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")


def ticks(project: Path, name: str) -> int:
    try:
        return (project / f"{name}.ticks").stat().st_size
    except FileNotFoundError:
        return 0


def traces(paths: Paths, project: Path, session_ids: set[str]) -> list[str]:
    """Everything that a session may have left, but for its record."""
    home = str(paths.config.parent)
    found = processes_of(paths)
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [line for line in mounts if home in line or str(project) in line]
    found += [str(path) for path in Path("/sys/fs/cgroup").rglob("carboy-*") if path.name[7:] in session_ids]
    found += [str(path) for path in paths.run.glob("????????????")]
    found += [str(path) for path in project.iterdir() if not path.name.endswith(".ticks")]
    return found


@pytest.fixture
def quick_starts() -> Iterator[None]:
    with forked():
        yield


@pytest.mark.usefixtures("quick_starts")
@pytest.mark.parametrize("seed", range(4))
async def test_the_controller_killed_during_five_launches(paths: Paths, client: Client, seed: int) -> None:
    project = prepare(paths)
    chance = random.Random(seed)
    names = [f"n{number}" for number in range(LAUNCHES)]
    launches = [spawn(launch(client, request(project, name)), name=name) for name in names]
    for _ in range(3):
        await asyncio.sleep(chance.random() * 1.2)  # the moment is the test
        await kill_controller(client)
    told = {view.slug for view in await asyncio.gather(*launches) if view is not None}

    # what was told to run, runs; what was not is running too, or was never there
    async def settled() -> list[BottleView] | None:
        views = await client.bottles()
        calm = all(view.state == "running" and view.sidecar.state == "healthy" for view in views)
        return views if calm else None

    # an empty list is settled as well
    async def known() -> bool:
        return await settled() is not None

    await until(known, 40)
    views = await client.bottles()
    running = {view.slug for view in views}
    assert told <= running
    for name in set(names) - running:
        assert not paths.session_state(name).exists(), name
    for name in running:
        before = ticks(project, name)
        await until(lambda name=name, before=before: ticks(project, name) > before)
    for view in views:
        await client.kill(view.slug)
    await client.cleanup()
    ids = {view.session_id for view in views}
    await until(lambda: not traces(paths, project, ids) or print(traces(paths, project, ids)))


async def test_the_controller_killed_again_and_again_while_bottles_run(paths: Paths, client: Client) -> None:
    project = prepare(paths)
    chance = random.Random(7)
    views = [await launch(client, request(project, f"n{number}")) for number in range(3)]
    assert all(views)
    before = {view.slug: view for view in await client.bottles()}
    for _ in range(5):
        await asyncio.sleep(chance.random() * 0.4)  # the moment is the test
        await kill_controller(client)
    after = {view.slug: view for view in await client.bottles()}
    assert {slug: view.session_id for slug, view in after.items()} == {
        slug: view.session_id for slug, view in before.items()
    }
    assert all(view.state == "running" for view in after.values())
    for name in after:
        count = ticks(project, name)
        await until(lambda name=name, count=count: ticks(project, name) > count)
    for name in after:
        assert (await client.stop(name)).state in ("ended", "stopped")
    await client.cleanup()
    ids = {view.session_id for view in after.values()}
    await until(lambda: not traces(paths, project, ids) or print(traces(paths, project, ids)))


async def test_a_killed_tui_is_not_noticed_by_bottles(paths: Paths, client: Client) -> None:
    project = prepare(paths)
    await launch(client, request(project, "watched"))
    controller = (await client.status()).pid
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 48, 160, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    tui = subprocess.Popen(
        [sys.executable, "-P", "-m", "app"], stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=project,
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    try:
        await asyncio.to_thread(_see, master, b"watched")
        tui.kill()
        tui.wait(10)
    finally:
        tui.kill()
        tui.wait(10)
        os.close(master)
    before = ticks(project, "watched")
    await until(lambda: ticks(project, "watched") > before)
    assert (await client.status()).pid == controller
    assert (await client.bottle("watched")).state == "running"


def _see(fd: int, wanted: bytes, seconds: float = 60.0) -> None:
    seen = b""
    deadline = time.monotonic() + seconds
    while wanted not in seen:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{wanted!r} was not shown: {seen[-2000:]!r}"
        seen += os.read(fd, 65536)
