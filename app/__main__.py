"""Where carboy starts: `python -m app` and the `carboy` script. Turns every failure into one line and an exit code."""

import contextlib
import io
import os
import sys
import termios
from collections.abc import Sequence
from typing import NoReturn


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line, or the TUI where no command is given, and exit."""
    standard_streams()
    usual_size()
    leave(run(list(sys.argv[1:] if argv is None else argv)))


def standard_streams() -> None:
    """What is written can be written: a closed descriptor (`>&-`) leads nowhere, and is not given to the next file or
    socket; a letter that the locale has not becomes a question mark."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # in this order, each gets the descriptor that was closed
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def usual_size() -> None:
    """A terminal that tells no size (0x0, as of a serial line, `script` or expect) gets the usual one: the app would
    find two sizes for it, 80x24 and 80x25, and turn from one to the other without an end; an agent's would be 1x1."""
    for fd in range(3):
        with contextlib.suppress(OSError, termios.error):
            rows, cols = termios.tcgetwinsize(fd)
            if not (rows and cols):
                termios.tcsetwinsize(fd, (rows or 24, cols or 80))


def leave(code: int) -> NoReturn:
    """Exit with `code`, also where whoever read our output, or the terminal, is gone."""
    for stream in (sys.stdout, sys.stderr):  # the app draws on the latter
        try:
            stream.flush()
        except OSError:
            # the interpreter would try once more at its end, complain, and exit with 120
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def run(argv: list[str]) -> int:
    """The exit code of one command (cli.md)."""
    from app.cli import execute

    return execute(argv)


if __name__ == "__main__":
    main()
