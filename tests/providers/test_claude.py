"""The claude provider: what it asks for, and what it makes of a launch."""

import json
from dataclasses import replace

import pytest

from app.core.schema import AgentProvider, Bottle, Manifest, ProviderSettings
from app.errors import CarboyError, ConfigError
from app.providers.base import Found, LaunchContext, pick, with_auth
from app.providers.claude import ClaudeProvider
from app.providers.prepare import MAX_ARGUMENT

CLAUDE = ClaudeProvider()
PLACEHOLDER = "sk-ant-api03-carboy-dev-0123456789abcdefghijklmn"


def manifest(auth_token: str | None = None, prompt: str = "", **settings: object) -> Manifest:
    made = AgentProvider(auth_token=auth_token, settings=ProviderSettings.model_validate(settings))
    return Manifest(bottle=Bottle(agent_provider=made), prompt=prompt)


CONTEXT = LaunchContext(
    manifest=manifest(),
    found=Found("/opt/carboy/claude/claude", "2.1.329"),
    project="/work/some project",
    home="/home/agent",
    headless=True,
    task="Fix the test",
    model=None,
    ca_file="/etc/ssl/ca.pem",
    proxy_url="http://127.0.0.1:7878",
    placeholders={"ANTHROPIC_API_KEY": PLACEHOLDER},
)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (manifest(), [("ANTHROPIC_API_KEY", "x-api-key"), ("CLAUDE_CODE_OAUTH_TOKEN", "authorization")]),
        (manifest("WORK_KEY"), [("WORK_KEY", "x-api-key")]),
        (manifest("MY_OAUTH"), [("MY_OAUTH", "authorization")]),
        (manifest("MY_OAUTH", auth="api-key"), [("MY_OAUTH", "x-api-key")]),
        (manifest("WORK", auth="oauth"), [("WORK", "authorization")]),
    ],
)
def test_which_credential_goes_where(made: Manifest, expected: list[tuple[str, str]]) -> None:
    assert [(one.token_ref, one.header) for one in CLAUDE.credentials(made)] == expected


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="cookie"):
        CLAUDE.credentials(manifest("X", auth="cookie"))
    with pytest.raises(ConfigError, match="colour"):
        CLAUDE.routes(manifest(colour="red"))
    with pytest.raises(ConfigError, match="needs a key of its own"):
        CLAUDE.routes(manifest(base_url="https://llm.company.example"))
    with pytest.raises(ConfigError, match="https is needed"):
        CLAUDE.check(manifest("K", base_url="http://llm.company.example"))
    with pytest.raises(ConfigError, match="bearer"):
        CLAUDE.check(manifest("K", auth="bearer"))


@pytest.mark.parametrize(
    ("settings", "variable", "header"),
    [({}, "ANTHROPIC_API_KEY", "x-api-key"), ({"auth": "bearer"}, "ANTHROPIC_AUTH_TOKEN", "authorization")],
)
def test_an_api_of_the_operators_own(settings: dict[str, str], variable: str, header: str) -> None:
    made = manifest("LLM_KEY", base_url="https://llm.company.example/ai/v1/", **settings)
    (credential,) = CLAUDE.credentials(made)
    expected = ("LLM_KEY", variable, "llm.company.example", header)
    assert (credential.token_ref, credential.env, credential.host, credential.header) == expected
    (route,) = CLAUDE.routes(made)
    assert route.host == "llm.company.example"
    assert {path.value for match in route.matches for path in match.paths} == {
        "/ai/v1/messages", "/ai/v1/messages/count_tokens", "/ai/v1/models",
    }  # fmt: skip
    assert {entry.host for entry in CLAUDE.metered(made)} == {"llm.company.example"}
    prepared = CLAUDE.prepare(replace(CONTEXT, manifest=made, placeholders={"LLM_KEY": PLACEHOLDER}))
    assert prepared.env["ANTHROPIC_BASE_URL"] == "https://llm.company.example/ai"
    assert prepared.env[variable] == PLACEHOLDER
    source = CLAUDE.model_source(made)
    assert source is not None
    assert (source.host, source.path) == ("llm.company.example", "/ai/v1/models?limit=1000")


