"""Deploy keys against stand-ins for Gitea's and GitHub's key APIs, which answer as their documentation says."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from app import forges
from app.controller import deploykeys
from app.controller.deploykeys import DeployKeys
from app.core.repositories import Repository, repositories
from app.core.schema import Bottle, Manifest
from app.errors import CarboyError
from app.forges import Forge
from app.manifests import confirm
from app.paths import Paths
from sidecar.contract import UpstreamSettings
from sidecar.secret import Secret

TOKEN = "api-token-1234567890"


@dataclass
class Api:
    """Both forges' `/repos/{owner}/{repo}/keys`."""

    kind: str
    keys: dict[int, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    fault: int = 0
    hang: bool = False
    next: int = 1

    def _allowed(self, request: web.Request) -> bool:
        wanted = f"token {TOKEN}" if self.kind == "gitea" else f"Bearer {TOKEN}"
        return request.headers.get("Authorization") == wanted

    async def handle(self, request: web.Request) -> web.Response:
        self.calls.append((request.method, request.path, request.host))
        if self.hang:
            await asyncio.sleep(3600)
        if not self._allowed(request):
            return web.json_response({"message": "Bad credentials"}, status=401)
        if self.fault:
            return web.json_response({"message": "on fire"}, status=self.fault)
        number = request.match_info.get("number")
        if request.method == "GET":
            page = int(request.query.get("page", "1"))
            return web.json_response(list(self.keys.values()) if page == 1 else [])
        if request.method == "DELETE":
            return web.Response(status=204 if self.keys.pop(int(number or 0), None) else 404)
        body = await request.json()
        if any(key["key"] == body["key"] or key["title"] == body["title"] for key in self.keys.values()):
            return web.json_response({"message": "Validation Failed: key is already in use"}, status=422)
        row = {"id": self.next, "title": body["title"], "key": body["key"], "read_only": body["read_only"]}
        self.keys[self.next] = row
        self.next += 1
        return web.json_response(row, status=201)


@contextlib.asynccontextmanager
async def forge(kind: str, host: str) -> AsyncIterator[tuple[Api, UpstreamSettings]]:
    api, ca = Api(kind), trustme.CA(key_type=trustme.KeyType.ECDSA)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(host).configure_cert(context)
    app = web.Application()
    base = "/api/v1/repos/{owner}/{repo}/keys" if kind == "gitea" else "/repos/{owner}/{repo}/keys"
    app.router.add_route("*", base, api.handle)
    app.router.add_route("*", base + "/{number}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    settings = UpstreamSettings(
        extra_ca=(ca.cert_pem.bytes().decode(),), connect_to={f"{host}:443": f"127.0.0.1:{port}"}
    )
    try:
        yield api, settings
    finally:
        await runner.cleanup()


KINDS = [("gitea", "git.example.com", "git.example.com"), ("github", "github.com", "api.github.com")]


@pytest.mark.parametrize(("kind", "host", "api_host"), KINDS)
async def test_a_keys_whole_life(kind: Any, host: str, api_host: str) -> None:
    where, token = Forge(kind, host, "me", "app"), Secret(TOKEN)
    async with forge(kind, api_host) as (api, settings):
        number = await forges.register(where, token, settings, "carboy x", "ssh-ed25519 AAAA")
        assert api.keys[number]["read_only"] is False
        assert api.calls[0][2] == api_host
        assert await forges.find(where, token, settings, "carboy x") == [number]
        with pytest.raises(CarboyError) as caught:
            await forges.register(where, token, settings, "carboy x", "ssh-ed25519 AAAA")
        assert caught.value.code == "deploy_key_exists"
        assert "already in use" in str(caught.value)
        assert await forges.revoke(where, token, settings, number) is True
        assert await forges.revoke(where, token, settings, number) is False
        with pytest.raises(CarboyError) as caught:
            await forges.register(where, Secret("wrong"), settings, "carboy x", "ssh-ed25519 AAAA")
        assert caught.value.code == "forge"
        assert "Bad credentials" in str(caught.value)
        assert TOKEN not in str(caught.value)


async def test_a_forge_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forges, "SECONDS", 0.3)
    async with forge("gitea", "git.example.com") as (api, settings):
        api.hang = True
        with pytest.raises(CarboyError) as caught:
            await forges.register(Forge("gitea", "git.example.com", "me", "app"), Secret(TOKEN), settings, "t", "k")
        assert caught.value.code == "forge_timeout"
    with pytest.raises(CarboyError) as caught:  # nobody there at all
        await forges.register(Forge("gitea", "git.example.com", "me", "app"), Secret(TOKEN), settings, "t", "k")
    assert caught.value.code == "forge"


