"""The way from the listener to the MCP server, byte by byte: streams, silence, clients that leave, and floods."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.http import Request, Response

from sidecar.supervise import bridge
from tests.sidecar.proxy_kit import Bottle, bottle
from tests.sidecar.supervise.mcp_kit import ROUTES, decide, proposal, proposals, set_policy

MODERN = {"mcp-protocol-version": "2026-07-28"}
ASK = {"host": "new.example.org", "justification": "x"}


@pytest.fixture
async def box() -> AsyncIterator[Bottle]:
    async with bottle(*ROUTES) as running:
        yield running


def message(name: str, arguments: dict[str, Any], *, modern: bool, token: str | None = None) -> dict[str, Any]:
    meta: dict[str, Any] = {"progressToken": token} if token else {}
    if modern:
        meta |= {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    params = {"name": name, "arguments": arguments, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def post(document: Any, *, modern: bool = False, headers: dict[str, str] | None = None, path: str = "/mcp") -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    said = {
        "host": "127.0.0.1",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "content-length": str(len(body)),
        **(MODERN if modern else {}),
        **(headers or {}),
    }
    if modern and isinstance(document, dict):
        said |= {"mcp-method": document["method"], "mcp-name": document["params"]["name"]}
    head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@contextlib.asynccontextmanager
async def sent(box: Bottle, data: bytes) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", box.port)
    data = data.replace(b"host: 127.0.0.1\r\n", f"host: 127.0.0.1:{box.port}\r\n".encode())
    writer.write(data)
    try:
        yield reader
    finally:
        writer.close()


async def status_of(box: Bottle, data: bytes) -> tuple[int, bytes]:
    async with sent(box, data) as reader, asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        body = b""
        if b"content-length" in head.lower():
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            body = await reader.readexactly(length)
        elif b"text/event-stream" in head.lower():
            body = await reader.readuntil(b"0\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("token", ["t1", None])
async def test_a_waiting_call_streams_at_once_and_shows_life(box: Bottle, modern: bool, token: str | None) -> None:
    async with sent(box, post(message("egress-allow", ASK, modern=modern, token=token), modern=modern)) as reader:
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        assert b"text/event-stream" in head
        asked = await proposal(box)
        async with asyncio.timeout(20):
            for _ in range(2):
                await reader.readuntil(b"notifications/progress" if token else b": ")
        await decide(box, asked.proposal_id, "rejected", reason="no")
        async with asyncio.timeout(5):
            rest = await reader.readuntil(b"0\r\n\r\n")
        assert b'"rejected"' in rest


@pytest.mark.parametrize("modern", [True, False])
async def test_a_client_that_leaves_ends_its_call_not_its_question(box: Bottle, modern: bool) -> None:
    for _ in range(40):  # more than may be under way at once
        async with sent(box, post(message("egress-allow", ASK, modern=modern), modern=modern)) as reader:
            async with asyncio.timeout(20):
                await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(20):
        while True:
            health, _ = await box.channel.call("health", timeout=5)
            if health["connections"] == 0:
                break
            await asyncio.sleep(0.05)
    (asked,) = proposals(box)
    assert await decide(box, asked.proposal_id, "approved")
    status, body = await status_of(
        box, post(message("check-proposal", {"proposal_id": asked.proposal_id}, modern=True), modern=True)
    )
    assert status == 200
    assert b'"approved"' in body


async def test_no_more_than_so_many_calls_at_once(box: Bottle) -> None:
    data = post(message("egress-allow", ASK, modern=True), modern=True)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(32):
            reader = await stack.enter_async_context(sent(box, data))
            async with asyncio.timeout(20):
                await reader.readuntil(b"\r\n\r\n")
        status, body = await status_of(box, data)
        assert status == 400
        assert b"Too many calls" in body
    assert len(proposals(box)) == 1


async def test_no_flood_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred at a stroke, then twenty a second. By a clock of the test's own: a busy machine makes no flood."""
    now = [1000.0]
    monkeypatch.setattr(bridge, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))

    async def app() -> Any:
        raise AssertionError("nobody asks for an answer")

    calls = bridge.Bridge(app)
    request = Request.make("POST", "http://mcp.carboy.internal/", b"{}")

    def taken() -> int:
        return sum(isinstance(calls.call(request, ("mcp.carboy.internal", 80)), bridge.Call) for _ in range(150))

    assert taken() == 100
    answer = calls.call(request, ("mcp.carboy.internal", 80))
    assert isinstance(answer, Response)
    assert answer.status_code == 400
    assert b"Too many calls" in (answer.content or b"")
    now[0] += 1.0
    assert taken() == 20


async def test_a_body_past_its_bound(box: Bottle) -> None:
    big = message("egress-allow", {**ASK, "justification": "x" * 1_100_000}, modern=True)
    status, body = await status_of(box, post(big, modern=True))
    assert status == 403
    assert b"body_too_large" in body
    # one that fits is read, and refused for what it says
    status, body = await status_of(
        box, post(message("egress-allow", {**ASK, "justification": "x" * 900_000}, modern=True), modern=True)
    )
    assert status == 200
    assert b"invalid_call" in body
    assert proposals(box) == []


