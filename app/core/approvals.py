"""What the API says about proposals and live routes, and what operators answer. Immutable values. Pure."""

from typing import Any, Literal

from pydantic import Field

from app.core.model import Snapshot
from app.core.proposal import Scope, State
from app.core.risks import Risk

MAX_ROUTES_TEXT = 256 * 1024
"""An edited routes file: some thousand routes."""


class ManifestChange(Snapshot):
    """What `save` would write: which file, and the lines that differ."""

    file: str
    diff: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()
    """Other bottle files that build on this one, and so get the change as well."""


class ProposalView(Snapshot):
    """A proposal as every face shows it. While it is pending, `diff` and `risks` are against the routes in force now;
    afterwards they are what was applied. All text may come from the bottle."""

    id: str
    slug: str
    session_id: str
    kind: str
    state: State
    created_at: float
    expires_at: float | None = None
    title: str = ""
    host: str = ""
    """What alike cards have in common; empty where there is no single host."""
    hosts: tuple[str, ...] = ()
    justification: str = ""
    asked: int = 1
    """How often the bottle asked it."""
    diff: tuple[str, ...] = ()
    risks: tuple[Risk, ...] = ()
    notes: tuple[str, ...] = ()
    stale: bool = False
    """The routes have changed since it was made."""
    report: dict[str, Any] | None = None
    editable: bool = False
    needs_reason: bool = False
    error: str = ""
    """Why the last approval could not be applied."""
    decided_at: float | None = None
    decided_by: str = ""
    reason: str = ""
    scope: str = ""
    seen: str = ""
    """Stands for this very change: send it back with the answer, and what is applied is what was shown."""
    routes: str = ""
    """The routes as they would be, to edit. Only where one proposal was asked for."""
    manifest: ManifestChange | None = None
    """Only in a preview of saving."""


class ApproveBody(Snapshot):
    """`routes` is an edited routes file; without it the proposal is applied as shown. `preview` changes nothing."""

    reason: str = Field(default="", max_length=2000)
    scope: Scope = "session"
    routes: str | None = Field(default=None, max_length=MAX_ROUTES_TEXT)
    seen: str = Field(default="", max_length=200)
    by: str = Field(default="", max_length=100)
    preview: bool = False


class RejectBody(Snapshot):
    reason: str = Field(default="", max_length=2000)
    by: str = Field(default="", max_length=100)


class TemporaryRoute(Snapshot):
    """What is allowed for a while: `single` ends with its first use, before `until`."""

    host: str
    until: float
    single: bool
    title: str = ""
    """What of the host, in a few words."""
    proposal: str = ""


class RoutesView(Snapshot):
    """A bottle's routes in force as a file to edit, or what an edit makes of them."""

    slug: str
    version: int
    text: str
    seen: str
    temporary: tuple[TemporaryRoute, ...] = ()
    diff: tuple[str, ...] = ()
    risks: tuple[Risk, ...] = ()
    manifest: ManifestChange | None = None


class RoutesEdit(Snapshot):
    text: str = Field(max_length=MAX_ROUTES_TEXT)
    seen: str = Field(default="", max_length=200)
    reason: str = Field(default="", max_length=2000)
    scope: Literal["session", "save"] = "session"
    by: str = Field(default="", max_length=100)
    preview: bool = False
