"""Help, palette, doctor, settings, themes, the log in the whole window, the terminal in the whole window."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from textual.keys import Keys

from app import themes
from app.commands import COMMANDS, footer, key_label, scoped, textual_key
from app.core.approvals import TemporaryRoute
from app.core.model import Provenance, SidecarHealth, StreamEvent
from app.core.schema import Settings
from app.errors import CarboyError
from app.widgets.approvals_panel import ApprovalsPanel
from app.widgets.egress_panel import EgressPanel
from app.widgets.side_panels import TotalsPanel
from tests.tui.scripted import NOW, SCREEN, ScriptedClient, app, asked, view
from tests.tui.waiting import ready, text_of, until

SIZES = [(80, 24), (160, 48)]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


async def test_a_bottle_says_what_it_may_only_for_a_while(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    client.temporary = (
        TemporaryRoute(host="a.example", until=NOW + 90, single=False, title="GET a.example/[bold]x"),
        TemporaryRoute(host="b.example", until=NOW + 200, single=True, title="b.example (anything)"),
    )
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("i")
        await until(pilot, lambda: "api.anthropic.com" in text_of(pilot), "the list")
        await pilot.press("G")
        await until(pilot, lambda: "for a while" in text_of(pilot), "what ends")
        text = text_of(pilot)
        assert "GET a.example/[bold]x  until " in text
        assert "01:30 left" in text
        assert "b.example (anything)  until its first use, or " in text


@pytest.mark.parametrize(
    ("key", "shows"),
    [
        ("question_mark", "leaves the agent's terminal"),
        ("D", "no daemon answers"),
        ("comma", "stall_minutes"),
        ("i", "api.anthropic.com"),
    ],
)
async def test_pages_open_and_close(key: str, shows: str, size: tuple[int, int]) -> None:
    async with app().run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press(key)
        await until(pilot, lambda: shows in text_of(pilot), shows)
        await pilot.press("escape")
        assert pilot.app.screen.__class__.__name__ == "MainScreen"


@pytest.mark.parametrize("key", ["question_mark", "D", "comma", "u", "B", "W", "N", "S"])
async def test_a_pages_own_key_opens_no_second_one_over_it(key: str) -> None:
    async with app().run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press(key)
        await until(pilot, lambda: len(pilot.app.screen_stack) == 2, "the page")
        await pilot.press(key, key)
        await pilot.pause()
        assert len(pilot.app.screen_stack) == 2
        await pilot.press("escape")
        assert pilot.app.screen.__class__.__name__ == "MainScreen"


async def test_from_a_bottles_usage_the_hosts_is_one_key_away() -> None:
    async with app().run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("U")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 2, "the bottle's")
        await pilot.press("u")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 3 and "30 days" in text_of(pilot), "the host's")


async def test_help_lists_every_command() -> None:
    async with app().run_test(size=(160, 70)) as pilot:
        await ready(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: "Lists and panels" in text_of(pilot), "help")
        for item in COMMANDS:
            assert item.title in text_of(pilot)


async def test_what_a_key_does_stays_in_its_column() -> None:
    first = {name for item in COMMANDS for name in (item.group, key_label(item.key))}

    async with app().run_test(size=(100, 150)) as pilot:
        await ready(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: "bottles, look, and start" in text_of(pilot), "help")
        await pilot.resize_terminal(80, 150)
        await until(pilot, lambda: "bottles, look, and start" not in text_of(pilot), "wrapped anew")
        rows = text_of(pilot).partition("  Bottle  ")[2].partition("  Lists and panels")[0].splitlines()
        begin = {row[2:].split("  ")[0] for row in rows[1:] if row[2:3].strip()}
        assert begin <= first, "nothing but titles and keys begins at the margin"


async def test_settings_say_where_they_came_from() -> None:
    async with app().run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await pilot.press("comma")
        await until(pilot, lambda: "(settings.yml)" in text_of(pilot), "provenance")
        assert "(default)" in text_of(pilot)


async def test_settings_take_a_line_each_in_a_narrow_window() -> None:
    async with app().run_test(size=(60, 30)) as pilot:
        await ready(pilot)
        await pilot.press("comma")
        await until(pilot, lambda: "(default)" in text_of(pilot), "provenance")
        rows = [row for row in text_of(pilot).splitlines() if "(default)" in row]
        assert all(not row.strip().startswith("(") for row in rows)


async def test_a_bottles_page_says_which_error_its_model_had() -> None:
    async with app(ScriptedClient((view("docs", state="frozen", fault="anthropic: 529 Overloaded"),))).run_test(
        size=(100, 40)
    ) as pilot:
        await ready(pilot)
        await pilot.press("i")
        await until(pilot, lambda: "anthropic: 529 Overloaded" in text_of(pilot), "the error")


async def test_a_bottle_whose_engine_is_away_says_what_to_do() -> None:
    docs = view("docs", backend="docker", engine="docker", engine_gone=True, state="stopping")
    async with app(ScriptedClient((docs,))).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "? docs" in text_of(pilot), "lost")
        panel = pilot.app.screen.query_one(TotalsPanel).render().plain
        assert "container engine does not answer" in " ".join(panel.split())
        await pilot.press("i")
        await until(pilot, lambda: "systemctl start docker" in " ".join(text_of(pilot).split()), "how to mend it")


async def test_a_page_that_fails_says_so_and_can_ask_again() -> None:
    client = ScriptedClient()
    client.fail["doctor"] = CarboyError("It broke", "Mend it")
    async with app(client).run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await pilot.press("D")
        await until(pilot, lambda: "It broke. Mend it" in text_of(pilot), "why")
        del client.fail["doctor"]
        await pilot.press("r")
        await until(pilot, lambda: "keyring" in text_of(pilot), "answered")


async def test_the_palette_runs_commands(size: tuple[int, int]) -> None:
    async with app().run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("colon", *"doctor", "enter")
        await until(pilot, lambda: "no daemon answers" in text_of(pilot), "doctor")
        await pilot.press("escape", "colon", *"stop", "enter")
        await until(pilot, lambda: pilot.app.screen.__class__.__name__ == "Confirm", "asks")


async def test_the_palette_goes_to_bottles_by_name() -> None:
    async with app().run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("colon", *"research", "enter")
        await until(pilot, lambda: pilot.app.screen.__class__.__name__ == "MainScreen", "back")
        assert pilot.app.screen.slug == "research-2"


async def test_themes_change_and_escape_undoes() -> None:
    async with app().run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await pilot.press("T", "down")
        await until(pilot, lambda: pilot.app.theme == "carboy-light", "previewed")
        await pilot.press("escape")
        assert pilot.app.theme == themes.DEFAULT
        await pilot.press("T", "down", "down", "enter")
        assert pilot.app.theme == "carboy-contrast"


async def test_the_log_in_the_whole_window(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with app().run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("3", "end", "e")
        panel = lambda: pilot.app.screen.query_one(EgressPanel).log_view  # noqa: E731
        await until(pilot, lambda: panel().shown == 10, "one bottle")
        await pilot.press("b")
        await until(pilot, lambda: panel().shown == 11, "all")
        await pilot.press("f", *"host:pastebin", "enter")
        await until(pilot, lambda: panel().shown == 2, "filtered")
        await pilot.press("x")
        await until(pilot, lambda: list(tmp_path.glob("*.jsonl")), "exported")
        file = next(tmp_path.glob("*.jsonl"))
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert [row["host"] for row in rows] == ["pastebin.com", "pastebin.com"]
        assert file.stat().st_mode & 0o777 == 0o600


async def test_a_click_on_a_decision_filters_by_it() -> None:
    async with app().run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("end", "e")
        log = pilot.app.screen.query_one(EgressPanel).log_view
        await until(pilot, lambda: log.shown == 10, "all")
        column = text_of(pilot).splitlines()[0].index("refused")
        await pilot.click("#decisions", offset=(column, 0))
        await until(pilot, lambda: log.shown == 3, "refused ones")


async def test_the_terminal_in_the_whole_window(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("t")
        await until(pilot, lambda: client.terminals and client.terminals[-1].size[1] == size[0], "its size")
        await until(pilot, lambda: "Thinking" in text_of(pilot), "drawn")
        await pilot.press("q", "escape")
        await until(pilot, lambda: b"".join(data for _, data in client.typed) == b"q\x1b", "typed")
        await pilot.press("ctrl+right_square_bracket")
        assert pilot.app.screen.__class__.__name__ == "MainScreen"
        assert SCREEN


def test_no_key_means_two_things() -> None:
    keys = [item.key for item in scoped("main", "app")]
    assert len(keys) == len(set(keys))
    assert all(item.short for item in footer("main", "app"))


def test_keys_read_as_they_stand_on_the_keyboard() -> None:
    assert textual_key("ctrl+]") == "ctrl+right_square_bracket"
    assert key_label(textual_key("ctrl+]")) == "ctrl+]"
    assert key_label("question_mark") == "?"


@pytest.mark.parametrize("written", ["ctrl+]", "Ctrl+\\", "ctrl+^", "ctrl+_", "ctrl+g", "alt+x", "F12"])
def test_a_leader_is_a_key_that_a_terminal_sends(written: str) -> None:
    """One that it does not would hold the keyboard in the agent's terminal for good."""
    leader = Settings.model_validate({"leader_key": written}).leader_key
    last = textual_key(leader).split("+")[-1]
    assert len(last) == 1 or last in {key.value.split("+")[-1] for key in Keys}
    assert key_label(textual_key(leader)) == written.lower()


