"""Which MCP server agents are told of, and how each of them takes it."""

import json
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from app.providers import mcp
from app.providers.base import LaunchContext, Prepared
from app.providers.pi import EXTENSION
from app.providers.registry import provider
from tests.providers.contexts import context, manifest

URL = "http://127.0.0.1:7878/mcp"
AGENTS = ("claude", "codex", "gemini", "opencode", "pi")


def alone(made: LaunchContext) -> LaunchContext:
    """The same without an operator to ask."""
    bottle = made.manifest.bottle.model_copy(update={"supervise": False})
    return replace(made, manifest=made.manifest.model_copy(update={"bottle": bottle}))


def file(prepared: Prepared, end: str) -> Any:
    (found,) = (one for one in prepared.files if one.target.endswith(end))
    return json.loads(found.content)


def servers(name: str, made: LaunchContext) -> Any:
    """What its configuration says of MCP servers."""
    prepared = provider(name).prepare(made)
    if name == "claude":
        return file(prepared, "carboy-mcp.json")["mcpServers"]
    if name == "codex":
        config, *_ = prepared.files
        return tomllib.loads(config.content.decode()).get("mcp_servers", {})
    if name == "gemini":
        return file(prepared, "settings.json")["mcpServers"]
    if name == "opencode":
        return json.loads(prepared.env["OPENCODE_CONFIG_CONTENT"])["mcp"]
    extensions = [one for one in prepared.files if "/extensions/" in one.target]
    assert [one.content for one in extensions] == [EXTENSION.read_bytes()] * len(extensions)
    return {mcp.NAME: {"url": prepared.env["CARBOY_MCP_URL"]}} if extensions else {}


@pytest.mark.parametrize("name", AGENTS)
def test_each_is_told_of_the_bottles_own_server_and_of_no_other(name: str) -> None:
    told = servers(name, context(manifest()))
    assert list(told) == [mcp.NAME]
    assert URL in told[mcp.NAME].values()
    limits = {"claude": "timeout", "gemini": "timeout", "opencode": "timeout", "codex": "tool_timeout_sec"}
    if name in limits:  # longer than an operator may take, in the CLI's own unit
        assert told[mcp.NAME][limits[name]] * (1000 if name == "codex" else 1) >= 900_000


@pytest.mark.parametrize("name", AGENTS)
def test_without_an_operator_none_is_named(name: str) -> None:
    made = alone(context(manifest()))
    assert mcp.address(made) is None
    assert servers(name, made) == {}
    assert "CARBOY_MCP_URL" not in provider(name).prepare(made).env
