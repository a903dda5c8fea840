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
        if state == "stopping":
            return "stopped"
        return "ended" if ends_well(state, exit_code) else "failed"
    following = _NEXT.get((state, happening))
    if following is None:
        raise CarboyError(f"A bottle that is {state} cannot be {_PAST[happening]}", "", "wrong_state")
    return following


def ends_well(state: BottleState, exit_code: int | None) -> bool:
    """Whether nobody goes on with it, so that it leaves its record alone. An agent that was told to end may say 0 (as
    OpenCode and Pi do), and has not done its work for that."""
    return exit_code == 0 and state != "stopping"


_PAST = {
    Happening.STARTED: "started",
    Happening.UNDONE: "undone",
    Happening.FREEZE: "frozen",
    Happening.THAW: "thawed",
    Happening.STOP: "stopped",
    Happening.EXITED: "ended",
    Happening.VANISHED: "lost",
}
