"""A host's login is renewed before it ends, once, and its sidecar hears of it."""

import asyncio
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trustme
from aiohttp import web

from app.controller import logins, outbound
from app.controller.logins import Logins
from app.controller.outbound import Answered, Ask, Outbound
from app.controller.session import Session
from app.core.schema import Manifest
from app.demo.pretend.script import Say, Turn
from app.demo.pretend.seen import Seen
from app.demo.pretend.server import PretendServer
from app.errors import CarboyError
from app.paths import Paths
from app.providers.base import HostLogin, Renewal
from app.providers.shell import ShellProvider
from sidecar.secret import Secret
from tests.conftest import until

HOST = "login.example.com"


class Kept(ShellProvider):
    """A CLI whose login is a number in memory: the seconds at which it ends."""

    name, title, login_hint = "kept", "Kept", "Run `kept login`"

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.renewed = 0
        self.can_renew = True

    def host_login(self, manifest: Manifest, environ: Mapping[str, str]) -> HostLogin | None:
        return HostLogin("KEPT", Secret(f"token-{self.renewed}"), self.ends)

    def renewal(self, environ: Mapping[str, str]) -> Renewal | None:
        return Renewal(HOST, "/oauth/token", Secret("refresh"), self._keep) if self.can_renew else None

    def _keep(self, answer: bytes) -> None:
        self.ends = json.loads(answer)["ends"]
        self.renewed += 1


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def vendor(authority: trustme.CA):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(tls)
    async with PretendServer(lambda _: Turn((Say("x"),)), tls=tls) as server:
        yield server


@pytest.fixture
def paths(tmp_path: Path, vendor: PretendServer, authority: trustme.CA) -> Paths:
    made = Paths.resolve({"CARBOY_HOME": str(tmp_path / "home")})
    made.config.mkdir(parents=True)
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    mapped = f'"{HOST}:443": "127.0.0.1:{vendor.port}", "other.example.com:443": "127.0.0.1:{vendor.port}"'
    made.settings.write_text(f"egress:\n  extra_ca: [{tmp_path}/ca.pem]\n  connect_to: {{{mapped}}}\n")
    return made


def answering(vendor: PretendServer, status: int = 200, body: bytes = b'{"ends": 1e10}') -> None:
    async def handler(request: web.Request, seen: Seen) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers={"location": "/elsewhere"})

    vendor.handlers[HOST] = handler


async def test_a_login_that_lasts_is_left_alone(paths: Paths, vendor: PretendServer) -> None:
    for ends in (0.0, 1e10):
        found = await Logins(Outbound(paths), {}).fresh(Kept(ends), Manifest())
        assert found is not None
        assert found.token.reveal() == "token-0"
    assert vendor.seen == []


async def test_many_that_need_it_renew_it_once(paths: Paths, vendor: PretendServer) -> None:
    answering(vendor)
    kept, service = Kept(5.0), Logins(Outbound(paths), {})
    found = await asyncio.gather(*(service.fresh(kept, Manifest()) for _ in range(5)))
    assert {one.token.reveal() for one in found if one} == {"token-1"}
    (asked,) = vendor.seen
    assert (asked.method, asked.path, asked.body) == ("POST", "/oauth/token", b"refresh")


@pytest.mark.parametrize(("status", "code"), [(400, "login_expired"), (401, "login_expired"), (500, "vendor")])
async def test_what_cannot_be_renewed_says_so(paths: Paths, vendor: PretendServer, status: int, code: str) -> None:
    answering(vendor, status)
    with pytest.raises(CarboyError) as caught:
        await Logins(Outbound(paths), {}).fresh(Kept(5.0), Manifest())
    assert caught.value.code == code
    assert "refresh" not in caught.value.render()
    if code == "login_expired":
        assert caught.value.render() == "The login of Kept on this host has expired. Run `kept login`"


async def test_without_a_way_to_renew_it_is_expired(paths: Paths) -> None:
    kept = Kept(5.0)
    kept.can_renew = False
    with pytest.raises(CarboyError, match="expired"):
        await Logins(Outbound(paths), {}).fresh(kept, Manifest())


async def test_one_that_still_holds_is_used_when_the_vendor_is_down(
    paths: Paths, vendor: PretendServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(vendor, 500)
    monkeypatch.setattr(logins, "MARGIN", 1e11)
    found = await Logins(Outbound(paths), {}).fresh(Kept(1e10), Manifest())
    assert found is not None
    assert found.token.reveal() == "token-0"


async def test_a_sidecar_is_given_the_new_one(
    paths: Paths, vendor: PretendServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(vendor)
    kept, given = Kept(1.0), list[dict[str, Any]]()
    monkeypatch.setattr(logins, "provider_named", lambda _: kept)
    monkeypatch.setattr(logins, "LEAST_WAIT", 0.01)
    service = Logins(Outbound(paths), {})

    async def give(values: dict[str, Any]) -> None:
        given.append({name: one.reveal() for name, one in (await service.values(session)).items()})

    record = SimpleNamespace(secrets={"KEPT": "login"}, manifest=Manifest())
    session = cast(
        Session,
        SimpleNamespace(
            record=record, slug="dev", view=SimpleNamespace(provider="kept"), supervisor=SimpleNamespace(give=give)
        ),
    )
    with following(service, session):
        await until(lambda: given == [{"KEPT": "token-1"}])
    record.secrets = {"KEY": "keyring"}
    assert await service.values(session) == {}
    await asyncio.wait_for(service.keep_fresh(session), 5)


@contextmanager
def following(service: Logins, session: Session) -> Iterator[None]:
    task = asyncio.get_running_loop().create_task(service.keep_fresh(session))
    try:
        yield
    finally:
        task.cancel()


async def test_the_way_out_verifies_the_name_and_follows_nothing(paths: Paths, vendor: PretendServer) -> None:
    with pytest.raises(Answered) as caught:
        await Outbound(paths).fetch(Ask("GET", "other.example.com", "/"))
    assert caught.value.status == 0
    assert vendor.seen == []
    answering(vendor, 302)
    with pytest.raises(Answered) as caught:
        await Outbound(paths).fetch(Ask("GET", HOST, "/", header="x-api-key", credential=Secret("sk-real")))
    assert caught.value.status == 302
    (asked,) = vendor.seen
    assert (asked.headers["x-api-key"], asked.headers["host"]) == ("sk-real", HOST)
    assert "sk-real" not in repr(caught.value)


async def test_an_answer_without_end_is_cut(
    paths: Paths, vendor: PretendServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "MAX_ANSWER", 1000)
    answering(vendor, 200, b"x" * 100_000)
    with pytest.raises(Answered, match="too much"):
        await Outbound(paths).fetch(Ask("GET", HOST, "/"))
