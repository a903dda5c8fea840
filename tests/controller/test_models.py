"""The list of models: asked with the launch's own key, kept for a day, and never nothing."""

import json
import ssl
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from app.controller.models import Models
from app.controller.outbound import Outbound
from app.core.model import LaunchRequest
from app.demo.pretend import anthropic
from app.demo.pretend.script import Say, Turn
from app.demo.pretend.seen import Seen
from app.demo.pretend.server import PretendServer
from app.paths import Paths
from app.processes.spawner import Zygote
from sidecar.secret import Secret

KEY = {"ANTHROPIC_API_KEY": Secret("sk-ant-api03-REAL")}


@pytest.fixture
async def vendor(tmp_path: Path):
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(anthropic.HOST).configure_cert(tls)
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    async with PretendServer(lambda _: Turn((Say("x"),)), tls=tls) as server:
        yield server


@pytest.fixture
def paths(tmp_path: Path, vendor: PretendServer) -> Paths:
    made = Paths.resolve({"CARBOY_HOME": str(tmp_path / "home")})
    made.bottles.mkdir(parents=True)
    made.state.mkdir(parents=True)
    (made.bottles / "box.md").write_text("---\nagent_provider: {template: claude, settings: {model: opus}}\n---\n")
    (made.bottles / "sh.md").write_text("---\nagent_provider: {template: shell}\n---\n")
    mapped = f'"{anthropic.HOST}:443": "127.0.0.1:{vendor.port}"'
    made.settings.write_text(f"egress:\n  extra_ca: [{tmp_path}/ca.pem]\n  connect_to: {{{mapped}}}\n")
    return made


def request(paths: Paths, bottle: str = "box", **given: Secret) -> LaunchRequest:
    project = paths.config.parent.parent / "project"
    project.mkdir(exist_ok=True)
    return LaunchRequest(bottles=(bottle,), cwd=str(project), env=given)


async def test_the_vendor_is_asked_once_a_day_with_the_launchs_key(
    paths: Paths, vendor: PretendServer, zygote: Zygote
) -> None:
    now = [1_000_000.0]
    models = Models(paths, Outbound(paths, zygote), lambda: now[0])
    found = await models.of(request(paths, **KEY))
    assert (found.source, found.models, found.chosen, found.at) == ("vendor", anthropic.MODELS, "opus", now[0])
    assert (found.title, found.tested, found.reason) == ("Claude Code", "2.1.332", "")
    (asked,) = vendor.seen
    assert (asked.method, asked.path, asked.headers["x-api-key"]) == ("GET", "/v1/models", "sk-ant-api03-REAL")
    assert asked.headers["anthropic-version"]
    now[0] += 3600
    again = await Models(paths, Outbound(paths, zygote), lambda: now[0]).of(request(paths, **KEY))
    assert (again.source, again.models, len(vendor.seen)) == ("cache", anthropic.MODELS, 1)
    assert (await models.of(request(paths, **KEY), fresh=True)).source == "vendor"
    now[0] += 90_000
    assert (await models.of(request(paths, **KEY))).source == "vendor"
    assert len(vendor.seen) == 3
    assert b"sk-ant" not in (paths.state / "models.json").read_bytes()


async def test_without_a_key_there_are_the_built_in_ones_and_what_would_help(
    paths: Paths, vendor: PretendServer, zygote: Zygote
) -> None:
    found = await Models(paths, Outbound(paths, zygote)).of(request(paths))
    assert (found.source, found.models[:2]) == ("built-in", ("opus", "sonnet"))
    assert set(found.wants_env) == {"ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"}
    assert "no key" in found.reason
    assert vendor.seen == []


@pytest.mark.parametrize(("status", "body"), [(401, b"{}"), (200, b"<html>"), (200, b"{}"), (200, b"[" * 9999)])
async def test_a_vendor_that_fails_is_said_and_the_last_answer_stays(
    paths: Paths, vendor: PretendServer, zygote: Zygote, status: int, body: bytes
) -> None:
    models = Models(paths, Outbound(paths, zygote))
    good = vendor.handlers[anthropic.HOST]

    async def bad(asked: web.Request, seen: Seen) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    vendor.handlers[anthropic.HOST] = bad
    found = await models.of(request(paths, **KEY))
    assert (found.source, bool(found.reason), found.models[0]) == ("built-in", True, "opus")
    vendor.handlers[anthropic.HOST] = good
    await models.of(request(paths, **KEY))
    vendor.handlers[anthropic.HOST] = bad
    found = await models.of(request(paths, **KEY), fresh=True)
    assert (found.source, bool(found.reason), found.models) == ("cache", True, anthropic.MODELS)


async def test_a_broken_cache_is_none(paths: Paths, zygote: Zygote) -> None:
    (paths.state / "models.json").write_text(json.dumps({"x": {"at": "never"}}))
    assert (await Models(paths, Outbound(paths, zygote)).of(request(paths, **KEY))).source == "vendor"


async def test_a_shell_has_none(paths: Paths, zygote: Zygote) -> None:
    found = await Models(paths, Outbound(paths, zygote)).of(request(paths, "sh"))
    assert (found.models, found.reason) == ((), "")
