"""Approvals by keys, in a large window and the smallest usual one: what is sent is what was shown, new cards take no
answer at once, findings need a reason, and the agent's terminal gets the keyboard back."""

import time
from typing import Any

import pytest
from textual.content import Content
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widgets import Input, TextArea

from app.core.approvals import ProposalView
from app.core.risks import Risk
from app.errors import CarboyError
from app.screens.answer import Answer
from app.screens.confirm import Confirm
from app.screens.egress import EgressScreen
from app.screens.proposal import ProposalScreen, RoutesEditor
from app.widgets import approvals_panel
from app.widgets.answer_field import AnswerField
from app.widgets.approvals_panel import ApprovalsPanel
from app.widgets.key_bar import KeyBar
from tests.tui.scripted import ScriptedClient, app, asked, found
from tests.tui.waiting import ready, text_of, until

SIZES = [(80, 24), (160, 48)]
LEADER = "ctrl+right_square_bracket"


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


def client_with(*views: ProposalView) -> ScriptedClient:
    client = ScriptedClient()
    client.proposals_now = list(views)
    return client


async def armed(pilot: Pilot[Any]) -> ApprovalsPanel:
    """The panel, once its card takes answers."""
    panel = pilot.app.screen_stack[0].query_one(ApprovalsPanel)
    await until(pilot, lambda: panel.first is not None and panel.armed(panel.first), "a card that takes answers")
    return panel


async def on_screen(pilot: Pilot[Any], kind: type[Any]) -> Any:
    await until(pilot, lambda: isinstance(pilot.app.screen, kind), kind.__name__)
    await pilot.pause()
    return pilot.app.screen


