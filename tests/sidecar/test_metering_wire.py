"""Metering through a real sidecar: what is spooled equals what the provider charged, and no byte changes on the way."""

import asyncio
import contextlib
import random

import httpx
import pytest
import websockets

from sidecar.allowance import Metered
from sidecar.contract import Route, RouteDlp
from tests.conftest import until
from tests.sidecar.meter.meter_forms import FORMS, anthropic_json, anthropic_sse, chat_sse
from tests.sidecar.meter.meter_kit import ENCODERS, Answer, flushed, split
from tests.sidecar.metering_kit import (
    HOST,
    OTHER,
    PROVIDER,
    UNLIMITED,
    Provider,
    allowance,
    ask,
    ask_many,
    grant,
    intents,
    metered_bottle,
    numbers,
    tokens,
    usages,
)
from tests.sidecar.proxy_kit import bottle


def written(provider: Provider, rng: random.Random, each: int) -> list[tuple[str, Answer]]:
    """Answers of all forms: in every encoding, cut anywhere; some byte by byte, some flushed event by event."""
    asked: list[tuple[str, Answer]] = []
    for maker in FORMS:
        for number in range(each):
            answer = maker(rng, 2, 4) if number % 12 == 0 else maker(rng, 5, 120)
            encoding = sorted(ENCODERS)[number % len(ENCODERS)]
            body = ENCODERS[encoding](answer.body)
            pieces = [bytes([byte]) for byte in body] if number % 12 == 0 else split(body, rng)
            if number % 5 == 4 and encoding:
                pieces = flushed(answer, encoding)
            name = f"{maker.__name__}-{number}"
            provider.add(name, answer, encoding, pieces)
            asked.append((name, answer))
    rng.shuffle(asked)
    return asked


async def test_hundreds_of_answers_over_twenty_connections_are_counted_exactly():
    provider, rng = Provider(), random.Random(11)
    asked = written(provider, rng, 40)
    assert len(asked) >= 500
    async with metered_bottle(provider) as (box, _), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(box.client(http2=number % 4 == 0)) for number in range(20)]
        got = await ask_many(clients, asked)
        for name, (answer, _, _) in provider.bodies.items():
            # the meter read what was sent, still encoded; the look at answers took the encoding off
            assert got[name] == answer.body, "the stream came as it was sent"
        await until(lambda: len(usages(box)) >= len(asked))
        rows, opened = usages(box), intents(box)
        assert len(rows) == len(asked) == len({row.request_id for row in rows})
        assert {row.request_id for row in rows} == {intent.request_id for intent in opened}
        assert not [row for row in rows if row.estimated or row.unmetered or not row.complete]
        assert {flag for row in rows for flag in row.flags} == {"repaired_total"}
        theirs = sorted((answer.truth.model, *answer.truth.parts) for _, answer in asked)
        assert sorted((row.model, *numbers(row)) for row in rows) == theirs
        closed = [event for event in box.events() if event.phase == "closed"]
        assert sum(event.detail["tokens"] for event in closed) == sum(row.total for row in rows)
        standing = (await box.channel.call("health"))[0]["budget"]
        assert (standing["in_flight"], standing["waiting"]) == (0, 0)
        assert standing["leases"][0]["used"] == sum(row.total for row in rows)


