"""The part of the repository contract that is about usage: rows, sums, intents, windows, metrics, the operator's own
budgets, and what has been told of. Same rules as `app.store.base`: values in, values out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.core.model import StreamEvent
from app.core.schema import Amount
from app.core.usage import Intent, Metrics, Progress, Slice, UsageRow
from app.core.windows import Gauge


@dataclass(frozen=True)
class Metering:
    """What a batch of a session's spool says of usage. `scopes` are all that its rows count in."""

    scopes: tuple[str, ...] = ()
    intents: Sequence[Intent] = ()
    rows: Sequence[UsageRow] = ()
    progress: Sequence[Progress] = ()
    """Of intents that have no row yet; of others it is left out."""


@dataclass(frozen=True)
class Counted:
    """A row that was added to the sums, or with `sign` -1 taken out of them (a better one takes its place)."""

    row: UsageRow
    sign: int = 1


@dataclass(frozen=True)
class Kept:
    """What of a batch was new."""

    events: list[StreamEvent] = field(default_factory=list[StreamEvent])
    counted: tuple[Counted, ...] = ()


@dataclass(frozen=True)
class SumQuery:
    """Which sums, and what is told apart in them. `step` 0: not by time. Buckets begin on multiples of 900 s."""

    scope: str | None = None
    also: tuple[str, ...] = ()
    """Scopes that count with `scope`, as one."""
    scopes_of: str | None = None
    """All scopes that begin so, told apart: `bottle:`, `launch:`."""
    provider: str | None = None
    since: float = 0.0
    until: float | None = None
    by_provider: bool = True
    by_model: bool = False
    step: int = 0
    limit: int = 2000


@dataclass(frozen=True)
class Override:
    """The operator's own amount for a scope and provider, in place of what files say; until a time, or for good."""

    scope: str
    provider: str
    amount: Amount
    at: float
    until: float | None = None
    by: str = ""
    reason: str = ""


class MeterStore(ABC):
    """See the module."""

    @abstractmethod
    async def sums(self, query: SumQuery) -> list[Slice]:
        """Sums of usage, oldest first, then by provider, model and scope."""

    @abstractmethod
    async def usage_rows(
        self, *, session_id: str | None = None, since: float = 0.0, limit: int = 200
    ) -> list[tuple[str, UsageRow]]:
        """The newest rows, newest last, each with its bottle's name."""

    @abstractmethod
    async def minutes(self, session_id: str, since: float) -> dict[int, int]:
        """Tokens of a session by minute (of unix time), from `since` on."""

    @abstractmethod
    async def intents(self, session_id: str) -> list[Intent]:
        """What was announced and has no row yet."""

    @abstractmethod
    async def settle_intents(
        self,
        session_id: str,
        slug: str,
        scopes: tuple[str, ...],
        request_ids: Sequence[str],
        prices: Sequence[int | None] = (),
    ) -> tuple[Counted, ...]:
        """Turn these intents into rows: their usage will never come. Those that have a row by now are left alone."""

    @abstractmethod
    async def gauges(self) -> list[Gauge]:
        """Each provider's rate-limit windows as they were seen last."""

    @abstractmethod
    async def save_gauges(self, gauges: Sequence[Gauge]) -> None:
        """Remember windows, by provider and name."""

    @abstractmethod
    async def metrics(
        self, *, project: str | None = None, session_id: str | None = None, limit: int = 100
    ) -> list[Metrics]:
        """Sessions in numbers, the newest first."""

    @abstractmethod
    async def save_metrics(self, metrics: Metrics) -> None:
        """What is known of a session but its sums, which rows add up by themselves. Keeps a hundred a project."""

    @abstractmethod
    async def overrides(self) -> list[Override]:
        """The operator's own budgets."""

    @abstractmethod
    async def save_override(self, override: Override) -> None:
        """Set one, in place of a former one."""

    @abstractmethod
    async def drop_override(self, scope: str, provider: str) -> bool:
        """Back to what the files say. False if there was none."""

    @abstractmethod
    async def mark(self, scope: str, provider: str, period: float, mark: int) -> bool:
        """Remember that a threshold of this period was told. True the first time."""

    @abstractmethod
    async def marks(self, scope: str, provider: str, period: float) -> tuple[int, ...]:
        """What has been told of this period."""

    @abstractmethod
    async def unmark(self, scope: str, provider: str, period: float, above: int) -> None:
        """Forget marks above this percentage: a raised budget is told of again."""
