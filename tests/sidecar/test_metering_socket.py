"""Responses over a WebSocket, as Codex speaks it, before the pretended vendor: each request is counted and allowed."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets
from aiohttp import web

from app.demo.pretend import openai
from app.demo.pretend.certificate import pretended
from app.demo.pretend.script import Conversation, Say, Turn, Usage
from app.demo.pretend.seen import Handler, Seen
from app.demo.pretend.server import PretendServer
from sidecar.allowance import Allowance, Metered
from sidecar.contract import Route
from sidecar.tasks import spawn
from tests.conftest import until
from tests.sidecar.metering_kit import PROVIDER, UNLIMITED, allowance, grant, intents, numbers, tokens, usages
from tests.sidecar.proxy_kit import Bottle, bottle

COST = Usage(input=1000, output=50, cache_read=300, reasoning=20)
CANARY = "carboy-canary-0123456789abcdef"


def script(talk: Conversation) -> Turn:
    return Turn((Say(f"answer to {talk.user}"),), COST, delay=0.0)


@contextlib.asynccontextmanager
async def codex(
    granted: Allowance | None = UNLIMITED,
    hold_seconds: float = 300.0,
    refusal: Handler | None = None,
    vendor_fetch: bool = False,
    **more: Any,
) -> AsyncIterator[Bottle]:
    made = pretended((openai.HOST,))
    async with PretendServer(script, tls=made.tls) as vendor:
        if refusal is not None:
            vendor.handlers[openai.HOST] = refusal
        policy = {"metered": (Metered(provider=PROVIDER, host=openai.HOST),), "hold_seconds": hold_seconds}
        policy["vendor_fetch"] = vendor_fetch
        mapped = {f"{openai.HOST}:443": f"127.0.0.1:{vendor.port}"}
        given = {"policy": policy, "allowance": granted, "extra_ca": (made.ca_pem,), "connect_to": mapped}
        async with bottle(Route(host=openai.HOST), **given, **more) as box:
            yield box


def connect(box: Bottle, path: str = "/v1/responses"):
    headers = {"authorization": "Bearer x", "openai-beta": "responses_websockets=2026-02-06"}
    return websockets.connect(f"wss://{openai.HOST}{path}", proxy=box.proxy, ssl=box.tls(), additional_headers=headers)


def create(text: str, **more: Any) -> str:
    message = {"role": "user", "content": [{"type": "input_text", "text": text}]}
    return json.dumps({"type": "response.create", "model": "gpt-x", "input": [{"type": "message", **message}], **more})


async def turn(socket: websockets.ClientConnection, text: str, **more: Any) -> dict[str, Any]:
    await socket.send(create(text, **more))
    return await last(socket)


async def last(socket: websockets.ClientConnection) -> dict[str, Any]:
    while True:
        event = json.loads(await socket.recv())
        if event["type"] in ("response.completed", "error"):
            return event


async def test_each_request_on_a_connection_is_a_row_with_the_provider_s_numbers():
    async with codex() as box:
        async with connect(box) as socket:
            done = await turn(socket, "one")
            await turn(socket, "two", previous_response_id=done["response"]["id"])
            assert len(usages(box)) == 2, "a usage is on disk before the agent has the last event"
            await socket.send('{"type": "response.cancel"}')  # asks for nothing
        await until(lambda: [event for event in box.events() if event.phase == "closed"])
        rows = usages(box)
        assert [numbers(row) for row in rows] == [(1000, 50, 300, 0, 0, 20)] * 2
        assert {(row.protocol, row.estimated, row.complete, row.dialect) for row in rows} == {
            ("websocket", False, True, "responses")
        }
        assert [intent.request_id for intent in intents(box)] == [row.request_id for row in rows]
        event = await box.event(phase="closed")
        assert event.detail["tokens"] == 2700
        assert (await grant(box)).in_flight == 0


async def test_what_another_check_refuses_costs_nothing():
    async with codex(canary=CANARY) as box:
        async with connect(box) as socket:
            await turn(socket, "one")
            await socket.send(create(f"two {CANARY}"))
            assert json.loads(await socket.recv())["error"]["code"] == "canary_leaked"
        event = await box.event(phase="closed")
        assert (event.decision, event.code) == ("deny", "canary_leaked")
        assert len(intents(box)) == len(usages(box)) == 1
        assert (await grant(box)).in_flight == 0


SPELT = {"escaped": r'"\u0074ype": "response.create"', "spaced": '"type": ' + " " * 20_000 + '"response.create"'}


@pytest.mark.parametrize("spelt", SPELT.values(), ids=SPELT)
@pytest.mark.parametrize("before", ["", '"type": "response.cancel", '], ids=["once", "twice"])
async def test_a_large_request_cannot_hide_what_it_is(spelt: str, before: str):
    rest = json.loads(create("large"))
    del rest["type"]
    hidden = "{" + before + spelt + ", " + json.dumps(rest | {"padding": "x" * 1_100_000})[1:]
    async with codex(allowance(tokens(1000)), vendor_fetch=True) as box, connect(box) as socket:
        await socket.send(hidden)
        await last(socket)
        assert len(intents(box)) == len(usages(box)) == 1
        await socket.send(hidden)
        assert (await last(socket))["error"]["code"] == "budget_exhausted"


async def test_what_is_no_json_is_taken_for_a_request():
    async with codex(allowance(tokens(1000), in_flight=1), vendor_fetch=True) as box:
        async with connect(box) as socket:
            await socket.send(create("three")[:10])
            await until(lambda: intents(box))
        await until(lambda: usages(box))
        assert [(row.estimated, row.complete) for row in usages(box)] == [(True, False)]


async def test_frames_of_one_message_wait_until_it_is_whole():
    async with codex() as box:
        async with connect(box) as socket:
            text = create("in pieces")
            await socket.send([text[at : at + 7] for at in range(0, len(text), 7)])
            assert (await last(socket))["type"] == "response.completed"
        assert len(usages(box)) == 1


async def test_a_spent_budget_ends_the_connection_with_an_error_that_the_agent_can_show():
    async with codex(allowance(tokens(1000))) as box:
        async with connect(box) as socket:
            await turn(socket, "one")
            error = await turn(socket, "two")
            assert (error["type"], error["status"], error["error"]["code"]) == ("error", 400, "budget_exhausted")
            assert "the test's budget is used up" in error["error"]["message"]
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
        assert len(usages(box)) == len(intents(box)) == 1
        event = await box.event(phase="closed")
        assert (event.decision, event.code, event.status) == ("deny", "budget_exhausted", 101)
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(box).__aenter__()
        assert refused.value.response.status_code == 400


async def test_what_is_worked_on_behind_its_answer_does_not_leave_under_a_budget():
    async with codex(allowance(tokens(100_000))) as box:
        async with connect(box) as socket:
            error = await turn(socket, "one", background=True)
        assert error["error"]["code"] == "budget_unknown"
        assert intents(box) == []


async def test_what_goes_on_with_an_answer_of_another_connection_needs_that_as_well():
    async with codex(allowance(tokens(1_000_000))) as box:
        async with connect(box) as socket:
            done = await turn(socket, "one")
        async with connect(box) as socket:
            await turn(socket, "two", previous_response_id=done["response"]["id"])
            first, second = (intent.input_tokens for intent in intents(box))
            assert second > COST.input + COST.cache_read + COST.output > first
            error = await turn(socket, "three", previous_response_id="resp_of_another_bottle")
        assert error["error"]["code"] == "budget_preflight"
        assert len(intents(box)) == 2


async def test_a_request_waits_for_the_operator_and_goes_on_when_he_raised_it():
    async with codex(allowance(tokens(1000, when_spent="ask"))) as box, connect(box) as socket:
        await turn(socket, "one")
        asked = spawn(turn(socket, "two"), name="asked")
        await until(lambda: _waiting(box))
        assert not asked.done()
        await grant(box, allowance(tokens(100_000, when_spent="ask"), version=2))
        assert (await asked)["type"] == "response.completed"
        assert len(usages(box)) == 2


async def _one_turn(box: Bottle) -> None:
    async with connect(box) as socket:
        await turn(socket, "one")


async def _waiting(box: Bottle) -> int:
    return (await grant(box)).waiting


async def test_a_connection_that_breaks_leaves_estimates():
    async with codex() as box:
        socket = await connect(box).__aenter__()
        await socket.send(create("a question that is cut off " * 50))
        await until(lambda: intents(box))
        socket.transport.abort()
        await until(lambda: usages(box))
        (row,) = usages(box)
        # it may have been answered before the connection broke
        assert row.total > 100
        assert row.estimated is not row.complete


async def test_a_connection_that_nobody_can_count_is_refused_under_a_budget():
    async with codex(allowance(tokens(1000))) as box:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(box, "/v1/realtime").__aenter__()
        assert json.loads(refused.value.response.body)["code"] == "budget_unknown"


@pytest.mark.parametrize(
    "fault",
    [
        "sidecar.egress.addons.sockets:Sockets.websocket_start",
        "sidecar.egress.addons.sockets:Sockets.agent_message",
        "sidecar.egress.addons.sockets:Conversation.down",
        "sidecar.meter.websocket:SocketMeter.feed_message",
        "sidecar.egress.messages:Collector.add",
    ],
)
async def test_faults_end_the_connection(fault: str):
    async with codex(fault=f"{fault}:raise") as box:
        with pytest.raises(websockets.WebSocketException):
            await _one_turn(box)
        await until(lambda: [event for event in box.events() if event.phase == "closed"])
        assert (await grant(box)).in_flight == 0
        assert {row.request_id for row in usages(box)} == {intent.request_id for intent in intents(box)}


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (429, {"type": "usage_limit_reached", "message": "used up", "resets_in_seconds": 600}, "quota"),
        (503, {"code": "server_is_overloaded", "message": "Our servers are overloaded"}, "overloaded"),
        (401, {"code": "invalid_api_key", "message": "no such key"}, "auth"),
    ],
    ids=["limit", "overloaded", "key"],
)
async def test_a_connection_that_the_provider_refuses_has_a_row_for_its_fault(
    status: int, error: dict[str, Any], kind: str
) -> None:
    async def refuses(request: web.Request, seen: Seen) -> web.StreamResponse:
        return web.json_response({"error": error}, status=status)

    async with codex(refusal=refuses) as box:
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with connect(box):
                raise AssertionError
        assert caught.value.response.status_code == status
        await until(lambda: usages(box))
        (row,) = usages(box)
        assert row.fault is not None
        assert (row.fault.kind, row.status, row.billable, numbers(row)[:2]) == (kind, status, False, (0, 0))
        if kind == "quota":
            assert row.fault.retry_after == pytest.approx(600, abs=1)


async def test_an_error_about_another_message_does_not_end_the_count() -> None:
    async def goes_on(request: web.Request, seen: Seen) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        about = {"id": "resp_1", "model": "gpt-x"}
        await socket.receive()
        await socket.send_json({"type": "response.created", "response": about})
        await socket.receive()
        await socket.send_json({"type": "error", "status": 400, "error": {"message": "one at a time"}})
        done = about | {"status": "completed", "usage": {"input_tokens": 1000, "output_tokens": 50_000}}
        await socket.send_json({"type": "response.output_text.delta", "delta": "the rest of it"})
        await socket.send_json({"type": "response.completed", "response": done})
        await socket.receive()
        return socket

    async with codex(refusal=goes_on) as box:
        async with connect(box) as socket:
            await socket.send(create("one"))
            await socket.recv()
            await socket.send('{"type": "nonsense"}')
            assert (await last(socket))["type"] == "error"
            assert (await last(socket))["type"] == "response.completed"
        await until(lambda: [event for event in box.events() if event.phase == "closed"])
        assert (1000, 50_000) in [numbers(row)[:2] for row in usages(box)]


async def test_an_error_about_another_message_does_not_make_what_is_read_free() -> None:
    """The agent sends nonsense before its request, and leaves before the answer says what was read."""

    async def goes_on(request: web.Request, seen: Seen) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.receive()
        await socket.send_json({"type": "error", "status": 400, "error": {"message": "no such type"}})
        await socket.send_json({"type": "response.created", "response": {"id": "resp_1", "model": "gpt-x"}})
        await socket.send_json({"type": "response.output_text.delta", "delta": "all of it"})
        await socket.receive()
        return socket

    granted = allowance(tokens(10_000))
    async with codex(granted, refusal=goes_on) as box:
        async with connect(box) as socket:
            await socket.send('{"type": "nonsense"}')
            await socket.send(create("a word of many " * 10_000))
            while json.loads(await socket.recv())["type"] != "response.output_text.delta":
                pass
            assert (await grant(box, granted)).in_flight == 1  # others do not leave for what it will use
        await until(lambda: [event for event in box.events() if event.phase == "closed"])
        assert {row.request_id for row in usages(box)} == {intent.request_id for intent in intents(box)}
        assert 30_000 < sum(row.input for row in usages(box) if row.billable) < 60_000
        with pytest.raises(websockets.InvalidStatus):
            await connect(box).__aenter__()


async def test_one_that_is_not_there_has_none() -> None:
    """426 sends it to plain requests: that is no fault of an answer."""

    async def refuses(request: web.Request, seen: Seen) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no such thing"}}, status=426)

    async with codex(refusal=refuses) as box:
        with pytest.raises(websockets.InvalidStatus):
            async with connect(box):
                raise AssertionError
        await until(lambda: [event for event in box.events() if event.phase == "closed"])
        assert usages(box) == []
