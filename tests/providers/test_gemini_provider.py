"""The gemini provider: what it asks for, and what it makes of a launch."""

import json

import pytest

from app.core.schema import Settings
from app.errors import ConfigError
from app.providers.base import pick, with_auth
from app.providers.gemini import REQUEST_TIMEOUT_FLAG, GeminiProvider
from sidecar.contract import Policy
from sidecar.egress.policy import CompiledPolicy, RequestFacts
from tests.providers.contexts import context, manifest

GEMINI = GeminiProvider()


def test_the_key_goes_into_its_own_header() -> None:
    (route,) = with_auth(GEMINI.routes(manifest()), pick(GEMINI.credentials(manifest()), {"GEMINI_API_KEY"}).chosen)
    assert route.host == "generativelanguage.googleapis.com"
    assert route.auth is not None
    assert route.auth.header == "x-goog-api-key"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", True),
        ("POST", "/v1beta/models/gemini-2.5-pro:countTokens", True),
        ("GET", "/v1beta/models", True),
        ("GET", "/v1beta/models/gemini-2.5-pro", True),
        ("POST", "/v1beta/models/gemini-2.5-pro:batchGenerateContent", False),
        ("POST", "/v1beta/files", False),
        ("POST", "/upload/v1beta/files", False),
        ("POST", "/v1beta/cachedContents", False),
        ("DELETE", "/v1beta/models/x", False),
        ("POST", "/v1beta/models/../files:generateContent", False),
    ],
)
def test_the_route_is_the_model_and_nothing_that_stores(method: str, path: str, allowed: bool) -> None:
    policy = CompiledPolicy.compile(Policy(routes=GEMINI.routes(manifest())))
    facts = RequestFacts("generativelanguage.googleapis.com", 443, method, path)
    assert policy.decide(facts).allowed is allowed


def test_command_lines() -> None:
    assert GEMINI.prepare(context(manifest(), task="-x y")).command.argv[1:] == (
        "--yolo",
        "--skip-trust",
        "--prompt=-x y",
    )
    made = context(manifest(model="gemini-2.5-flash", startup_args=["--debug"]), headless=False)
    assert GEMINI.prepare(made).command.argv[3:] == (
        "--model",
        "gemini-2.5-flash",
        "--debug",
        "--prompt-interactive=Fix the test",
    )
    assert GEMINI.prepare(context(manifest(), headless=False, task=None)).command.argv[1:] == ("--yolo", "--skip-trust")


def test_no_question_is_left() -> None:
    prepared = GEMINI.prepare(context(manifest(prompt="Be brief."), placeholders={"GEMINI_API_KEY": "AIza-carboy"}))
    files = {file.target: file.content for file in prepared.files}
    settings = json.loads(files["/home/agent/.gemini/settings.json"])
    assert settings["security"]["auth"]["selectedType"] == "gemini-api-key"
    assert settings["security"]["folderTrust"]["enabled"] is False
    assert settings["privacy"]["usageStatisticsEnabled"] is False
    assert settings["general"]["enableAutoUpdate"] is False
    assert files["/home/agent/.gemini/GEMINI.md"] == b"Be brief."
    (flag,) = json.loads(files[prepared.env["GEMINI_EXP"]])["flags"]
    assert flag["flagId"] == REQUEST_TIMEOUT_FLAG
    assert int(flag["intValue"]) > 300
    assert prepared.env["GEMINI_API_KEY"] == "AIza-carboy"
    assert not any(b"AIza" in content for content in files.values())


def test_a_command_outlives_a_question_to_the_operator() -> None:
    (settings, *_) = GEMINI.prepare(context(manifest(), placeholders={"GEMINI_API_KEY": "AIza-carboy"})).files
    silent = json.loads(settings.content)["tools"]["shell"]["inactivityTimeout"]
    assert silent > Settings().approval_timeout_seconds + 15


def test_it_knows_no_settings_of_its_own() -> None:
    with pytest.raises(ConfigError, match="base_url"):
        GEMINI.routes(manifest(base_url="https://x"))
    assert GEMINI.skills_folder("/h") == "/h/.gemini/skills"