async def test_of_many_routes_those_in_sight_are_drawn(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """All 500 took a second, twice."""
    drawn: list[int] = []
    render = Content.render_strips

    def counted(self: Content, *args: Any) -> list[Strip]:
        drawn.append(self.plain.count("\n"))
        return render(self, *args)

    lines = tuple(
        line for at in range(500) for line in (f"+- host: h{at}.example", "+  matches:", "+  - methods: [GET]")
    )
    async with app(client_with(asked(diff=lines))).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        monkeypatch.setattr(Content, "render_strips", counted)
        await pilot.press("a", "enter")
        await until(pilot, lambda: "h1.example" in text_of(pilot), "the page")
        await pilot.press("G")
        await until(pilot, lambda: "h499.example" in text_of(pilot), "its end")
        await pilot.press("y")
        await on_screen(pilot, Answer)
        await until(pilot, lambda: "h0.example" in text_of(pilot), "the box")
        assert drawn
        assert max(drawn) < 200


async def test_three_keys_from_the_notification_to_done(size: tuple[int, int]) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a")
        await pilot.press("a")
        await on_screen(pilot, Answer)
        assert "index.crates.io" in text_of(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: client.answers, "an answer")
        verb, identity, body = client.answers[0]
        assert (verb, identity, body.scope, body.seen, body.routes) == ("approve", "p-000001", "session", "shown", None)
        assert body.reason
        assert body.by
        await until(pilot, lambda: not pilot.app.proposals, "it is gone")  # type: ignore[attr-defined]


async def test_rejected_with_another_reason(size: tuple[int, int]) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("r")
        await on_screen(pilot, Answer)
        await pilot.press("down", "end", *"!!", "enter")
        await until(pilot, lambda: client.answers, "an answer")
        assert client.answers[0][0] == "reject"
        assert client.answers[0][2].reason == "Use what is allowed already!!"


async def test_from_the_terminal_and_back(size: tuple[int, int]) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        main = pilot.app.screen
        await pilot.press("enter")
        await until(pilot, main._in_terminal, "in the terminal")
        await armed(pilot)
        await pilot.press("y", "a", "r")
        assert not client.answers
        assert b"".join(data for _, data in client.typed) in (b"", b"y", b"ya", b"yar")
        assert f"{'ctrl+]'} y" in text_of(pilot)
        await pilot.press(LEADER, "y")
        await on_screen(pilot, Answer)
        await pilot.press("enter")
        await until(pilot, lambda: client.answers, "an answer")
        await until(pilot, main._in_terminal, "back in the terminal")


async def test_the_keys_are_the_cards_where_there_is_one_and_the_screens_where_there_is_none(
    size: tuple[int, int],
) -> None:
    client = client_with()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("4")
        await pilot.press("e")
        await on_screen(pilot, EgressScreen)
        await pilot.press("escape")
        bar = pilot.app.screen.query_one(KeyBar)
        assert "egress" in [key.word for key in bar.keys]
        client.ask(asked())
        await until(pilot, lambda: "edit" in [key.word for key in bar.keys], "the card's keys")
        assert "egress" not in [key.word for key in bar.keys]
        await armed(pilot)
        await pilot.press("e")
        await on_screen(pilot, RoutesEditor)


async def test_a_new_card_takes_no_answer_for_half_a_second(size: tuple[int, int]) -> None:
    client = client_with()
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("4")
        came = time.monotonic()  # the card is seen later than this, never earlier
        client.ask(asked())
        panel = pilot.app.screen.query_one(ApprovalsPanel)
        await until(pilot, lambda: panel.first is not None, "the card")
        await pilot.press("a", "r", "y", "enter")
        if time.monotonic() - came < 0.4:
            assert not isinstance(pilot.app.screen, Answer | ProposalScreen)
            assert len(pilot.app.screen_stack) == 1
        await armed(pilot)
        assert time.monotonic() - came > 0.45
        await pilot.press("a")
        await on_screen(pilot, Answer)


async def test_what_slips_under_the_cursor_takes_no_answer_either(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with(asked(), asked("p-000002", title="other", host="other.example", created_at=1_767_268_800.0))
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        panel = await armed(pilot)
        await pilot.press("a")
        monkeypatch.setattr(approvals_panel, "DEAD_TIME", 1000.0)
        client.ask(asked(state="expired"))
        await until(pilot, lambda: panel.first is not None and panel.first.id == "p-000002", "the other one")
        assert not panel.armed(panel.first)  # type: ignore[arg-type]


async def test_a_finding_needs_a_reason_and_is_not_edited(size: tuple[int, int]) -> None:
    client = client_with(found())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("y")
        screen = await on_screen(pilot, Answer)
        screen.query_one(Input).value = "  "
        await pilot.press("enter")
        await until(pilot, lambda: "Say why" in text_of(pilot), "the question")
        assert not client.answers
        assert "bottle file" not in text_of(pilot)
        await pilot.press("tab", "down", "enter")
        await until(pilot, lambda: client.answers, "an answer")
        assert client.answers[0][2].scope == "once"
        await pilot.press("4")


async def test_how_long_and_saving_shows_the_file_first(size: tuple[int, int]) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("y")
        await on_screen(pilot, Answer)
        await pilot.press("shift+tab")
        await until(pilot, lambda: "bottles/dev.md" in text_of(pilot), "the change of the file")
        await pilot.press("enter")
        await until(pilot, lambda: len(client.answers) == 2, "an answer")
        verb, _, body = client.answers[1]
        assert (verb, body.scope, body.seen) == ("approve", "save", "previewed")


async def test_in_full_edited_and_applied(size: tuple[int, int]) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "enter")
        await on_screen(pilot, ProposalScreen)
        await until(pilot, lambda: "cargo needs the index" in text_of(pilot), "the whole proposal")
        await pilot.press("e")
        editor = await on_screen(pilot, RoutesEditor)
        editor.query_one(TextArea).text = "routes:\n- host: mirror.example\n"
        await pilot.press("ctrl+s")
        await on_screen(pilot, Answer)
        await pilot.press("enter")
        await until(pilot, lambda: len(client.answers) == 2, "an answer")
        verb, _, body = client.answers[1]
        assert (verb, body.seen) == ("approve", "previewed")
        assert "mirror.example" in body.routes


async def test_edited_in_an_editor_that_cannot_be_had(size: tuple[int, int]) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size, notifications=True) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "enter")
        screen = await on_screen(pilot, ProposalScreen)
        await until(pilot, lambda: bool(screen.view.routes), "routes")
        await pilot.press("E")
        await until(pilot, lambda: "cannot be lent" in text_of(pilot), "the reason")


async def test_all_alike_of_one_host_but_never_findings() -> None:
    alike = [asked(f"p-00000{number}", title=f"GET /{number}", created_at=1_767_268_000.0) for number in range(3)]
    client = client_with(*alike, asked("p-000009", host="x.example", created_at=1_767_268_500.0), found())
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "A")
        screen = await on_screen(pilot, Answer)
        assert [view.id for view in screen.views] == ["p-000000", "p-000001", "p-000002"]
        await pilot.press("enter")
        await until(pilot, lambda: len(client.answers) == 3, "three answers")
        client.proposals_now = []
        main: Any = pilot.app.screen_stack[0]
        assert main.alike(found()) == (found(),)


