"""The real controller on a disk without room: it says so, bottles run on and can be ended, and nothing is half done."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.client import Client
from app.controller import record
from app.core.model import BottleView, LaunchRequest
from app.errors import CarboyError
from app.paths import Paths
from app.store.sqlite import SqliteStore
from tests.conftest import until
from tests.integration.launching import asking, launched, prepare

pytestmark = pytest.mark.sandbox


@pytest.fixture
def small_disk(paths: Paths) -> Iterator[Path]:
    """The state folder on a file system of 24 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    paths.state.mkdir(parents=True, mode=0o700)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "none", paths.state], check=False)
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    yield paths.state
    subprocess.run(["umount", "-l", paths.state], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    yield
    filler.unlink()


@pytest.fixture
async def client(small_disk: Path, paths: Paths) -> AsyncIterator[Client]:
    async with await Client.connect(paths) as one:
        yield one
        for view in await one.bottles():
            await one.kill(view.slug) if view.state == "running" else None
        pid = (await one.status()).pid
        await one.shutdown(force=True)
        await until(lambda: not psutil.pid_exists(pid))


async def launch(client: Client, project: Path, label: str, script: str) -> BottleView:
    request = LaunchRequest(
        bottles=("plain",), command=("/bin/sh", "-c", script), cwd=str(project), label=label, headless=True
    )
    return await launched(client, request)


async def client_warns(client: Client, words: str) -> bool:
    return any(words in text for text in (await client.status()).warnings)


async def no_warnings(client: Client) -> bool:
    return (await client.status()).warnings == ()


async def test_a_full_disk_is_told_and_bottles_can_be_ended(small_disk: Path, client: Client, paths: Paths) -> None:
    project = prepare(paths)
    for label in ("one", "two"):
        assert (await launch(client, project, label, "sleep 1000")).state == "running"
    with full(small_disk):
        with pytest.raises(CarboyError) as caught:
            await launch(client, project, "three", "true")
        assert caught.value.code in ("disk_full", "zygote"), caught.value
        assert "room" in caught.value.hint
        assert (await client.kill("one")).state == "stopped"
        warnings = (await client.status()).warnings
        assert any("disk is full" in text for text in warnings), warnings
        assert any("audit" in text for text in warnings), warnings
        await until(lambda: client_warns(client, "Nothing leaves any bottle"))
        assert (await client.doctor()).checks[0].name == "controller"
        assert (await client.bottle("two")).state == "running"
        with pytest.raises(CarboyError) as caught:
            await client.thaw("two")
        assert caught.value.code == "disk_full"  # what gives access is not done without its row
        assert not paths.session_state("three").exists()
    assert (await launch(client, project, "three", "exit 0")).slug == "three"
    await asyncio.wait_for(client.wait("three"), 20)
    await until(lambda: no_warnings(client))
    trail = await client.audit()
    assert trail["findings"] == []
    actions = [(row["action"], row["slug"]) for row in trail["rows"]]
    assert ("kill", "one") in actions
    assert ("thaw", "two") not in actions


async def test_a_controller_ends_and_starts_on_a_full_disk(small_disk: Path, client: Client, paths: Paths) -> None:
    project = prepare(paths)
    assert (await launch(client, project, "one", "sleep 1000")).state == "running"
    with full(small_disk):
        os.kill((await client.status()).pid, 15)
        try:
            views = await client.bottles()  # starts the next one
        except CarboyError as error:
            assert error.code in ("disk_full", "connection_lost"), error  # noqa: PT017  # it may come up as well
        else:
            assert [view.state for view in views] == ["running"]
    assert [view.state for view in await client.bottles()] == ["running"]


async def test_an_agent_that_ended_well_on_a_full_disk_has_ended_well(
    small_disk: Path, client: Client, paths: Paths
) -> None:
    """Whoever is killed before there is room again."""
    project = prepare(paths)
    for label in ("one", "two"):
        await launch(client, project, label, "sleep 3; exit 0")
    await launch(client, project, "three", "sleep 1000")
    with full(small_disk):
        assert (await asyncio.wait_for(client.wait("one"), 60)).state == "ended"
        assert (await asyncio.wait_for(client.wait("two"), 60)).state == "ended"
        assert (await client.kill("three")).state == "stopped"
        assert record.load(paths.session_state("one")).view.state == "running"  # type: ignore[union-attr]  # no room
        await killed(client)
    assert [(await client.bottle(slug)).state for slug in ("one", "two")] == ["ended", "ended"]
    assert (await client.bottle("one")).exit_code == 0


async def test_what_a_full_disk_did_not_take_of_an_end_is_written_once_there_is_room(
    small_disk: Path, client: Client, paths: Paths
) -> None:
    project = prepare(paths)
    await launch(client, project, "one", "sleep 1000")
    with full(small_disk):
        assert (await client.kill("one")).state == "stopped"
    await until(lambda: record.load(paths.session_state("one")).view.state == "stopped", 30)  # type: ignore[union-attr]


async def test_what_a_bottle_did_last_comes_into_a_store_that_was_locked_when_it_ended(
    client: Client, paths: Paths
) -> None:
    """By a program that copies the database, say: longer than anybody waits for it."""
    project = prepare(paths)
    await launch(client, project, "one", f"sleep 1; {asking('http://blocked.example/')}; exit 0")
    with contextlib.closing(sqlite3.connect(paths.database, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        assert (await asyncio.wait_for(client.wait("one"), 60)).state == "ended"
        assert not await client.log(slug="one")
        foreign.execute("ROLLBACK")

    async def known() -> bool:
        return any(event.data.get("host") == "blocked.example" for event in await client.log(slug="one"))

    await until(known, 30)
    await until(lambda: not (paths.session_state("one") / "spool").exists(), 30)


async def killed(client: Client) -> None:
    pid = (await client.status()).pid
    os.kill(pid, 9)
    await until(lambda: not psutil.pid_exists(pid))


async def test_a_store_closes_on_a_full_disk(small_disk: Path, paths: Paths) -> None:
    store = SqliteStore(paths.database)
    await store.open()
    await store.last_seq()
    with full(small_disk):
        from tests.controller.standin import view

        async def fill() -> None:
            for number in range(2000):
                await store.save_session(view(f"bottle-{number}"))

        with pytest.raises(CarboyError) as caught:
            await fill()
        assert caught.value.code == "disk_full"
        assert store.fault is caught.value
        await store.close()
    again = SqliteStore(paths.database)
    await again.open()
    kept = len(await again.sessions(limit=5000))
    await again.save_session(view("later"))
    assert len(await again.sessions(limit=5000)) == kept + 1
    await again.close()
