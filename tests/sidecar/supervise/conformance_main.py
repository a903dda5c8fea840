"""A sidecar whose MCP server also has the tools that the public conformance suite calls. For that test alone: the
product has no such mode."""

import asyncio
from typing import Any

from mcp.server.lowlevel import Server
from mcp_types import (
    AudioContent,
    CallToolRequestParams,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    TextResourceContents,
    Tool,
)

import sidecar.supervise.addon as addon
from sidecar.__main__ import main

make_server = addon.make_server
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
TEXT = TextContent(type="text", text="This is a simple text response for testing.")
IMAGE = ImageContent(type="image", data=PNG, mime_type="image/png")
RESOURCE = EmbeddedResource(
    type="resource",
    resource=TextResourceContents(
        uri="test://embedded-resource", mime_type="text/plain", text="This is an embedded resource content."
    ),
)
MIXED = TextResourceContents(
    uri="test://mixed-content-resource", mime_type="application/json", text='{"test":"data","value":123}'
)
RESULTS = {
    "test_simple_text": [TEXT],
    "test_image_content": [IMAGE],
    "test_audio_content": [AudioContent(type="audio", data=WAV, mime_type="audio/wav")],
    "test_embedded_resource": [RESOURCE],
    "test_multiple_content_types": [
        TextContent(type="text", text="Multiple content types test:"),
        IMAGE,
        EmbeddedResource(type="resource", resource=MIXED),
    ],
    "test_error_handling": [TextContent(type="text", text="This tool intentionally returns an error for testing")],
    "test_tool_with_progress": [TextContent(type="text", text="done")],
    "json_schema_2020_12_tool": [TEXT],
}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}


def with_fixtures(toolbox: Any) -> Server[dict[str, Any]]:
    server = make_server(toolbox)
    own_list = server.get_request_handler("tools/list")
    own_call = server.get_request_handler("tools/call")
    assert own_list is not None
    assert own_call is not None

    async def list_tools(context: Any, params: Any) -> ListToolsResult:
        listed = await own_list.handler(context, params)
        plain = {"type": "object", "properties": {}}
        more = [
            Tool(name=name, description=name, input_schema=SCHEMA if name.startswith("json_schema") else plain)
            for name in RESULTS
        ]
        return ListToolsResult(tools=[*listed.tools, *more])

    async def call_tool(context: Any, params: CallToolRequestParams) -> CallToolResult:
        if params.name not in RESULTS:
            return await own_call.handler(context, params)
        if params.name == "test_tool_with_progress":
            for done in (0, 50, 100):
                await context.session.report_progress(done, 100)
                await asyncio.sleep(0.05)
        return CallToolResult(content=RESULTS[params.name], is_error=params.name == "test_error_handling")

    server.add_request_handler("tools/list", PaginatedRequestParams, list_tools)
    server.add_request_handler("tools/call", CallToolRequestParams, call_tool)
    return server


if __name__ == "__main__":
    addon.make_server = with_fixtures  # type: ignore[assignment]
    main()