@pytest.mark.parametrize("written", ["", "a", "ctrl+shift+nonsense", "ctrl+", "enter", "ctrl+m", "ctrl+[", "f13"])
def test_a_leader_that_no_terminal_sends_alone_is_refused(written: str) -> None:
    with pytest.raises(ValidationError, match="leaves the agent's terminal"):
        Settings.model_validate({"leader_key": written})


async def test_missing_secrets_are_told_and_given_again(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "env-value")
    client = ScriptedClient()
    client.by_slug["impl-1"] = client.by_slug["impl-1"].model_copy(
        update={"missing_secrets": ("FROM_HERE", "TOKEN"), "sidecar": SidecarHealth(state="healthy"), "attention": 100}
    )
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "no secret" in text_of(pilot) or size[0] == 80, "the word in the list")
        await pilot.press("i")
        await until(pilot, lambda: "without FROM_HERE, TOKEN" in " ".join(text_of(pilot).split()), "which are missing")
        await pilot.press("s")
        await until(pilot, lambda: "Secrets of" in text_of(pilot), "the box")
        await pilot.press("enter")
        await pilot.press(*"s3cret", "enter")
        await until(pilot, lambda: client.given, "given")
        assert client.given == [("impl-1", {"FROM_HERE": "env-value", "TOKEN": "s3cret"})]
        assert "s3cret" not in text_of(pilot)
        await until(pilot, lambda: pilot.app.screen.__class__.__name__ == "BottleScreen", "closed")
        await until(pilot, lambda: "without FROM_HERE" not in text_of(pilot), "asked again")


