"""A conversation as an agent's CLI writes it down, in one form for all of them: for search, and for what it does now.

Pure. All of it was written inside a bottle: it is data, bounded here, and never a path, markup or an instruction. What
it says of itself is shown to the operator and decides nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, Protocol, cast

type Kind = Literal["user", "assistant", "reasoning", "call", "result", "asks", "ends", "about"]
"""Who spoke; a tool was called, or answered; the agent asks its user something; its turn is over; nothing of these."""
type Doing = Literal["idle", "working", "waiting"]
"""`idle`: nobody has said anything yet. `waiting`: its turn is over, or it asks."""

MAX_TEXT = 16 * 1024
"""Characters of one message that are kept: what a search shows is a line of it."""
MAX_NAME = 100
LAST = 1e11
"""Unix time: a later one is none."""


@dataclass(frozen=True)
class Entry:
    """One thing that happened. `conversation` is the id that the CLI takes to go on with it."""

    kind: Kind
    text: str = ""
    at: float = 0.0
    tool: str = ""
    model: str = ""
    conversation: str = ""
    key: str = ""
    """Of what may be written down more than once: the second time it tells nothing new."""
    call: str = ""
    """Of a call, a question or a result: the id that tells which answers which."""

    def __post_init__(self) -> None:
        """JSON and names of files may hold half a character, which nothing that is written down or sent can."""
        for name in ("text", "tool", "model", "conversation", "key", "call"):
            value: str = getattr(self, name)
            if (whole := _whole(value)) != value:
                object.__setattr__(self, name, whole)


def _whole(value: str) -> str:
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


_DOING: Mapping[Kind, Doing] = {"ends": "waiting", "asks": "waiting"}
MAX_ASKED = 32
"""Questions that are open at a time, of those that are remembered."""


@dataclass(frozen=True)
class Standing:
    """Where a conversation stands after all its entries so far."""

    doing: Doing = "idle"
    turns: int = 0
    """How often somebody spoke to it."""
    tool_calls: int = 0
    model: str = ""
    conversation: str = ""
    at: float = 0.0
    asked: frozenset[str] = frozenset()
    """Its questions that nobody has answered: it waits for that, whatever its other tools do meanwhile."""

    def after(self, entry: Entry) -> "Standing":
        asked = self._asked(entry)
        doing = self.doing if entry.kind == "about" else _DOING.get(entry.kind, "working")
        return replace(
            self,
            doing="waiting" if asked else doing,
            asked=asked,
            turns=self.turns + (entry.kind == "user"),
            tool_calls=self.tool_calls + (entry.kind in ("call", "asks")),
            model=entry.model or self.model,
            conversation=entry.conversation or self.conversation,
            at=max(entry.at, self.at),
        )

    def _asked(self, entry: Entry) -> frozenset[str]:
        if entry.kind == "asks" and len(self.asked) < MAX_ASKED:
            return self.asked | {entry.call}
        if entry.kind in ("user", "ends"):  # somebody spoke, or broke it off
            return frozenset()
        return self.asked - {entry.call} if entry.kind == "result" else self.asked


class Reader(Protocol):
    """Follows the conversations of one home. Blocking."""

    standing: Standing
    """Of the conversation that was written to last; turns and calls are those of all."""

    def read(self) -> list[Entry]:
        """What came since the last call. Never raises for anything that a bottle can put there."""
        ...


class Format(ABC):
    """How one CLI writes its conversations down: JSON objects, one a line, in files that only grow."""

    place: tuple[str, ...]
    """Where the files are, below the home: names of folders and of files, with `*` for anything in one name."""

    @abstractmethod
    def entries(self, record: Mapping[str, Any], name: str) -> Iterable[Entry]:
        """What one record tells. Never raises for anything that JSON can hold; `name` is the file's."""


def tree(value: object) -> Mapping[str, Any]:
    """`value` if it is an object, else an empty one."""
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}


def items(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; none where it is no list."""
    return [one for one in cast(list[Any], value) if isinstance(one, dict)] if isinstance(value, list) else []


def text(value: object, limit: int = MAX_TEXT) -> str:
    """Bounded text: a string, or the joined `text` of a list of parts."""
    if isinstance(value, str):
        return value[:limit]
    return "\n".join(part["text"] for part in items(value) if isinstance(part.get("text"), str))[:limit]


def short(value: object) -> str:
    """A bounded name: of a tool, a model, a conversation."""
    return text(value, MAX_NAME) if isinstance(value, str) else ""


def moment(value: object) -> float:
    """Unix time of what is a time: ISO 8601, or a number of milliseconds. 0 for anything else."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            at = float(value) / 1000
        else:
            at = datetime.fromisoformat(value).timestamp() if isinstance(value, str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return min(at, LAST) if at > 0 else 0.0  # NaN is nothing
