"""The scopes that usage is counted in and that budgets are set for, as texts: `global`, `agent:NAME`, `bottle:NAME` (a
bottle file), `launch:SESSION`. Pure."""

import re

from app.errors import CarboyError

GLOBAL = "global"
_NAME = re.compile(r"[a-z][a-z0-9-]*")
"""As `app.core.schema.NAME_PATTERN`, which would load pydantic before the first paint; a test holds them equal."""
_AGENT, _BOTTLE, _LAUNCH = "agent:", "bottle:", "launch:"


def agent_scope(name: str) -> str:
    return _AGENT + name


def bottle_scope(name: str) -> str:
    return _BOTTLE + name


def launch_scope(session_id: str) -> str:
    return _LAUNCH + session_id


def session_of(scope: str) -> str | None:
    """The session id of a launch's scope; None for another one."""
    return scope.removeprefix(_LAUNCH) if scope.startswith(_LAUNCH) else None


def said(text: str) -> str | None:
    """The scope that an operator wrote: `global`, `agent:NAME` or `bottle:NAME`; None for what is to be a running
    bottle's name. Raises CarboyError for what can be neither."""
    kind, colon, name = text.partition(":")
    if not colon:
        return GLOBAL if text == GLOBAL else None
    if kind in ("agent", "bottle") and _NAME.fullmatch(name) and len(name) <= 63:
        return text
    raise CarboyError(
        f"{text[:80]!r} is no scope", "Write global, agent:NAME, bottle:NAME, or a running bottle's name", "bad_scope"
    )


def shown(scope: str, slug: str = "") -> str:
    """The scope in a reader's words; `slug` is the bottle's that a launch's scope is for."""
    kind, _, name = scope.partition(":")
    if kind == "launch":
        return slug or f"session {name}"
    return {"agent": f"agent {name}", "bottle": f"bottle file {name}"}.get(kind, "this host")