def test_the_route_is_the_api_and_no_telemetry() -> None:
    (route,) = with_auth(CLAUDE.routes(manifest()), pick(CLAUDE.credentials(manifest()), {"ANTHROPIC_API_KEY"}).chosen)
    assert route.host == "api.anthropic.com"
    assert route.ports == (443,)
    assert route.dlp.outbound_on_match == "redact"
    assert route.auth is not None
    assert route.auth.header == "x-api-key"
    posts = [path for match in route.matches if "POST" in match.methods for path in match.paths]
    assert {(path.type, path.value) for path in posts} == {
        ("exact", "/v1/messages"),
        ("exact", "/v1/messages/count_tokens"),
    }
    assert not any(
        "event_logging" in path.value or "eval" in path.value for match in route.matches for path in match.paths
    )


def test_headless() -> None:
    command = CLAUDE.prepare(CONTEXT).command
    assert command.argv == (
        "/opt/carboy/claude/claude",
        "--mcp-config",
        "/home/agent/.claude/carboy-mcp.json",
        "--strict-mcp-config",
        "--dangerously-skip-permissions",
        "--print",
        "--",
        "Fix the test",
    )
    assert (command.cwd, command.tty) == ("/work/some project", False)


def test_interactive_with_prompt_model_and_arguments() -> None:
    made = manifest(prompt="You are brief.", model="claude-haiku-4-5", startup_args=["--verbose"])
    context = replace(CONTEXT, manifest=made, headless=False, task=None, rows=40, cols=120)
    command = CLAUDE.prepare(context).command
    assert command.argv[4:] == (
        "--append-system-prompt",
        "You are brief.",
        "--model",
        "claude-haiku-4-5",
        "--verbose",
        "--dangerously-skip-permissions",
    )
    assert (command.rows, command.cols, command.tty) == (40, 120, True)


def test_a_launchs_model_wins_over_the_bottles() -> None:
    argv = CLAUDE.prepare(replace(CONTEXT, manifest=manifest(model="a"), model="b")).command.argv
    assert argv[argv.index("--model") + 1] == "b"
    assert "a" not in argv


def test_a_task_may_begin_with_a_dash() -> None:
    argv = CLAUDE.prepare(replace(CONTEXT, task="--help me")).command.argv
    assert argv[-2:] == ("--", "--help me")


def test_a_command_replaces_the_command_line_only() -> None:
    prepared = CLAUDE.prepare(replace(CONTEXT, command=("claude", "mcp", "list")))
    assert prepared.command.argv == ("/opt/carboy/claude/claude", "mcp", "list")
    assert CLAUDE.prepare(replace(CONTEXT, command=("make", "claude"))).command.argv == ("make", "claude")
    assert prepared.files
    assert prepared.env["ANTHROPIC_API_KEY"] == PLACEHOLDER


def test_a_task_that_no_command_line_holds_is_refused() -> None:
    with pytest.raises(CarboyError) as caught:
        CLAUDE.prepare(replace(CONTEXT, task="x" * (MAX_ARGUMENT + 1)))
    assert caught.value.code == "task_too_long"


def test_no_dialog_is_left() -> None:
    files = {file.target: file for file in CLAUDE.prepare(CONTEXT).files}
    state = json.loads(files["/home/agent/.claude.json"].content)
    assert state["hasCompletedOnboarding"]
    assert state["projects"]["/work/some project"]["hasTrustDialogAccepted"]
    assert state["customApiKeyResponses"]["approved"] == [PLACEHOLDER[-20:]]
    assert json.loads(files["/home/agent/.claude/settings.json"].content)["skipDangerousModePermissionPrompt"]
    assert json.loads(files["/home/agent/.claude/carboy-mcp.json"].content) == {
        "mcpServers": {"carboy": {"type": "http", "url": f"{CONTEXT.proxy_url}/mcp", "timeout": 900_000}}
    }
    assert all(file.mode == 0o600 for file in files.values())


def test_only_the_chosen_placeholder_is_in_the_environment() -> None:
    env = CLAUDE.prepare(CONTEXT).env
    assert env["ANTHROPIC_API_KEY"] == PLACEHOLDER
    assert "CLAUDE_CODE_OAUTH_TOKEN" not in env
    assert "ANTHROPIC_BASE_URL" not in env
    token = replace(CONTEXT, placeholders={"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-carboy-x"})
    prepared = CLAUDE.prepare(token)
    assert prepared.env["CLAUDE_CODE_OAUTH_TOKEN"] == "sk-ant-oat01-carboy-x"
    assert "ANTHROPIC_API_KEY" not in prepared.env
    state = json.loads(prepared.files[0].content)
    assert state["customApiKeyResponses"]["approved"] == []


def test_skills_folder() -> None:
    assert CLAUDE.skills_folder("/home/agent") == "/home/agent/.claude/skills"
