"""The main screen through its keys, on a scripted client, in a large window and in the smallest usual one."""

import asyncio
from typing import Any

import pytest
from textual.events import Key

from app.widgets.bottle_list import BottleList
from app.widgets.egress_panel import EgressPanel
from app.widgets.side_panels import RefusalsPanel, TotalsPanel
from tests.tui import scripted
from tests.tui.scripted import NOW, ScriptedClient, app, asked, egress, view
from tests.tui.waiting import ready, text_of, until

SIZES = [(80, 24), (160, 48)]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


async def test_attention_comes_first_and_is_selected(size: tuple[int, int]) -> None:
    async with app().run_test(size=size) as pilot:
        await ready(pilot)
        shown = pilot.app.screen.query_one(BottleList)
        assert [item.slug for item in shown.views] == ["impl-1", "nightly", "docs", "frozen-one", "research-2"]
        assert shown.selected == "impl-1"


async def test_every_key_of_the_agent_reaches_it_and_the_leader_leaves(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("end", "enter") if size[0] > 100 else await pilot.press("3", "end", "enter")
        main = pilot.app.screen
        await until(pilot, lambda: main._session and main._session.view.slug == "research-2", "research-2")
        await until(pilot, main._in_terminal, "focus")
        for key in ("q", "n", "ctrl+p", "ctrl+c", "question_mark", "colon", "escape", "tab", "ctrl+q", "s"):
            await pilot.press(key)
        await until(pilot, lambda: b"".join(data for _, data in client.typed).endswith(b"s"), "typed")
        typed = b"".join(data for _, data in client.typed)
        assert typed == b"qn\x10\x03?:\x1b\t\x11s"
        assert pilot.app.screen is main
        assert "ctrl+] leaves the terminal" in text_of(pilot)
        await pilot.press("ctrl+right_square_bracket")
        assert not main._in_terminal()
        await pilot.press("question_mark")
        assert pilot.app.screen.__class__.__name__ == "Help"


async def test_what_is_typed_right_behind_the_leader_is_not_the_agents(size: tuple[int, int]) -> None:
    """All keys at once, as a slow line or a busy app brings them: `y` would say yes in the agent's own dialog."""
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        main = pilot.app.screen
        await pilot.press("enter")
        await until(pilot, main._in_terminal, "focus")
        for key in ("x", "ctrl+right_square_bracket", "question_mark"):
            pilot.app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: pilot.app.screen.__class__.__name__ == "Help", "help")
        await pilot.pause()
        assert b"".join(data for _, data in client.typed) == b"x"


async def test_what_is_typed_right_behind_the_leader_twice_is_the_agents(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        main = pilot.app.screen
        await pilot.press("enter")
        await until(pilot, main._in_terminal, "focus")
        leader = "ctrl+right_square_bracket"
        for key in ("x", leader, leader, "question_mark"):
            pilot.app.post_message(Key(key, "?" if key == "question_mark" else key if len(key) == 1 else None))
        await until(pilot, lambda: b"".join(data for _, data in client.typed) == b"x\x1d?", "all of it")


async def test_what_is_typed_right_behind_the_leader_of_the_full_screen_is_not_the_agents() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        main = pilot.app.screen
        await pilot.press("t")
        await until(pilot, lambda: pilot.app.screen is not main, "the screen")
        full = pilot.app.screen
        await until(pilot, lambda: full.session.pane is not None and full.focused is full.session.pane, "focus")
        for key in ("x", "ctrl+right_square_bracket", "y"):
            pilot.app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: pilot.app.screen is not full, "closed")
        await pilot.pause()
        assert b"".join(data for _, data in client.typed) == b"x"


async def test_who_works_in_a_terminal_gives_it_the_size_that_another_window_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: client.terminals and client.terminals[-1].queue.empty(), "attached")
        terminal = client.terminals[-1]
        ours, terminal.size = terminal.size, (19, 78)
        await pilot.press("enter")
        await until(pilot, lambda: terminal.size == ours, "the focus")
        terminal.size = (19, 78)
        monkeypatch.setattr("app.screens.session.CLAIM_SECONDS", 0.0)
        await pilot.press("x")
        await until(pilot, lambda: terminal.size == ours, "a key")


