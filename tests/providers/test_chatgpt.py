"""The host's ChatGPT login: read on the host, renewed as Codex would, and only its form in the bottle."""

import base64
import json
import os
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.schema import AgentProvider, Bottle, Manifest
from app.errors import CarboyError, ConfigError
from app.providers import chatgpt
from app.providers.base import pick, with_auth
from app.providers.codex import CodexProvider
from tests.providers.contexts import context

CODEX = CodexProvider()
FORWARDS = Manifest(bottle=Bottle(agent_provider=AgentProvider(forward_host_credentials=True)))
ACCOUNT = "7d1f0c5e-4b1a-4a55-9a44-0a2a6e3f1b77"
FACTS = {"account": ACCOUNT, "plan": "pro"}
PLACEHOLDER = "carboy-dev-0123456789abcdef0123456789abcdef"


def token(ends: float | None = None, account: str | None = ACCOUNT) -> str:
    said: dict[str, Any] = {chatgpt.CLAIMS: {"chatgpt_account_id": account, "chatgpt_plan_type": "pro"}}
    if ends is not None:
        said["exp"] = int(ends)
    middle = base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    return f"e30.{middle}.c2lnbmF0dXJl"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".codex").mkdir()
    return {"HOME": str(tmp_path)}


def keep(home: dict[str, str], **tokens: object) -> Path:
    path = chatgpt.auth_file(home)
    path.write_text(json.dumps({"tokens": tokens, "last_refresh": "2026-11-20T00:00:00Z", "other": 1}))
    return path


def test_a_login_is_read(home: dict[str, str]) -> None:
    ends = time.time() + 3600
    keep(home, access_token=token(ends), id_token=token(), refresh_token="rt-1", account_id=ACCOUNT)
    found = CODEX.host_login(FORWARDS, home)
    assert found is not None
    assert (found.token.reveal(), found.expires_at, found.facts) == (token(ends), int(ends), FACTS)
    assert "rt-1" not in repr(found)
    assert token(ends) not in repr(found)
    assert CODEX.host_login(Manifest(), home) is None


def test_the_account_may_stand_in_the_token_alone_and_the_folder_elsewhere(tmp_path: Path) -> None:
    elsewhere = {"HOME": "/nonexistent", "CODEX_HOME": str(tmp_path)}
    keep(elsewhere, access_token=token(), id_token=token())
    assert chatgpt.login(elsewhere).facts == FACTS
    assert chatgpt.login(elsewhere).expires_at == 0


@pytest.mark.parametrize(
    "content",
    [
        None, b"", b"{", b"[]", b'{"OPENAI_API_KEY": "sk-x"}', b'{"tokens": []}', b'{"tokens": {"access_token": 3}}',
        b'{"tokens": {"access_token": "a.b.c"}}', b"[" * 100_000, b" " * 300_000,
    ],
    ids=["none", "empty", "cut", "list", "a key", "no tokens", "number", "no account", "deep", "large"],
)  # fmt: skip
def test_without_one_it_says_how_to_get_one(home: dict[str, str], content: bytes | None) -> None:
    if content is not None:
        chatgpt.auth_file(home).write_bytes(content)
    with pytest.raises(CarboyError) as caught:
        CODEX.host_login(FORWARDS, home)
    assert caught.value.code == "login_missing"
    assert "codex login" in caught.value.hint


def test_a_renewal_uses_the_refresh_token_and_is_written_back_whole(home: dict[str, str]) -> None:
    path = keep(home, access_token=token(1), id_token=token(), refresh_token="rt-1", account_id=ACCOUNT)
    asked = CODEX.renewal(home)
    assert asked is not None
    assert (asked.host, asked.path) == ("auth.openai.com", "/oauth/token")
    assert json.loads(asked.body.reveal())["refresh_token"] == "rt-1"
    assert "rt-1" not in repr(asked)
    fresh = token(time.time() + 3600)
    asked.keep(json.dumps({"access_token": fresh, "refresh_token": "rt-2", "id_token": None}).encode())
    stored = json.loads(path.read_text())
    assert stored["tokens"] == {
        "access_token": fresh, "id_token": token(), "refresh_token": "rt-2", "account_id": ACCOUNT,
    }  # fmt: skip
    assert stored["other"] == 1
    assert stored["last_refresh"] > "2026-11-20T00:00:00Z"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["auth.json"]


def test_one_that_codex_made_meanwhile_is_not_overwritten(home: dict[str, str]) -> None:
    keep(home, access_token=token(1), refresh_token="rt-1", account_id=ACCOUNT)
    asked = CODEX.renewal(home)
    path = keep(home, access_token=token(2), refresh_token="rt-codex", account_id=ACCOUNT)
    before = path.read_bytes()
    assert asked is not None
    asked.keep(json.dumps({"access_token": token(3), "refresh_token": "rt-ours"}).encode())
    assert path.read_bytes() == before


@pytest.mark.parametrize("answer", [b"", b"{}", b"<html>", b'{"access_token": "no token"}', b'{"access_token": 1}'])
def test_what_is_no_login_is_not_kept(home: dict[str, str], answer: bytes) -> None:
    path = keep(home, access_token=token(1), refresh_token="rt-1", account_id=ACCOUNT)
    before = path.read_bytes()
    asked = CODEX.renewal(home)
    assert asked is not None
    with pytest.raises(ValueError):
        asked.keep(answer)
    assert path.read_bytes() == before


def test_without_a_refresh_token_there_is_no_renewal(home: dict[str, str]) -> None:
    keep(home, access_token=token(1), account_id=ACCOUNT)
    assert CODEX.renewal(home) is None


def test_the_bottle_gets_the_form_alone() -> None:
    made = replace(context(FORWARDS, placeholders={chatgpt.LOGIN: PLACEHOLDER}), login=FACTS)
    prepared = CODEX.prepare(made)
    config, _, auth = (file.content.decode() for file in prepared.files)
    assert prepared.env == {}
    stored = json.loads(auth)
    for name in ("access_token", "id_token"):
        said = chatgpt.claims(stored["tokens"][name])
        assert said[chatgpt.CLAIMS] == {"chatgpt_account_id": ACCOUNT, "chatgpt_plan_type": "pro"}
        assert said["exp"] > time.time() + 10 * 365 * 86400, "it never tries to renew it"
        assert stored["tokens"][name].endswith(f".{PLACEHOLDER}")
    assert (stored["tokens"]["refresh_token"], stored["tokens"]["account_id"]) == (PLACEHOLDER, ACCOUNT)
    own = tomllib.loads(config)["model_providers"]["carboy"]
    assert own["requires_openai_auth"] is True
    assert "env_key" not in own
    assert "base_url" not in own


def test_the_real_token_goes_to_chatgpt_alone() -> None:
    chosen = pick(CODEX.credentials(FORWARDS), {chatgpt.LOGIN}).chosen
    (route,) = with_auth(CODEX.routes(FORWARDS), chosen)
    assert (route.host, route.dlp.outbound_on_match) == ("chatgpt.com", "redact")
    assert route.auth is not None
    assert (route.auth.token_ref, route.auth.header, route.auth.scheme) == (chatgpt.LOGIN, "authorization", "Bearer")
    assert [one.host for one in CODEX.metered(FORWARDS)] == ["chatgpt.com"]


def test_two_ways_to_sign_in_are_one_too_many() -> None:
    both = AgentProvider(forward_host_credentials=True, auth_token="WORK")
    with pytest.raises(ConfigError, match="two ways"):
        CODEX.credentials(Manifest(bottle=Bottle(agent_provider=both)))