async def test_an_event_reaches_the_agent_before_the_next_one_is_sent():
    provider, answer = Provider(), anthropic_sse(random.Random(1), 40, 40)
    provider.gate = asyncio.Event()
    provider.add("a", answer, "", list(answer.pieces))
    async with metered_bottle(provider) as (box, _), box.client() as client:
        url = f"https://{HOST}{answer.path}"
        async with client.stream("POST", url, json=answer.request, headers={"x-answer": "a"}) as response:
            got = b""
            async for chunk in response.aiter_raw():
                got += chunk
                half = b"".join(answer.pieces[: len(answer.pieces) // 2])
                if got == half:
                    assert [intent.model for intent in intents(box)] == [answer.request["model"]]
                    assert usages(box) == []
                    provider.gate.set()
        assert got == answer.body


@pytest.mark.parametrize("looks", [True, False], ids=["looked through", "as it is"])
async def test_a_small_answer_that_holds_much_is_metered_in_turns(looks: bool) -> None:
    """Nothing else waits for it, and it comes whole."""
    provider, answer = Provider(), anthropic_sse(random.Random(2), 40, 40)
    pings = b'event: ping\ndata: {"type": "ping"}\n\n' * 150_000
    body = answer.pieces[0] + pings + b"".join(answer.pieces[1:])
    provider.add("packed", answer, "gzip", [ENCODERS["gzip"](body)])
    provider.add("small", answer, "gzip", [ENCODERS["gzip"](answer.body)])
    route = Route(host=HOST, dlp=RouteDlp(inbound_detectors=None if looks else False))
    async with metered_bottle(provider, route=route) as (box, _), box.client(http2=True) as client:
        url, small = f"https://{HOST}{answer.path}", {"x-answer": "small"}
        async with client.stream("POST", url, json=answer.request, headers={"x-answer": "packed"}) as got:
            assert (await client.post(url, json=answer.request, headers=small)).content == answer.body
            await box.channel.call("health")
            assert await got.aread() == body
        await until(lambda: len(usages(box)) == 2)
        assert [(numbers(row), row.complete) for row in usages(box)] == [(answer.truth.parts, True)] * 2


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_a_broken_stream_is_estimated_and_marked(who: str):
    answer = anthropic_sse(random.Random(3), 300, 300)
    half = len(answer.pieces) // 2

    async def handler(seen, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for piece in answer.pieces[:half]:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if who == "upstream":
            raise RuntimeError("it breaks")
        await asyncio.sleep(60)

    async with metered_bottle(handler) as (box, _), box.client() as client:
        with contextlib.suppress(httpx.HTTPError):
            async with client.stream("POST", f"https://{HOST}{answer.path}", json=answer.request) as response:
                got = b""
                async for chunk in response.aiter_raw():
                    got += chunk
                    if who == "client" and got == b"".join(answer.pieces[:half]):
                        break
        await until(lambda: usages(box))
        (row,) = usages(box)
        assert (row.estimated, row.complete, row.billable) == (True, False, True)
        assert row.input == answer.truth.input
        made = answer.made[half - 1]
        assert abs(row.output - made) <= max(10, 0.25 * made)
        assert (row.fault.kind if row.fault else None) == ("network" if who == "upstream" else None)


async def test_a_provider_whose_name_does_not_resolve_is_a_fault_of_the_network():
    host = "nobody.invalid"
    policy = {"metered": (Metered(provider=PROVIDER, host=host),)}
    async with bottle(Route(host=host), policy=policy, allowance=UNLIMITED) as box, box.client() as client:
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            response = await client.post(f"https://{host}{path}", json={})
            assert (response.status_code, response.json()["code"]) == (502, "upstream_unreachable")
        await until(lambda: usages(box))
        ((row,), opened) = usages(box), intents(box)
        assert (opened, row.billable, row.total) == ([], False, 0)
        assert row.fault is not None
        assert (row.fault.kind, "could not be resolved" in row.fault.message) == ("network", True)


async def test_what_a_metered_host_does_not_charge_has_no_row_and_other_hosts_are_none_of_our_business():
    provider, answer = Provider(), anthropic_json(random.Random(5), 5, 5)
    provider.add("a", answer, "", [answer.body])
    async with metered_bottle(provider) as (box, _), box.client() as client:
        headers = {"x-answer": "a"}
        await client.get(f"https://{HOST}/v1/models", headers=headers)
        await client.post(f"https://{HOST}/v1/messages/count_tokens", headers=headers, json={})
        await client.post(f"https://{OTHER}{answer.path}", headers=headers, json={})
        assert (intents(box), usages(box)) == ([], [])
        assert await ask(client, "a", answer) == answer.body
        assert len(usages(box)) == len(intents(box)) == 1


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1beta/models/gemini-x:streamGenerateContent?alt=proto", "application/x-protobuf"),
        ("/v1beta/models/gemini-x:generateContent?callback=f", "text/javascript"),
        ("/google.ai.generativelanguage.v1beta.GenerativeService/StreamGenerateContent", "application/grpc"),
    ],
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "broken off"])
async def test_an_answer_in_a_form_that_cannot_be_read_is_not_for_nothing(path: str, kind: str, whole: bool):
    said = b"\x0a\x81\x20" + b"a few words of an answer " * 4000

    async def handler(seen, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]})
        await send({"type": "http.response.body", "body": said, "more_body": True})
        if not whole:
            raise RuntimeError("it breaks")
        await send({"type": "http.response.body", "body": b""})

    async with metered_bottle(handler, vendor_fetch=True) as (box, _), box.client() as client:
        with contextlib.suppress(httpx.HTTPError):
            await client.post(f"https://{HOST}{path}", content=b"\x0a\x02hi")
        await until(lambda: usages(box))
        (row,) = usages(box)
        assert (row.billable, row.estimated, row.unmetered) == (True, True, True)
        assert 24_000 <= row.output <= 26_000
        await grant(box, allowance(tokens(20_000, lease="free"), version=2))
        refused = await client.post(f"https://{HOST}{path}", content=b"\x0a\x02hi")
        assert refused.headers["x-carboy-code"] == "budget_exhausted"


