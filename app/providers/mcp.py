"""The bottle's own MCP server, as agents' configurations name it (docs/mcp.md): how an agent asks for access. Pure."""

from app.providers.base import LaunchContext
from app.providers.prepare import PATIENCE_MS

NAME = "carboy"
TIMEOUT_MS = PATIENCE_MS
"""Agents give up on a call after 60 s by themselves; one that asks waits for the operator (300 s by default)."""


def address(context: LaunchContext) -> str | None:
    """Its URL inside the bottle: on the sidecar's listener, which no proxy setting covers. None where the bottle has no
    operator to ask (`supervise: false`)."""
    return f"{context.proxy_url}/mcp" if context.manifest.bottle.supervise else None
