"""Where carboy starts: `python -m app` and the `carboy` script. Turns every failure into one line and an exit code."""

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line, or the TUI where no command is given, and exit."""
    code = run(list(sys.argv[1:] if argv is None else argv))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read our output is gone; the interpreter must not complain about it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(argv: list[str]) -> int:
    """The exit code of one command (cli.md)."""
    from app.cli import execute

    return execute(argv)


if __name__ == "__main__":
    main()
