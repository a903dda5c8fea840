"""The terminal pane with Textual's pilot: what is drawn, what is sent, and how long a key waits."""

import asyncio
import re
import time
from collections.abc import Callable

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Size
from textual.widgets import Static

from app.terminal import keys
from app.terminal.emulator import Emulator
from app.widgets import terminal_pane
from app.widgets.terminal_pane import TerminalPane


class Harness(App[None], inherit_bindings=False):
    """A pane beside another focusable thing, and everything it says."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, leader: str = "ctrl+right_square_bracket") -> None:
        super().__init__()
        self.pane = TerminalPane(leader=leader, history=500)
        self.said: list[TerminalPane.Input | TerminalPane.Resized] = []

    def compose(self) -> ComposeResult:
        yield self.pane
        yield Static("below")

    def on_mount(self) -> None:
        self.pane.focus()

    def on_terminal_pane_input(self, event: TerminalPane.Input) -> None:
        self.said.append(event)

    def on_terminal_pane_resized(self, event: TerminalPane.Resized) -> None:
        self.said.append(event)

    @property
    def sent(self) -> bytes:
        return b"".join(message.data for message in self.said if isinstance(message, TerminalPane.Input))

    def text(self, y: int) -> str:
        return self.pane.render_line(y).text.rstrip()


async def until(check: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


async def test_output_is_drawn_and_the_size_is_told() -> None:
    app = Harness()
    async with app.run_test(size=(40, 10)) as pilot:
        await app.pane.feed(b"hello \x1b[31mred\x1b[0m\r\nnext")
        await pilot.pause()
        assert [app.text(0), app.text(1)] == ["hello red", "next"]
        sizes = [(said.rows, said.cols) for said in app.said if isinstance(said, TerminalPane.Resized)]
        assert sizes[-1] == (9, 40)
        assert (app.pane.term.rows, app.pane.term.cols) == (9, 40)


async def test_every_key_is_the_agents() -> None:
    app = Harness()
    async with app.run_test() as pilot:
        await pilot.press("a", "ctrl+c", "ctrl+p", "ctrl+q", "tab", "shift+tab", "escape", "up", "enter", "ctrl+z")
        await pilot.pause()
        assert app.sent == b"a\x03\x10\x11\t\x1b[Z\x1b\x1b[A\r\x1a"
        assert app.focused is app.pane


async def test_modes_change_what_keys_and_pastes_send() -> None:
    app = Harness()
    async with app.run_test() as pilot:
        await app.pane.feed(b"\x1b[?1h\x1b[?2004h")
        await pilot.press("up")
        app.pane.post_message(events.Paste("two\nlines\x1b[201~evil"))
        await pilot.pause()
        assert app.sent == b"\x1bOA\x1b[200~two\rlines[201~evil\x1b[201~"


async def test_a_paste_that_is_cut_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_PASTE", 1000)
    app = Harness()
    async with app.run_test() as pilot:
        app.pane.post_message(events.Paste("x" * 1000))
        await pilot.pause()
        assert not app._notifications
        app.pane.post_message(events.Paste("y" * 1001))
        await pilot.pause()
        assert app.sent == b"x" * 1000 + b"y" * 1000
        assert "1,000 characters" in next(iter(app._notifications)).message


async def test_focus_is_reported_when_asked_for() -> None:
    app = Harness()
    async with app.run_test() as pilot:
        await app.pane.feed(b"\x1b[?1004h")
        app.set_focus(None)
        await pilot.pause()
        app.pane.focus()
        await pilot.pause()
        assert app.sent == b"\x1b[O\x1b[I"


async def test_queries_are_not_answered_by_a_viewer() -> None:
    app = Harness()
    async with app.run_test() as pilot:
        await app.pane.feed(b"\x1b[c\x1b[6n\x1b]11;?\x07\x1b[?u")
        await pilot.pause()
        assert app.sent == b""


async def test_text_is_never_markup() -> None:
    app = Harness()
    async with app.run_test() as pilot:
        await app.pane.feed(b"[red]not red[/red] [link=http://x]y[/link]")
        await pilot.pause()
        assert app.text(0) == "[red]not red[/red] [link=http://x]y[/link]"


@pytest.mark.parametrize(
    "text",
    [
        "中文字" * 5,
        "👨‍👩‍👧|🇩🇪|❤️|⚠️|👍🏽",
        "e\u0301e\u0301\u200d\u200d",
        "a\u202eb",
        "\u00a0\u2028\u2003x",
        "\ue000\U000e0041",
        "\ufff9\u034f",
        "👨\u200d" * 8,
        "का\u093e\u093eक\u094dषि",
        "1\ufe0f\u20e3☺\ufe0fm\ufe0f",
        "👍🏽🏽",
        "\U0001f1e9x",
        "한\u1100\u1161\u11a8☰",
    ],
)
@pytest.mark.parametrize("mode", [b"", b"\x1b[?2027h"])
async def test_every_line_is_exactly_as_wide_as_the_pane(text: str, mode: bytes) -> None:
    """By Rich's measure, and in a terminal that knows clusters as in one that does not."""
    from rich.cells import cell_len

    app = Harness()
    async with app.run_test(size=(23, 6)) as pilot:
        await app.pane.feed(mode + text.encode() * 3)
        await pilot.pause()
        for y in range(5):
            strip = app.pane.render_line(y)
            assert strip.cell_length == 23
            assert sum(cell_len(segment.text) for segment in strip) == 23
            assert "\u202e" not in strip.text
            assert not re.search("(?<![🇦-🇿])[🇦-🇿](?![🇦-🇿])", strip.text)  # as wide as a flag in some
            for clusters in (b"", b"\x1b[?2027h"):
                host = Emulator(400, 2)
                host.feed(clusters + strip.text.encode())
                assert (host.cursor.x, host.cursor.y) == (23, 0)


