"""Budgets held by a real sidecar alone: what it was granted leaves, and nothing else."""

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from mitmproxy.test import tflow

from sidecar.allowance import Allowance, Cutoff, Lease, LeaseNote, Rate
from sidecar.contract import Policy
from sidecar.control import RemoteError
from sidecar.egress.addons.budget import Budget
from sidecar.egress.addons.journal import Journal
from sidecar.egress.addons.metering import Metering
from sidecar.egress.books import Books, Call
from sidecar.egress.exchange import exchange_of
from sidecar.egress.policy import CompiledPolicy
from sidecar.egress.state import State
from sidecar.spool import SpoolWriter
from sidecar.tasks import spawn
from tests.conftest import until
from tests.sidecar.meter.meter_forms import anthropic_sse
from tests.sidecar.metering_kit import HOST, OTHER, PROVIDER, allowance, grant, intents, metered_bottle, tokens, usages
from tests.sidecar.proxy_kit import Bottle

COST = 1000
URL = f"https://{HOST}/v1/messages"


class Vendor:
    """Each answer costs `COST` tokens and takes `seconds`; `hold` stops them before they begin."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.hold = asyncio.Event()
        self.hold.set()
        self.now = self.most = self.answered = 0

    async def __call__(self, seen: Any, send: Any) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.hold.wait()
        await asyncio.sleep(self.seconds)
        usage = {"input_tokens": COST - 10, "output_tokens": 10}
        self.answered += 1
        body = {"type": "message", "id": f"msg_{self.answered}", "model": "m", "content": [], "stop_reason": "end_turn"}
        body |= {"usage": usage}
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": orjson.dumps(body)})
        self.now -= 1


async def post(client: httpx.AsyncClient, url: str = URL, text: str = "hi", **more: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    return await client.post(url, json=body, timeout=60)


async def waiting(box: Bottle, number: int = 1) -> None:
    async def some() -> bool:
        return (await grant(box)).waiting >= number

    await until(some)


async def test_a_spent_budget_is_a_400_that_names_it_and_lifts_at_once_when_raised():
    async with metered_bottle(Vendor(), allowance(tokens(1500))) as (box, upstream), box.client() as client:
        assert [(await post(client)).status_code for _ in range(3)] == [200, 200, 400]
        refused = await post(client)
        document = refused.json()
        assert refused.status_code == 400
        assert refused.headers["x-carboy-code"] == "budget_exhausted"
        assert "retry-after" not in refused.headers
        assert document["type"] == "error"
        assert document["error"]["code"] == "budget_exhausted"
        assert "the test's budget is used up" in document["error"]["message"]
        assert (await client.get(f"https://{HOST}/v1/models")).status_code == 400
        assert (await client.get(f"https://{OTHER}/x")).status_code == 200
        assert len(upstream.seen) == 3
        assert (await grant(box, allowance(tokens(5000), version=2))).leases[0].used == 2000
        assert (await post(client)).status_code == 200
        charged = [row.charged for row in usages(box)]
        assert charged == [{"L1": float(COST)}] * 3
        event = await box.event(code="budget_exhausted")
        assert (event.decision, event.status) == ("deny", 400)


async def test_cutoff_scope_all_closes_every_route():
    granted = allowance(tokens(500), cutoff_scope="all")
    async with metered_bottle(Vendor(), granted) as (box, _), box.client() as client:
        assert (await client.get(f"https://{OTHER}/x")).status_code == 200
        assert (await post(client)).status_code == 200
        answer = await client.get(f"https://{OTHER}/x")
        assert (answer.status_code, answer.json()["code"]) == (400, "budget_exhausted")
        assert (await client.get("http://carboy.internal/health")).status_code == 200


@pytest.mark.parametrize(
    "granted",
    [None, allowance(), allowance(Lease(id="x", provider="codex"))],
    ids=["no allowance", "no lease", "another provider's"],
)
async def test_what_is_not_known_is_refused(granted: Allowance | None):
    async with metered_bottle(Vendor(), granted) as (box, upstream), box.client() as client:
        answer = await post(client)
        assert (answer.status_code, answer.json()["code"]) == (400, "budget_unknown")
        assert upstream.seen == []
        assert intents(box) == []
        assert (await client.get(f"https://{OTHER}/x")).status_code == 200


async def test_an_unreadable_allowance_changes_nothing_and_is_told():
    async with metered_bottle(Vendor(), allowance(tokens(5000))) as (box, _), box.client() as client:
        with pytest.raises(RemoteError):
            await box.channel.call("allowance", {"allowance": {"version": 2, "leases": "all"}})
        assert box.notices()[0]["code"] == "allowance_rejected"
        assert (await post(client)).status_code == 200


async def test_an_expired_grant_waits_for_a_new_one():
    async with metered_bottle(Vendor(), allowance(tokens(5000, seconds=0.001))) as (box, _), box.client() as client:
        asked = spawn(post(client), name="asked")
        await waiting(box)
        await grant(box, allowance(tokens(5000, seconds=600), version=2))
        assert (await asked).status_code == 200


async def test_a_request_that_waits_for_the_operator_goes_on_or_ends_with_the_time():
    async with metered_bottle(Vendor(), allowance(tokens(0, when_spent="ask")), hold_seconds=1) as (box, upstream):
        notes: list[LeaseNote] = []
        box.channel.notes = lambda name, body: notes.append(LeaseNote.model_validate(body)) if name == "lease" else None
        async with box.client() as client:
            answer = await post(client)
            assert (answer.status_code, answer.json()["code"]) == (400, "budget_exhausted")
            assert upstream.seen == []
            await until(lambda: notes)
            assert (notes[0].lease, notes[0].waiting, notes[0].limit) == ("L1", 1, 0)
            assert notes[0].want > 0
            asked = spawn(post(client), name="asked")
            await waiting(box)
            await grant(box, allowance(tokens(2000, when_spent="ask"), version=2))
            assert (await asked).status_code == 200


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_a_client_that_leaves_while_it_waits_is_forgotten(http2: bool):
    async with metered_bottle(Vendor(), allowance(tokens(0, when_spent="ask"))) as (box, upstream):
        async with box.client(http2=http2) as client:
            asked = spawn(post(client), name="asked", on_error=lambda _: None)
            await waiting(box)
            asked.cancel()

        async def nobody() -> bool:
            standing = await grant(box)
            return standing.waiting == standing.in_flight == 0

        await until(nobody)
        event = await box.event(phase="closed")
        assert (event.decision, event.code) == ("error", "client_closed"), "it never left"
        assert (upstream.seen, box.notices()) == ([], [])


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_many_at_once_pass_a_budget_by_no_more_than_what_was_in_flight(http2: bool):
    vendor, limit = Vendor(0.2), 5200  # long enough that what is in flight is there at the same time
    async with metered_bottle(vendor, allowance(tokens(limit))) as (box, upstream), box.client(http2=http2) as client:
        # the first answers teach nothing of the size of the next: all estimates are far below what an answer costs
        answers = await asyncio.gather(*(post(client, text=f"{number}") for number in range(40)))
        codes = [answer.status_code for answer in answers]
        assert set(codes) == {200, 400}
        used = (await grant(box)).leases[0].used
        assert used == codes.count(200) * COST == len(usages(box)) * COST
        assert used >= limit
        assert used - limit <= vendor.most * COST
        assert len(upstream.seen) == codes.count(200)


async def test_no_more_at_once_than_allowed_and_the_next_ones_wait():
    vendor = Vendor()
    vendor.hold.clear()
    async with metered_bottle(vendor, allowance(tokens(None), in_flight=2)) as (box, _), box.client() as client:
        asked = [spawn(post(client), name="asked") for _ in range(6)]
        await waiting(box, 4)
        await until(lambda: vendor.now == 2)
        vendor.hold.set()
        assert [(await one).status_code for one in asked] == [200] * 6
        assert vendor.most == 2


async def test_preflight_refuses_before_anything_leaves():
    granted = allowance(tokens(3000), preflight=True)
    async with metered_bottle(Vendor(), granted) as (box, upstream), box.client() as client:
        answer = await post(client, text="many words " * 5000)
        assert (answer.status_code, answer.json()["code"]) == (400, "budget_preflight")
        assert upstream.seen == []
        assert (await post(client)).status_code == 200


async def test_the_operator_s_cutoff_ends_what_is_under_way_if_he_says_so():
    answer = anthropic_sse(random.Random(1), 50, 50)
    go = asyncio.Event()

    async def handler(seen: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"".join(answer.pieces[:20]), "more_body": True})
        await go.wait()

    async with metered_bottle(handler, allowance(tokens(None))) as (box, _), box.client() as client:
        stream = spawn(post(client), name="stream", on_error=lambda _: None)
        await until(lambda: [event for event in box.events() if event.phase == "open"])
        cut = allowance(tokens(None), version=2, cutoff=Cutoff(reason="that is enough"))
        await grant(box, cut)
        refused = await post(client)
        assert (refused.status_code, refused.json()["code"]) == (400, "budget_cutoff")
        assert "that is enough" in refused.json()["error"]["message"]
        assert not stream.done()
        assert cut.cutoff is not None
        ended = cut.cutoff.model_copy(update={"end_streams": True})
        await grant(box, cut.model_copy(update={"version": 3, "cutoff": ended}))
        with pytest.raises(httpx.HTTPError):
            await stream
        await until(lambda: usages(box))
        (row,) = usages(box)
        assert (row.estimated, row.complete, row.fault) == (True, False, None)
        go.set()


@pytest.mark.parametrize("scope", ["metered", "all"])
async def test_what_was_held_for_another_check_is_looked_at_again_before_it_leaves(tmp_path: Path, scope: str):
    spool = SpoolWriter(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY))
    state = State("test", CompiledPolicy.compile(Policy()), spool)
    books = Books(spool, lambda *_: None)
    books.grant(allowance(tokens(None)))
    metering = Metering(books, Budget(state, books), Journal(state))
    flow, other = tflow.tflow(), tflow.tflow()
    exchange_of(flow).call = Call("r", PROVIDER, HOST, "POST", "/v1/messages", "call")
    books.grant(allowance(tokens(None), version=2, cutoff=Cutoff.model_validate({"scope": scope})))
    for one in (flow, other):
        metering.request(one)
    refused = [exchange_of(one).refusal for one in (flow, other)]
    assert [one.code if one else "" for one in refused] == ["budget_cutoff", "budget_cutoff" if scope == "all" else ""]
    spool.close()


async def test_dollars():
    rates = {PROVIDER: {"m": Rate(input=3, output=15)}}
    lease = Lease(
        id="$", provider=PROVIDER, unit="usd", limit=0.006, when_spent="cutoff", budget="six tenths of a cent"
    )
    async with metered_bottle(Vendor(), allowance(lease, rates=rates)) as (box, _), box.client() as client:
        assert [(await post(client)).status_code for _ in range(3)] == [200, 200, 400]
        assert [row.charged for row in usages(box)] == [{"$": pytest.approx((990 * 3 + 10 * 15) / 1e6)}] * 2
        other = await client.post(URL, json={"model": "x", "messages": []})
        assert other.status_code == 400


async def test_dollars_of_an_answer_by_a_model_without_a_price():
    lease = Lease(id="$", provider=PROVIDER, unit="usd", limit=0.1, when_spent="cutoff")
    granted = allowance(lease, rates={PROVIDER: {"known": Rate(input=3, output=15)}})
    async with metered_bottle(Vendor(), granted) as (box, _), box.client() as client:
        answers = [await post(client, model="known") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 400]
        assert [(row.model, row.charged) for row in usages(box)] == [("m", {"$": pytest.approx(COST * 75 / 1e6)})] * 2


async def accepted(seen: Any, send: Any) -> None:
    body = {"id": "r", "object": "response", "status": "queued", "model": "m", "background": True, "usage": None}
    if "completions" in seen.path:
        body = {"id": "r", "object": "chat.completion", "model": "m", "choices": [], "usage": {"prompt_tokens": 5}}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": orjson.dumps(body)})


LATER = [
    ("/v1/messages/batches", {}),
    ("/v1/responses", {"background": True}),
    ("/v1/sessions/sesn_1/events", {}),
    ("/v1/batch/jobs", {}),
]


@pytest.mark.parametrize(("path", "more"), LATER, ids=["batch", "background", "agent", "jobs"])
async def test_what_is_worked_on_behind_its_answer_does_not_leave_under_a_budget(path: str, more: dict[str, Any]):
    async with metered_bottle(accepted, allowance(tokens(100_000))) as (box, upstream), box.client() as client:
        answer = await post(client, f"https://{HOST}{path}", **more)
        assert (answer.status_code, answer.json()["code"]) == (400, "budget_unknown")
        assert upstream.seen == intents(box) == []
        assert (await grant(box)).in_flight == 0


@pytest.mark.parametrize(("path", "more"), LATER, ids=["batch", "background", "agent", "jobs"])
async def test_what_is_worked_on_behind_its_answer_counts_as_what_was_set_aside(path: str, more: dict[str, Any]):
    async with metered_bottle(accepted) as (box, _), box.client() as client:
        assert (await post(client, f"https://{HOST}{path}", **more)).status_code == 200
        await until(lambda: usages(box))
        (row,), (intent,) = usages(box), intents(box)
        assert (row.unmetered, row.flags) == (True, ("deferred",))
        assert (row.input, row.output) == (intent.input_tokens, intent.output_tokens)
        assert row.charged == {"free": row.total}
        assert row.total > 1000


class Unread:
    """A stream of Responses, of which the end, with what was read, comes when nobody waits for it any more."""

    async def __call__(self, seen: Any, send: Any) -> None:
        made = {"type": "response.created", "response": {"id": "r", "model": "m", "status": "in_progress"}}
        said = {"type": "response.output_text.delta", "delta": "The whole answer."}
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for event in (made, said):
            await send({"type": "http.response.body", "body": b"data: %b\n\n" % orjson.dumps(event), "more_body": True})
        await asyncio.sleep(60)


async def test_what_was_read_is_counted_though_the_agent_leaves_before_it_is_told():
    """A word before it does not make a text a picture, which is no text."""
    text = "base64 " + "alpha_beta_gamma_delta_" * 20_000
    async with metered_bottle(Unread(), allowance(tokens(50_000))) as (box, _), box.client() as client:
        body = {"model": "m", "stream": True, "input": text}
        async with client.stream("POST", f"https://{HOST}/v1/responses", json=body) as answer:
            async for line in answer.aiter_lines():
                if "whole answer" in line:
                    break
        await until(lambda: usages(box))
        (row,) = usages(box)
        assert row.estimated
        assert 60_000 < row.input < 200_000
        assert (await post(client)).json()["code"] == "budget_exhausted"


async def masked(seen: Any, send: Any) -> None:
    """As Google's APIs answer a request for some members of the answer: there is no usage in it."""
    parts = [{"text": "Only this was asked for."}]
    body = {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": orjson.dumps(body)})


HIDING: list[tuple[str, dict[str, str]]] = [
    ("?fields=candidates", {}),
    ("?alt=sse&%24fields=candidates", {}),
    ("", {"X-Goog-FieldMask": "candidates"}),
    ("?alt=proto", {}),
    ("?callback=f", {}),
    ("?%24httpHeaders=X-Goog-FieldMask%3Acandidates", {}),
]


@pytest.mark.parametrize(("query", "headers"), HIDING, ids=["fields", "$fields", "header", "proto", "script", "inside"])
async def test_an_answer_that_is_to_hide_its_usage_is_not_asked_for_under_a_budget(query: str, headers: dict[str, str]):
    url = f"https://{HOST}/v1beta/models/gemini-9:generateContent"
    body = {"contents": [{"parts": [{"fileData": {"fileUri": "files/of-a-million-tokens"}}]}]}
    granted = allowance(tokens(100_000))
    async with metered_bottle(masked, granted, vendor_fetch=True) as (box, upstream), box.client() as client:
        answer = await client.post(url + query, headers=headers, json=body)
        assert (answer.status_code, answer.json().get("code")) == (400, "budget_unknown")
        assert upstream.seen == intents(box) == []
        assert (await client.post(f"{url}?alt=json&key=", json=body)).status_code == 200
        # as Google's own libraries ask over REST
        assert (await client.post(f"{url}?%24alt=json%3Benum-encoding%3Dint", json=body)).status_code == 200


async def test_an_answer_that_is_to_hide_its_usage_is_an_alarm_without_a_budget():
    async with metered_bottle(masked) as (box, _), box.client() as client:
        url = f"https://{HOST}/v1beta/models/gemini-9:generateContent?fields=candidates"
        assert (await client.post(url, json={"contents": []})).status_code == 200
        await until(lambda: usages(box))
        assert usages(box)[0].unmetered


async def test_an_id_that_comes_twice_means_the_same_answer_only_where_it_can_be_asked_for_again():
    async with metered_bottle(accepted) as (box, _), box.client() as client:
        await post(client, f"https://{HOST}/v1/chat/completions", background=True)
        await post(client, f"https://{HOST}/v1/responses", background=True)
        await until(lambda: len(usages(box)) == 2)
        assert [row.response_id for row in usages(box)] == ["", "r"]


async def test_large_bodies_are_read_beside_the_loop_and_counted_alike():
    async with metered_bottle(Vendor(), allowance(tokens(None))) as (box, _), box.client() as client:
        assert (
            await post(client, text="".join(f"line {number} of a file\n" for number in range(20_000)))
        ).status_code == 200
        (intent,) = intents(box)
        assert 50_000 < intent.input_tokens < 200_000
