"""What may follow what."""

import pytest

from app.core.lifecycle import Happening, after
from app.core.model import LIVE, BottleState
from app.errors import CarboyError

STATES: tuple[BottleState, ...] = ("launching", "running", "frozen", "stopping", "ended", "stopped", "failed", "lost")


@pytest.mark.parametrize(
    ("state", "happening", "code", "following"),
    [
        ("launching", Happening.STARTED, None, "running"),
        ("launching", Happening.UNDONE, None, "failed"),
        ("running", Happening.FREEZE, None, "frozen"),
        ("frozen", Happening.THAW, None, "running"),
        ("running", Happening.STOP, None, "stopping"),
        ("frozen", Happening.STOP, None, "stopping"),
        ("stopping", Happening.STOP, None, "stopping"),
        ("running", Happening.EXITED, 0, "ended"),
        ("running", Happening.EXITED, 1, "failed"),
        ("frozen", Happening.EXITED, 137, "failed"),
        ("stopping", Happening.EXITED, 143, "stopped"),
        ("stopping", Happening.EXITED, 0, "stopped"),
        ("running", Happening.VANISHED, None, "lost"),
    ],
)
def test_transitions(state: BottleState, happening: Happening, code: int | None, following: BottleState) -> None:
    assert after(state, happening, code) == following


@pytest.mark.parametrize("state", ["ended", "stopped", "failed", "lost"])
@pytest.mark.parametrize("happening", list(Happening))
def test_nothing_follows_the_end(state: BottleState, happening: Happening) -> None:
    with pytest.raises(CarboyError) as caught:
        after(state, happening, 0)
    assert caught.value.code == "wrong_state"


def test_every_live_state_can_end() -> None:
    for state in LIVE:
        assert after(state, Happening.VANISHED) == "lost"  # type: ignore[arg-type]
