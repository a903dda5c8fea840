"""`carboy demo`: an offline tour with a real controller, a real bottle and a pretend internet, all thrown away after.

It lives in a private CARBOY_HOME below the temp folder and never touches the operator's own, nor any network but
loopback.
"""


def main(*, headless: bool) -> int:
    """Run the tour: in the TUI, or with `headless` as a story on stdout that is checked. Returns the exit code."""
    from app.demo.tour import run

    return run(headless=headless)
