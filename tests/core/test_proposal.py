"""The proposal's state machine: one decision, ever; what each kind's answer needs."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.proposal import ACCESS, Act, State, after, check_answer, over, overreach
from app.errors import CarboyError
from sidecar.contract import ProposalKind, Route

ACTS: tuple[Any, ...] = get_args(Act)
STATES = get_args(State)


@given(st.lists(st.sampled_from(ACTS), min_size=1, max_size=30))
def test_however_it_is_pulled_about_it_is_decided_once(acts: list[Act]) -> None:
    state, decisions = "pending", 0
    for act in acts:
        if state == "pending":
            state = after(state, act, by="ann")
            decisions += 1
            continue
        with pytest.raises(CarboyError, match="by ann") as caught:
            after(state, act, by="ann")
        assert caught.value.code == "already_decided"
    assert decisions == 1
    assert state == {"approve": "approved", "modify": "modified", "reject": "rejected"}.get(
        acts[0], {"expire": "expired", "withdraw": "withdrawn"}.get(acts[0])
    )


def test_what_a_late_operator_is_told() -> None:
    assert over("rejected", "ann", "no") == "This proposal was rejected already by ann"
    assert over("approved") == "This proposal was approved already"
    assert over("approved", "carboy") == "This proposal was approved already"
    late = over("expired", "carboy", "nobody answered in time")
    assert late == "This proposal has expired already: nobody answered in time"


def test_nothing_leads_back_to_pending() -> None:
    assert all(after("pending", act) != "pending" for act in ACTS)
    for state in set(STATES) - {"pending"}:
        for act in ACTS:
            with pytest.raises(CarboyError):
                after(state, act)


@pytest.mark.parametrize("kind", get_args(ProposalKind))
def test_reports_need_a_reason_and_are_never_edited_nor_saved(kind: str) -> None:
    check_answer(kind, "reject", reason="", scope="", edited=False)
    if kind in ACCESS:
        check_answer(kind, "modify", reason="", scope="save", edited=True)
        return
    check_answer(kind, "approve", reason="a test key", scope="once", edited=False)
    if kind == "git-push":  # a review: nothing was found in it
        check_answer(kind, "approve", reason="", scope="once", edited=False)
    for wrong in (*([] if kind == "git-push" else [{"reason": "  "}]), {"edited": True}, {"scope": "save"}):
        with pytest.raises(CarboyError):
            check_answer(kind, "approve", **{"reason": "x", "scope": "session", "edited": False, **wrong})  # type: ignore[arg-type]


def test_what_an_agent_may_not_say() -> None:
    route = Route.model_validate(
        {
            "host": "a.example",
            "auth": {"token_ref": "T"},
            "ports": [22],
            "allow_private": True,
            "shared": True,
            "max_body": 1,
            "dlp": {"outbound_detectors": False},
            "matches": [{"methods": ["GET"]}],
            "git": {"fetch": True},
        }
    )
    assert overreach(route, None) == ("allow_private", "auth", "dlp", "max_body", "ports", "shared")
    assert overreach(route, route) == ()
    assert overreach(Route(host="a.example"), route) == ()