async def test_a_proposal_that_fits_no_event(box: Bottle) -> None:
    await set_policy(box)
    routes = [
        {"host": f"h{number}.example", "matches": [{"paths": [{"value": "/" + "a" * 1000}]}]} for number in range(100)
    ]
    _, body = await status_of(box, post(message("list-egress-routes", {}, modern=True), modern=True))
    base = json.loads(body)["result"]["structuredContent"]["base_hash"]
    arguments = {"routes": routes, "base_hash": base, "justification": "x"}
    status, body = await status_of(box, post(message("egress-allow", arguments, modern=True), modern=True))
    assert status == 200
    assert b"fewer or shorter routes" in body
    assert proposals(box) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"jsonrpc":"2.0"}', b"\xff\xfe"])
@pytest.mark.parametrize("modern", [True, False])
async def test_bodies_that_are_no_call(box: Bottle, body: bytes, modern: bool) -> None:
    status, _ = await status_of(box, post(body, modern=modern))
    assert 400 <= status < 500


@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"host": "evil.example"}])
async def test_pages_of_others_cannot_call(box: Bottle, headers: dict[str, str]) -> None:
    status, _ = await status_of(box, post(message("egress-allow", ASK, modern=True), modern=True, headers=headers))
    assert status == 403
    assert proposals(box) == []


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
async def test_only_post(box: Bottle, method: str) -> None:
    data = f"{method} /mcp HTTP/1.1\r\nhost: 127.0.0.1:{box.port}\r\naccept: text/event-stream\r\n\r\n".encode()
    status, _ = await status_of(box, data)
    assert status == 405


async def test_http_1_0_and_connect(box: Bottle) -> None:
    data = post(message("egress-allow", ASK, modern=True), modern=True, path="http://mcp.carboy.internal/")
    data = data.replace(b"host: 127.0.0.1\r\n", b"host: mcp.carboy.internal\r\n")
    async with sent(box, data.replace(b"HTTP/1.1", b"HTTP/1.0", 1)) as reader:
        asked = await proposal(box)
        await decide(box, asked.proposal_id, "approved")
        async with asyncio.timeout(10):
            answer = await reader.read()
        assert b'"approved"' in answer
        assert b"chunked" not in answer.lower()
    # as Gemini CLI does it: CONNECT for plain http too
    plain = data.replace(b"http://mcp.carboy.internal/", b"/")
    reader, writer = await asyncio.open_connection("127.0.0.1", box.port)
    writer.write(b"CONNECT mcp.carboy.internal:80 HTTP/1.1\r\nhost: mcp.carboy.internal:80\r\n\r\n")
    async with asyncio.timeout(10):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(plain)
        asked = await proposal(box, 2)
        await decide(box, asked.proposal_id, "rejected")
        await reader.readuntil(b'"rejected"')
    writer.close()


async def test_a_refused_request_names_the_call_and_that_call_works(box: Bottle) -> None:
    async with box.client() as client:
        refused = await client.get("https://new.example.org/data/x?token=1")
        assert refused.status_code == 403
        ask = refused.json()["ask"]
        assert ask["tool"] == "egress-block"
        assert json.dumps(ask["arguments"], separators=(",", ":")) in refused.json()["error"]["message"]
    await set_policy(box, *ROUTES, hold_seconds=0.05)
    _, body = await status_of(box, post(message(ask["tool"], ask["arguments"], modern=True), modern=True))
    assert b'"pending"' in body
    (asked,) = proposals(box)
    assert asked.routes is not None
    assert asked.routes[-1].model_dump(exclude_defaults=True) == {
        "host": "new.example.org",
        "matches": ({"paths": ({"value": "/data/x"},), "methods": ("GET",)},),
    }
    await set_policy(box, *ROUTES, version=3, supervise=False)
    async with box.client() as client:
        refused = await client.get("https://new.example.org/data/x")
        assert "ask" not in refused.json()
        assert "egress-block" not in refused.text


async def test_our_own_fault_is_told_without_its_cause() -> None:
    async with bottle(*ROUTES, fault="sidecar.supervise.routes:check:raise") as box:
        status, body = await status_of(box, post(message("egress-allow", ASK, modern=True), modern=True))
        result = json.loads(body)["result"]
        assert status == 200
        assert result["isError"]
        assert result["structuredContent"]["error"] == "internal_error"
        assert "on purpose" not in body.decode()
        log = Path(box.folder / "log").read_text()
        assert "egress-allow" in log
        assert "RuntimeError" in log
        assert "sk-not-for-the-log" not in log
        assert proposals(box) == []


async def test_unknown_methods_and_tools_are_the_callers_fault(box: Bottle) -> None:
    unknown = {"jsonrpc": "2.0", "id": 7, "method": "carboy/secrets", "params": {"name": "x"}}
    status, body = await status_of(box, post(unknown, headers={"accept": "application/json, text/event-stream"}))
    assert status == 200
    assert b'"code":-32601' in body
    status, body = await status_of(box, post(message("nothing", {}, modern=True), modern=True))
    assert json.loads(body)["error"]["code"] == -32602
