"""The controller goes away and comes back; workers fail; notices pile up: the app stays."""

import asyncio
import gc
import warnings
from typing import Any

import pytest

from app.core.model import Doctor, StreamEvent
from app.errors import CarboyError
from app.screens.session import Session
from app.widgets.bottle_list import BottleList
from app.widgets.egress_panel import EgressPanel
from tests.tui.scripted import NOW, ScriptedClient, app, egress, view
from tests.tui.waiting import ready, text_of, until

GONE = CarboyError("The controller died", "It is started again", "connection_lost")


async def test_a_lost_controller_is_said_and_found_again() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        client.fail["status"] = GONE
        client.drop(GONE)
        await until(pilot, lambda: "reconnecting" in text_of(pilot), "banner")
        client.history.append(egress(30, "research-2", "deny", "late.example", "/"))
        client.by_slug["new"] = view("new", created_at=NOW)
        del client.fail["status"]
        await until(pilot, lambda: pilot.app.link == "connected", "back", seconds=20)
        await until(pilot, lambda: "new" in {item.slug for item in pilot.app.screen.query_one(BottleList).views}, "new")
        await pilot.press("end")
        log = pilot.app.screen.query_one(EgressPanel).log_view
        await until(pilot, lambda: any(item.host == "late.example" for item in log.entries), "resumed")
        assert len({item.seq for item in log.entries}) == len(log.entries)
        assert "▲ reconnecting" not in text_of(pilot)


async def test_a_stream_that_mends_itself_is_said_too() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        client.on_state("reconnecting")
        await until(pilot, lambda: "▲ reconnecting" in text_of(pilot), "banner")
        client.on_state("connected")
        await until(pilot, lambda: "▲ reconnecting" not in text_of(pilot), "gone")


async def test_who_was_quicker_than_the_controller_gets_the_agents_once_it_is_there() -> None:
    client = ScriptedClient()
    client.fail["connect"] = CarboyError("No controller can be started", "Look at its log", "no_controller")
    async with app(client).run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "No controller can be started" in text_of(pilot), "why")
        await pilot.press("n")
        await until(pilot, lambda: "does not answer yet" in text_of(pilot), "said in the flow")
        del client.fail["connect"]
        await until(pilot, lambda: "developer" in text_of(pilot), "the agents", seconds=20)
        assert "does not answer yet" not in text_of(pilot)


async def test_no_controller_at_all_keeps_the_app_usable() -> None:
    client = ScriptedClient()
    client.fail["connect"] = CarboyError("No controller can be started", "Look at its log", "no_controller")
    async with app(client).run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "No controller can be started" in text_of(pilot), "why")
        await pilot.press("n")
        await until(pilot, lambda: "does not answer yet" in text_of(pilot), "said in the flow")
        assert "nothing to choose from yet" in text_of(pilot)
        await pilot.press("escape", "D")
        await until(pilot, lambda: "Could not show doctor" in text_of(pilot), "said in the doctor")
        await pilot.press("escape")
        del client.fail["connect"]
        await until(pilot, lambda: pilot.app.link == "connected", "found", seconds=20)


async def test_a_terminal_that_breaks_attaches_again_and_redraws() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "Thinking" in text_of(pilot), "live")
        client.screens["impl-1"] = b"after the restart"
        client.terminals[-1].queue.put_nowait(None)
        await until(pilot, lambda: "after the restart" in text_of(pilot), "again")
        assert "Thinking" not in text_of(pilot)


async def test_a_terminal_that_breaks_after_its_bottle_has_ended_is_not_being_restored() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "Thinking" in text_of(pilot), "live")
        client.change(client.by_slug["impl-1"].model_copy(update={"state": "ended", "exit_code": 0}))
        await until(pilot, lambda: "ended with exit code 0" in text_of(pilot), "ended")
        client.terminals[-1].queue.put_nowait(None)
        await until(pilot, lambda: client.terminals[-1].closed, "its stream is over")
        await pilot.pause(0.1)
        assert "connection was lost" not in text_of(pilot)


async def test_a_terminal_that_cannot_be_had_says_why() -> None:
    client = ScriptedClient()
    client.fail["terminal"] = CarboyError("The session holder does not answer", "Stop the bottle", "holder")
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "The session holder does not answer. Stop the bottle" in text_of(pilot), "why")