async def test_long_rows_of_pages_go_on_below_their_own_text_at_any_width() -> None:
    client, words = ScriptedClient(), "many words " * 12
    client.settings_now = (Provenance(path="egress.extra_ca", value=words, source="settings.yml"),)
    client.proposals_now = [asked(notes=(words,))]
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)

        def columns(first: str) -> list[int]:
            """Where this row's text begins, and where it goes on."""
            rows = text_of(pilot).splitlines()
            start = next((at for at, row in enumerate(rows) if first in row), 0)
            return [rows[start].find("many"), len(rows[start + 1]) - len(rows[start + 1].lstrip())]

        await pilot.press("comma")
        await until(pilot, lambda: columns("egress.extra_ca") == [19, 19], "the value in its column")
        await pilot.resize_terminal(120, 24)
        await until(pilot, lambda: "many words " * 8 in text_of(pilot), "wider")
        assert columns("egress.extra_ca") == [19, 19]
        await pilot.press("escape", "a")
        panel = pilot.app.screen.query_one(ApprovalsPanel)
        await until(pilot, lambda: panel.first is not None and panel.armed(panel.first), "a card that is ready")
        await pilot.press("enter")
        await until(pilot, lambda: columns("✂") == [4, 4], "the note behind its mark")


async def test_the_log_says_that_older_lines_are_gone(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    text = "3,000 older lines were dropped to make room: `keep` in settings.yml says what stays"
    data = {"kind": "notice", "level": "info", "code": "lines_dropped", "text": text}
    client.gone = StreamEvent(seq=0, at=NOW, kind="notice", slug="impl-1", data=data)
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("e")
        await until(pilot, lambda: "3,000 older lines were dropped" in text_of(pilot), "how many")
