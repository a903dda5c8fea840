"""Hostile and odd requests against a real sidecar, byte by byte where no client would send them."""

import asyncio
import contextlib
import gzip
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from sidecar.contract import Route
from sidecar.egress.addons.journal import MAX_PATHS
from sidecar.egress.refusal import Refusal
from tests.sidecar.proxy_kit import Bottle, Seen, Upstream, answer, authority, bottle, pem

HOST, OTHER = "api.example.com", "other.example.com"
TOKEN, PLACEHOLDER = "sk-real-credential-123456", "sk-placeholder-7f3a9c0d"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream((HOST, OTHER), authority()).run() as running:
        yield running


@pytest.fixture
async def plain() -> AsyncIterator[Upstream]:
    async with Upstream((HOST,), authority(), tls=False).run() as running:
        yield running


@pytest.fixture
async def box(upstream: Upstream, plain: Upstream) -> AsyncIterator[Bottle]:
    auth = {"scheme": {"header": "x-api-key"}, "token_ref": "KEY"}
    async with bottle(
        Route.model_validate({"host": HOST, "auth": auth, "max_body": 100_000, "git": {"fetch": True}}),
        Route.model_validate({"host": OTHER}),
        Route.model_validate({"host": "bearer.example.com", "auth": {"token_ref": "KEY"}}),
        Route.model_validate({"host": "basic.example.com", "auth": {"scheme": "basic", "token_ref": "KEY"}}),
        Route.model_validate({"host": "none.example.com", "auth": {"token_ref": "MISSING"}}),
        Route.model_validate({"host": "localhost"}),
        Route.model_validate({"host": "127.0.0.1", "ports": [plain.port]}),
        extra_ca=(pem(upstream.ca),),
        connect_to={
            **{f"{name}:443": f"127.0.0.1:{upstream.port}" for name in (HOST, OTHER, "bearer.example.com")},
            f"{HOST}:80": f"127.0.0.1:{plain.port}",
            f"{OTHER}:80": f"127.0.0.1:{plain.port}",
        },
        secrets={"KEY": TOKEN},
        placeholders={"KEY": PLACEHOLDER},
    ) as running:
        yield running