async def test_a_broken_event_stream_is_no_crash() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        links: list[str] = []
        changed = pilot.app.link_changed
        pilot.app.link_changed = lambda link, text: (links.append(link), changed(link, text))[1]
        client.drop(ValueError("not an event"))
        await until(pilot, lambda: "lost" in links, "lost")
        await until(pilot, lambda: pilot.app.link == "connected", "back", seconds=20)


async def test_a_mistake_in_the_settings_is_told_and_mended_while_bottles_are_shown() -> None:
    client = ScriptedClient()
    text = "/home/operator/.config/carboy/settings.yml:1: egres: unknown key 'egres'"
    client.fail["settings"] = CarboyError(text, "Did you mean egress?", "config")
    async with app(client).run_test(size=(80, 24), notifications=True) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "Did you mean egress?" in text_of(pilot), "what to mend")
        assert pilot.app.setting("stall_minutes") is None
        del client.fail["settings"]
        client.push(StreamEvent(seq=0, at=NOW, kind="catalogue", data={}))
        await until(pilot, lambda: pilot.app.setting("stall_minutes") == 20, "the mended ones")


async def test_why_the_controller_is_away_is_told_in_a_narrow_window() -> None:
    client = ScriptedClient()
    path = "/home/operator/.local/state/carboy/a/path/that/is/long/controller.log"
    client.fail["status"] = CarboyError(f"The database {path} cannot be read", "Put back a backup", "store")
    async with app(client).run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Put back a backup" in text_of(pilot), "how to mend it")


async def test_a_page_that_waits_says_that_the_controller_is_away() -> None:
    client, go = ScriptedClient(), asyncio.Event()
    doctor = client.doctor

    async def waits() -> Doctor:
        await go.wait()
        return await doctor()

    async with app(client).run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await pilot.press("D")
        await until(pilot, lambda: "no daemon answers" in text_of(pilot), "the page")
        client.doctor = waits
        await pilot.press("r")
        await until(pilot, lambda: "asking…" in text_of(pilot), "that it asks")
        pilot.app.link_changed("lost", "the controller was killed")
        why = "reconnecting · bottles run on · the controller was killed"
        await until(pilot, lambda: why in text_of(pilot), "why it takes so long")
        pilot.app.link_changed("connected", "")
        await until(pilot, lambda: why not in text_of(pilot) and "asking…" in text_of(pilot), "that it is back")
        go.set()
        await until(pilot, lambda: "no daemon answers" in text_of(pilot), "the answer")
        pilot.app.link_changed("lost", "again")
        await pilot.pause()
        assert "no daemon answers" in text_of(pilot)


async def test_notices_are_coalesced() -> None:
    async with app().run_test(size=(160, 48), notifications=True) as pilot:
        await ready(pilot)
        for number in range(100):
            pilot.app.notify(f"notice {number}")
            pilot.app.notify("the same")
        await pilot.pause()
        await until(pilot, lambda: len(pilot.app._notifications) == 3, "three alive")


async def test_ctrl_c_says_how_to_leave() -> None:
    async with app().run_test(size=(160, 48), notifications=True) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "q closes this window" in text_of(pilot), "hint")
        assert pilot.app.is_running


async def test_what_is_wrong_with_the_controller_is_told() -> None:
    client = ScriptedClient()
    client.warnings = ("The disk is full: the database cannot be written",)
    async with app(client).run_test(size=(160, 48), notifications=True) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "The disk is full" in text_of(pilot), "told")


async def test_continued_after_a_stop_everything_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell's `fg` does: Textual by itself draws what changed, on a screen that is empty by then."""
    drawn: list[dict[str, Any]] = []
    async with app(ScriptedClient()).run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        monkeypatch.setattr(pilot.app, "refresh", lambda *_, **how: drawn.append(how))
        pilot.app.app_resume_signal.publish(pilot.app)
        await until(pilot, lambda: {"layout": True} in drawn, "drawn anew")


async def test_a_size_that_the_next_one_overtakes_leaves_no_coroutine_behind() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with app().run_test(size=(120, 40)) as pilot:
            await ready(pilot)
            session = pilot.app.screen.query(Session).first()
            await until(pilot, lambda: session._terminal is not None, "the terminal")
            for _ in range(3):
                session.on_descendant_focus()
            await pilot.pause()
            gc.collect()
    assert not [str(item.message) for item in caught if "never awaited" in str(item.message)]