async def test_paths_that_read_as_two_pages_are_not_taken_for_free_ones():
    provider, answer = Provider(), anthropic_json(random.Random(5), 5, 5)
    provider.add("a", answer, "", [answer.body])
    async with metered_bottle(provider) as (box, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", box.port)
        writer.write(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        await writer.start_tls(box.tls(), server_hostname=HOST)
        head = f"POST /v1/messages/models/.. HTTP/1.1\r\nHost: {HOST}\r\nx-answer: a\r\nContent-Length: 2\r\n\r\n{{}}"
        writer.write(head.encode())
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: usages(box))
        assert [(row.billable, numbers(row)) for row in usages(box)] == [(True, answer.truth.parts)]
        writer.close()


async def test_only_encodings_that_can_be_read_are_asked_for():
    provider, answer = Provider(), chat_sse(random.Random(5), 5, 5)
    provider.add("a", answer, "", [answer.body])
    async with metered_bottle(provider) as (box, upstream), box.client() as client:
        for offered, left in (("br;q=0.9, xz, dcb, gzip", "br;q=0.9, gzip"), ("xz", "identity"), ("*", "identity")):
            await client.post(
                f"https://{HOST}{answer.path}", headers={"x-answer": "a", "accept-encoding": offered}, json={}
            )
            assert upstream.seen[-1].header("accept-encoding") == [left]


async def test_errors_of_the_provider_are_classified_and_cost_nothing():
    async def handler(seen, send):
        body = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}'
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"7")]
        headers += [(b"anthropic-ratelimit-unified-5h-utilization", b"0.42")]
        headers += [(b"anthropic-ratelimit-unified-5h-reset", b"1900000000")]
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async with metered_bottle(handler) as (box, _), box.client() as client:
        for _ in range(2):
            assert (await client.post(f"https://{HOST}/v1/messages", json={"model": "m"})).status_code == 429
        (row, _) = usages(box)
        assert row.fault is not None
        assert (row.billable, row.total, row.status, row.charged) == (False, 0, 429, {})
        assert (row.fault.kind, row.fault.retry_after, row.fault.retryable) == ("rate_limit", 7.0, True)
        (windows,) = box.lines("window")  # the second answer told nothing new
        assert windows["windows"][0] == {
            "name": "5h", "used_fraction": 0.42, "resets_at": 1900000000.0, "kind": "subscription", "status": "",
        }  # fmt: skip


async def test_a_killed_sidecar_leaves_the_intent():
    provider, answer = Provider(), anthropic_sse(random.Random(1), 40, 40)
    provider.gate = asyncio.Event()
    provider.add("a", answer, "", list(answer.pieces))
    async with metered_bottle(provider) as (box, _), box.client() as client:
        with contextlib.suppress(httpx.HTTPError):
            url = f"https://{HOST}{answer.path}"
            async with client.stream("POST", url, json=answer.request, headers={"x-answer": "a"}) as response:
                async for _ in response.aiter_raw():
                    box.process.kill()
        assert usages(box) == []
        (intent,) = intents(box)
        assert (intent.provider, intent.host, intent.path, intent.stream) == ("claude", HOST, answer.path, True)
        assert intent.output_tokens > 0