async def test_who_was_faster_is_told(size: tuple[int, int]) -> None:
    client = client_with(asked())
    client.fail["approve"] = CarboyError("This proposal was rejected already by bob (app)", "", "already_decided")
    async with app(client).run_test(size=size, notifications=True) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("y")
        await on_screen(pilot, Answer)
        await pilot.press("enter")
        await until(pilot, lambda: "by bob" in text_of(pilot), "who it was")
        assert len(pilot.app.screen_stack) == 1


async def test_what_could_not_be_applied_stays_and_says_why(size: tuple[int, int]) -> None:
    client = client_with(asked())
    client.fail["approve"] = CarboyError("The sidecar of this bottle is not running", "", "sidecar_down")
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("y")
        await on_screen(pilot, Answer)
        await pilot.press("enter")
        await until(pilot, lambda: "is not running" in text_of(pilot), "the error")
        client.fail.clear()
        await pilot.press("enter")
        await until(pilot, lambda: not pilot.app.proposals, "done")  # type: ignore[attr-defined]


async def test_its_request_in_the_log(size: tuple[int, int]) -> None:
    client = client_with(found())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "l")
        await until(pilot, lambda: "The request's story" in text_of(pilot), "the story")
        assert "api.github.com/gists" in text_of(pilot)


async def test_a_bell_and_a_word_for_what_is_new_only() -> None:
    client = client_with(asked())
    the_app = app(client)
    bells: list[int] = []
    the_app.bell = lambda: bells.append(1)
    async with the_app.run_test(size=(160, 48), notifications=True) as pilot:
        await ready(pilot)
        assert not bells
        client.ask(found(title="[bold]x[/bold] \x1b[31mred"))
        await until(pilot, lambda: bells, "a bell")
        await until(pilot, lambda: "research-2 asks" in text_of(pilot), "a word")
        text = text_of(pilot)
        assert "[bold]x[/bold]" in text
        assert "\x1b" not in text
        client.ask(found(error="again"))
        await until(pilot, lambda: "again" in text_of(pilot), "the change")
        assert len(bells) == 1


async def test_a_thousand_cards_and_the_keys_stay_quick() -> None:
    risks = (
        Risk(code="new_host", text="a new host"),
        Risk(code="post_capable", text="can be written to", level="warn"),
    )
    views = [asked(f"p-{number:06}", created_at=1_767_268_000.0 + number / 10, risks=risks) for number in range(1000)]
    client = client_with(*views)
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a")
        panel = pilot.app.screen.query_one(ApprovalsPanel)
        await until(pilot, lambda: panel.option_count == 51, "cards")
        times: list[float] = []
        for _ in range(20):
            start = time.process_time()
            panel.action_cursor_down()
            panel.show(pilot.app.proposals, 1_767_268_900.0 + len(times))  # type: ignore[attr-defined]
            times.append(time.process_time() - start)
        assert sorted(times)[18] < 0.05, times


async def test_what_is_not_drawn_is_counted_and_the_list_stays_where_it_is() -> None:
    views = [asked(f"p-{number:06}", created_at=1_767_268_000.0 + number) for number in range(53)]
    client = client_with(*views)
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await pilot.press("a")
        panel = pilot.app.screen.query_one(ApprovalsPanel)
        await until(pilot, lambda: panel.option_count == 51, "cards")
        rest = panel.options[50]
        assert str(rest.prompt) == "and 3 more"
        await pilot.press(*["down"] * 20)
        await until(pilot, lambda: panel.scroll_offset.y > 40, "scrolled")
        top = panel.scroll_offset.y
        client.ask(asked("q-000001", created_at=1_767_269_000.0))
        await until(pilot, lambda: str(panel.options[50].prompt) == "and 4 more", "one more")
        assert (panel.scroll_offset.y, panel.chosen) == (top, views[20])
        client.ask(views[30].model_copy(update={"risks": (Risk(code="new_host", text="another word"),)}))
        await until(pilot, lambda: "another word" in str(panel.options[30].prompt), "a card out of sight")
        client.ask(views[40].model_copy(update={"state": "expired"}))
        await until(pilot, lambda: str(panel.options[50].prompt) == "and 3 more", "one less")
        assert (panel.scroll_offset.y, panel.chosen) == (top, views[20])
        for view in (views[0], views[1], views[2], views[3]):
            client.ask(view.model_copy(update={"state": "expired"}))
        await until(pilot, lambda: panel.option_count == 49, "nothing is left out")
        assert panel.chosen == views[20]