async def test_the_cursor_is_drawn_where_it_is() -> None:
    app = Harness()
    async with app.run_test(size=(20, 5)) as pilot:
        await app.pane.feed(b"ab\x1b[1;2H")
        await pilot.pause()
        assert [(s.text, bool(s.style and s.style.reverse)) for s in app.pane.render_line(0)][:3] == [
            ("a", False),
            ("b", True),
            (" " * 18, False),
        ]
        await app.pane.feed(b"\x1b[?25l")
        assert not any(s.style and s.style.reverse for s in app.pane.render_line(0))


async def test_the_cursor_and_a_selection_never_cut_a_wide_character() -> None:
    app = Harness()
    async with app.run_test(size=(20, 5)) as pilot:
        await app.pane.feed(("中" * 10).encode())
        await pilot.pause()
        assert app.text(0) == "中" * 10
        for x in range(20):
            await app.pane.feed(b"\x1b[1;%dH" % (x + 1))
            assert app.text(0) == "中" * 10
            app.pane.view.selected = ((0, x), (0, min(x + 1, 19)))
            assert app.text(0) == "中" * 10


async def test_history_search_and_back() -> None:
    app = Harness()
    async with app.run_test(size=(30, 7)) as pilot:
        await app.pane.feed(b"".join(b"line %d\r\n" % number for number in range(100)))
        await pilot.pause()
        assert app.text(4) == "line 99"
        await pilot.press("shift+pageup")
        assert app.text(1) == "line 91"
        await app.pane.feed(b"line 100\r\n")
        await pilot.pause()
        assert app.text(2) == "line 92", "what is looked at stays where it is"
        assert app.pane.search("LINE 17") == 1
        assert "line 17" in [app.text(y) for y in range(6)]
        app.pane.browsing = True
        await pilot.press("home")
        assert app.text(1) == "line 1"
        await pilot.press("escape", "x")
        await pilot.pause()
        assert (app.pane.view.offset, app.sent) == (0, b"x")


async def test_selecting_copies_text_without_control_characters() -> None:
    app = Harness()
    async with app.run_test(size=(10, 5)) as pilot:
        await app.pane.feed("hello world wrapped\r\n中文 x".encode())
        await pilot.mouse_down(app.pane, offset=(6, 0))
        await pilot.hover(app.pane, offset=(3, 2))
        await pilot.mouse_up(app.pane, offset=(3, 2))
        await pilot.pause()
        assert app.clipboard == "world wrapped\n中文"


