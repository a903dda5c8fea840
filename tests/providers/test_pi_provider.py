"""The pi provider: what it makes of a launch."""

import json
from typing import Any

from app.providers.pi import PiProvider
from tests.providers.contexts import context, manifest

PI = PiProvider()
OWN: dict[str, Any] = {
    "provider": "company",
    "base_url": "https://llm.company.example/v1",
    "models": ["large", "small"],
    "context_window": 200000,
}


def test_command_lines() -> None:
    made = context(manifest(prompt="Be brief.", model="claude-sonnet-4-5"), task="-x")
    assert PI.prepare(made).command.argv[1:] == (
        "--provider",
        "anthropic",
        "--model",
        "claude-sonnet-4-5",
        "--append-system-prompt",
        "/home/agent/.pi/agent/carboy-prompt.md",
        "--print",
        "--",
        "-x",
    )
    bare = PI.prepare(context(manifest(), headless=False, task=None)).command
    assert bare.argv[1:] == ("--provider", "anthropic")
    assert bare.tty


def test_a_task_never_names_a_file_to_send() -> None:
    assert PI.prepare(context(manifest(), task="@alice asked for this")).command.argv[-1] == " @alice asked for this"


def test_nothing_is_asked_and_nothing_else_is_called() -> None:
    prepared = PI.prepare(context(manifest(prompt="Be brief."), placeholders={"ANTHROPIC_API_KEY": "sk-carboy"}))
    files = {file.target: file.content for file in prepared.files}
    settings = json.loads(files["/home/agent/.pi/agent/settings.json"])
    assert settings["defaultProjectTrust"] == "always"
    assert settings["httpIdleTimeoutMs"] == 0
    assert files["/home/agent/.pi/agent/carboy-prompt.md"] == b"Be brief."
    env = {"PI_OFFLINE": "1", "PI_TELEMETRY": "0", "ANTHROPIC_API_KEY": "sk-carboy"}
    assert prepared.env == env | {"CARBOY_MCP_URL": "http://127.0.0.1:7878/mcp"}


def test_an_api_of_ones_own_is_described_to_it() -> None:
    prepared = PI.prepare(context(manifest("LLM_KEY", **OWN), placeholders={"LLM_KEY": "carboy-x"}))
    (models,) = [json.loads(file.content) for file in prepared.files if file.target.endswith("models.json")]
    own = models["providers"]["company"]
    assert (own["baseUrl"], own["api"], own["apiKey"]) == (OWN["base_url"], "openai-completions", "$COMPANY_API_KEY")
    assert own["models"] == [{"id": name, "contextWindow": 200000} for name in ("large", "small")]
    assert prepared.env["COMPANY_API_KEY"] == "carboy-x"
    assert prepared.command.argv[1:5] == ("--provider", "company", "--model", "large")
