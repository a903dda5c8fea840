"""Which happenings are worth a notice, and what it says."""

from typing import Any

import pytest

from app.core.model import SidecarHealth
from app.core.notices import Notice, of_bottle, of_event, of_proposal, together
from tests.tui.scripted import asked, view

AT = 5.0


@pytest.mark.parametrize(
    ("before", "now", "about"),
    [
        ({}, {"state": "ended", "exit_code": 0}, "done"),
        ({}, {"state": "failed", "exit_code": 3}, "failed"),
        ({}, {"state": "lost", "error": "its session holder was killed"}, "failed"),
        ({}, {"stalled": True}, "stalled"),
        ({}, {"asks_user": True, "doing": "waiting"}, "question"),
        ({"asks_user": True}, {"asks_user": True, "doing": "waiting", "stalled": True}, None),
        ({}, {"doing": "idle", "stalled": True}, None),
        ({}, {"sidecar": SidecarHealth(state="failed")}, "sidecar"),
        ({}, {"allowed": 3}, None),
        ({"stalled": True}, {"stalled": True}, None),
        ({"state": "ended"}, {"state": "ended"}, None),
    ],
)
def test_of_a_bottle(before: dict[str, Any], now: dict[str, Any], about: str | None) -> None:
    notice = of_bottle(view("dev", **before), view("dev", **now), AT)
    assert (notice.about if notice else None) == about


def test_one_that_waits_for_its_user_is_not_said_to_do_nothing() -> None:
    notice = of_bottle(view("dev"), view("dev", stalled=True, doing="waiting"), AT)
    assert notice is not None
    assert notice.title == "dev waits for you"
    assert "its turn is over" in notice.text


@pytest.mark.parametrize(("state", "title"), [("failed", "dev has failed"), ("lost", "dev was lost")])
def test_what_became_of_it(state: str, title: str) -> None:
    notice = of_bottle(view("dev"), view("dev", state=state), AT)
    assert notice is not None
    assert notice.title == title


def test_a_bottle_seen_for_the_first_time_says_nothing() -> None:
    assert of_bottle(None, view("dev", state="failed"), AT) is None


def test_a_card_tells_kind_and_host_and_no_words_of_the_agent() -> None:
    notice = of_proposal(asked(justification="SECRET words").model_dump(mode="json"), AT)
    assert notice is not None
    assert (notice.about, notice.proposal) == ("approval", "p-000001")
    assert "index.crates.io" in notice.text
    assert "SECRET" not in notice.model_dump_json()
    assert of_proposal(asked(state="rejected").model_dump(mode="json"), AT) is None


def test_hostile_hosts_are_made_harmless() -> None:
    notice = of_event("dev", "egress", {"code": "canary", "host": "a\x1b]0;x\x07" + "y" * 500}, AT)
    assert notice is not None
    assert notice.text.isprintable()
    assert len(notice.text) < 200
    assert of_event("dev", "egress", {"code": "host_not_allowed", "host": "x"}, AT) is None


def test_many_are_one_bounded_message() -> None:
    several = [Notice(at=AT, about="done", level="info", title=f"n{number}", text="t") for number in range(30)]
    title, text = together(several)
    assert title == "carboy: 30 notices"
    assert text.splitlines()[0] == "n0: t"
    assert text.splitlines()[-1] == "and 20 more"
    assert together(several[:1]) == ("n0", "t")
