"""What the API says about usage and budgets, and what operators order. Immutable values. Pure."""

from typing import Literal

from pydantic import Field

from app.core.model import BudgetView, Snapshot, Sum
from app.core.usage import Metrics, Slice
from app.core.windows import Gauge

Policy = Literal["ask", "cutoff", "freeze", "kill"]


class Line(Snapshot):
    """One answer, as the usage screen lists it."""

    slug: str
    at: float
    provider: str
    model: str
    host: str
    context: int
    output: int
    cached: int
    cost_nano: int | None
    ms: float
    estimated: bool = False
    unmetered: bool = False
    fault: str = ""


class UsageReport(Snapshot):
    """Usage of this host, or of one bottle. `bottles` have their name in `scope`; `days` and `quarters` (of an hour)
    are for history and sparklines, the oldest first; `minutes` is a bottle's last hour."""

    slug: str = ""
    since: float
    now: float
    today: Sum = Sum()
    whole: Sum = Sum()
    models: tuple[Slice, ...] = ()
    bottles: tuple[Slice, ...] = ()
    days: tuple[Slice, ...] = ()
    quarters: tuple[Slice, ...] = ()
    minutes: tuple[int, ...] = ()
    windows: tuple[Gauge, ...] = ()
    sessions: tuple[Metrics, ...] = ()
    last: tuple[Line, ...] = ()


class BottleBudget(Snapshot):
    """How one live bottle stands: which budgets hold, and what happens when one is used up."""

    slug: str
    shutdown: Policy
    cut: str = ""
    budgets: tuple[BudgetView, ...] = ()


class BudgetsReport(Snapshot):
    """Every budget that is set for this host, an agent or a bottle file, and how the live bottles stand."""

    period: str
    thresholds: tuple[int, ...] = ()
    shutdown: Policy = "cutoff"
    budgets: tuple[BudgetView, ...] = ()
    bottles: tuple[BottleBudget, ...] = ()


class BudgetOrder(Snapshot):
    """Set a budget, or raise one. `scope` is `global`, `agent:NAME`, `bottle:NAME` or a live bottle's name; `amount` as
    people write it (`500k`, `$20`), None for what the files say. What is raised holds until the period ends."""

    scope: str = Field(max_length=200)
    provider: str = Field(max_length=63)
    amount: str | None = Field(default=None, max_length=40)
    more: bool = False
    """`amount` is how much more than now, or than what is used already."""
    hard: bool = False
    reason: str = Field(default="", max_length=2000)
    by: str = Field(default="", max_length=100)


class AnswerOrder(Snapshot):
    """The answer where a used up budget asks, or another policy for a bottle: raise by an amount, or what to do."""

    action: Literal["raise", "cutoff", "freeze", "kill", "policy"]
    provider: str = Field(default="", max_length=63)
    amount: str = Field(default="", max_length=40)
    policy: Policy | None = None
    reason: str = Field(default="", max_length=2000)
    by: str = Field(default="", max_length=100)


class CutoffOrder(Snapshot):
    """Close the model's hosts of a bottle (or everything), until it is taken back."""

    scope: Literal["metered", "all"] = "metered"
    providers: tuple[str, ...] = Field(default=(), max_length=50)
    end_streams: bool = False
    reason: str = Field(default="", max_length=2000)
    by: str = Field(default="", max_length=100)
