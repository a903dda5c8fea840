"""kill -9 of sidecars, the controller and the TUI at random moments under load, 200 times: each request that reached
the provider has one row, the sums say the same as the rows, budgets hold right afterwards, the audit trail verifies."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from app.client import Client
from app.core.model import Sum
from app.errors import CarboyError
from app.paths import Paths
from tests.conftest import until
from tests.controllers import forked
from tests.integration.spending import EACH, PROVIDER, Spenders, spenders

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
BOTTLES, CONNECTIONS, KILLS = 4, 2, int(os.environ.get("USAGE_KILLS", "200"))


class Killable(Protocol):
    """Bottles of a real controller."""

    client: Client
    paths: Paths


async def kill_sidecar(rig: Killable, name: str) -> None:
    """The operator asks for another one at once: by itself it comes back more and more slowly."""
    record = json.loads((rig.paths.session_state(name) / "session.json").read_text())
    os.kill(record["sidecar"]["pid"], signal.SIGKILL)

    hurried: list[str] = []

    async def back() -> bool:
        try:
            health = (await rig.client.bottle(name)).sidecar
            if health.state == "healthy":
                return _sidecar(rig, name) != record["sidecar"]["pid"]
            if health.state in ("restarting", "failed") and not hurried:
                hurried.append(name)
                await rig.client.restart_sidecar(name)
        except CarboyError:
            await asyncio.sleep(0.1)
        return False

    await until(back, 60)


def _sidecar(rig: Killable, name: str) -> int:
    return json.loads((rig.paths.session_state(name) / "session.json").read_text())["sidecar"]["pid"]


async def kill_controller(rig: Killable) -> None:
    pid = (await rig.client.status()).pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")
    with forked():
        await rig.client.status()  # starts the next one


async def kill_tui(rig: Spenders, seconds: float) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    tui = subprocess.Popen(
        [sys.executable, "-P", "-m", "app"], stdin=slave, stdout=slave, stderr=slave, env=environment,
        cwd=rig.project, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    await asyncio.sleep(seconds)
    tui.kill()
    tui.wait(10)
    os.close(master)


def rows(paths: Paths) -> list[tuple[str, int, int]]:
    """Model, tokens and whether estimated, of each row that counts."""
    with contextlib.closing(sqlite3.connect(f"file:{paths.database}?mode=ro", uri=True)) as database:
        query = "SELECT model, input + output + cache_read + cache_write, estimated FROM usage WHERE billable"
        return database.execute(query).fetchall()


async def test_no_kill_loses_or_doubles_a_row(paths: Paths) -> None:
    chance = random.Random(5)
    async with spenders(paths, f"budget: {{{PROVIDER}: 900M}}\n") as rig:
        names = [f"b{number}" for number in range(BOTTLES)]
        for name in names:
            await rig.launch(name, CONNECTIONS, pause=0.05)
        kills = {"sidecar": 0, "controller": 0, "tui": 0}
        while sum(kills.values()) < KILLS:
            await asyncio.sleep(chance.random() * 0.3)  # the moment is the test
            if kills["controller"] * 5 < sum(kills.values()):
                await kill_controller(rig)
                kills["controller"] += 1
            if kills["tui"] * 20 < sum(kills.values()):
                await kill_tui(rig, chance.random() * 1.5)
                kills["tui"] += 1
            await asyncio.gather(*(kill_sidecar(rig, name) for name in names))
            kills["sidecar"] += len(names)
        before = [rig.answers(name).count("200") for name in names]
        for name, count in zip(names, before, strict=True):
            await until(lambda name=name, count=count: rig.answers(name).count("200") > count + 2)
        for name in names:
            await rig.client.kill(name)
        asked = [seen.json()["model"] for seen in rig.vendor.seen]
        assert len(set(asked)) == len(asked)

        async def settled() -> bool:
            return set(asked) <= {model for model, _, _ in rows(paths)}

        await until(settled, 30)
        kept = rows(paths)
        lost = set(asked) - {model for model, _, _ in kept}
        doubled = len(kept) - len({model for model, _, _ in kept})
        estimated = sum(flag for _, _, flag in kept)
        never = len(kept) - len(asked)
        print(f"{kills}; {len(asked)} asked, {estimated} estimated, {never} announced and never sent")
        assert (lost, doubled) == (set(), 0)
        assert all(tokens == EACH for _, tokens, flag in kept if not flag)
        assert estimated <= sum(kills.values()) * CONNECTIONS
        whole = Sum.model_validate((await rig.get("/v1/usage"))["whole"])
        assert (whole.requests, whole.total) == (len(kept), sum(tokens for _, tokens, _ in kept))
        assert (await rig.client.audit())["findings"] == []

        # budgets hold right after a kill: the next answers are refused, with no further report of usage
        await rig.post("/v1/budgets", scope="global", provider=PROVIDER, amount="1000")
        await rig.launch("late", 1, pause=0.05)
        await until(lambda: rig.answers("late")[-1:] == ["400"])
        await kill_sidecar(rig, "late")
        await kill_controller(rig)
        count = len(rig.answers("late"))
        await until(lambda: len(rig.answers("late")) > count + 3)
        assert set(rig.answers("late")) <= {"400", ""}
