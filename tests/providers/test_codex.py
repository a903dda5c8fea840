"""The codex provider: what it asks for, and what it makes of a launch."""

import tomllib
from typing import Any

import pytest

from app.core.schema import AgentProvider, Bottle, Egress, Manifest
from app.errors import CarboyError, ConfigError
from app.providers.base import LaunchContext, pick, with_auth
from app.providers.codex import CodexProvider
from app.providers.prepare import MAX_ARGUMENT
from tests.providers.contexts import context, manifest

CODEX = CodexProvider()
PLACEHOLDER = "sk-proj-carboy-dev-0123456789abcdef"


def config(made: LaunchContext) -> dict[str, Any]:
    file, *_ = CODEX.prepare(made).files
    assert (file.target, file.mode) == ("/home/agent/.codex/config.toml", 0o600)
    return tomllib.loads(file.content.decode())


def test_the_key_is_a_bearer_token_of_the_api_alone() -> None:
    (credential,) = CODEX.credentials(manifest("WORK_KEY"))
    assert (credential.token_ref, credential.env, credential.shape) == ("WORK_KEY", "OPENAI_API_KEY", "sk-proj-")
    (route,) = with_auth(CODEX.routes(manifest()), pick(CODEX.credentials(manifest()), {"OPENAI_API_KEY"}).chosen)
    assert (route.host, route.ports, route.dlp.outbound_on_match) == ("api.openai.com", (443,), "redact")
    assert route.auth is not None
    assert (route.auth.header, route.auth.scheme) == ("authorization", "Bearer")


def test_headless() -> None:
    command = CODEX.prepare(context(manifest())).command
    assert command.argv == (
        "/opt/carboy/x/x",
        "exec",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
        "--",
        "Fix the test",
    )
    assert not command.tty


def test_interactive_with_model_and_arguments() -> None:
    made = context(manifest(model="gpt-5.2", startup_args=["--search"]), headless=False, task="--dash")
    command = CODEX.prepare(made).command
    bypass = "--dangerously-bypass-approvals-and-sandbox"
    assert command.argv[1:] == (bypass, "--model", "gpt-5.2", "--search", "--", "--dash")
    assert command.tty
    argv = CODEX.prepare(context(manifest(model="a"), model="b")).command.argv
    assert argv[argv.index("--model") + 1] == "b"


def test_its_search_opens_no_page_but_where_the_bottle_file_says_so() -> None:
    made = CODEX.prepare(context(manifest())).files
    required = {file.target: (file.content, file.mode) for file in made}["/etc/codex/requirements.toml"]
    assert required == (b'allowed_web_search_modes = ["cached"]\n', 0o644)
    assert config(context(manifest()))["web_search"] == "cached"
    given = manifest()
    free = given.model_copy(update={"bottle": given.bottle.model_copy(update={"egress": Egress(vendor_fetch=True)})})
    assert config(context(free))["web_search"] == "live"
    assert len(CODEX.prepare(context(free)).files) == 1
    elsewhere = context(manifest("LLM_KEY", base_url="https://llm.company.example/v1"))
    assert config(elsewhere)["web_search"] == "disabled"


def test_what_its_models_search_by_is_open_at_openai_alone() -> None:
    def open_to_post(made: Manifest) -> set[str]:
        (route,) = CODEX.routes(made)
        return {path.value for match in route.matches if "POST" in match.methods for path in match.paths}

    assert "/v1/alpha/search" in open_to_post(manifest())
    forwards = Manifest(bottle=Bottle(agent_provider=AgentProvider(forward_host_credentials=True)))
    assert "/backend-api/codex/alpha/search" in open_to_post(forwards)
    gateway = open_to_post(manifest("LLM_KEY", base_url="https://llm.company.example/v1"))
    assert not [path for path in gateway if "search" in path]


def test_a_command_replaces_the_command_line_only() -> None:
    prepared = CODEX.prepare(context(manifest(), command=("codex", "features", "list")))
    assert prepared.command.argv == ("/opt/carboy/x/x", "features", "list")
    assert prepared.files


def test_no_question_is_left() -> None:
    made = config(context(manifest()))
    assert (made["approval_policy"], made["sandbox_mode"]) == ("never", "danger-full-access")
    assert made["projects"]['/work/some "project" ü']["trust_level"] == "trusted"
    assert made["check_for_update_on_startup"] is False
    assert not made["analytics"]["enabled"]
    assert made["features"]["daemon_auto_start"] is False
    own = made["model_providers"][made["model_provider"]]
    assert own["base_url"] == "https://api.openai.com/v1"
    assert own["env_key"] == "OPENAI_API_KEY"
    assert own["stream_idle_timeout_ms"] > 300_000
    assert own["supports_websockets"] is True


def test_settings_reach_the_configuration() -> None:
    made = config(context(manifest(prompt='Say "ü" \\ \x7f\n\U0001f37e\t.', transport="sse", effort="high")))
    assert made["model_providers"]["carboy"]["supports_websockets"] is False
    assert made["model_reasoning_effort"] == "high"
    assert made["developer_instructions"] == 'Say "ü" \\ \x7f\n\U0001f37e\t.'


def test_the_placeholder_is_in_the_environment_alone() -> None:
    prepared = CODEX.prepare(context(manifest(), placeholders={"OPENAI_API_KEY": PLACEHOLDER}))
    assert prepared.env == {"OPENAI_API_KEY": PLACEHOLDER}
    assert PLACEHOLDER.encode() not in prepared.files[0].content
    assert PLACEHOLDER not in prepared.command.argv


def test_an_api_of_the_operators_own() -> None:
    made = manifest(base_url="https://llm.company.example:8443/v1", auth_token="LLM_KEY")
    (credential,) = CODEX.credentials(made)
    assert (credential.token_ref, credential.host, credential.header) == (
        "LLM_KEY",
        "llm.company.example",
        "authorization",
    )
    (route,) = CODEX.routes(made)
    assert (route.host, route.ports) == ("llm.company.example", (8443,))
    own = config(context(made))["model_providers"]["carboy"]
    assert own["base_url"] == "https://llm.company.example:8443/v1"
    assert own["supports_websockets"] is False, "few gateways speak it"
    prepared = CODEX.prepare(context(made, placeholders={"LLM_KEY": PLACEHOLDER}))
    assert prepared.env == {"OPENAI_API_KEY": PLACEHOLDER}


def test_what_is_not_possible_is_said() -> None:
    with pytest.raises(ConfigError, match="colour"):
        CODEX.routes(manifest(colour="red"))
    with pytest.raises(ConfigError, match="needs a key of its own"):
        CODEX.routes(manifest(base_url="https://llm.company.example/v1"))
    with pytest.raises(ConfigError, match="speaks"):
        CODEX.routes(manifest(transport="carrier pigeon"))
    with pytest.raises(CarboyError) as caught:
        CODEX.prepare(context(manifest(), task="x" * (MAX_ARGUMENT + 1)))
    assert caught.value.code == "task_too_long"


def test_skills_folder() -> None:
    assert CODEX.skills_folder("/home/agent") == "/home/agent/.codex/skills"
