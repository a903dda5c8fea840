"""What the server needs of the sessions, and the requests' schemas. Pure declarations."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, field_validator

from app.backends.base import ExecResult, Terminal
from app.controller.keeping import Keeping
from app.controller.record import SessionRecord
from app.core.model import (
    BottleView,
    CleanupReport,
    LaunchRequest,
    LaunchStep,
    Preflight,
    Snapshot,
)
from app.core.slug import SLUG_PATTERN
from sidecar.secret import Secret


class Bottles(Protocol):
    """The live registry, as the server sees it (`app.controller.sessions.Sessions`)."""

    def views(self) -> list[BottleView]: ...
    async def preflight(self, request: LaunchRequest) -> Preflight: ...
    async def launch(self, request: LaunchRequest, progress: Callable[[LaunchStep], None]) -> BottleView: ...
    async def stop(self, slug: str) -> BottleView: ...
    async def kill(self, slug: str) -> BottleView: ...
    async def freeze(self, slug: str) -> BottleView: ...
    async def thaw(self, slug: str) -> BottleView: ...
    async def restart_sidecar(self, slug: str) -> BottleView: ...
    async def give_secrets(self, slug: str, given: Mapping[str, Secret]) -> BottleView: ...
    async def wait(self, slug: str) -> BottleView: ...
    async def routes(self, slug: str) -> list[dict[str, Any]]: ...
    async def terminal(self, slug: str, rows: int, cols: int) -> Terminal: ...
    async def exec(self, slug: str, argv: Sequence[str], timeout: float) -> ExecResult: ...
    def named_record(self, slug: str) -> tuple[SessionRecord, Path]: ...
    @property
    def keeping(self) -> Keeping: ...
    async def cleanup(self) -> CleanupReport: ...


class InitBody(Snapshot):
    agents: tuple[str, ...] = ()
    """Providers to set up an agent for."""


class SearchQuery(Snapshot):
    text: str = Field(min_length=1, max_length=500)
    slug: str | None = Field(default=None, max_length=63)
    limit: int = Field(default=50, ge=1, le=200)


class AroundQuery(Snapshot):
    """The number of a hit."""

    id: int = Field(ge=1)


class ShutdownBody(Snapshot):
    force: bool = False


class Size(Snapshot):
    rows: int = Field(default=24, ge=1, le=1000)
    cols: int = Field(default=80, ge=1, le=1000)


class TerminalQuery(Size):
    window: int = Field(default=0, ge=0)
    """Bytes of output that may be on their way to a client that says what it has taken; 0: it does not say."""


class Said(Snapshot):
    """What a terminal's client says beside its input."""

    resize: tuple[int, int] | None = None
    taken: int = Field(default=0, ge=0)

    @property
    def size(self) -> Size | None:
        return None if self.resize is None else Size(rows=self.resize[0], cols=self.resize[1])


class SecretsBody(Snapshot):
    secrets: dict[Annotated[str, Field(max_length=128)], Secret] = Field(min_length=1, max_length=100)

    @field_validator("secrets")
    @classmethod
    def _none_empty(cls, value: dict[str, Secret]) -> dict[str, Secret]:
        if not all(value.values()):
            raise ValueError("a secret is not empty")
        return value


class CatalogueQuery(Snapshot):
    cwd: str | None = Field(default=None, max_length=4096)


class ManifestQuery(CatalogueQuery):
    agent: str | None = Field(default=None, max_length=63)
    bottles: str | None = Field(default=None, max_length=4096)

    @property
    def bottle_names(self) -> tuple[str, ...] | None:
        if self.bottles is None:
            return None
        return tuple(name for name in self.bottles.split(",") if name)


class ModelsQuery(Snapshot):
    fresh: bool = False


class BottlesQuery(Snapshot):
    ended: bool = False


class LogQuery(Snapshot):
    slug: str | None = Field(default=None, pattern=SLUG_PATTERN)
    before: int | None = Field(default=None, ge=0)
    after: int | None = Field(default=None, ge=0)
    limit: int = Field(default=500, ge=1, le=5000)
    decision: Literal["allow", "deny", "hold", "redact", "error", "blocked"] | None = None
    host: str | None = Field(default=None, max_length=260)
    text: str | None = Field(default=None, max_length=500)


class ReportQuery(Snapshot):
    since: float | None = Field(default=None, ge=0)


class EventsQuery(Snapshot):
    since: int | None = Field(default=None, ge=0)
    slug: str | None = Field(default=None, pattern=SLUG_PATTERN)
    here: bool = False
    """An operator looks at it for as long as it is open."""
