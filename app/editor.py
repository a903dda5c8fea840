"""The operator's own editor: which program it is, and one file edited in it. Blocks until the editor has ended; what
the file then holds, and whether it may be used, is for whoever asked."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from app.errors import CarboyError

USUAL = ("nano", "vim", "vi")
"""Tried in this order where neither VISUAL nor EDITOR is set."""


def command() -> list[str]:
    """The editor with its arguments. Raises CarboyError where what is set cannot be read."""
    name = "VISUAL" if os.environ.get("VISUAL") else "EDITOR"
    given = os.environ.get(name, "")
    try:
        words = shlex.split(given)
    except ValueError as error:
        text = f"{name} cannot be read: {str(error).lower()} in {given[:100]!r}"
        raise CarboyError(text, f"Set {name} to a program and its arguments", "editor") from None
    return words or [next(filter(shutil.which, USUAL), "vi")]


def run(editor: list[str], file: Path) -> None:
    """Let the operator edit `file`. Raises CarboyError where the editor cannot be started or fails."""
    name = editor[0]
    try:
        code = subprocess.call([*editor, str(file)])
    except (OSError, ValueError) as error:
        hint = "Set EDITOR to an editor that is installed"
        why = getattr(error, "strerror", None) or str(error)
        raise CarboyError(f"{name} cannot be started: {why}", hint, "editor") from None
    if code:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        raise CarboyError(f"{name} {how}", "Nothing was taken over", "editor")


@contextlib.contextmanager
def keys_are_its_own() -> Iterator[None]:
    """Meanwhile ctrl+c and ctrl+\\ end the editor alone: where it leaves them to the terminal, that sends them to all
    of its programs. The main thread's; handlers, unlike ignored signals, are not handed on to the editor."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
