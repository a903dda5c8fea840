"""A session's states and what may follow what. Pure: decides, does nothing."""

from enum import StrEnum

from app.core.model import BottleState
from app.errors import CarboyError


class Happening(StrEnum):
    """What can happen to a session. What the operator asks for is `stop`, `freeze`, `thaw`; the rest is observed."""

    STARTED = "started"
    UNDONE = "undone"
    FREEZE = "freeze"
    THAW = "thaw"
    STOP = "stop"
    EXITED = "exited"
    VANISHED = "vanished"


_NEXT: dict[tuple[BottleState, Happening], BottleState] = {
    ("launching", Happening.STARTED): "running",
    ("launching", Happening.UNDONE): "failed",
    ("launching", Happening.VANISHED): "lost",
    ("running", Happening.FREEZE): "frozen",
    ("running", Happening.STOP): "stopping",
    ("running", Happening.VANISHED): "lost",
    ("frozen", Happening.THAW): "running",
    ("frozen", Happening.STOP): "stopping",
    ("frozen", Happening.VANISHED): "lost",
    ("stopping", Happening.STOP): "stopping",
    ("stopping", Happening.VANISHED): "lost",
}

_EXITING: frozenset[BottleState] = frozenset({"running", "frozen", "stopping"})


def after(state: BottleState, happening: Happening, exit_code: int | None = None) -> BottleState:
    """The state that follows. Raises CarboyError where it cannot happen: the operator asked for the impossible."""
    if happening is Happening.EXITED and state in _EXITING:
        if exit_code == 0:
            return "ended"
        return "stopped" if state == "stopping" else "failed"
    following = _NEXT.get((state, happening))
    if following is None:
        raise CarboyError(f"A bottle that is {state} cannot be {_PAST[happening]}", "", "wrong_state")
    return following


_PAST = {
    Happening.STARTED: "started",
    Happening.UNDONE: "undone",
    Happening.FREEZE: "frozen",
    Happening.THAW: "thawed",
    Happening.STOP: "stopped",
    Happening.EXITED: "ended",
    Happening.VANISHED: "lost",
}
