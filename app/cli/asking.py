"""What a person is asked while the event loop runs: ctrl+c and SIGTERM break it off at once, and leave the terminal as
it was. A plain read would be waited for, on a thread as well as in the loop's own."""

import asyncio
import contextlib
import os
import select
import sys
import termios
from collections.abc import Iterator

from app.core.text import printable
from app.tasks import spawn


async def typed(question: str, *, hidden: bool = False) -> str:
    """The line that was typed, without its end; empty at the input's end. `hidden`: without echo, at the terminal of
    this process where it has one, as `getpass` does."""
    woken, wake = os.pipe()
    reading = spawn(
        asyncio.to_thread(_line, printable(question, 300), woken, hidden=hidden), name="typed", on_error=_raised
    )
    try:
        return await asyncio.shield(reading)
    finally:
        os.close(wake)
        await asyncio.wait([reading])
        os.close(woken)


def _raised(error: BaseException) -> None:
    """It is awaited, and raises again there."""
    del error


def _line(question: str, woken: int, *, hidden: bool) -> str:
    """One byte at a time: what comes behind the line is somebody else's."""
    found = b""
    with contextlib.ExitStack() as undo:
        source = sys.stdin.fileno()
        if hidden:
            with contextlib.suppress(OSError):
                source = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
                undo.callback(os.close, source)
            undo.enter_context(_silent(source))
            undo.callback(print, file=sys.stderr)  # the newline that was not shown
        print(question, end="", file=sys.stderr, flush=True)
        while not found.endswith(b"\n"):
            ready, _, _ = select.select([source, woken], [], [])
            if woken in ready or not (piece := os.read(source, 1)):
                break
            found += piece
    return os.fsdecode(found.removesuffix(b"\n"))


@contextlib.contextmanager
def _silent(terminal: int) -> Iterator[None]:
    try:
        before = termios.tcgetattr(terminal)
    except termios.error:
        yield  # none: nothing shows what is typed
        return
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSAFLUSH, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
