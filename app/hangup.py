"""Ends a full-screen app that is told to end, and one whose terminal is gone. Textual reads such a terminal again and
again, for ever, for half a core; a closed window or a lost SSH line does not always send a signal that ends us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.app import App

EVERY_SECONDS = 2.0
PATIENCE_SECONDS = 3.0
GONE = 128 + signal.SIGHUP
"""As a shell tells the end of a program whose terminal was closed."""
TERMINATED = 128 + signal.SIGTERM


def end_with_terminal(app: App[Any]) -> None:
    """Have `app` end with the terminal that it runs on, and cleanly by SIGTERM. Does nothing where there is no terminal
    (tests, pipes)."""
    stdin = sys.__stdin__
    if app.is_headless or stdin is None or not stdin.isatty():
        return
    loop = asyncio.get_running_loop()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # which would leave the terminal in the app's modes
        loop.add_signal_handler(signal.SIGTERM, lambda: app.exit(return_code=TERMINATED))
    threading.Thread(target=_watch, args=(app, loop, stdin.fileno()), name="terminal", daemon=True).start()


def _watch(app: App[Any], loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """A thread, not a timer: Textual's own loop may be stuck in a write to the dead terminal. Asked kindly first, then
    by the signal that a caller may have a handler for, then not at all."""
    while _alive(fd):
        time.sleep(EVERY_SECONDS)
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(lambda: app.exit(return_code=GONE))
    time.sleep(PATIENCE_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(2 * PATIENCE_SECONDS)
    os._exit(GONE)


def _alive(fd: int) -> bool:
    try:
        termios.tcgetattr(fd)
    except (termios.error, OSError):
        return False
    return True
