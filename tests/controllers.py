"""Controllers for tests that are about something else: forked from a process that has all imported, and ended without
a command. How they are started for real, `tests/controller/test_main.py` and the command line's tests show."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from unittest.mock import patch

from app.client import Client, start
from app.errors import CarboyError
from app.paths import Paths
from tests.conftest import until
from tests.fork_server import CHANNEL_FD, fork


async def connected(paths: Paths) -> Client:
    """As `Client.connect`, with this process's environment."""
    with forked():
        return await Client.connect(paths)


def forked() -> AbstractContextManager[object]:
    """Clients of this process start such ones meanwhile."""
    return patch.object(start, "_spawn", spawned)


def started(paths: Paths) -> None:
    """Have one for what a test runs next."""

    async def connect() -> None:
        await (await connected(paths)).close()

    asyncio.run(connect())


def stopped(paths: Paths) -> None:
    """End the one that runs, if any; bottles run on."""

    async def stop() -> None:
        try:
            client = await Client.connect(paths, start=False)
        except CarboyError as error:
            if error.code != "no_controller":
                raise
            return
        async with client:
            await client.shutdown(force=True)
        await until(lambda: _gone(paths))

    asyncio.run(stop())


async def _gone(paths: Paths) -> bool:
    return not await start.answers(paths)


def spawned(paths: Paths, ready: int, more: Sequence[str]) -> None:
    """In place of `start._spawn`."""
    log = os.open(paths.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    environ = start.small_environment(dict(os.environ))
    try:
        child = fork("app", ["serve", "--detached", "--ready-fd", str(CHANNEL_FD), *more], ready, log, environ)
        child.wait(start.START_SECONDS)
        child.close()
    finally:
        os.close(log)