async def test_edited_at_once_from_the_card(size: tuple[int, int]) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "e")
        await on_screen(pilot, RoutesEditor)
        await pilot.press("escape")
        await on_screen(pilot, ProposalScreen)
        await pilot.press("escape")
        assert len(pilot.app.screen_stack) == 1
        assert not client.answers, "leaving answers nothing"


async def test_leaving_the_editor_asks_before_what_was_typed_is_gone(size: tuple[int, int]) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "e")
        editor = await on_screen(pilot, RoutesEditor)
        await pilot.press("#", "escape")
        await on_screen(pilot, Confirm)
        await pilot.press("escape")
        assert pilot.app.screen is editor
        assert editor.query_one(TextArea).text.startswith("#")
        client.fail["approve"] = CarboyError("routes:3: unknown key", "Write host", "config")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Not usable yet" in text_of(pilot), "the second try")
        await pilot.press("escape")
        await on_screen(pilot, Confirm)
        await pilot.press("y")
        await on_screen(pilot, ProposalScreen)


@pytest.mark.parametrize(("key", "verb"), [("y", "approve"), ("a", "approve"), ("r", "reject")])
async def test_answered_from_the_page(size: tuple[int, int], key: str, verb: str) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "enter")
        await on_screen(pilot, ProposalScreen)
        await pilot.press(key)
        await on_screen(pilot, Answer)
        await pilot.press("escape")
        await on_screen(pilot, ProposalScreen)
        assert not client.answers
        await pilot.press(key)
        await on_screen(pilot, Answer)
        await pilot.press("enter")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 1, "back on the main screen")
        assert [answer[0] for answer in client.answers] == [verb]


async def test_a_report_is_not_edited_and_leads_to_its_request(size: tuple[int, int]) -> None:
    client = client_with(found())
    async with app(client).run_test(size=size, notifications=True) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "enter")
        await on_screen(pilot, ProposalScreen)
        await pilot.press("e")
        await until(pilot, lambda: "A report cannot be edited" in text_of(pilot), "why not")
        await pilot.press("E", "l")
        await until(pilot, lambda: "The request's story" in text_of(pilot), "the story")
        await pilot.press("escape")
        await on_screen(pilot, ProposalScreen)


@pytest.mark.parametrize(("key", "verb"), [("a", "allow"), ("y", "allow"), ("r", "reject")])
async def test_the_key_that_opened_the_box_is_not_typed_into_it(size: tuple[int, int], key: str, verb: str) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a")  # the panel has the focus
        screen: Any = pilot.app.screen
        screen.approvals.post_message(ApprovalsPanel.Asked(asked(), verb))  # type: ignore[arg-type]
        box = await on_screen(pilot, Answer)
        field = box.query_one(AnswerField)
        usual = field.value
        await pilot.press(key, key, key)
        assert field.value == usual
        await pilot.press("enter")
        await until(pilot, lambda: client.answers, "an answer")
        assert client.answers[0][2].reason == usual


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ("already seen", "already seen"),
        ("say", "say"),
        ("yy", "Needed for the task"),
        ("aa5", "5"),
        ("Any of it", "Any of it"),
    ],
)
async def test_a_word_that_begins_with_that_key_is_typed_whole(size: tuple[int, int], keys: str, value: str) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "a")
        box = await on_screen(pilot, Answer)
        await pilot.press(*("space" if key == " " else key for key in keys))
        assert box.query_one(AnswerField).value == value


@pytest.mark.parametrize(
    ("state", "by", "reason", "says"),
    [
        ("rejected", "bob (command line)", "no", "was rejected already by bob (command line)"),
        ("expired", "carboy", "nobody answered in time", "has expired already: nobody answered in time"),
        ("withdrawn", "carboy", "its bottle has ended", "was withdrawn already: its bottle has ended"),
    ],
)
async def test_an_open_box_says_that_it_is_over_and_keeps_the_keyboard(
    size: tuple[int, int], state: str, by: str, reason: str, says: str
) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("y")
        box = await on_screen(pilot, Answer)
        client.ask(asked(state=state, decided_by=by, reason=reason))
        await until(pilot, lambda: says in " ".join(text_of(pilot).split()), "what became of it")
        await pilot.press(*"x s q")
        assert pilot.app.screen is box, "what is being typed is no key of the screen below"
        await pilot.press("enter")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 1, "closed")
        assert not client.answers


