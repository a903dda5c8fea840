"""The pi provider: what it makes of a launch."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import ConfigError
from app.providers.pi import RECIPE, PiProvider
from tests.providers.contexts import context, manifest

PI = PiProvider()
IMAGE = Path(__file__).parents[2] / "manifests/images/pi/Dockerfile"
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
    assert bare.argv[1:] == ()
    assert bare.tty


def test_a_task_never_names_a_file_to_send() -> None:
    assert PI.prepare(context(manifest(), task="@alice asked for this")).command.argv[-1] == " @alice asked for this"


def test_nothing_is_asked_and_nothing_else_is_called() -> None:
    prepared = PI.prepare(context(manifest(prompt="Be brief."), placeholders={"ANTHROPIC_API_KEY": "sk-carboy"}))
    files = {file.target: file.content for file in prepared.files}
    settings = json.loads(files["/home/agent/.pi/agent/settings.json"])
    assert settings["defaultProjectTrust"] == "always"
    assert settings["httpIdleTimeoutMs"] == 0
    assert settings["defaultProvider"] == "anthropic"
    assert settings["cacheWarming"] == "streaming"
    assert settings["extensions"] == ["-builtin:mcp"]
    assert files["/home/agent/.pi/agent/carboy-prompt.md"] == b"Be brief."
    env = {"PI_OFFLINE": "1", "PI_TELEMETRY": "0", "ANTHROPIC_API_KEY": "sk-carboy"}
    assert prepared.env == env | {"CARBOY_MCP_URL": "http://127.0.0.1:7878/mcp"}


ANTHROPIC = {"base_url": "https://api.anthropic.com", "api": "anthropic-messages"}


@pytest.mark.parametrize(("name", "own"), [("anthropic", {}), ("anthropic", ANTHROPIC), ("company", ANTHROPIC)])
def test_anthropic_gets_whole_conversations(name: str, own: dict[str, Any]) -> None:
    more = {**own, "models": ["large"]} if own else {}
    prepared = PI.prepare(context(manifest("LLM_KEY", provider=name, **more)))
    (models,) = [json.loads(file.content) for file in prepared.files if file.target.endswith("models.json")]
    assert models["providers"][name]["compat"] == {"supportsMessageThreads": False}
    assert models["providers"][name].get("baseUrl") == own.get("base_url")


def test_another_vendor_is_left_as_it_knows_it() -> None:
    prepared = PI.prepare(context(manifest("LLM_KEY", provider="openai")))
    assert not [file.target for file in prepared.files if file.target.endswith("models.json")]


def test_its_image_has_the_version_that_was_tried() -> None:
    assert f" {RECIPE.package}@{RECIPE.tried};" in IMAGE.read_text()


def test_an_api_of_ones_own_is_described_to_it() -> None:
    prepared = PI.prepare(context(manifest("LLM_KEY", **OWN), placeholders={"LLM_KEY": "carboy-x"}))
    (models,) = [json.loads(file.content) for file in prepared.files if file.target.endswith("models.json")]
    own = models["providers"]["company"]
    assert (own["baseUrl"], own["api"], own["apiKey"]) == (OWN["base_url"], "openai-completions", "$COMPANY_API_KEY")
    assert own["models"] == [{"id": name, "contextWindow": 200000} for name in ("large", "small")]
    assert prepared.env["COMPANY_API_KEY"] == "carboy-x"
    assert prepared.command.argv[1:5] == ("--provider", "company", "--model", "large")


def test_what_the_models_of_such_an_api_understand() -> None:
    more = {"max_tokens": 16384, "max_tokens_field": "max_tokens", "supports_developer_role": False,
            "supports_reasoning_effort": False}  # fmt: skip
    made = manifest(None, **OWN, **more, api_key_env="LLM_KEY")
    (credential,) = PI.credentials(made)
    assert (credential.token_ref, credential.env) == ("LLM_KEY", "COMPANY_API_KEY")
    (models,) = [
        json.loads(file.content)
        for file in PI.prepare(context(made, placeholders={"LLM_KEY": "carboy-x"})).files
        if file.target.endswith("models.json")
    ]
    compat = {"maxTokensField": "max_tokens", "supportsDeveloperRole": False, "supportsReasoningEffort": False}
    (large, _) = models["providers"]["company"]["models"]
    assert large == {"id": "large", "contextWindow": 200000, "maxTokens": 16384, "compat": compat}


def test_an_api_without_keys() -> None:
    made = manifest(None, **OWN, api_key="none")
    assert PI.credentials(made) == ()
    prepared = PI.prepare(context(made))
    (models,) = [json.loads(file.content) for file in prepared.files if file.target.endswith("models.json")]
    assert models["providers"]["company"]["apiKey"] == "none"
    assert "COMPANY_API_KEY" not in prepared.env


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({**OWN, "api_key": "sk-proj-0123456789abcdefghijklmn"}, "credential in a file"),
        ({**OWN, "api_key": "x" * 40}, "credential in a file"),
        ({**OWN, "api_key": "none", "api_key_env": "LLM_KEY"}, "beside a secret's name"),
        ({**OWN, "max_tokens": 0}, "number of tokens"),
        ({**OWN, "max_tokens": True}, "number of tokens"),
        ({**OWN, "max_tokens_field": "tokens"}, "field of a request"),
        ({**OWN, "supports_developer_role": "no"}, "true or false"),
        ({**OWN, "api_key_env": 5}, "secret's name"),
        ({"max_tokens": 5}, "needs base_url"),
    ],
    ids=["key", "long", "both", "zero", "bool", "field", "text", "number", "alone"],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PI.check(manifest(None, **given))
    assert says in caught.value.render()
    assert "sk-proj" not in caught.value.render()


def test_two_names_of_one_secret() -> None:
    with pytest.raises(ConfigError, match="two names"):
        PI.check(manifest("LLM_KEY", **OWN, api_key_env="OTHER"))