SPELLINGS = (
    "POST /v1/messages HTTP/1.1",
    "POST /v1/messages/ HTTP/1.1",
    "POST /v1/messages?/v1/models HTTP/1.1",
    "POST /v1/messages?x=/count_tokens HTTP/1.1",
    "POST /v1/messages#/v1/models HTTP/1.1",
    "POST /v1/messages;/v1/models HTTP/1.1",
    "POST /v1/./messages HTTP/1.1",
    "POST /v1/models/../messages HTTP/1.1",
    "POST /v1/models/%2e%2e/messages HTTP/1.1",
    "POST //v1/messages HTTP/1.1",
    "POST /v1//messages HTTP/1.1",
    "POST /v1%2Fmessages HTTP/1.1",
    "POST /v1/%6Dessages HTTP/1.1",
    "POST /V1/Messages HTTP/1.1",
    "POST /v1/messages%00 HTTP/1.1",
    "POST /v1/messages%20 HTTP/1.1",
    "POST /models/v1/messages HTTP/1.1",
    "POST /v1/files/v1/messages HTTP/1.1",
    "POST /anything HTTP/1.1",
    "POST https://llm.example.com/v1/messages HTTP/1.1",
    "POST /v1/messages HTTP/1.0",
    "PUT /v1/messages HTTP/1.1",
    "PATCH /v1/messages HTTP/1.1",
    "QUERY /v1/messages HTTP/1.1",
    "post /v1/messages HTTP/1.1",
    "GET /v1/messages HTTP/1.1\r\nX-HTTP-Method-Override: POST",
    "GET /v1/messages HTTP/1.1\r\nX_HTTP_Method_Override: POST",
    "GET /v1/messages?_method=POST HTTP/1.1",
    "GET /v1/messages?%24httpMethod=POST HTTP/1.1",
    "POST /v1/messages HTTP/1.1\r\nAccept-Encoding: xz",
    "POST /v1/messages HTTP/1.1\r\nAccept-Encoding: gzip;q=0, dcz",
    "POST /v1/messages HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Encoding: xz",
    "POST /v1/messages HTTP/1.1\r\nUpgrade: h2c",
)
HOSTS = (HOST, HOST.upper(), f"{HOST}.", f"{HOST}:443")


async def test_however_a_request_is_spelled_what_reaches_the_provider_has_a_row():
    provider, answer = Provider(), anthropic_json(random.Random(5), 5, 5)
    provider.add("a", answer, "", [answer.body])
    async with metered_bottle(provider) as (box, upstream):

        async def send(line: str, host: str) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", box.port)
            writer.write(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            await writer.start_tls(box.tls(), server_hostname=HOST)
            head = f"{line}\r\nHost: {host}\r\nx-answer: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
            writer.write(head.encode())
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        for line in SPELLINGS:
            await send(line, HOST)
        for host in HOSTS:
            await send(SPELLINGS[0], host)
        arrived = [seen.path for seen in upstream.seen]
        await until(lambda: len([row for row in usages(box) if row.billable]) >= len(arrived))
        rows = [row for row in usages(box) if row.billable]
        assert [numbers(row) for row in rows] == [answer.truth.parts] * len(arrived), arrived
        assert len(arrived) >= 10, "the provider was asked at all"
        assert len({row.request_id for row in rows} - {intent.request_id for intent in intents(box)}) == 0


async def test_a_socket_whose_messages_cannot_be_read_is_told_as_unmetered():
    async with metered_bottle(Provider(), vendor_fetch=True) as (box, _):
        async with websockets.connect(f"wss://{HOST}/v1/live", proxy=box.proxy, ssl=box.tls()) as socket:
            await socket.send("hello")
            assert await socket.recv() == "echo hello"
        await until(lambda: usages(box))
        ((row,), (intent,)) = usages(box), intents(box)
        assert (row.request_id, row.unmetered, row.billable, row.total) == (intent.request_id, True, True, 0)