async def test_a_copied_selection_is_told() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48), notifications=True) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "first, then look" in text_of(pilot), "the screen")
        pane = pilot.app.screen._session.pane
        await pilot.mouse_down(pane, offset=(2, 0))
        await pilot.hover(pane, offset=(5, 0))
        await pilot.mouse_up(pane, offset=(5, 0))
        await until(pilot, lambda: "4 characters copied" in text_of(pilot), "told")
        assert pilot.app.clipboard == "I'll"


async def test_the_leader_twice_goes_through() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("enter")
        main = pilot.app.screen
        await until(pilot, main._in_terminal, "focus")
        await pilot.press("ctrl+right_square_bracket", "ctrl+right_square_bracket")
        await until(pilot, lambda: client.typed, "typed")
        assert client.typed[0][1] == b"\x1d"
        assert main._in_terminal()


async def test_the_terminal_has_the_panes_size(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await until(pilot, lambda: client.terminals, "attached")
        pane = pilot.app.screen._session.pane
        await until(pilot, lambda: client.terminals[-1].size == (pane.size.height, pane.size.width), "size")
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: client.terminals[-1].size == (pane.size.height, pane.size.width), "new size")


async def test_running_through_the_list_attaches_only_where_it_rests() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: client.terminals, "first")
        for _ in range(4):
            pilot.app.screen.query_one(BottleList).action_cursor_down()
        await until(pilot, lambda: client.terminals[-1].slug == "research-2", "rests")
        assert [item.slug for item in client.terminals] == ["impl-1", "research-2"]
        assert client.terminals[0].closed


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
async def test_the_selection_moves_on_while_a_terminal_is_taken_down(turns: int) -> None:
    """The app went down with the removal that the next selection cancelled."""
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        main: Any = pilot.app.screen
        for slug in ("research-2", "impl-1", "nightly", "research-2"):
            main.slug = slug
            main._settle()
            for _ in range(turns):
                await asyncio.sleep(0)
        await until(pilot, lambda: main._session is not None and main._session.view.slug == "research-2", "the last")
        await until(pilot, lambda: not main._attaching, "nothing under way")
        await pilot.press("question_mark")
        await until(pilot, lambda: pilot.app.screen is not main, "the app takes keys")


async def test_refusals_totals_and_journal_belong_to_the_selected_bottle() -> None:
    async with app().run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("end")
        await pilot.pause()
        screen = pilot.app.screen
        assert screen.query_one(EgressPanel).log_view.total == 10
        refusals = screen.query_one(RefusalsPanel)._refusals
        assert [(item.host, item.times) for item in refusals] == [
            ("pypi.org", 1),
            ("pastebin.com", 2),
            ("hooks.example.net", 1),
        ]
        text = text_of(pilot)
        assert "Refused 3" in text, "what failed is no refusal"
        assert "! pypi.org" in text, "and told apart"
        assert "● healthy" in text
        assert "local (bubblewrap): process" in text


async def test_hostile_text_is_drawn_as_text() -> None:
    async with app().run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("end")
        await pilot.pause()
        text = text_of(pilot)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "[bold]x[/bold]" in text
        assert "␛[31m" in text


async def test_new_events_arrive_and_the_filter_holds() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("end", "f", *"refused")
        panel = pilot.app.screen.query_one(EgressPanel)
        await until(pilot, lambda: panel.log_view.shown == 3, "filtered")
        client.push(egress(20, "research-2", "deny", "evil.example", "/"))
        client.push(egress(21, "research-2", "allow", "good.example", "/"))
        client.push(egress(22, "docs", "deny", "other.example", "/"))
        await until(pilot, lambda: panel.log_view.shown == 4, "one more")
        assert panel.log_view.entries[-1].host == "evil.example"
        await pilot.press("escape")
        await until(pilot, lambda: panel.log_view.shown == 12, "all")


async def test_a_request_shows_its_whole_story(size: tuple[int, int]) -> None:
    async with app().run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("3", "end", "2", "up", "up", "up", "up", "up", "enter")
        await until(pilot, lambda: pilot.app.screen.__class__.__name__ == "Story", "story")
        text = text_of(pilot)
        assert "canary: exfiltration" in text
        assert "no connection was made" in text
        await pilot.press("escape")
        assert pilot.app.screen.__class__.__name__ == "MainScreen"


