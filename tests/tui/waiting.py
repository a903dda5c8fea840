"""Waiting for what should become true, with a deadline, never for a fixed time."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot


async def until(pilot: Pilot[Any], true: Callable[[], Any], what: str = "", seconds: float = 60.0) -> None:
    """Let the app work until `true()`; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"never came true: {what or true}, on this screen:\n{text_of(pilot)}"
        await pilot.pause()
        await asyncio.sleep(0.01)


async def ready(pilot: Pilot[Any]) -> None:
    """Connected, and the selected bottle's terminal (or card) is drawn."""
    app = pilot.app
    await until(pilot, lambda: app.link == "connected", "connected")  # type: ignore[attr-defined]
    main = app.screen_stack[0]
    if app.board.views:  # type: ignore[attr-defined]
        await until(pilot, lambda: main._session is not None, "a session")  # type: ignore[attr-defined]
    await pilot.pause()


def text_of(pilot: Pilot[Any]) -> str:
    """The screen as plain text, one line a row."""
    screen = pilot.app.screen
    height = pilot.app.size.height
    rows = screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in row) for row in rows[:height])
