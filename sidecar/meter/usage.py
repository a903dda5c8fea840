"""What metering finds, as frozen values: tokens of one answer, and gauges of a provider's rate-limit windows.

Owns the meaning of each number, the same for every provider; never how a provider spells it.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Flag = Literal["oversized_event", "bad_event", "bad_encoding", "broken_json", "repaired_total", "deferred"]
"""What was odd about an answer.

`oversized_event`: over the bound, only its usage was read. `bad_event`: not JSON. `bad_encoding`: the content encoding
is unknown, broken or a bomb. `broken_json`: a body that was cut short was read as far as it came. `repaired_total`:
the provider's total said more than its parts, the difference counts as output. `deferred`: accepted now, paid later.
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. No token is counted in two of `input`, `cache_read`, `cache_write_*` and `output`.

    Providers differ (agents.md): some count cached tokens into input, some reasoning beside output; here never.
    """

    dialect: str
    """The API it was read as: anthropic, responses, chat, gemini, interactions, ollama; empty if none was known."""
    model: str = ""
    input: int = 0
    """Read by the model at full price: neither from a cache nor into one."""
    output: int = 0
    """Everything that is paid as output, reasoning included."""
    cache_read: int = 0
    cache_write_5m: int = 0
    """Also all writes whose lifetime the provider does not say: five minutes is the default where there are two."""
    cache_write_1h: int = 0
    reasoning: int = 0
    """How much of `output` was reasoning, where it is said."""
    web_searches: int = 0
    file_searches: int = 0
    """Of the provider's own, in documents that it stores."""
    tool_calls: int = 0
    """Tools that the model asked for."""
    tools: tuple[str, ...] = ()
    """Their names, as far as they were told."""
    speech: int = 0
    """Characters of text for the user."""
    cost_usd: Decimal | None = None
    """What the provider itself says that it charges (OpenRouter); None if it does not say."""
    service_tier: str = ""
    stop_reason: str = ""
    response_id: str = ""
    """The provider's own id: two answers with the same one are the same usage (a polled background response)."""
    billable: bool = True
    """False for errors, and for pages of a metered host that turned out to be no model's answer."""
    complete: bool = True
    estimated: bool = False
    """Broken off, or the usage was not asked for: at least one number is ours, not the provider's."""
    unmetered: bool = False
    """The provider ended its answer and said no usage: to be shown as a warning. Numbers, if any, are estimates."""
    flags: tuple[Flag, ...] = ()
    also: tuple["Usage", ...] = ()
    """Usage of other models inside the same answer (Anthropic's advisor): recorded beside it."""

    @property
    def cache_write(self) -> int:
        return self.cache_write_5m + self.cache_write_1h

    @property
    def context(self) -> int:
        """All that the model read: the size of the conversation."""
        return self.input + self.cache_read + self.cache_write

    @property
    def total(self) -> int:
        """What a token budget counts."""
        return self.context + self.output


@dataclass(frozen=True, slots=True)
class Window:
    """One of a provider's rate-limit windows, as a gauge.

    `kind` tells a subscription's windows (5h, 7d) from an API key's limits a minute (requests, tokens).
    """

    name: str
    used_fraction: float | None
    """0 to 1, and above where the provider allows overdraft; None if only the reset is known."""
    resets_at: float | None
    """Unix time."""
    kind: Literal["subscription", "rate"] = "rate"
    status: str = ""


def text_of(value: object, most: int = 200) -> str:
    """`value` as a short printable text: names from outside go into rows and on screens."""
    if not isinstance(value, str):
        return ""
    return "".join(char for char in value[:most] if char.isprintable())


MOST_TOKENS = 1 << 32
"""More than a provider will ever report: larger numbers are garbage, and sums of them must stay inside 64 bits."""


def count(value: object) -> int | None:
    """`value` as a number of tokens, or None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        if not value.is_integer():  # inf and nan as well
            return None
        value = int(value)
    return value if 0 <= value <= MOST_TOKENS else None
