"""The TUI on a real controller and a real bottle: started, typed into, refused, left, found again, stopped."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.carboy import CarboyApp
from app.widgets.egress_panel import EgressPanel
from tests.tui.waiting import text_of, until

ROOT = Path(__file__).parents[2]
SIZE = (160, 48)
ASK = r"exec 3<>/dev/tcp/127.0.0.1/7878; printf 'GET http://pastebin.com/x HTTP/1.1\r\nHost: pastebin.com\r\n\r\n' >&3"


def carboy(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *argv],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture
def project(carboy_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder, a config folder with nothing in it, and no controller left behind."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    carboy("kill", "real")
    carboy("serve", "--stop")


def bottle_or_skip() -> None:
    """Skip with the reason where no sandbox can be made on this machine."""
    backends = json.loads(carboy("doctor", "--json").stdout)["backends"]
    if not any(one["works"] for one in backends if one["name"] == "local"):
        pytest.skip(f"no bottle here: {backends}")


async def typed(pilot, text: str) -> None:  # type: ignore[no-untyped-def]
    pane = pilot.app.screen._session.pane
    pilot.app.screen._session.send(text.encode() + b"\r")
    assert pane is not None


@pytest.mark.sandbox
@pytest.mark.timeout(180)
async def test_a_real_bottle_from_start_to_stop(project: Path) -> None:
    await asyncio.to_thread(bottle_or_skip)
    app = CarboyApp()
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.link == "connected", "connected", seconds=40)
        await pilot.press("n")
        await until(pilot, lambda: "the starter library" in text_of(pilot), "the starter library", seconds=20)
        await pilot.press("enter")
        await until(pilot, lambda: "on this machine" in text_of(pilot), "looked", seconds=40)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Your shell" in text_of(pilot), "agents", seconds=40)
        await pilot.press(*"shell", "enter")
        await until(pilot, lambda: "[1] shell" in text_of(pilot), "bottles")
        await pilot.press("enter")
        await until(pilot, lambda: "Backend" in text_of(pilot), "task")
        await pilot.press("tab", *"real", "ctrl+s")
        await until(pilot, lambda: "Resolved manifest" in text_of(pilot), "preflight", seconds=20)
        await pilot.press("enter")
        await until(
            pilot, lambda: len(app.screen_stack) == 1 and app.screen_stack[0].slug == "real", "runs", seconds=60
        )
        main = app.screen_stack[0]
        await until(pilot, main._in_terminal, "in its terminal", seconds=20)
        await typed(pilot, "echo sum-$((40+2))")
        await until(pilot, lambda: "sum-42" in text_of(pilot), "the shell answers", seconds=20)
        await typed(pilot, ASK)
        log = main.query_one(EgressPanel).log_view
        denied = ("pastebin.com", "deny")
        await until(
            pilot, lambda: denied in [(item.host, item.decision) for item in log.entries], "the refusal", seconds=20
        )

    again = CarboyApp()
    async with again.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "sum-42" in text_of(pilot), "the same screen", seconds=30)
        await until(pilot, lambda: "pastebin.com" in text_of(pilot), "the same log")
        pid = (await again.feed.client.status()).pid
        session = again.screen._session
        before = session._terminal
        os.kill(pid, signal.SIGKILL)
        # not that it was lost for a while: another controller may be there before this looks again
        await until(pilot, lambda: session._terminal not in (None, before), "attached again", seconds=90)
        await until(pilot, lambda: again.link == "connected", "another controller", seconds=60)
        assert (await again.feed.client.status()).pid != pid
        await until(pilot, lambda: again.board.views["real"].state == "running", "adopted", seconds=30)
        await typed(pilot, "echo still-$((1+1))")
        await until(pilot, lambda: "still-2" in text_of(pilot), "it lives", seconds=30)
        await pilot.press("s", "y")
        await until(pilot, lambda: again.board.views["real"].state in ("ended", "stopped"), "stopped", seconds=30)
        await until(pilot, lambda: re.search(r"exit|done|ended", text_of(pilot)), "said so", seconds=30)
