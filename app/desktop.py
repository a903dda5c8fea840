"""Notifications of the desktop for an operator whose terminal is not in front: by an escape sequence where the terminal
is known to show one (which works over SSH), else by the desktop's own program. Without either, silently nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from app.core.text import printable
from app.search_path import here, without

if TYPE_CHECKING:
    from textual.app import App

Way = Literal["osc9", "osc777", "notify-send", "osascript", ""]
LIMIT_SECONDS = 5.0
_OSC9 = frozenset({"iTerm.app", "iTerm2", "WezTerm", "ghostty"})
_OSC777 = ("foot", "rxvt-unicode")
_SCRIPT = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run"


def way(environ: Mapping[str, str], which: Callable[[str], str | None], platform: str) -> Way:
    """How to reach this desktop. Pure."""
    term = environ.get("TERM", "")
    if {environ.get("TERM_PROGRAM"), environ.get("LC_TERMINAL")} & _OSC9 or "KITTY_WINDOW_ID" in environ:
        return "osc9"
    if term == "xterm-kitty" or term == "xterm-ghostty":
        return "osc9"
    if term.startswith(_OSC777) or "VTE_VERSION" in environ:
        return "osc777"
    if "SSH_CONNECTION" in environ:
        return ""
    if platform == "darwin":
        return "osascript" if which("osascript") else ""
    shown = environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    return "notify-send" if shown and environ.get("DBUS_SESSION_BUS_ADDRESS") and which("notify-send") else ""


def sequence(how: Way, title: str, text: str, *, tmux: bool) -> str:
    """The escape sequence that shows it. The words have no control character and no separator of their own."""
    title, text = printable(title, 100).replace(";", ","), printable(text, 200).replace(";", ",")
    if how == "osc777":
        made = f"\x1b]777;notify;{title};{text}\x07"
    else:
        made = f"\x1b]9;{title}{f': {text}' if text else ''}\x07"
    return f"\x1bPtmux;{made.replace(chr(27), chr(27) * 2)}\x1b\\" if tmux else made


def command(how: Way, title: str, text: str) -> tuple[str, ...]:
    """The program that shows it; the words are never read as options."""
    title, text = printable(title, 100), printable(text, 200)
    if how == "osascript":
        return ("osascript", "-e", _SCRIPT, title, text)
    return ("notify-send", "--app-name=carboy", "--", title, text)


async def tell(app: App[Any], title: str, text: str) -> None:
    """Show it, or do nothing."""
    which = partial(shutil.which, path=without(os.environ.get("PATH", os.defpath), here()))
    how = way(os.environ, which, sys.platform)
    if how in ("osc9", "osc777"):
        driver = app._driver  # pyright: ignore[reportPrivateUsage]  # Textual has no other way to write a sequence
        if driver is not None:
            driver.write(sequence(how, title, text, tmux="TMUX" in os.environ))
            driver.flush()
    elif how:
        program, *words = command(how, title, text)
        await _run((which(program) or program, *words))


async def _run(argv: tuple[str, ...]) -> None:
    quiet = asyncio.subprocess.DEVNULL
    with contextlib.suppress(OSError):
        process = await asyncio.create_subprocess_exec(*argv, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
