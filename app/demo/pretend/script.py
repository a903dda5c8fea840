"""What a pretend model says. Pure: a conversation in, one turn out; the same conversation always gets the same turn.

A turn is chosen from what the request itself holds, never from a counter: clients repeat requests, ask for titles on
the side and open several connections, and none of that may shift the story. The wire formats of the vendors are in
modules of their own (`anthropic`), so that another one needs no new scripts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Say:
    """A text block, streamed word by word."""

    text: str


@dataclass(frozen=True)
class Call:
    """A tool call. `id` is filled in by the wire format."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Usage:
    """Tokens of one turn as they are reported; `input` leaves cached ones out, as Anthropic counts."""

    input: int = 1200
    output: int = 40
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    """Part of `output`, where the vendor tells it apart."""


@dataclass(frozen=True)
class Turn:
    """One answer of the model. `delay` is the pause in seconds between two pieces of a stream."""

    blocks: tuple[Say | Call, ...]
    usage: Usage = Usage()
    delay: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    """More headers of a streamed Anthropic answer (rate-limit windows)."""

    @property
    def calls_tools(self) -> bool:
        return any(isinstance(block, Call) for block in self.blocks)


@dataclass(frozen=True)
class Conversation:
    """What a request says, whatever the vendor: `step` counts the tool results since the last human message."""

    model: str
    system: str
    user: str
    step: int
    tools: frozenset[str] = field(default_factory=frozenset[str])
    stream: bool = False
    results: tuple[str, ...] = ()
    """Texts of the tool results of this round, in order."""


Script = Callable[[Conversation], Turn]


def steps(*turns: Turn, aside: Turn | None = None) -> Script:
    """A script that gives `turns` one after the other, one for each round of tool results; the last one stays.

    A conversation without tools is a side errand of the client (a title, a quota check) and gets `aside`.
    """
    errand = aside if aside is not None else Turn((Say("A short title"),))

    def script(conversation: Conversation) -> Turn:
        if not conversation.tools:
            return errand
        return turns[min(conversation.step, len(turns) - 1)]

    return script