async def raw(
    box: Bottle, data: bytes, *, connect: str = "", sni: str | None = None, alpn: tuple[str, ...] = ()
) -> bytes:
    """Send bytes, through CONNECT and TLS if asked for, and read to the end, or until it falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", box.port)
    try:
        if connect:
            writer.write(f"CONNECT {connect} HTTP/1.1\r\nHost: {connect}\r\n\r\n".encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            if b" 200 " not in head:
                return head + await reader.read(10_000)
        if sni is not None:
            context = box.tls()
            context.check_hostname = bool(sni)
            if not sni:
                context.verify_mode = ssl.CERT_NONE
            await writer.start_tls(context, server_hostname=sni or None)
        writer.write(data)
        got = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while chunk := await asyncio.wait_for(reader.read(65536), 0.4 if got else 5):
                got += chunk
        return got
    finally:
        writer.close()


def code_of(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        return json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["code"]
    except ValueError:
        return f"{head[:40]!r}"


# --- names ----------------------------------------------------------------------------------------------------------

GET = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("connect", "sni", "host"),
    [
        (f"{HOST}:443", HOST, f"Host: {OTHER}"),
        (f"{HOST}:443", OTHER, f"Host: {HOST}"),
        (f"{HOST}:443", OTHER, f"Host: {OTHER}"),
        (f"{OTHER}:443", HOST, f"Host: {HOST}"),
        (f"{HOST}:443", HOST, f"Host: {HOST}\r\nHost: {HOST}"),
        (f"{HOST}:443", HOST, f"Host: {HOST}\r\nhost: {OTHER}"),
        (f"{HOST}:443", HOST, f"Host: {HOST}:8443"),
        (f"{HOST}:443", HOST, f"Host: {HOST}."),
        (f"{HOST}:443", HOST, f"Host: x@{HOST}"),
        (f"{HOST}:443", "", f"Host: {HOST}"),
    ],
)
async def test_names_must_agree(box: Bottle, upstream: Upstream, connect: str, sni: str, host: str):
    got = await raw(box, f"GET /x HTTP/1.1\r\n{host}\r\n\r\n".encode(), connect=connect, sni=sni)
    assert code_of(got) == "names_disagree", got
    assert upstream.seen == []


@pytest.mark.parametrize("host", [HOST, HOST.upper(), f"{HOST}:443"])
async def test_names_that_do_agree(box: Bottle, host: str):
    got = await raw(box, f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), connect=f"{HOST}:443", sni=HOST)
    assert got.startswith(b"HTTP/1.1 200"), got


# --- shapes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_bytes",
    [
        f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: connect-udp\r\nConnection: Upgrade\r\n\r\n",
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        f"CONNECT {OTHER}:443 HTTP/1.1\r\nHost: {OTHER}:443\r\n\r\n",
        f"TRACE / HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
        "GET /x HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: +5\r\n\r\nhello",
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        f"POST /x HTTP/1.0\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nX: a\rb\r\n\r\n",
        f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nX: a\0b\r\n\r\n",
        f"GET /x\0y HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
        f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nExpect: something\r\n\r\n",
        f"GET http://{OTHER}/x HTTP/1.1\r\nHost: {OTHER}\r\n\r\n",
    ],
)
async def test_shapes_that_never_leave(box: Bottle, upstream: Upstream, plain: Upstream, request_bytes: str):
    got = await raw(box, request_bytes.encode("latin-1"), connect=f"{HOST}:443", sni=HOST)
    assert not got.startswith(b"HTTP/1.1 200"), got
    assert not got.startswith(b"HTTP/1.1 101"), got
    assert upstream.seen == []
    assert plain.seen == []


async def test_bytes_that_are_neither_tls_nor_http_are_closed(box: Bottle, upstream: Upstream):
    for data in (
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x00\x01\x02\x03\x04",
        b"\x16\x03\x01\xff\xff" + b"x" * 200,
        b"EHLO\xff\r\n",
    ):
        assert await raw(box, data, connect=f"{HOST}:443") == b""
    assert await raw(box, b"\x00\x01\x02\x03 x\r\n\r\n", connect=f"{HOST}:443", sni=HOST) == b""
    assert upstream.seen == []


async def test_a_request_smuggled_behind_a_body_is_judged_on_its_own(box: Bottle, upstream: Upstream):
    inner = b"GET /x HTTP/1.1\r\nHost: evil.example.org\r\n\r\n"
    outer = f"POST /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nbody".encode()
    got = await raw(box, outer + inner, connect=f"{HOST}:443", sni=HOST)
    assert got.count(b"HTTP/1.1 ") == 2
    assert b"names_disagree" in got
    assert [seen.path for seen in upstream.seen] == ["/a"]


async def test_connection_listed_headers_do_not_drop_the_credential(box: Bottle, upstream: Upstream):
    data = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nConnection: x-api-key, close\r\nProxy-Authorization: x\r\n\r\n"
    await raw(box, data.encode(), connect=f"{HOST}:443", sni=HOST)
    assert upstream.seen[0].header("x-api-key") == [TOKEN]
    assert "x-api-key" not in "".join(upstream.seen[0].header("connection"))
    assert upstream.seen[0].header("proxy-authorization") == []


async def test_oversized_heads_are_refused(box: Bottle, upstream: Upstream):
    big = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nX: {'a' * 1_000_000}\r\n\r\n".encode()
    assert code_of(await raw(box, big, connect=f"{HOST}:443", sni=HOST)) == "headers_too_large"
    async with box.client(http2=True) as client:
        with contextlib.suppress(httpx.HTTPError):
            assert (await client.get(f"https://{HOST}/", headers={"x": "a" * 300_000})).status_code >= 400
        assert (await client.get(f"https://{HOST}/")).status_code == 200
    assert len(upstream.seen) == 1


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_past_the_routes_cap_is_refused(box: Bottle, upstream: Upstream, chunked: bool):
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 1000

    async with box.client() as client:
        content: Any = parts() if chunked else b"x" * 200_000
        response = await client.post(f"https://{HOST}/x", content=content)
        assert response.json()["code"] == "body_too_large"
        assert (await client.post(f"https://{HOST}/x", content=b"x" * 100_000)).status_code == 200
    assert len(upstream.seen) == 1


# --- plain http ------------------------------------------------------------------------------------------------------


async def test_plain_http_in_absolute_form(box: Bottle, plain: Upstream):
    async with box.client() as client:
        assert (await client.get(f"http://{OTHER}/x")).text == "hello"
        assert (await client.get("http://evil.example.org/x")).json()["code"] == "host_not_allowed"
        assert (await client.get(f"http://{OTHER}:8080/x")).json()["code"] == "port_not_allowed"
    assert [(seen.path, seen.header("host")) for seen in plain.seen] == [("/x", [OTHER])]
    got = await raw(box, f"GET https://{OTHER}/x HTTP/1.1\r\nHost: {OTHER}\r\n\r\n".encode())
    assert code_of(got) == "bad_request"


# --- addresses --------------------------------------------------------------------------------------------------------


async def test_a_name_that_leads_inside_is_refused(box: Bottle, plain: Upstream):
    async with box.client() as client:
        assert (await client.get("https://localhost/")).json()["code"] == "private_address"
        inside = await client.get(f"http://127.0.0.1:{plain.port}/")
        assert inside.json()["code"] == "private_address"
    assert plain.seen == []


async def test_allow_private_is_what_lets_it(plain: Upstream):
    async with (
        bottle(Route(host="localhost", ports=(plain.port,), allow_private=True)) as box,
        box.client() as client,
    ):
        assert (await client.get(f"http://localhost:{plain.port}/")).text == "hello"


async def test_a_refused_request_asks_nobody(upstream: Upstream):
    """No look-up before the verdict: the resolver is broken, so that any use of it would show as internal_error."""
    async with (
        bottle(Route(host=HOST), fault="sidecar.egress.reach:Reach._resolve:raise") as box,
        box.client() as client,
    ):
        assert (await client.get("https://data.exfil.example.org/")).json()["code"] == "host_not_allowed"
        assert (await client.get(f"https://{HOST}/")).json()["code"] == "internal_error"


# --- credentials -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True])
async def test_the_credential_goes_into_its_slot_alone(box: Bottle, upstream: Upstream, http2: bool):
    sent = {"x-api-key": PLACEHOLDER, "authorization": "Bearer mine", "api-key": "mine", "x-other": "kept"}
    async with box.client(http2=http2) as client:
        assert (await client.get(f"https://{HOST}/x", headers=sent)).status_code == 200
        assert (await client.get(f"https://{OTHER}/x", headers={"authorization": "Bearer mine"})).status_code == 200
    first, second = upstream.seen
    assert first.header("x-api-key") == [TOKEN]
    assert first.header("authorization") == first.header("api-key") == []
    assert first.header("x-other") == ["kept"]
    assert second.header("authorization") == ["Bearer mine"]
    assert second.header("x-api-key") == []
    written = b"".join(path.read_bytes() for path in (box.folder / "spool").iterdir())
    assert TOKEN.encode() not in written
    assert PLACEHOLDER.encode() not in written


async def test_missing_credentials_refuse_before_anything_leaves(box: Bottle):
    async with box.client() as client:
        response = await client.get("https://none.example.com/")
    assert response.json()["code"] in ("credential_missing", "upstream_unreachable")


@pytest.mark.parametrize(
    ("path", "kwargs"),
    [
        (f"/{PLACEHOLDER}", {}),
        (f"/x?key={PLACEHOLDER}", {}),
        (f"/x?key={PLACEHOLDER.upper()}", {}),
        ("/x?key=" + "".join(f"%{ord(c):02x}" for c in PLACEHOLDER), {}),
        ("/x", {"headers": {"x-note": f"see {PLACEHOLDER}"}}),
        ("/x", {"headers": {"cookie": f"k={PLACEHOLDER}"}}),
        ("/x", {"content": f'{{"text": "{PLACEHOLDER}"}}'.encode()}),
    ],
)
async def test_a_placeholder_anywhere_else_refuses(box: Bottle, upstream: Upstream, path: str, kwargs: Any):
    async with box.client() as client:
        response = await client.post(f"https://{HOST}{path}", **kwargs)
        assert response.json()["code"] == "placeholder_misplaced"
        elsewhere = await client.get(f"https://{OTHER}/x", headers={"authorization": f"Bearer {PLACEHOLDER}"})
        assert elsewhere.json()["code"] == "placeholder_misplaced"
    assert upstream.seen == []


# --- what tools show -------------------------------------------------------------------------------------------------


async def test_a_client_that_shows_no_body_shows_why(box: Bottle, upstream: Upstream):
    """pip, npm, yarn, wget and apt print the reason phrase."""
    async with box.client() as client:
        response = await client.get("https://elsewhere.example.com/")
    assert response.status_code == 403
    assert response.reason_phrase == (
        "carboy refused this request (host_not_allowed): elsewhere.example.com is not on this bottle's list"
    )
    assert upstream.seen == []


def test_a_reason_phrase_is_one_short_line():
    told = Refusal("bad_request", "a\r\nset-cookie: b=é " + "x" * 5_000).phrase()
    assert told.startswith(b"carboy refused this request (bad_request): a??set-cookie: b=? xxx")
    assert len(told) == 200


# --- git -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
async def test_real_git_is_told_why_it_may_not_push(box: Bottle, tmp_path: Path, upstream: Upstream):
    env = {
        **os.environ,
        "HTTPS_PROXY": box.proxy,
        "https_proxy": box.proxy,
        "GIT_SSL_CAINFO": str(box.ca_file),
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
    }

    def git(*args: str) -> subprocess.CompletedProcess[str]:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
        return subprocess.run(["git", *who, *args], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    await asyncio.to_thread(git, "init", "-q")
    await asyncio.to_thread(git, "commit", "-q", "--allow-empty", "-m", "x")
    pushed = await asyncio.to_thread(git, "push", f"https://{HOST}/me/r.git", "HEAD")
    assert pushed.returncode != 0
    fetched = await asyncio.to_thread(git, "ls-remote", f"https://{OTHER}/me/r.git")
    assert "403" in fetched.stderr
    assert "remote: carboy refused this request (git_fetch_not_allowed)" in fetched.stderr
    assert "egress-block" in fetched.stderr  # how to ask for it
    assert (await box.event(code="git_push_refused")).host == HOST
    assert (await box.event(code="git_fetch_not_allowed")).host == OTHER
    assert upstream.seen == []


# --- responses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True])
async def test_streams_come_as_they_are_sent(box: Bottle, upstream: Upstream, http2: bool):
    gate = asyncio.Event()

    async def handler(seen: Seen, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await gate.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    upstream.handler = handler
    async with box.client(http2=http2) as client, client.stream("GET", f"https://{HOST}/s") as response:
        chunks = response.aiter_raw()
        assert await asyncio.wait_for(anext(chunks), 5) == b"data: 1\n\n"
        assert (await box.event(phase="open")).code == "ok"
        gate.set()
        assert await asyncio.wait_for(anext(chunks), 5) == b"data: 2\n\n"
    closed = await box.event(phase="closed")
    assert closed.bytes_down == 18
    assert closed.request_id == (await box.event(phase="open")).request_id


@pytest.mark.parametrize("whole", [True, False], ids=["gzip", "no-gzip"])
async def test_encoded_bodies_are_read_or_cut_and_alt_svc_is_gone(box: Bottle, upstream: Upstream, whole: bool):
    async def handler(seen: Seen, send: Any) -> None:
        headers = [(b"content-encoding", b"gzip"), (b"alt-svc", b'h3=":443"'), (b"x-kept", b"1")]
        await answer(send, 200, gzip.compress(b"some text") if whole else b"\x1f\x8bnot really gzip", headers)

    upstream.handler = handler
    async with box.client() as client, client.stream("GET", f"https://{HOST}/") as response:
        assert "alt-svc" not in response.headers
        assert response.headers["x-kept"] == "1"
        if whole:
            assert b"".join([chunk async for chunk in response.aiter_bytes()]) == b"some text"
        else:
            with pytest.raises(httpx.RemoteProtocolError):  # what cannot be looked at does not pass
                await response.aread()


async def test_websocket(box: Bottle, upstream: Upstream):
    async with websockets.connect(f"wss://{HOST}/ws", proxy=box.proxy, ssl=box.tls()) as socket:
        await socket.send("hello")
        assert await socket.recv() == "echo hello"
        await socket.send(b"\x01\x02" * 100_000)
        assert await socket.recv() == b"\x02\x01" * 100_000
        await socket.send(["in", " parts"])
        assert await socket.recv() == "echo in parts"
        pong = await socket.ping()
        await asyncio.wait_for(pong, 5)
        assert (await box.event(phase="open")).protocol == "websocket"
        await socket.send("bye")
        with pytest.raises(websockets.ConnectionClosedOK):
            await socket.recv()
    event = await box.event(phase="closed")
    assert (event.code, event.status, event.detail["messages_up"], event.detail["messages_down"]) == ("ok", 101, 4, 3)
    assert upstream.seen[0].header("x-api-key") == [TOKEN]
    assert upstream.seen[0].header("sec-websocket-extensions") == []


async def test_websocket_to_a_host_that_is_not_allowed(box: Bottle):
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with websockets.connect("wss://evil.example.org/ws", proxy=box.proxy, ssl=box.tls()):
            pass
    assert caught.value.response.status_code == 403


async def test_a_flood_of_refusals_becomes_few_lines(box: Bottle):
    async with box.client() as client:
        await asyncio.gather(*(client.get("https://evil.example.org/") for _ in range(60)))
    async with asyncio.timeout(10):
        while sum(1 + event.detail.get("count", 0) for event in box.events()) < 60:
            await asyncio.sleep(0.05)
    assert sum(1 + event.detail.get("count", 0) for event in box.events()) == 60
    assert len(box.events()) < 20


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_shows_the_reason(box: Bottle):
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "-x", box.proxy, "--cacert", str(box.ca_file), "https://evil.example.org/"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert json.loads(out)["error"]["code"] == "host_not_allowed"


async def test_refusals_are_told_apart_by_path_while_there_are_few(box: Bottle):
    """Learning mode is made of them; a flood of paths is a few lines a second all the same."""
    paths = [f"/p{number}" for number in range(MAX_PATHS + 40)]
    before = len(box.events())

    def ours() -> list[Any]:
        return [event for event in box.events()[before:] if event.host == "other.example.org"]

    async with box.client() as client:
        for path in paths[:3]:  # first, or chance says which of all come first
            await client.get(f"https://other.example.org{path}")
        await asyncio.gather(*(client.get(f"https://other.example.org{path}") for path in paths))
    async with asyncio.timeout(10):
        while sum(1 + event.detail.get("count", 0) for event in ours()) < len(paths) + 3:
            await asyncio.sleep(0.05)
    assert {"/p0", "/p1", "/p2"} <= {event.path for event in ours()}
    assert len({event.path for event in ours()}) >= MAX_PATHS


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_a_name_in_other_letters_is_reached_by_either_protocol(http2: bool):
    """It is compared as it is on the wire: in ASCII."""
    other = "xn--bcher-kva.example.com"
    async with Upstream((other,), authority()).run() as upstream:
        settings: dict[str, Any] = {
            "extra_ca": [pem(upstream.ca)],
            "connect_to": {f"{other}:443": f"127.0.0.1:{upstream.port}"},
        }
        async with bottle(Route(host=other), **settings) as box, box.client(http2=http2) as client:
            got = await client.get(f"https://{other}/x")
            assert got.status_code == 200, got.text
            assert got.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            refused = await client.get("https://xn--mller-kva.example.com/x")
            assert refused.json()["code"] == "host_not_allowed"
        assert [seen.path for seen in upstream.seen] == ["/x"]
