"""`carboy attach` with a real shell behind it, and what of a hostile agent's output reaches the operator's terminal."""

import asyncio
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from textual.events import Key

from app.attach import AttachApp
from app.errors import CarboyError
from tests.terminal.ptys import ENV, PtyStream, Session

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="bash is not installed here")


def make_app(streams: list[PtyStream], *, fail_first: int = 0) -> AttachApp:
    failures = [fail_first]

    async def connect(rows: int, cols: int) -> PtyStream:
        if failures[0]:
            failures[0] -= 1
            raise CarboyError("The connection to the controller was lost", code="connection_lost")
        streams.append(PtyStream([str(BASH), "--norc", "--noprofile", "-i"], rows, cols))
        return streams[-1]

    async def ended() -> int:
        return streams[-1].reap()

    return AttachApp(connect, ended)


def shown(app: AttachApp) -> str:
    return "\n".join(app.pane.render_line(y).text for y in range(app.pane.size.height))


async def until(app: AttachApp, text: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while text not in shown(app):
        assert time.monotonic() < deadline, shown(app)
        await asyncio.sleep(0.01)


async def test_typing_history_and_leaving() -> None:
    streams: list[PtyStream] = []
    app = make_app(streams)
    async with app.run_test(size=(60, 12)) as pilot:
        await until(app, "$")
        await pilot.press(*"seq", "space", *"100", "enter")
        await until(app, "100")
        await pilot.press("ctrl+right_square_bracket", "pageup")
        await pilot.pause()
        assert "lines back" in shown(app)
        await pilot.press("slash", *"42", "enter")
        await until(app, "42")
        await pilot.press("escape")
        assert app.pane.view.offset == 0
        await pilot.press(*"echo", "space", *"back", "enter")
        await until(app, "back")
        await pilot.press("ctrl+right_square_bracket", "d")
        await pilot.pause()
    assert app.return_value is None
    assert app.error is None


async def test_the_exit_code_comes_through() -> None:
    app = make_app([])
    async with app.run_test(size=(60, 12)) as pilot:
        await until(app, "$")
        await pilot.press(*"exit", "space", *"5", "enter")
        deadline = time.monotonic() + 5
        while app.return_value is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    assert app.return_value == 5


async def test_the_leader_twice_goes_to_the_agent() -> None:
    streams: list[PtyStream] = []
    app = make_app(streams)
    async with app.run_test(size=(60, 12)) as pilot:
        await until(app, "$")
        await pilot.press(*"cat", "space", "minus", "v", "enter")
        await pilot.press("ctrl+right_square_bracket", "ctrl+right_square_bracket", "enter")
        await until(app, "^]")
        await pilot.press("ctrl+c")
        await pilot.press("ctrl+right_square_bracket", "d")


async def test_a_key_right_behind_the_leader_is_a_command() -> None:
    streams: list[PtyStream] = []
    app = make_app(streams)
    async with app.run_test(size=(60, 12)):
        await until(app, "$")
        for key in ("ctrl+right_square_bracket", "d"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        deadline = time.monotonic() + 10
        while app.is_running:
            assert time.monotonic() < deadline, shown(app)
            await asyncio.sleep(0.01)


async def test_keys_around_the_leader_keep_their_order() -> None:
    """All at once: those before it and those for the history must not change places."""
    streams: list[PtyStream] = []
    app = make_app(streams)
    leader = "ctrl+right_square_bracket"
    async with app.run_test(size=(60, 12)) as pilot:
        await until(app, "$")
        await pilot.press(*"cat", "space", "minus", "v", "enter")
        for key in ("x", leader, "k", "escape", "y", leader, leader, "z"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await pilot.pause()
        await pilot.press("enter")
        await until(app, "xy^]z")
        await pilot.press("ctrl+c", leader, "d")


async def test_what_is_typed_right_before_leaving_reaches_the_agent(tmp_path: Path) -> None:
    app = make_app([])
    made = tmp_path / "made"
    async with app.run_test(size=(60, 12)):
        await until(app, "$")
        for key in (*f"> {made}", "enter", "ctrl+right_square_bracket", "d"):
            app.post_message(Key(key, "\r" if key == "enter" else key if len(key) == 1 else None))
        deadline = time.monotonic() + 10
        while app.is_running or not made.exists():
            assert time.monotonic() < deadline, shown(app)
            await asyncio.sleep(0.01)


async def test_an_agent_that_prints_does_not_wipe_off_what_the_leader_does() -> None:
    streams: list[PtyStream] = []
    app = make_app(streams)
    async with app.run_test(size=(60, 12)) as pilot:
        await until(app, "$")
        await pilot.press("ctrl+right_square_bracket")
        await streams[0].write(b"echo so$((1+1))on\r")
        deadline = time.monotonic() + 10
        while not app.pane.term.search("so2on"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await pilot.pause()
        assert app.query_one("#bar").display
        await pilot.press("d")


async def test_a_lost_connection_is_made_again_and_the_size_follows() -> None:
    streams: list[PtyStream] = []
    app = make_app(streams, fail_first=2)
    async with app.run_test(size=(60, 12)) as pilot:
        await until(app, "$")
        await pilot.resize_terminal(50, 9)
        deadline = time.monotonic() + 5
        while (9, 50) not in streams[0].sizes:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await pilot.press("ctrl+right_square_bracket", "d")


async def test_a_refusal_ends_the_app_with_the_reason() -> None:
    async def connect(rows: int, cols: int) -> PtyStream:
        raise CarboyError("No bottle of that name", code="not_found")

    app = AttachApp(connect)
    async with app.run_test():
        deadline = time.monotonic() + 5
        while app.error is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    assert app.error.code == "not_found"


SCRIPT = """
import asyncio, sys
from app.attach import attach
HOSTILE = (
    b"\\x1b]52;c;aGk=\\x07\\x1b]0;EVIL-TITLE\\x07\\x1b]2;EVIL-TITLE\\x1b\\\\\\x1b]9;EVIL-NOTE\\x07\\x1b]777;notify;EVIL;x\\x07"
    b"\\x1b]8;;http://evil.example/\\x1b\\\\link\\x1b]8;;\\x1b\\\\\\x1bPq#0;2;0;0;0EVILSIXEL\\x1b\\\\\\x1b_Gf=100;EVILPNG\\x1b\\\\"
    b"\\x1b]1337;File=:EVIL\\x07\\x1b[21t\\x1b[5i\\x1b[?5i\\x1b]50;EVIL\\x07\\x1b]4;1;rgb:0/0/0\\x07\\x1b[8;5;5t\\xc2\\x9b31m"
    b"\\xc2\\x9d52;c;EVIL\\xc2\\x9c\\xe2\\x80\\xaebidi\\x1b[!p\\x1b]104\\x07"
)
class Stream:
    async def output(self):
        yield HOSTILE
        yield b"\\r\\nVISIBLE"
        await asyncio.sleep(float(sys.argv[1]))
    async def write(self, data): pass
    async def resize(self, rows, cols): pass
    async def close(self): pass
async def connect(rows, cols): return Stream()
async def ended(): return 7
sys.exit(asyncio.run(attach(connect, ended)))
"""


def test_hostile_output_never_reaches_the_operators_terminal(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    root = str(Path(__file__).parents[2])
    env = {**ENV, "PYTHONPATH": root, "COLORTERM": "truecolor"}
    argv = ["/usr/bin/env", *(f"{key}={value}" for key, value in env.items()), sys.executable, str(script), "1.5"]
    with Session(argv, rows=15, cols=60) as outer:
        outer.until("VISIBLE", 20)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and outer.read(0.5):
            pass
        raw = outer.output.decode("utf-8", "replace")
    assert "VISIBLE" in raw
    assert "EVIL" not in raw
    assert "evil.example" not in raw
    assert "\u202e" not in raw
    assert not re.search("[\x80-\x9f]", raw)
    allowed = re.compile(r"\x1b\](?:0;|2;|22;|11;\?|10;\?)?[A-Za-z ]{0,20}(?:\x07|\x1b\\)")
    assert [found for found in re.findall(r"\x1b[\]P_^X].{0,40}", raw) if not allowed.match(found)] == []
    assert "\x1b[5i" not in raw
    assert "\x1b[8;5;5t" not in raw
