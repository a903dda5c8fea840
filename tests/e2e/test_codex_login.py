"""Codex from npm with the ChatGPT login of its host: the real tokens stay outside, and are renewed outside."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from app.demo.pretend.seen import Handler, Seen
from app.providers.chatgpt import CLAIMS, HOST, ISSUER
from tests.e2e.cast import CAST
from tests.e2e.judge import (
    a_world,
    assert_file_written,
    assert_looked_around,
    assert_memory_is_clean,
    assert_no_placeholder_sent,
    egress,
    seated,
    start,
    turns,
)
from tests.e2e.world import Agent, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
Worlds = Callable[..., World]
ACCOUNT = "7d1f0c5e-4b1a-4a55-9a44-0a2a6e3f1b77"
REFRESH = "rt-REALREFRESH-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
RENEWED = "rt-RENEWED-a1b2c3d4e5f60718293a4b5c6d7e8f90"
LOGIN = Agent(("codex",), "template: codex, forward_host_credentials: true, settings: {transport: sse}", (HOST, ISSUER))
SOCKET = Agent(("codex",), "template: codex, forward_host_credentials: true", (HOST, ISSUER))


def token(name: str, ends: float) -> str:
    """A token as the vendor makes it; the name is in its signature."""
    said = {"exp": int(ends), "email": "me@example.com"}
    said |= {CLAIMS: {"chatgpt_account_id": ACCOUNT, "chatgpt_plan_type": "pro"}}
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in ({"alg": "RS256"}, said)]
    return b".".join([*parts, base64.urlsafe_b64encode(name.encode() * 3).rstrip(b"=")]).decode()


def logged_in(world: World, access: str) -> None:
    folder = world.root / ".codex"
    folder.mkdir()
    tokens = {"id_token": access, "access_token": access, "refresh_token": REFRESH, "account_id": ACCOUNT}
    (folder / "auth.json").write_text(
        json.dumps({"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": "2026-11-20T00:00:00Z", "kept": 1})
    )


def chat(world: World) -> Handler:
    """chatgpt.com: the model as at OpenAI's API, and whose account it is."""

    async def answer(request: web.Request, seen: Seen) -> web.StreamResponse:
        if seen.path.endswith("/wham/accounts/check"):
            account = {"id": ACCOUNT, "structure": "personal", "plan_type": "pro"}
            account |= dict.fromkeys(("workspace_backend_origin", "account_routing_override"), "NO_CONSTRAINT")
            return web.json_response(
                {"accounts": [account], "account_ordering": [ACCOUNT], "default_account_id": ACCOUNT}
            )
        if seen.path.endswith("/models"):
            return web.json_response({"models": []})
        return await world.vendor.vendors.openai(request, seen)

    return answer


def assert_nothing_of_it_inside(world: World, *real: str) -> None:
    """Nothing of carboy's, and nothing in the bottle's home or project, holds a real token."""
    guilty = [
        str(path)
        for path in world.files()
        if path != world.root / ".codex/auth.json" and any(one.encode() in path.read_bytes() for one in real)
    ]
    assert guilty == []


@pytest.mark.parametrize("agent", [SOCKET, LOGIN], ids=["websocket", "sse"])
def test_a_headless_turn_with_the_hosts_login(worlds: Worlds, agent: Agent) -> None:
    world = a_world(worlds, agent, CAST["codex"].runs())
    world.vendor.handlers[HOST] = chat(world)
    access = token("access-one", time.time() + 86400)
    logged_in(world, access)
    before = (world.root / ".codex/auth.json").read_bytes()
    assert_file_written(world, start(world, {}))
    seen = turns(world, HOST, real=f"Bearer {access}", header="authorization")
    assert {one.headers.get("chatgpt-account-id") for one in seen} == {ACCOUNT}
    allowed = {(host, path) for decision, host, path in egress(world, "turn") if decision == "allow"}
    assert (HOST, "/backend-api/codex/responses") in allowed
    assert {host for host, _ in allowed} == {HOST}
    if agent is LOGIN:
        assert "zstd" in {one.headers.get("content-encoding") for one in seen}
    assert_looked_around(world, "turn", access)
    assert_no_placeholder_sent(world)
    assert_nothing_of_it_inside(world, access, REFRESH)
    assert (world.root / ".codex/auth.json").read_bytes() == before


def test_an_expired_one_is_renewed_on_the_host(worlds: Worlds) -> None:
    world = a_world(worlds, LOGIN, CAST["codex"].runs())
    world.vendor.handlers[HOST] = chat(world)
    fresh = token("access-two", time.time() + 86400)

    async def renews(request: web.Request, seen: Seen) -> web.StreamResponse:
        asked: dict[str, Any] = seen.json()
        assert (seen.method, seen.path) == ("POST", "/oauth/token")
        assert (asked["grant_type"], asked["refresh_token"]) == ("refresh_token", REFRESH)
        return web.json_response({"access_token": fresh, "id_token": fresh, "refresh_token": RENEWED})

    world.vendor.handlers[ISSUER] = renews
    logged_in(world, token("access-old", time.time() - 60))
    assert_file_written(world, start(world, {}))
    turns(world, HOST, real=f"Bearer {fresh}", header="authorization")
    assert len(world.vendor.of(ISSUER)) == 1
    stored = json.loads((world.root / ".codex/auth.json").read_text())
    assert (stored["tokens"]["refresh_token"], stored["tokens"]["access_token"]) == (RENEWED, fresh)
    assert (stored["kept"], stored["tokens"]["account_id"]) == (1, ACCOUNT)
    assert_nothing_of_it_inside(world, fresh, REFRESH, RENEWED)


def test_one_that_cannot_be_renewed_says_what_to_do(worlds: Worlds) -> None:
    world = a_world(worlds, LOGIN, CAST["codex"].runs())
    world.vendor.handlers[ISSUER] = world.vendor.refuse
    logged_in(world, token("access-old", time.time() - 60))
    ran = start(world, {})
    assert ran.returncode == 1
    assert "has expired" in ran.stderr
    assert "codex login" in ran.stderr
    assert world.vendor.of(HOST) == []
    assert not list(world.paths.state.glob("bottles/*"))


def test_without_a_login_nothing_starts(worlds: Worlds) -> None:
    world = a_world(worlds, LOGIN, CAST["codex"].runs())
    ran = start(world, {})
    assert ran.returncode == 1
    assert "codex login" in ran.stderr
    assert world.vendor.seen == []


async def test_an_interactive_session_holds_no_token(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world(worlds, SOCKET, CAST["codex"].runs())
    world.vendor.handlers[HOST] = chat(world)
    access = token("access-one", time.time() + 86400)
    logged_in(world, access)
    monkeypatch.setattr("os.environ", {**world.env})
    async with seated(world, {}) as seat:
        await seat.shows("›")
        for dialog in ("Sign in", "Welcome to Codex", "log in", "Do you trust"):
            assert dialog not in seat.text
        await seat.type("write the file please")
        await seat.shows("write the file please")
        await seat.type("\r")
        await seat.shows("All done: the file is there.")
        await assert_memory_is_clean(world, access.rpartition(".")[2], known="write the file please")
    assert_nothing_of_it_inside(world, access, REFRESH)