async def test_pausing_stays_and_following_returns() -> None:
    client = ScriptedClient(
        history=[egress(seq, "research-2", "allow", "a.example", f"/{seq}") for seq in range(1, 101)]
    )
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("end", "2", "up", "up")
        log = pilot.app.screen.query_one(EgressPanel).log_view
        assert (log.following, log.cursor) == (False, 98)
        client.push(egress(101, "research-2", "allow", "a.example", "/101"))
        await until(pilot, lambda: log.total == 101, "arrived")
        assert log.cursor == 98
        assert "paused" in text_of(pilot)
        await pilot.press("G")
        assert log.following
        await until(pilot, lambda: "/101" in text_of(pilot), "at the end")


@pytest.mark.parametrize(("key", "verb"), [("s", "stop"), ("K", "kill")])
async def test_destructive_keys_ask_once_and_say_what_is_lost(key: str, verb: str, size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("3", key)
        await pilot.pause()
        assert "✗ lost" in text_of(pilot)
        await pilot.press("escape")
        assert client.calls == []
        await pilot.press(key, "y")
        await until(pilot, lambda: client.calls == [(verb, "impl-1")], verb)


async def test_freeze_thaw_and_restart_from_keys() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("F")
        await until(pilot, lambda: client.by_slug["impl-1"].state == "frozen", "frozen")
        await until(pilot, lambda: pilot.app.screen.view.state == "frozen", "known")
        await pilot.press("F")
        await until(pilot, lambda: client.by_slug["impl-1"].state == "running", "thawed")
        await pilot.press("R")
        await until(pilot, lambda: ("restart_sidecar", "impl-1") in client.calls, "restarted")


async def test_a_failing_action_is_shown_and_kills_nothing() -> None:
    client = ScriptedClient()
    client.fail["freeze"] = RuntimeError("boom \x1b[31m")
    async with app(client).run_test(size=(160, 48), notifications=True) as pilot:
        await ready(pilot)
        await pilot.press("F")
        await until(pilot, lambda: "Could not freeze impl-1" in text_of(pilot), "shown")
        assert "RuntimeError: boom ␛[31m" in text_of(pilot)
        await pilot.press("down")
        assert pilot.app.is_running


async def test_eighty_by_twenty_four_loses_nothing() -> None:
    client = ScriptedClient()
    client.proposals_now = [asked(justification="cargo needs it")]
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        wanted = {"1": "Thinking…", "2": "Egress", "3": "nightly", "4": "cargo needs it"}
        for key, text in wanted.items():
            await pilot.press(key)
            await until(pilot, lambda text=text: text in text_of(pilot), text)
            if key == "1":
                await pilot.press("ctrl+right_square_bracket")


async def test_page_keys_in_a_list_that_was_never_drawn_do_nothing() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        behind: Any = pilot.app.screen.query_one("#approvals")
        client.ask(asked())
        await until(pilot, lambda: behind.highlighted == 0, "the card")
        assert not behind.size.height, "it is behind another tab"
        behind.action_page_down()
        behind.action_page_up()


async def test_the_footer_tells_what_enter_does_where_the_focus_is() -> None:
    async with app().run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        assert "↵ type" in text_of(pilot)
        await pilot.press("2")
        await until(pilot, lambda: "↵ look" in text_of(pilot), "the log")
        await pilot.press("f", "n")
        await until(pilot, lambda: "↵ keeps the filter   esc clears it" in text_of(pilot), "the filter")
        assert "n new" not in text_of(pilot).splitlines()[-1], "n is typed into the filter"
        await pilot.press("escape", "4")
        await until(pilot, lambda: "↵ type" in text_of(pilot), "no card")
        await pilot.press("enter")
        await until(pilot, pilot.app.screen._in_terminal, "an empty panel leaves enter to the screen")


async def test_how_to_leave_the_terminal_is_told_in_the_smallest_window() -> None:
    client = ScriptedClient()
    client.proposals_now = [asked()]
    async with app(client).run_test(size=(60, 15)) as pilot:
        await ready(pilot)
        await pilot.press("1")
        await until(pilot, pilot.app.screen._in_terminal, "focus")
        footer = text_of(pilot).splitlines()[-1]
        assert "ctrl+] y answers what waits   ctrl+] leaves the terminal" in footer


async def test_once_the_bottle_is_over_nobody_is_said_to_hear_the_keys() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("1")
        await until(pilot, lambda: "every other key is the agent's" in text_of(pilot), "the agent's keys")
        main = pilot.app.screen
        client.change(main.view.model_copy(update={"state": "lost", "error": "killed"}))
        await until(pilot, lambda: "its bottle is over: nobody hears other keys" in text_of(pilot), "nobody's")
        assert "every other key is the agent's" not in text_of(pilot)


async def test_while_one_looks_back_the_footer_tells_how_to_return() -> None:
    client = ScriptedClient()
    client.proposals_now = [asked()]
    async with app(client).run_test(size=(60, 15)) as pilot:
        await ready(pilot)
        await pilot.press("h")
        await until(pilot, lambda: "esc returns   ctrl+] leaves the terminal" in text_of(pilot), "looking back")
        await pilot.press("escape")
        await until(pilot, lambda: "ctrl+] y answers" in text_of(pilot), "the agent's keys again")


async def test_tabs_can_be_clicked() -> None:
    async with app().run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.click("TabStrip", offset=(16, 0))
        await until(pilot, lambda: pilot.app.screen.tab == "egress", "egress")


async def test_footer_keys_can_be_clicked() -> None:
    async with app().run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.click("KeyBar", offset=(11, 0))
        await until(pilot, lambda: pilot.app.screen.__class__.__name__ == "AgentStep", "launch flow")


async def test_zoom_gives_the_window_to_one_panel_and_back() -> None:
    async with app().run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("2", "z")
        await pilot.pause()
        assert not pilot.app.screen.query_one(BottleList).display
        assert pilot.app.screen.query_one(EgressPanel).size.width > 150
        await pilot.press("z")
        await pilot.pause()
        assert pilot.app.screen.query_one(BottleList).display


async def test_a_window_too_small_says_so() -> None:
    async with app().run_test(size=(50, 12)) as pilot:
        await ready(pilot)
        assert "50×12 is too small: carboy needs 60×15" in text_of(pilot)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "Thinking" in text_of(pilot), "back")


