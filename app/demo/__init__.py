"""`carboy demo`: an offline tour with a real controller, a real bottle and a pretend internet, all thrown away after.

It lives in a private CARBOY_HOME below the temp folder and never touches the operator's own, nor any network but
loopback.
"""

from collections.abc import Sequence


def main(arguments: Sequence[str] = (), *, headless: bool = False) -> int:
    """Run the tour: in the TUI, or with `headless` as a story on stdout that is checked. Returns the exit code."""
    from app.errors import CarboyError

    unknown = [argument for argument in arguments if argument != "--headless"]
    if unknown:
        raise CarboyError(f"the demo knows no argument {unknown[0]!r}", "Known: --headless", "usage")
    from app.demo.tour import run

    return run(headless=headless or bool(arguments))
