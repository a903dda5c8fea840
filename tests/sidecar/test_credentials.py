"""Where a real credential goes, and where a placeholder does not: paths that two routes could own, redirects, interim
answers, the host's own proxy, WebSocket. The upstreams keep what arrives."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import h2.events
import httpx
import pytest
import websockets

from sidecar.contract import Route
from tests.sidecar.attack_kit import H2, LooseH2, ask, code_of, fields, read_some, server, tap, tunnel
from tests.sidecar.proxy_kit import Bottle, Seen, Upstream, answer, authority, bottle, pem
from tests.sidecar.test_proxy_upstreams import connect_proxy, raw_server

HOST, OTHER = "api.example.com", "other.example.com"
ONE, TWO = "zK9#vR2qLm7Tx4Wp8sBn5Jd3", "hY6!cN1wQd8Uf3Xs7eGm2Kz4"
MINE, ITS = "sk-carboy-one-7f3a9c0d1b2e4f567f3a", "sk-carboy-two-0a1b2c3d4e5f60710a1b"
KNOWN: dict[str, Any] = {"secrets": {"ONE": ONE, "TWO": TWO}, "placeholders": {"ONE": MINE, "TWO": ITS}}
KEY: dict[str, Any] = {"scheme": {"header": "x-api-key"}, "token_ref": "ONE"}
BEARER: dict[str, Any] = {"token_ref": "TWO"}

type Send = Callable[[dict[str, Any]], Awaitable[None]]


def route(auth: dict[str, Any] | None, path: str = "", host: str = HOST, **more: Any) -> Route:
    matches = [{"paths": [{"value": path}]}] if path else []
    return Route.model_validate({"host": host, "auth": auth, "matches": matches, **more})


def to(port: int, *names: str) -> dict[str, str]:
    return {f"{name}:443": f"127.0.0.1:{port}" for name in names or (HOST,)}


@contextlib.asynccontextmanager
async def led(upstream: Upstream, *routes: Route, **more: Any) -> AsyncIterator[Bottle]:
    mapped = to(upstream.port, HOST, OTHER)
    async with bottle(*routes, extra_ca=(pem(upstream.ca),), connect_to=mapped, **KNOWN, **more) as box:
        yield box


def owners(seen: Seen) -> str:
    """Whose credentials arrived, all of them."""
    text = str(seen)
    return "+".join(name for name, value in (("one", ONE), ("two", TWO)) if value in text)


# --- two routes of one host -----------------------------------------------------------------------------------------

PATHS = {
    "/one/x": "one",
    "/%6fne/x": "one",
    "/one?/../two": "one",
    "/two/x": "two",
    "/t%77o/one": "two",
    "/onex": "",
    "/One/x": "",
    **dict.fromkeys(
        (
            *("/two/../one/x", "/two/%2e%2e/one/x", "/two/.%2E/one", "/two/./x", "/./one/x", "//one/x", "/one//x"),
            *("/one;v=1/x", "/two;/../one", "/two/..;/one", "/one%2Fx", "/two%2f..%2fone", "/two/..%5cone", "/one\\x"),
            *("/one%00", "/two/%252e%252e/one", "/one%c0%af"),
        ),
        "",
    ),
}


@pytest.mark.parametrize("last", ["/two", "/", ""], ids=["beside", "below all", "whole host"])
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_a_path_gets_the_credential_of_its_own_route_alone(last: str, http2: bool) -> None:
    async with (
        Upstream((HOST,), authority()).run() as upstream,
        led(upstream, route(KEY, "/one"), route(BEARER, last)) as box,
    ):
        got: dict[str, str] = {}
        for path in PATHS:
            upstream.seen.clear()
            if http2:
                client = await H2.open(box, HOST)
                await client.answer(client.request(fields(HOST, path)))
                client.close()
            else:
                data = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
                await ask(box, data.encode(), f"{HOST}:443", HOST)
            got[path] = "+".join(owners(seen) for seen in upstream.seen)
        wanted = PATHS if last == "/two" else {**PATHS, "/onex": "two", "/One/x": "two"}
        if last == "":  # it asks for no path, so what cannot be one of the other route's goes there
            wanted = {**wanted, "/two/./x": "two"}
        assert got == wanted


async def test_a_header_that_names_a_path_does_not_bring_another_credential_there() -> None:
    async with (
        Upstream((HOST,), authority()).run() as upstream,
        led(upstream, route(KEY, "/one"), route(BEARER)) as box,
        box.client() as client,
    ):
        for name in ("X-Original-URL", "X_Rewrite_URL"):
            refused = await client.get(f"https://{HOST}/two", headers={name: "/one/x"})
            assert refused.json()["code"] == "path_ambiguous"
        assert upstream.seen == []


@pytest.mark.parametrize("detectors", [None, False], ids=["scanned", "not scanned"])
async def test_a_websocket_starts_with_its_own_credential_and_takes_no_placeholder(detectors: bool | None) -> None:
    dlp = {"outbound_detectors": detectors}
    routes = route(KEY, "/one", dlp=dlp), route(BEARER, "/two", dlp=dlp)
    async with Upstream((HOST,), authority()).run() as upstream, led(upstream, *routes) as box:

        def connect(path: str, **more: Any) -> websockets.connect:
            return websockets.connect(f"wss://{HOST}{path}", proxy=box.proxy, ssl=box.tls(), **more)

        for path, owner in (("/one/ws", "one"), ("/two/ws", "two")):
            mine = {"X-Api-Key": MINE, "Authorization": f"Bearer {ITS}"}
            async with connect(path, additional_headers=mine) as socket:
                await socket.send("hello")
                assert await socket.recv() == "echo hello"
            seen = upstream.seen.pop()
            assert owners(seen) == owner
            assert MINE not in str(seen)
            assert ITS not in str(seen)
        for wrong in ({"subprotocols": [f"key.{ITS}"]}, {"additional_headers": {"Sec-WebSocket-Key": ITS}}):
            with pytest.raises(websockets.InvalidStatus):
                await connect("/two/ws", **wrong)
        assert upstream.seen == []
        async with connect("/two/ws") as socket:
            await socket.send(ITS[:14])
            assert await socket.recv() == f"echo {ITS[:14]}"
            await socket.send(ITS[14:])
            assert "placeholder_misplaced" in str(await socket.recv())


# --- redirects ------------------------------------------------------------------------------------------------------


async def leads_on(seen: Seen, send: Send) -> None:
    key = "".join(seen.header("x-api-key"))
    targets = {
        "/one/same": f"https://{HOST}/two/x?k={key}",
        "/one/other": f"https://{OTHER}/x?k={base64.b64encode(key.encode()).decode()}",
        "/one/user": f"https://x:{key}@{OTHER}/",
        "/one/plain": f"http://{HOST}/one/{key[::-1]}",
    }
    where = targets.get(seen.path, "").encode()
    headers = [(b"location", where), (b"refresh", b"0; url=" + where), (b"link", b"<" + where + b">; rel=next")]
    await answer(send, 307 if where else 200, b"", headers if where else [])


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_a_redirect_takes_no_credential_along(http2: bool) -> None:
    routes = route(KEY, "/one"), route(BEARER, "/two"), route(None, host=OTHER)
    async with (
        Upstream((HOST, OTHER), authority(), handler=leads_on).run() as upstream,
        led(upstream, *routes) as box,
        box.client(http2=http2, headers={"x-api-key": MINE}) as client,
    ):
        for path, code in (("same", ""), ("other", "placeholder_misplaced"), ("user", "placeholder_misplaced")):
            upstream.seen.clear()
            plain = await client.get(f"https://{HOST}/one/{path}")
            assert plain.status_code == 307
            followed = await client.get(f"https://{HOST}/one/{path}", follow_redirects=True)
            assert followed.status_code == (403 if code else 200)
            assert not code or followed.json()["code"] == code
            for form in (ONE, ONE[::-1], base64.b64encode(ONE.encode()).decode()):
                assert form not in str(plain.headers)
            assert [owners(seen) for seen in upstream.seen] == ["one", "one", *(["two"] if path == "same" else [])]
        reversed_key = await client.get(f"https://{HOST}/one/plain")
        assert ONE[::-1] not in str(reversed_key.headers)


# --- interim answers ------------------------------------------------------------------------------------------------

INTERIM = [b"HTTP/1.1 103 Early", b"HTTP/1.0 100 Continue", b"HTTP/1.1 102", b"HTTP/1.1 199 " + ONE.encode()]
NOT_INTERIM = [b"HTTP/1.1  103 X", b"HTTP/1.1\t103 X", b"HTTP/1.1 0103 X", b"http/1.1 103 x", b"HTTP/1.1 101 Switching"]


@pytest.mark.parametrize("line", [*INTERIM, *NOT_INTERIM])
async def test_an_interim_answer_gives_nothing_away(line: bytes) -> None:
    told = line + b"\r\nLink: <" + ONE.encode() + b">\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(told)
        await reader.read()

    ca = authority()
    async with (
        server(serve, ca, HOST) as port,
        bottle(route(KEY), extra_ca=(pem(ca),), connect_to=to(port), **KNOWN) as box,
    ):
        got = await ask(box, f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode(), f"{HOST}:443", HOST)
        assert ONE.encode() not in got
        assert got.startswith(b"HTTP/1.1 200 OK" if line in INTERIM else b"HTTP/1.1 502 "), got


async def test_nor_does_one_of_http2() -> None:
    link = [(b"link", ONE.encode())]
    back = LooseH2(body=b"ok", interim=[[(b":status", status), *link] for status in (b"100", b"103")])
    ca, told = authority(), list[h2.events.Event]()
    async with (
        server(back, ca, HOST, alpn=("h2",)) as port,
        bottle(route(KEY), extra_ca=(pem(ca),), connect_to=to(port), **KNOWN) as box,
    ):
        client = await H2.open(box, HOST)
        receive = client.conn.receive_data

        def kept(data: bytes) -> list[h2.events.Event]:
            told.extend(found := receive(data))
            return found

        client.conn.receive_data = kept  # type: ignore[method-assign]
        stream = client.request(fields(HOST, "/x", "POST", ("expect", "100-continue")), b"x")
        assert await client.answer(stream) == "200"
        client.close()
        assert client.body[stream] == b"ok"
        interim = [event.headers for event in told if isinstance(event, h2.events.InformationalResponseReceived)]
        assert interim == [[(b":status", b"100")]], "ours"


async def test_the_body_that_is_waited_for_is_looked_through_before_anything_leaves() -> None:
    ca = authority()
    async with (
        tap(ca, HOST) as up,
        bottle(route(KEY), extra_ca=(pem(ca),), connect_to=to(up.port), **KNOWN) as box,
    ):
        head = f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: {len(MINE)}\r\n\r\n"
        reader, writer = await tunnel(box, f"{HOST}:443", HOST)
        writer.write(head.encode() + MINE.encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert code_of(await read_some(reader)) == "placeholder_misplaced"
        assert up.data == b""
        writer.close()


# --- the host's own proxy -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_the_hosts_own_proxy_sees_no_credential(http2: bool) -> None:
    ca, heads, name = authority(), list[bytes](), "1.1.1.1"
    async with Upstream((name,), ca).run() as upstream:
        async with raw_server(await connect_proxy(heads, upstream.port)) as port:
            more = {"extra_ca": (pem(ca),), "upstream_proxy": f"http://user:pass@127.0.0.1:{port}"}
            async with bottle(route(KEY, host=name), **more, **KNOWN) as box, box.client(http2=http2) as client:
                mine = {"x-api-key": MINE, "proxy-authorization": f"Basic {MINE}"}
                assert (await client.get(f"https://{name}/x", headers=mine)).status_code == 200
                refused: httpx.Response = await client.get(f"http://{name}/x", headers=mine)
                assert refused.json()["code"] == "credential_plaintext"
        (seen,) = upstream.seen
        assert owners(seen) == "one"
        assert MINE not in str(seen)
        assert seen.header("proxy-authorization") == []
        (head,) = heads
        assert b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n" in head
        assert ONE.encode() not in head
        assert MINE.encode() not in head
