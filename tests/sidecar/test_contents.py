"""What a sidecar writes down of requests and answers at log level 2: never a credential. Through a real sidecar."""

import base64
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import ContentEvent, Policy, Route, RouteAuth
from sidecar.dlp.engine import Engine, EngineConfig
from sidecar.dlp.needles import Known
from sidecar.egress.addons.contents import KEPT, MAX_HEADERS, Engines, _cleaned
from sidecar.secret import Secret
from sidecar.spool import MAX_LINE
from tests.sidecar.proxy_kit import Bottle, Seen, Upstream, answer, authority, bottle, pem

HOST = "files.example.com"
SECRET = "zK9#vR2qLm7Tx4Wp8sBn5Jd3"
TOKEN = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO" + "0pINUx"
OWNED = Route(host=HOST, auth=RouteAuth(token_ref="KEY"))
type Send = Callable[[dict[str, Any]], Awaitable[None]]


async def echo(seen: Seen, send: Send) -> None:
    """Its body, the credential that came, and a cookie."""
    told = {"you sent": seen.body.decode("latin-1"), "as": seen.header("authorization")}
    headers = [(b"content-type", b"application/json"), (b"set-cookie", b"session=" + b"s3cr3t" * 4)]
    await answer(send, 200, json.dumps(told).encode(), headers)


def contents(box: Bottle) -> list[ContentEvent]:
    return [ContentEvent.model_validate(line) for line in box.lines("content")]


def options(upstream: Upstream, **policy: Any) -> dict[str, Any]:
    return {
        "extra_ca": (pem(upstream.ca),),
        "connect_to": {f"{HOST}:443": f"127.0.0.1:{upstream.port}"},
        "secrets": {"KEY": SECRET},
        "policy": {"log": 2, **policy},
    }


async def test_level_2_writes_down_what_was_said_without_credentials() -> None:
    async with (
        Upstream((HOST,), authority(), handler=echo).run() as upstream,
        bottle(OWNED, **options(upstream)) as box,
        box.client() as client,
    ):
        answered = await client.post(f"https://{HOST}/x?a=1", json={"say": "hello"}, headers={"x-note": "one"})
        assert answered.status_code == 200
        await box.event(code="ok")
        request, response = contents(box)
        assert (request.part, json.loads(request.body)) == ("request", {"say": "hello"})
        assert ("x-note", "one") in request.headers
        assert response.request_id == request.request_id == (await box.event(code="ok")).request_id
        assert json.loads(response.body)["you sent"] == request.body
        assert ("set-cookie", "[masked]") in response.headers
        everything = json.dumps(box.lines("content"))
        for coded in (SECRET, base64.b64encode(SECRET.encode()).decode(), "s3cr3t"):
            assert coded not in everything


async def test_below_level_2_nothing_of_it_is_written_down() -> None:
    async with (
        Upstream((HOST,), authority(), handler=echo).run() as upstream,
        bottle(OWNED, **options(upstream, log=1)) as box,
        box.client() as client,
    ):
        assert (await client.post(f"https://{HOST}/x", content=b"hello")).status_code == 200
        await box.event(code="ok")
        assert contents(box) == []


async def test_a_route_that_scans_nothing_does_not_write_secrets_down() -> None:
    unscanned = Route.model_validate({"host": HOST, "dlp": {"outbound_detectors": False}})
    async with (
        Upstream((HOST,), authority()).run() as upstream,
        bottle(unscanned, **options(upstream)) as box,
        box.client() as client,
    ):
        sent = b"x" * (KEPT - 20) + b" " + TOKEN.encode() + b" and more"  # across the end of what is kept
        assert (await client.post(f"https://{HOST}/x", content=sent, headers={"x-token": TOKEN})).status_code == 200
        await box.event(code="ok")
        request = contents(box)[0]
        assert request.length == len(sent)
        everything = json.dumps(box.lines("content"))
        assert TOKEN[:15] not in everything


async def test_of_an_encoded_body_no_more_is_decoded_than_is_written_down() -> None:
    """On a route that scans nothing, nothing else would bound what a few kilobytes become."""
    unscanned = Route.model_validate({"host": HOST, "max_body": 1 << 20, "dlp": {"outbound_detectors": False}})
    bomb = brotli.compress(b"hello " + bytes(200 << 20), quality=4)
    async with (
        Upstream((HOST,), authority()).run() as upstream,
        bottle(unscanned, **options(upstream)) as box,
        box.client() as client,
    ):
        pid = box.process.pid
        for encoding, said in (("br", "hello"), ("rot13", "")):
            headers = {"content-encoding": encoding}
            assert (await client.post(f"https://{HOST}/x", content=bomb, headers=headers)).status_code == 200
            await box.event(code="ok")
            request = [each for each in contents(box) if each.part == "request"][-1]
            assert (request.body[:5], request.length) == (said, len(bomb))
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        assert peak is not None
        assert int(peak[1]) < 180_000


async def test_a_fault_while_it_is_written_lets_nothing_out() -> None:
    async with (
        Upstream((HOST,), authority()).run() as upstream,
        bottle(Route(host=HOST), fault="sidecar.egress.addons.contents:_cleaned:raise", **options(upstream)) as box,
        box.client() as client,
    ):
        answered = await client.post(f"https://{HOST}/x", content=b"hello")
        assert answered.status_code == 403
        assert upstream.seen == []


ENGINE = Engine.compile(EngineConfig((Known("KEY", Secret(SECRET)),)))


@given(
    st.lists(st.tuples(st.text(max_size=200), st.text(max_size=400)), max_size=60),
    st.one_of(st.binary(max_size=9000), st.text(st.characters(max_codepoint=31), max_size=9000).map(str.encode)),
)
def test_whatever_is_sent_it_is_one_line_of_the_spool(fields: list[tuple[str, str]], body: bytes) -> None:
    kept, text = _cleaned(Engines(ENGINE, ENGINE, ENGINE), fields=fields[:MAX_HEADERS], body=body)
    event = ContentEvent(
        id="1", at=1.0, request_id=secrets.token_hex(16), part="request", headers=tuple(kept), body=text
    )
    assert len(event.model_dump_json()) < MAX_LINE


def test_the_level_is_the_policys() -> None:
    assert Policy().log == 0
    with pytest.raises(ValueError, match="log"):
        Policy.model_validate({"log": 3})
