"""Profiles: only what a file says is acted on, and waits are bounded."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import overnight
from app.core.overnight import PARK_SECONDS, hold_seconds, is_limit, next_reset, pause_before_resume, profile, wake
from app.core.schema import Bottle, Manifest

NOW = 1000.0


def manifest(**given: Any) -> Manifest:
    bottle = Bottle.model_validate({"unattended": given})
    return Manifest(bottle=bottle, provenance={f"unattended.{key}": "base" for key in given})


def test_a_bottle_that_says_nothing_has_no_profile() -> None:
    found = profile(Manifest())
    assert (found.hold, found.on_limit, found.resumes, found.parks) == (None, None, 0, False)
    assert hold_seconds(Manifest(), 300.0) == 300.0


def test_what_a_file_says() -> None:
    found = profile(manifest(hold="park", max_wait=60, on_limit="wait_for_reset", on_exit={"resume": 3}))
    assert (found.parks, found.max_wait, found.on_limit, found.resumes) == (True, 60.0, "wait_for_reset", 3)
    assert hold_seconds(manifest(hold="park"), 300.0) == PARK_SECONDS
    assert hold_seconds(manifest(hold="reject", max_wait=60), 300.0) == 60.0


@pytest.mark.parametrize(
    ("kind", "row", "reset", "expected"),
    [
        ("quota", 1, None, True),
        ("rate_limit", 1, None, False),
        ("rate_limit", 1, NOW + 20, False),
        ("rate_limit", 1, NOW + 3600, True),
        ("rate_limit", 5, None, True),
        ("overloaded", 4, None, False),
        ("auth", 50, NOW + 3600, False),
        ("network", 50, None, False),
    ],
)
def test_which_faults_are_limits(kind: str, row: int, reset: float | None, expected: bool) -> None:
    assert is_limit(kind, row, reset, NOW) is expected


def test_windows_that_are_used_up_say_when_they_end() -> None:
    windows = [(1.0, NOW + 100), (0.2, NOW + 9000), (1.0, NOW - 5), (None, NOW + 500)]
    assert next_reset(windows, NOW) == NOW + 100
    assert next_reset([(0.5, NOW + 100)], NOW) is None


@given(st.one_of(st.none(), st.floats(0, 1e12)), st.integers(0, 60))
def test_a_wait_is_in_the_future_and_bounded(reset: float | None, waited: int) -> None:
    assert NOW < wake(reset, waited, NOW) <= NOW + PARK_SECONDS
    assert 0 < pause_before_resume(waited) <= 300


def test_a_profile_chosen_at_the_launch_stands_in_place_of_the_files() -> None:
    manifest = Manifest(
        bottle=Bottle.model_validate({"unattended": {"hold": "park", "max_wait": 60}}),
        provenance={"unattended.hold": "base", "unattended.max_wait": "base", "supervise": "base"},
    )
    assert overnight.alone(manifest, None) is manifest
    made = overnight.alone(manifest, "reject")
    assert overnight.profile(made) == overnight.Profile(hold="reject", on_limit="wait_for_reset", resumes=3)
    assert made.provenance["supervise"] == "base"
    assert made.provenance["unattended.hold"] == "launch"
    assert "unattended.max_wait" not in made.provenance


def test_what_a_limit_ended_is_started_again_once_it_is_over() -> None:
    waits = overnight.Profile(on_limit="wait_for_reset")
    assert overnight.most_resumes(waits, limited=True) == overnight.MOST_RETRIES
    assert overnight.most_resumes(waits, limited=False) == 0
    assert overnight.most_resumes(overnight.Profile(on_limit="stop", resumes=2), limited=True) == 2
    assert overnight.resume_at(90.0, 0, 100.0) == 102.0, "over already"
    assert overnight.resume_at(150.0, 0, 100.0) == 155.0
    assert overnight.resume_at(None, 0, 100.0) == 100.0 + overnight.UNKNOWN_WAIT
    overloaded = [overnight.resume_at(None, number, 100.0, "overloaded") - 100.0 for number in range(10)]
    assert overloaded[:3] == [30.0, 60.0, 120.0]
    assert max(overloaded) == overnight.UNKNOWN_WAIT
    assert overnight.resume_at(150.0, 0, 100.0, "overloaded") == 155.0


def test_what_an_agent_is_told_that_goes_on() -> None:
    told = overnight.to_go_on("Fix it", "claude")
    assert told is not None
    assert told.endswith("Fix it")
    assert overnight.to_go_on(told, "claude") == told, "not told twice"
    assert overnight.to_go_on("make nightly", "shell") is None, "a command stays as it is"
    assert overnight.to_go_on(None, "claude") is None
