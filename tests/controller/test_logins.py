"""A host's login is renewed before it ends, once, and its sidecar hears of it.

And the way out of carboy's own requests: a sidecar of their own."""

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
from app.processes.identity import same, wait_end
from app.processes.spawner import Child, Zygote
from app.providers.base import HostLogin, Renewal
from app.providers.shell import ShellProvider
from sidecar.contract import HeaderScheme, PathMatch, Route, RouteAuth, RouteMatch
from sidecar.egress.inquiries import MOST_ANSWER
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


async def test_a_login_that_lasts_is_left_alone(paths: Paths, vendor: PretendServer, zygote: Zygote) -> None:
    for ends in (0.0, 1e10):
        found = await Logins(Outbound(paths, zygote), {}).fresh(Kept(ends), Manifest())
        assert found is not None
        assert found.token.reveal() == "token-0"
    assert vendor.seen == []


async def test_many_that_need_it_renew_it_once(paths: Paths, vendor: PretendServer, zygote: Zygote) -> None:
    answering(vendor)
    kept, service = Kept(5.0), Logins(Outbound(paths, zygote), {})
    found = await asyncio.gather(*(service.fresh(kept, Manifest()) for _ in range(5)))
    assert {one.token.reveal() for one in found if one} == {"token-1"}
    (asked,) = vendor.seen
    assert (asked.method, asked.path, asked.body) == ("POST", "/oauth/token", b"refresh")


@pytest.mark.parametrize(("status", "code"), [(400, "login_expired"), (401, "login_expired"), (500, "vendor")])
async def test_what_cannot_be_renewed_says_so(
    paths: Paths, vendor: PretendServer, status: int, code: str, zygote: Zygote
) -> None:
    answering(vendor, status)
    with pytest.raises(CarboyError) as caught:
        await Logins(Outbound(paths, zygote), {}).fresh(Kept(5.0), Manifest())
    assert caught.value.code == code
    assert "refresh" not in caught.value.render()
    if code == "login_expired":
        assert caught.value.render() == "The login of Kept on this host has expired. Run `kept login`"


async def test_without_a_way_to_renew_it_is_expired(paths: Paths, zygote: Zygote) -> None:
    kept = Kept(5.0)
    kept.can_renew = False
    with pytest.raises(CarboyError, match="expired"):
        await Logins(Outbound(paths, zygote), {}).fresh(kept, Manifest())


async def test_one_that_still_holds_is_used_when_the_vendor_is_down(
    paths: Paths, vendor: PretendServer, monkeypatch: pytest.MonkeyPatch, zygote: Zygote
) -> None:
    answering(vendor, 500)
    monkeypatch.setattr(logins, "MARGIN", 1e11)
    found = await Logins(Outbound(paths, zygote), {}).fresh(Kept(1e10), Manifest())
    assert found is not None
    assert found.token.reveal() == "token-0"


async def test_a_sidecar_is_given_the_new_one(
    paths: Paths, vendor: PretendServer, monkeypatch: pytest.MonkeyPatch, zygote: Zygote
) -> None:
    answering(vendor)
    kept, given = Kept(1.0), list[dict[str, Any]]()
    monkeypatch.setattr(logins, "provider_named", lambda _: kept)
    monkeypatch.setattr(logins, "LEAST_WAIT", 0.01)
    service = Logins(Outbound(paths, zygote), {})

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


def asking(host: str, credential: Secret | None = None, *, only: str = "/") -> Ask:
    auth = RouteAuth(scheme=HeaderScheme(header="x-api-key"), token_ref="KEY") if credential else None
    matches = (RouteMatch(paths=(PathMatch(type="exact", value=only),), methods=("GET",)),)
    return Ask("GET", "/", Route(host=host, ports=(443,), auth=auth, matches=matches), credential=credential)


async def test_the_way_out_verifies_the_name_and_follows_nothing(
    paths: Paths, vendor: PretendServer, zygote: Zygote
) -> None:
    with pytest.raises(Answered) as caught:
        await Outbound(paths, zygote).fetch(asking("other.example.com"))
    assert caught.value.status == 0
    assert vendor.seen == []
    answering(vendor, 302)
    with pytest.raises(Answered) as caught:
        await Outbound(paths, zygote).fetch(asking(HOST, Secret("sk-real")))
    assert caught.value.status == 302
    (asked,) = vendor.seen
    assert (asked.headers["x-api-key"], asked.headers["host"]) == ("sk-real", HOST)
    assert "sk-real" not in repr(caught.value)


async def test_an_answer_without_end_is_cut(paths: Paths, vendor: PretendServer, zygote: Zygote) -> None:
    answering(vendor, 200, b"x" * (MOST_ANSWER + 1))
    with pytest.raises(Answered, match="too long"):
        await Outbound(paths, zygote).fetch(asking(HOST))


@pytest.mark.parametrize(
    ("host", "only", "why"),
    [(HOST, "/elsewhere", r"closed here \(path_not_allowed\)"), ("127.0.0.1", "/", "leads to 127.0.0.1")],
)
async def test_the_way_out_keeps_to_its_route(
    paths: Paths, vendor: PretendServer, zygote: Zygote, host: str, only: str, why: str
) -> None:
    with pytest.raises(Answered, match=why):
        await Outbound(paths, zygote).fetch(asking(host, Secret("sk-real-1234"), only=only))
    assert vendor.seen == []


async def test_an_answer_that_holds_the_credential_stays_outside(
    paths: Paths, vendor: PretendServer, zygote: Zygote
) -> None:
    answering(vendor, 200, b'{"data": [{"id": "sk-real-1234"}]}')
    with pytest.raises(Answered, match="sent the credential back"):
        await Outbound(paths, zygote).fetch(asking(HOST, Secret("sk-real-1234")))


async def test_nothing_is_left_of_it(
    paths: Paths, vendor: PretendServer, zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(vendor)
    forked, fork = list[Child](), zygote.fork

    async def noted(kind: Any, name: str, log: Path | None = None) -> Child:
        forked.append(await fork(kind, name, log))
        return forked[-1]

    monkeypatch.setattr(zygote, "fork", noted)
    assert await Outbound(paths, zygote).fetch(asking(HOST, Secret("sk-real-1234"))) == b'{"ends": 1e10}'
    (child,) = forked
    assert not same(child.process)
    assert [entry for entry in paths.run.iterdir() if entry.is_dir()] == []
    assert not [path for path in paths.state.rglob("*") if path.is_file() and b"sk-real" in path.read_bytes()]


async def test_it_ends_with_who_started_it(
    paths: Paths, vendor: PretendServer, zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller that is killed while it waits leaves no process behind, whatever the vendor does."""
    forked, asked, fork = list[Child](), asyncio.Event(), zygote.fork

    async def never(request: web.Request, seen: Seen) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def unkillable(kind: Any, name: str, log: Path | None = None) -> Child:
        forked.append(await fork(kind, name, log))
        return forked[-1]

    vendor.handlers[HOST] = never
    monkeypatch.setattr(zygote, "fork", unkillable)
    monkeypatch.setattr(Child, "kill", lambda child: None)
    monkeypatch.setattr(outbound, "kill_and_wait", wait_end)
    waiting = asyncio.get_running_loop().create_task(Outbound(paths, zygote).fetch(asking(HOST)))
    await asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 30)
    assert not same(forked[0].process)
