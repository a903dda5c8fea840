"""The restart schedule of hardening.md, and what asks for attention."""

import pytest

from app.core.health import ATTEMPTS, FORGIVEN_AFTER, Restarts, attention, delay
from app.core.model import SidecarHealth


def test_delays_double_to_the_cap() -> None:
    assert [delay(attempt) for attempt in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_five_attempts_then_failed() -> None:
    restarts = Restarts()
    for attempt in range(1, ATTEMPTS + 1):
        restarts = restarts.down(0.0)
        health = restarts.health(5.0, "boom")
        assert (health.state, health.attempt, health.next_retry) == ("restarting", attempt, delay(attempt))
    health = restarts.down(0.0).health(5.0, "boom")
    assert (health.state, health.attempt, health.next_retry, health.last_error) == ("failed", ATTEMPTS, None, "boom")


@pytest.mark.parametrize(("calm", "attempt"), [(FORGIVEN_AFTER - 1, 3), (FORGIVEN_AFTER, 1)])
def test_ten_healthy_minutes_forgive(calm: float, attempt: int) -> None:
    restarts = Restarts(attempt=2).up(100.0).down(100.0 + calm)
    assert restarts.attempt == attempt


def test_a_failed_restart_counts_from_the_last_end() -> None:
    restarts = Restarts(attempt=1).up(0.0).down(1.0).down(10_000.0)
    assert restarts.attempt == 3


def test_attention() -> None:
    healthy, failed = SidecarHealth(state="healthy"), SidecarHealth(state="failed")
    assert attention("running", healthy) == 10
    assert attention("running", failed) == 90
    assert attention("running", healthy, stalled=True) == 100
    assert attention("failed", healthy) == attention("lost", healthy) == 90
    assert attention("ended", healthy) == 0


def test_a_stalled_bottle_says_so() -> None:
    from app.cli.bottles import _state
    from app.core import bottles
    from tests.controller.standin import view

    silent = view("one", stalled=True, sidecar=SidecarHealth(state="healthy"))
    assert bottles.mark(silent).word == _state(silent) == "stalled"
    cut_off = view("one", stalled=True, sidecar=SidecarHealth(state="failed"))
    assert bottles.mark(cut_off).word == "sidecar down"
