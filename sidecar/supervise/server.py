"""The MCP server: the SDK's protocol (both generations) around the toolbox, as an ASGI application without a listener.

Stateless: no session outlives its request, so that a restarted sidecar answers as the one before. Started by the first
call, since most bottles never ask.
"""

import asyncio
import logging
from typing import Any

import sse_starlette.sse
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from sidecar.supervise.arguments import schema
from sidecar.supervise.tools import Toolbox
from sidecar.tasks import cancel_and_wait, spawn

NAME = "carboy"
MAX_BODY = 1024 * 1024
"""Of a call. The largest that makes sense, 500 routes, is a tenth of it."""
INSTRUCTIONS = (
    "This sandbox reaches only what its operator allowed. When a request is refused with carboy's 403, or before work "
    "that needs a host which list-egress-routes does not show, ask with these tools. Where a tool shows nothing but "
    "403, send the same request with curl to read the reason. Do not look for a way around."
)
OWN_HOSTS = ("mcp.carboy.internal", "carboy.internal", "127.0.0.1", "localhost", "[::1]")
_ORIGINS = [f"http://{host}" for host in OWN_HOSTS]

for _name in ("mcp", "mcp.server", "sse_starlette"):
    # they log each request, and with it what the bottle sent; our own faults are logged by the toolbox
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def make_server(toolbox: Toolbox) -> Server[dict[str, Any]]:
    """The SDK's server around `toolbox`."""

    async def list_tools(
        context: ServerRequestContext[dict[str, Any], Any], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(
            tools=[
                Tool(
                    name=tool.name,
                    title=tool.title,
                    description=tool.description,
                    input_schema=schema(tool.arguments),
                    annotations=ToolAnnotations(read_only_hint=not tool.asks, open_world_hint=False),
                )
                for tool in toolbox.tools()
            ]
        )

    async def call_tool(
        context: ServerRequestContext[dict[str, Any], Any], params: CallToolRequestParams
    ) -> CallToolResult:
        async def progress(seconds: float, text: str) -> None:
            await context.session.report_progress(seconds, message=text)

        answer = await toolbox.call(params.name, params.arguments or {}, progress)
        if answer is None:
            raise MCPError(INVALID_PARAMS, f"unknown tool {params.name[:80]!r}")
        return CallToolResult(
            content=[TextContent(type="text", text=answer.text)],
            structured_content={"message": answer.text, **answer.data},
            is_error=answer.failed,
        )

    server = Server(
        NAME,
        version="1",
        title="carboy: access of this sandbox",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    server.middleware.clear()  # tracing that nobody collects
    return server


class Service:
    """The application, running while it is used. `await app()` gives what to call with scope, receive and send."""

    def __init__(self, server: Server[dict[str, Any]]) -> None:
        self._server = server
        self._task: asyncio.Task[None] | None = None
        self._manager: StreamableHTTPSessionManager | None = None
        self._ready = asyncio.Event()

    async def app(self) -> Any:
        if self._task is None or self._task.done():
            self._ready.clear()
            self._task = spawn(self._run(), name="mcp")
        await self._ready.wait()
        if self._manager is None:
            raise RuntimeError("the MCP server did not start")
        return self._manager.handle_request

    async def close(self) -> None:
        await cancel_and_wait(self._task)

    async def _run(self) -> None:
        _keep_quiet()
        manager = StreamableHTTPSessionManager(
            self._server,
            stateless=True,
            max_request_body_size=MAX_BODY,
            security_settings=TransportSecuritySettings(
                allowed_hosts=[*OWN_HOSTS, *(f"{host}:*" for host in OWN_HOSTS)],
                allowed_origins=[*_ORIGINS, *(f"{origin}:*" for origin in _ORIGINS)],
            ),
        )
        try:
            async with manager.run():
                self._manager = manager
                self._ready.set()
                await asyncio.Event().wait()
        finally:
            self._manager = None
            self._ready.set()


def _keep_quiet() -> None:
    """The SDK's event streams start a task that looks twice a second, for ever, whether uvicorn wants to end. There
    is none here, and an idle bottle should not wake for it: say that it runs already."""
    state = getattr(sse_starlette.sse, "_get_shutdown_state", None)
    if state is not None:
        state().watcher_started = True
