"""Pictures of every place that the keys of approvals, notices and reports lead to, in the smallest usual window and in
a large one. A changed one is looked at, then taken over: `pytest tests/tui --snapshot-update`."""

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import TextArea

from app.core.notices import Notice
from app.core.report import Away
from app.core.risks import Risk
from app.errors import CarboyError
from app.screens.proposal import RoutesEditor
from app.widgets.approvals_panel import ApprovalsPanel
from tests.tui.scripted import NOW, ScriptedClient, app, asked, found, reported
from tests.tui.test_snapshots import keys, still
from tests.tui.waiting import ready, text_of, until

pytestmark = pytest.mark.xdist_group("snapshots")
SIZES = [(80, 24), (160, 48)]
LEADER = "ctrl+right_square_bracket"


def usual() -> ScriptedClient:
    client = ScriptedClient()
    client.proposals_now = [asked(), found()]
    return client


def only_a_finding() -> ScriptedClient:
    client = ScriptedClient()
    client.proposals_now = [found()]
    return client


def alike() -> ScriptedClient:
    client = ScriptedClient()
    client.proposals_now = [
        asked(f"p-00000{number}", title=f"GET index.crates.io/{path}", created_at=NOW - 300 + number,
              diff=("  - host: index.crates.io", "    matches:", f"+  - paths: [/{path}]"))
        for number, path in enumerate(("se", "to", "re"))
    ]  # fmt: skip
    return client


def stale() -> ScriptedClient:
    risks = (
        Risk(code="new_host", text="xn--pypl-53dc.example is a new host"),
        Risk(code="punycode", text="xn--pypl-53dc.example is a name in other letters: pаypаl.example", level="warn"),
        Risk(code="post_capable", text="it can be written to, so data can leave by it", level="warn"),
        Risk(code="credential", text="requests to it carry the credential GITEA_TOKEN", level="warn"),
    )
    client = ScriptedClient()
    client.proposals_now = [
        asked(
            title="POST xn--pypl-53dc.example/api +1", host="xn--pypl-53dc.example", hosts=("xn--pypl-53dc.example",),
            justification="the form needs\nto be sent", stale=True, risks=risks, asked=3, expires_at=NOW + 3000,
            notes=("api.example: an agent cannot set auth, dlp; left out",
                   "old.example: this route was taken away since; left out"),
            error="The sidecar of this bottle is not running",
        )
    ]  # fmt: skip
    return client


def broken() -> ScriptedClient:
    client = usual()
    client.fail["approve"] = CarboyError("The sidecar of this bottle is not running", "It is tried again", "sidecar")
    return client


def heard() -> ScriptedClient:
    client = usual()
    told = [
        ("approval", "warning", "impl-1", "impl-1 waits for you", "asks for access: index.crates.io", False),
        ("canary", "error", "research-2", "research-2 leaks", "its canary was on the way to evil.example", False),
        ("budget", "warning", "impl-1", "Budget of impl-1", "80 % of 500k tokens (bottle) are used", False),
        ("failed", "agent_error", "nightly", "nightly has failed", "exit code 2", True),
        ("done", "agent_complete", "docs", "docs is done", "12 refused requests: carboy learn docs", True),
        ("stalled", "warning", "research-2", "research-2 does nothing", "no output and no request for a while", True),
    ]
    client.notices_now = [
        Notice(id=20 - at, at=NOW - 60 * (at * at + 1), about=about, level=level, slug=slug, title=title, text=text,
               read=read)  # type: ignore[arg-type]
        for at, (about, level, slug, title, text, read) in enumerate(told)
    ]  # fmt: skip
    return client


def gone() -> ScriptedClient:
    client = ScriptedClient()
    failed = reported("nightly", outcome="failed (exit code 2)", state="failed", decisions=(), error="out of tokens")
    client.away_now = Away(since=NOW - 30_000, until=NOW, reports=(reported("docs"), failed))
    return client


PICTURES: dict[str, tuple[Callable[[], ScriptedClient], tuple[str, ...], str]] = {
    "panel": (usual, ("a",), "cargo needs the index"),
    "from_terminal": (usual, ("enter", LEADER, "y"), "Needed for the task"),
    "reject": (usual, ("a", "r", "down"), "Use what is allowed already"),
    "finding": (only_a_finding, ("y",), "Reviewed: it may go there"),
    "finding_in_full": (only_a_finding, ("a", "enter"), "key=****"),
    "for_a_while": (usual, ("y", "tab", "tab"), "● for 15 minutes"),
    "saving": (usual, ("y", "shift+tab", "pagedown"), "● and in its bottle file"),
    "alike": (alike, ("a", "A"), "3 alike"),
    "in_place": (usual, ("a", "e"), "ctrl+s"),
    "edited": (usual, ("a", "e", "ctrl+s"), "Needed for the task"),
    "its_request": (only_a_finding, ("a", "l"), "The request's story"),
    "stale": (stale, ("a", "enter"), "merged route by route"),
    "failed": (broken, ("y", "enter"), "is not running"),
    "notices": (heard, ("N",), "research-2 leaks"),
    "notices_clear": (heard, ("N", "c"), "Clear all notices?"),
    "away": (gone, ("W",), "docs (developer)"),
    "learned_file": (ScriptedClient, ("end", "L", "y", "w"), "A new bottle file"),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", PICTURES)
def test_picture(name: str, size: tuple[int, int], snap_compare: Any) -> None:
    make, pressed, shows = PICTURES[name]
    client = make()

    async def before(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        if client.proposals_now:
            panel = pilot.app.screen.query_one(ApprovalsPanel)
            await until(pilot, lambda: panel.first is not None and panel.armed(panel.first), "a card that is ready")
        if name != "edited":
            await keys(*pressed, shows=shows)(pilot)
            pilot.app.clear_notifications()  # they go by the clock
            await pilot.pause()
            return
        await keys(*pressed[:-1])(pilot)
        await until(pilot, lambda: isinstance(pilot.app.screen, RoutesEditor), "the editor")
        pilot.app.screen.query_one(TextArea).text = "routes:\n- host: mirror.example\n"
        await pilot.press(pressed[-1])
        await until(pilot, lambda: shows in text_of(pilot), shows)
        await still(pilot)

    assert snap_compare(app(client), terminal_size=size, run_before=before)