class FakeSession:
    """What the ledger needs to know of a session."""

    def __init__(self, paths: Paths) -> None:
        self.id, self.slug, self.paths = "abcdef012345", "one", paths
        self.typed: dict[str, Secret] = {"API": Secret(TOKEN)}
        self.environment: dict[str, Secret] = {}


def repos() -> tuple[Repository, ...]:
    entry = {
        "url": "git@git.example.com:me/app.git",
        "host_key": "ssh-ed25519 AAAA",
        "key": {"provider": "gitea", "token_ref": "API"},
    }
    found, problems = repositories(Manifest(bottle=Bottle.model_validate({"git-gate": {"repos": {"app": entry}}})))
    assert problems == ()
    return found


def ledger(paths: Paths) -> list[Path]:
    return sorted((paths.state / deploykeys.FOLDER).glob("*.json"))


async def test_on_record_before_it_exists_and_revoked_at_the_end(paths: Paths) -> None:
    session: Any = FakeSession(paths)
    async with forge("gitea", "git.example.com") as (api, settings):

        async def upstream() -> UpstreamSettings:
            return settings

        keys = DeployKeys(paths, upstream)
        made = await keys.make(session, repos(), {"API": Secret(TOKEN)})
        assert "PRIVATE KEY" in made["app"].reveal()
        text = ledger(paths)[0].read_text()
        assert TOKEN not in text
        assert "PRIVATE" not in text
        assert json.loads(text)["number"] == 1
        # the forge is on fire at the end: it stays on record, and the next cleanup finishes it
        api.fault = 500
        assert await keys.revoke(session) == []
        assert len(ledger(paths)) == 1
        api.fault = 0
        assert await keys.cleanup(frozenset({session.id})) == [], "its session lives"
        assert len(api.keys) == 1
        assert len(await keys.revoke(session)) == 1
        assert (api.keys, ledger(paths)) == ({}, [])


async def test_a_controller_that_was_killed_before_it_knew_the_number(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    session: Any = FakeSession(paths)
    async with forge("gitea", "git.example.com") as (api, settings):

        async def upstream() -> UpstreamSettings:
            return settings

        keys = DeployKeys(paths, upstream)
        await keys.make(session, repos(), {"API": Secret(TOKEN)})
        file = ledger(paths)[0]
        file.write_text(json.dumps(json.loads(file.read_text()) | {"number": None}))
        api.keys[99] = {"id": 99, "title": "somebody else's", "key": "x"}
        monkeypatch.setattr("app.keyrings.choose", lambda: _no_keyring())
        assert await keys.cleanup(frozenset()) == [], "without the token nothing can be revoked"
        assert len(ledger(paths)) == 1
        assert len(await keys.revoke(session)) == 1
        assert set(api.keys) == {99}


def _no_keyring() -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(backend=None, name=None, why="none here")


async def test_the_operator_agrees_once(paths: Paths) -> None:
    ((digest, text),) = deploykeys.unconfirmed(paths, repos()).items()
    assert "git.example.com/me/app" in text
    confirm(paths, digest)
    assert deploykeys.unconfirmed(paths, repos()) == {}