@pytest.mark.parametrize("between", [(50, 12), (30, 8), (90, 30)])
async def test_the_agent_keeps_the_keyboard_while_the_window_is_small(between: tuple[int, int]) -> None:
    async with app().run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        main = pilot.app.screen
        await pilot.press("2")
        await pilot.click("TerminalPane")
        await until(pilot, main._in_terminal, "in the terminal, by the mouse")
        await pilot.resize_terminal(*between)
        await pilot.pause()
        assert main._in_terminal()
        await pilot.press("F", "n")
        await pilot.resize_terminal(160, 48)
        await pilot.pause()
        assert main._in_terminal()
        assert pilot.app.screen is main
        assert pilot.app.feed.client.calls == []


async def test_how_long_it_runs_is_told_beside_the_longest_name() -> None:
    client = ScriptedClient(views=(view("long", label="a very long name " * 5),))
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "… ─ 00:12:31" in text_of(pilot), "the clock")


async def test_no_bottles_says_what_to_do() -> None:
    async with app(ScriptedClient(views=(), history=[])).run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "No bottle yet" in text_of(pilot), "welcome")
        await pilot.press("s", "t", "i", "F", "enter")
        assert pilot.app.is_running


async def test_an_ended_bottle_shows_how_it_ended() -> None:
    async with app().run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("down")
        await until(pilot, lambda: "exit code" in text_of(pilot), "card")


async def test_a_bottle_that_ends_keeps_its_last_screen() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "Thinking" in text_of(pilot), "live")
        client.change(view("impl-1", state="failed", exit_code=3, ended_at=NOW, attention=200))
        await until(pilot, lambda: "ended with exit code 3" in text_of(pilot), "ended")
        assert "Thinking" in text_of(pilot)


async def test_the_leader_is_configurable() -> None:
    client = ScriptedClient()
    client.settings_now = (*scripted.SETTINGS[1:], scripted.SETTINGS[0].model_copy(update={"value": "ctrl+\\"}))
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("enter")
        main: Any = pilot.app.screen
        await until(pilot, main._in_terminal, "focus")
        await pilot.press("ctrl+right_square_bracket")
        assert main._in_terminal()
        await pilot.press("ctrl+backslash")
        assert not main._in_terminal()


async def test_no_color_still_tells_states_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with app().run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        text = text_of(pilot)
        for mark in (
            "▲ impl-1",
            "✗ nightly",
            "‖ frozen-one",
            "▶ research-2",
            "no network",
            "exit 2",
            "frozen",
            "works",
        ):
            assert mark in text


async def test_quitting_detaches_and_stops_nothing() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: client.terminals, "attached")
        await pilot.press("q")
        await asyncio.sleep(0)
    assert client.calls == []


