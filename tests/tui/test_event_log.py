"""The journal's widget under floods, trimming, open requests and hostile lines."""

import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from app import themes
from app.core.journal import Entry, entry, parse_filter
from app.widgets.event_line import columns, fit, parts
from app.widgets.event_log import EventLog
from tests.tui.waiting import until


def item(seq: int, **data: Any) -> Entry:
    base = {"decision": "allow", "host": "a.example", "path": f"/{seq}", "method": "GET", "request_id": f"r{seq}"}
    return entry(seq, float(seq), "b", "egress", base | data)


class LogApp(App[None]):
    def __init__(self, cap: int = 1000) -> None:
        super().__init__()
        self.register_theme(themes.theme(themes.DEFAULT))
        self.theme = themes.DEFAULT
        self.log_view = EventLog(cap=cap)

    def compose(self) -> ComposeResult:
        yield self.log_view


async def test_a_flood_is_drawn_ten_times_a_second_and_bounded() -> None:
    app = LogApp(cap=1000)
    async with app.run_test(size=(100, 20)) as pilot:
        draws = 0
        original = app.log_view._draw_again

        def counted() -> None:
            nonlocal draws
            draws += 1
            original()

        app.log_view._draw_again = counted  # type: ignore[method-assign]
        began = time.monotonic()
        for start in range(0, 20_000, 200):
            app.log_view.extend(item(seq) for seq in range(start, start + 200))
            await pilot.pause()
        await until(pilot, lambda: app.log_view.entries and app.log_view.entries[-1].seq == 19_999, "all taken")
        assert draws <= (time.monotonic() - began) * 10 + 3
        assert app.log_view.total == 1000
        assert app.log_view.shown <= 1100


def test_words_beside_the_glyph_are_words_and_an_answer_that_nobody_awaited_is_none() -> None:
    gone = item(1, phase="closed", code="client_closed", reason="the client is gone", bytes_up=154)
    texts = ["".join(text for _, text in parts(one, columns(100, False))) for one in (
        gone, *(entry(2, 2.0, "b", "notice", {"level": level, "text": "x"}) for level in ("info", "warning", "error")),
    )]  # fmt: skip
    assert [text.split()[1:3] for text in texts] == [["✓", "gone"], ["·", "note"], ["▲", "warn"], ["!", "err"]]
    assert "the client is gone" in texts[0]


async def test_paused_it_stays_where_one_looks_while_old_lines_go() -> None:
    app = LogApp(cap=1000)
    async with app.run_test(size=(100, 20)) as pilot:
        app.log_view.replace(item(seq) for seq in range(1000))
        await pilot.pause()
        app.log_view.focus()
        await pilot.press("up", "up")
        looked_at = app.log_view.entries[app.log_view.cursor or 0]
        app.log_view.extend(item(seq) for seq in range(1000, 1500))
        await until(pilot, lambda: app.log_view.entries[-1].seq == 1499, "taken")
        assert app.log_view.entries[app.log_view.cursor or 0] == looked_at


async def test_the_end_of_a_request_takes_its_line() -> None:
    app = LogApp()
    async with app.run_test(size=(100, 20)) as pilot:
        app.log_view.extend([item(1, phase="open"), item(2)])
        await until(pilot, lambda: app.log_view.shown == 2, "open")
        app.log_view.append(item(3, request_id="r1", status=200, ms=5))
        await until(pilot, lambda: app.log_view.entries[0].seq == 3, "closed")
        assert app.log_view.shown == 2


async def test_filters_apply_to_what_is_held_and_what_comes() -> None:
    app = LogApp()
    async with app.run_test(size=(100, 20)) as pilot:
        app.log_view.replace([item(1), item(2, decision="deny")])
        app.log_view.show_only(parse_filter("refused"))
        assert [found.seq for found in app.log_view.entries] == [2]
        app.log_view.extend([item(3), item(4, decision="deny")])
        await until(pilot, lambda: app.log_view.shown == 2, "one more")
        app.log_view.show_only(parse_filter(""))
        assert app.log_view.shown == 4


@settings(max_examples=150)
@given(
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.sampled_from(["allow", "deny", "hold", "redact", "error", "nonsense"]),
    st.integers(20, 200),
    st.booleans(),
)
def test_no_line_is_wider_than_its_room(path: str, reason: str, decision: str, width: int, slug: bool) -> None:
    line = parts(item(1, path=path, reason=reason, decision=decision), columns(width, slug))
    text = "".join(part for _, part in line)
    assert text.isprintable()
    assert cell_len(text) <= max(width, 26)


def test_fitting_counts_cells() -> None:
    assert cell_len(fit("日本語テキスト", 8)) == 8
    assert fit("abc", 8) == "abc     "
    assert fit("12 ms", 8, right=True) == "  12 ms "
