"""Which MCP server agents are told of."""

import json
from dataclasses import replace

from app.providers import mcp
from app.providers.claude import ClaudeProvider
from tests.providers.test_claude import CONTEXT


def test_without_an_operator_none_is_named() -> None:
    bottle = CONTEXT.manifest.bottle.model_copy(update={"supervise": False})
    alone = replace(CONTEXT, manifest=CONTEXT.manifest.model_copy(update={"bottle": bottle}))
    assert mcp.address(CONTEXT) == f"{CONTEXT.proxy_url}/mcp"
    assert mcp.address(alone) is None
    (file,) = (file for file in ClaudeProvider().prepare(alone).files if file.target.endswith("carboy-mcp.json"))
    assert json.loads(file.content) == {"mcpServers": {}}