@pytest.mark.parametrize("size", [(80, 24), (60, 15)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_all_of_the_bottle_panel_is_reached_by_keys_in_a_low_window(size: tuple[int, int]) -> None:
    notes = tuple(f"truth {number}: " + "of what this backend cannot hold, at length " * 3 for number in range(4))
    client = ScriptedClient((view("research-2", notes=notes),))
    client.proposals_now = [asked()]
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("4")
        await until(pilot, lambda: "tab next panel" in text_of(pilot), "the key that goes on")
        assert "truth 3" not in text_of(pilot)
        await pilot.press("tab", "tab")
        await until(pilot, lambda: "↑↓ scroll" in text_of(pilot), "the key that scrolls")
        await until(pilot, lambda: "requests" in text_of(pilot), "its beginning")
        await pilot.press(*["down"] * 20)
        await until(pilot, lambda: "truth 3" in text_of(pilot), "its end")
        await pilot.press("4")
        await until(pilot, lambda: "Approvals 1" in text_of(pilot), "the way back")


async def test_the_keys_of_one_that_is_over_are_told_however_narrow_the_window() -> None:
    client = ScriptedClient((view("nightly", state="ended", exit_code=0),))
    async with app(client).run_test(size=(60, 15)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "o report   p go on" in text_of(pilot), "the keys")
        client.change(view("nightly"))
        await until(
            pilot, lambda: "s stop" in text_of(pilot) or "↵ type" in text_of(pilot), "the keys of one that runs"
        )
        assert "go on" not in text_of(pilot)


async def test_the_header_counts_one_request_as_one() -> None:
    async with app(ScriptedClient((view("docs", allowed=1, refused=0),))).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "1 request " in text_of(pilot).splitlines()[0], "the header")


async def test_the_header_counts_as_at_work_who_is() -> None:
    views = (
        view("a", doing="working"),
        view("b", doing="waiting"),
        view("c", doing="idle"),
        view("d", doing="working", fault="The provider is overloaded."),
        view("e", doing="working", state="frozen"),
    )
    async with app(ScriptedClient(views)).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "5 bottles · 1 at work" in text_of(pilot).splitlines()[0], "the header")


async def test_the_facts_of_a_bottle_go_on_below_their_own_text() -> None:
    note = "A note of so many words that they need more than a line of the panel beside the terminal"
    docs = view("docs", cwd="/home/me/" + "long/" * 12, notes=(note,))
    async with app(ScriptedClient((docs,))).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        panel = pilot.app.screen.query_one(TotalsPanel)
        await until(pilot, lambda: "A note" in panel.render().plain, "the note")
        rows = panel.render().plain.splitlines()
        begin = {row.split(" ")[0] for row in rows if not row.startswith(" ")}
        assert begin == {"requests", "bodies", "sidecar", "runs", "sees", "▲"}


async def test_a_focused_side_panel_stays_in_sight_in_a_window_that_became_lower() -> None:
    client = ScriptedClient()
    client.proposals_now = [asked(f"p-{number}", justification="many words " * 12) for number in range(3)]
    async with app(client).run_test(size=(160, 60)) as pilot:
        await ready(pilot)
        side, panel = pilot.app.screen.query_one("#side"), pilot.app.screen.query_one(TotalsPanel)
        panel.focus()
        await pilot.resize_terminal(160, 24)
        await until(pilot, lambda: side.max_scroll_y > 0, "a column that scrolls")
        await until(pilot, lambda: side.region.contains_region(panel.region), "the panel", 10)


async def test_the_terminal_keeps_its_width_when_the_side_panels_take_the_lists_place() -> None:
    async with app().run_test(size=(101, 24)) as pilot:
        await ready(pilot)
        frame, side = pilot.app.screen.query_one("#terminal"), pilot.app.screen.query_one("#side")
        before = frame.region.width
        await pilot.press("4")
        await until(pilot, lambda: side.region.width > 0, "the side panels")
        await until(pilot, lambda: (frame.region.width, side.region.width) == (before, 36), "their widths", 5)
        await pilot.resize_terminal(101, 40)
        await until(pilot, lambda: (frame.region.x, side.region.x) == (36, 0), "both in the list's column", 5)


async def test_a_controller_of_another_build_is_told(size: tuple[int, int]) -> None:
    async with app().run_test(size=size, notifications=True) as pilot:
        await ready(pilot)
        pilot.app.feed.client.on_other_build("0.0.9")
        await until(pilot, lambda: "another build" in text_of(pilot), "the note")
        assert "--restart" in text_of(pilot)
