"""The opencode provider: what it makes of a launch."""

import json
from typing import Any

import pytest

from app.core.schema import Settings
from app.providers.base import LaunchContext
from app.providers.opencode import OpenCodeProvider
from tests.providers.contexts import context, manifest

OPENCODE = OpenCodeProvider()
OWN: dict[str, Any] = {"provider": "company", "base_url": "https://llm.company.example/v1", "models": ["large"]}


def config(made: LaunchContext) -> dict[str, Any]:
    return json.loads(OPENCODE.prepare(made).env["OPENCODE_CONFIG_CONTENT"])


def test_headless_the_task_comes_as_single_words() -> None:
    argv = OPENCODE.prepare(context(manifest(model="claude-sonnet-4-5"), task="Fix  --it\nnow")).command.argv
    assert argv[1:] == ("run", "--model", "anthropic/claude-sonnet-4-5", "--", "Fix", "", "--it\nnow")
    assert " ".join(argv[5:]) == "Fix  --it\nnow"


def test_interactive() -> None:
    made = context(manifest(provider="openrouter", model="openai/gpt-5.2"), headless=False, task="-x y")
    assert OPENCODE.prepare(made).command.argv[1:] == ("--model", "openrouter/openai/gpt-5.2", "--prompt=-x y")
    assert OPENCODE.prepare(context(manifest(), headless=False, task=None)).command.argv == ("/opt/carboy/x/x",)


def test_nothing_is_asked_and_no_other_vendor_is_there() -> None:
    made = context(manifest(prompt="Be brief."), placeholders={"ANTHROPIC_API_KEY": "sk-carboy"})
    found = config(made)
    assert found["permission"] == {"*": "allow"}
    assert found["enabled_providers"] == ["anthropic"]
    assert (found["autoupdate"], found["share"]) == (False, "disabled")
    options = found["provider"]["anthropic"]["options"]
    assert (options["timeout"], options["headerTimeout"]) == (False, False)
    assert options["apiKey"] == "{env:ANTHROPIC_API_KEY}"
    prepared = OPENCODE.prepare(made)
    (file,) = prepared.files
    assert (found["instructions"], file.content) == ([file.target], b"Be brief.")
    assert prepared.env["OPENCODE_DISABLE_AUTOUPDATE"] == "1"
    assert "sk-carboy" not in prepared.env["OPENCODE_CONFIG_CONTENT"]


def test_a_command_outlives_a_question_to_the_operator() -> None:
    given = OPENCODE.prepare(context(manifest())).env["OPENCODE_EXPERIMENTAL_BASH_DEFAULT_TIMEOUT_MS"]
    assert int(given) / 1000 > Settings().approval_timeout_seconds + 15


@pytest.mark.parametrize(
    ("api", "driver", "url"),
    [
        ("openai-completions", "@ai-sdk/openai-compatible", "https://llm.company.example/v1"),
        ("openai-responses", "@ai-sdk/openai", "https://llm.company.example/v1"),
        ("anthropic-messages", "@ai-sdk/anthropic", "https://llm.company.example/v1"),
    ],
)
def test_an_api_of_ones_own_is_described_to_it(api: str, driver: str, url: str) -> None:
    made = context(manifest("LLM_KEY", **OWN, api=api, context_window=200000))
    own = config(made)["provider"]["company"]
    assert (own["npm"], own["options"]["baseURL"]) == (driver, url)
    assert own["options"]["apiKey"] == "{env:COMPANY_API_KEY}"
    assert own["models"]["large"]["limit"]["context"] == 200000
    assert OPENCODE.prepare(made).command.argv[2:4] == ("--model", "company/large")
