"""A bottle's report, and what happened since the operator left."""

import pytest

from app.core.report import Away, Decided, Refused
from tests.tui.scripted import NOW, ScriptedClient, app, reported
from tests.tui.waiting import ready, text_of, until

SIZES = [(80, 24), (160, 48)]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


async def test_the_report_of_a_bottle(size: tuple[int, int]) -> None:
    async with app().run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("o")
        await until(pilot, lambda: "322k tokens, $3.10" in text_of(pilot), "spend")
        assert "pastebin.com" in text_of(pilot)
        assert "approved by op: ok" in text_of(pilot)
        await pilot.press("escape")
        assert len(pilot.app.screen_stack) == 1


async def test_what_happened_meanwhile_is_said_at_once_and_shown(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    failed = reported("nightly", outcome="failed (exit code 2)", state="failed", decisions=(), error="out of tokens")
    client.away_now = Away(since=NOW - 30_000, until=NOW, reports=(reported("docs"), failed))
    async with app(client).run_test(size=size, notifications=True) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "2 ended" in text_of(pilot), "a word")
        await pilot.press("W")
        await until(pilot, lambda: "8h ago" in text_of(pilot), "since")
        assert "docs (developer)" in text_of(pilot)
        await pilot.press("G")
        await until(pilot, lambda: "failed (exit code 2): out of tokens" in text_of(pilot), "the other one")


async def test_what_failed_is_not_told_as_refused_and_one_question_is_told_as_one() -> None:
    client = ScriptedClient()
    waits = Decided(at=NOW - 9000, what="index.crates.io", kind="egress-allow", state="pending")
    broken = Refused(host="api.example.com", code="upstream_unreachable", times=2, failed=True)
    told = reported("docs", decisions=(waits,), ended_at=None, refusals=(broken,))
    client.away_now = Away(since=NOW - 30_000, until=NOW, reports=(told,))
    async with app(client).run_test(size=(160, 48), notifications=True) as pilot:
        await ready(pilot)
        await until(pilot, lambda: "1 question is open. W shows" in text_of(pilot), "a word")
        await pilot.press("W")
        await until(pilot, lambda: "!      2× api.example.com" in text_of(pilot), "what failed")
        assert "  Failed\n" in "".join(f"{row.rstrip()}\n" for row in text_of(pilot).splitlines())
        assert "Refused" not in text_of(pilot)


async def test_nobody_was_away() -> None:
    async with app().run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("W")
        await until(pilot, lambda: "Nobody left yet" in text_of(pilot), "nothing")