async def test_of_alike_ones_only_what_waits_still_is_answered(size: tuple[int, int]) -> None:
    alike = [asked(f"p-00000{number}", created_at=1_767_268_000.0 + number) for number in range(3)]
    client = client_with(*alike)
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "A")
        box = await on_screen(pilot, Answer)
        assert len(box.views) == 3
        client.ask(alike[1].model_copy(update={"state": "rejected", "decided_by": "bob"}))
        await until(pilot, lambda: "(1 of 3; the answer" in text_of(pilot), "it says so")
        await pilot.press("enter")
        await until(pilot, lambda: len(client.answers) == 2, "two answers")
        assert [identity for _, identity, _ in client.answers] == ["p-000000", "p-000002"]


async def test_the_reason_and_how_long_stay_in_sight_whatever_is_asked(size: tuple[int, int]) -> None:
    diff = tuple(f"+ - host: a{number}.example" for number in range(50))
    client = client_with(asked(diff=diff))
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("y")
        await on_screen(pilot, Answer)
        await until(pilot, lambda: "pgdn more" in text_of(pilot), "that there is more")
        assert "Needed for the task" in text_of(pilot)
        assert "● until it ends" in text_of(pilot)
        assert "a49.example" not in text_of(pilot)
        await pilot.press(*["pagedown"] * 5)
        await until(pilot, lambda: "a49.example" in text_of(pilot), "the end of it")
        assert "Needed for the task" in text_of(pilot)
        await pilot.press("shift+tab")
        await until(pilot, lambda: "+  - host: x" in text_of(pilot).replace("+   -", "+  -"), "the change of the file")
        assert "● and in its bottle file" in text_of(pilot)


async def test_a_broken_edit_says_why_above_the_text_and_goes_to_the_line(size: tuple[int, int]) -> None:
    client = client_with(asked())
    text = "routes:\n- host: x.example\n- hosts: y\n"
    async with app(client).run_test(size=size, notifications=True) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "e")
        editor = await on_screen(pilot, RoutesEditor)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Nothing was changed" in text_of(pilot), "that there is nothing to look at")
        assert not client.answers
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, RoutesEditor), "the editor")
        editor = pilot.app.screen
        editor.query_one(TextArea).text = text
        client.fail["approve"] = CarboyError(
            "the edited routes:3: routes[1].hosts: unknown key", "Write host", "config"
        )
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "routes[1].hosts: unknown key" in " ".join(text_of(pilot).split()), "why not")
        area = pilot.app.screen.query_one(TextArea)
        assert (area.text, area.cursor_location) == (text, (2, 0))
        client.fail.clear()
        area.text = "routes:\n- host: x.example\n"
        await pilot.press("ctrl+s")
        box = await on_screen(pilot, Answer)
        assert "Allow as edited" in text_of(pilot)
        await pilot.press("tab", "enter")
        await until(pilot, lambda: "Allowed as edited (once)" in text_of(pilot), "what was done")
        assert box.edited == "routes:\n- host: x.example\n"


async def test_its_page_says_that_it_was_decided_elsewhere(size: tuple[int, int]) -> None:
    client = client_with(asked())
    async with app(client).run_test(size=size, notifications=True) as pilot:
        await ready(pilot)
        await armed(pilot)
        await pilot.press("a", "enter")
        await on_screen(pilot, ProposalScreen)
        await until(pilot, lambda: "pending" in text_of(pilot), "it waits")
        client.ask(asked(state="rejected", decided_by="bob", reason="no"))
        await until(pilot, lambda: "rejected" in text_of(pilot), "it does not any more")
        await pilot.press("y")
        await until(pilot, lambda: "rejected already by bob" in text_of(pilot), "who it was")
        assert not client.answers


async def test_a_card_that_expires_unseen_is_told_of_once(size: tuple[int, int]) -> None:
    """Not one that this window never showed, and no other end: those somebody brought about."""
    client = client_with(asked("p-000001"), asked("p-000002"))
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await armed(pilot)
        for identity, state in (("p-000009", "expired"), ("p-000002", "withdrawn"), ("p-000001", "expired")):
            client.ask(asked(identity, state=state, reason="nobody answered in time"))
        client.ask(asked("p-000001", state="expired", reason="nobody answered in time"))
        await until(pilot, lambda: not pilot.app.proposals, "an empty panel")
        said = [item.message for item in pilot.app._notifications if item.title == "Expired"]
        assert said == [f"{asked().slug} asked: {asked().title}. Nobody answered in time"]