async def test_the_mouse_goes_to_a_program_that_asked() -> None:
    app = Harness()
    async with app.run_test() as pilot:
        await app.pane.feed(b"\x1b[?1000h\x1b[?1006h")
        await pilot.click(app.pane, offset=(4, 2))
        await pilot.pause()
        assert app.sent == b"\x1b[<0;5;3M\x1b[<0;5;3m"


async def test_the_wheel_moves_a_pager_or_the_history() -> None:
    app = Harness()
    async with app.run_test(size=(20, 6)) as pilot:
        await app.pane.feed(b"x\r\n" * 50)
        await pilot._post_mouse_events([events.MouseScrollUp], app.pane, offset=(1, 1))
        assert app.pane.view.offset == 3
        await pilot._post_mouse_events([events.MouseScrollDown], app.pane, offset=(1, 1))
        assert app.pane.view.offset == 0
        await app.pane.feed(b"\x1b[?1049h")
        await pilot._post_mouse_events([events.MouseScrollUp], app.pane, offset=(1, 1))
        await pilot.pause()
        assert app.sent == b"\x1b[A" * 3


async def test_synchronized_output_holds_a_frame_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Harness()
    painted: list[float] = []
    async with app.run_test(size=(20, 6)) as pilot:
        await app.pane.feed(b"before")
        await pilot.pause()
        paint = app.pane._paint
        app.pane._paint = lambda: (painted.append(time.perf_counter()), paint())[1]  # type: ignore[method-assign]
        began = time.perf_counter()
        await app.pane.feed(b"\x1b[?2026h\x1b[2J\x1b[Hhalf")
        await until(lambda: bool(painted))
        assert painted[0] - began > 0.15
        painted.clear()
        monkeypatch.setattr(terminal_pane, "SYNC_HOLD", 1000.0)
        await app.pane.feed(b"\x1b[?2026h more")
        await app.pane.feed(b"\x1b[?2026l")
        await until(lambda: bool(painted))


async def test_a_flood_leaves_the_event_loop_free() -> None:
    app = Harness()
    async with app.run_test(size=(100, 30)) as pilot:
        flood = b"".join(b"\x1b[3%dmline %d of a flood\x1b[0m\r\n" % (n % 8, n) for n in range(20_000))
        worst = 0.0
        feeding = asyncio.get_running_loop().create_task(app.pane.feed(flood))
        while not feeding.done():
            before = time.thread_time()  # of this thread alone: other work on the machine counts for nothing
            await asyncio.sleep(0.001)
            worst = max(worst, time.thread_time() - before)
        await feeding
        await pilot.pause()
        assert app.text(27) == "line 19999 of a flood"
        assert worst < 0.25, f"the loop was held for {worst:.3f} s"


async def test_an_unmounted_pane_lets_its_feeder_go() -> None:
    app = Harness()
    async with app.run_test() as pilot:
        feeding = asyncio.get_running_loop().create_task(app.pane.feed(b"x\r\n" * 2_000_000))
        await pilot.pause()
        await app.pane.remove()
        await asyncio.wait_for(feeding, 30)


async def test_the_end_is_shown_and_nothing_more_is_sent() -> None:
    app = Harness()
    async with app.run_test(size=(40, 6)) as pilot:
        await app.pane.feed(b"last words")
        app.pane.ended(3)
        await pilot.press("x")
        await pilot.pause()
        assert "exit code 3" in app.text(4)
        assert app.text(0) == "last words"
        assert app.sent == b""


async def test_resizing_keeps_the_text() -> None:
    app = Harness()
    async with app.run_test(size=(40, 10)) as pilot:
        await app.pane.feed(b"one\r\ntwo\r\nthree")
        await pilot.resize_terminal(60, 5)
        await pilot.pause()
        assert app.pane.size == Size(60, 4)
        assert [app.text(y) for y in range(3)] == ["one", "two", "three"]
