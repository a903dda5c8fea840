"""Where carboy starts: `python -m app` and the `carboy` script. Turns every failure into one line and an exit code."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line, or the TUI where no command is given, and exit."""
    leave(run(list(sys.argv[1:] if argv is None else argv)))


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
