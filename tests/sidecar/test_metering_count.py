"""The pre-flight count in a real sidecar: the provider says how much a request needs; without its word none leaves."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from tests.sidecar.metering_kit import HOST, allowance, grant, intents, metered_bottle, tokens
from tests.sidecar.test_metering_budget import COST, Vendor, post

COUNT = "/v1/messages/count_tokens"


class Counts(Vendor):
    """Says `number` when it is asked for a count."""

    def __init__(self, number: int, status: int = 200) -> None:
        super().__init__()
        self.number, self.status = number, status
        self.silent = False

    async def __call__(self, seen: Any, send: Any) -> None:
        if not seen.path.endswith("/count_tokens"):
            await super().__call__(seen, send)
            return
        if self.silent:
            await asyncio.Event().wait()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps({"input_tokens": self.number})})


def refused(answer: httpx.Response) -> str:
    assert answer.status_code == 400
    assert answer.json()["code"] == "budget_preflight"
    return answer.json()["error"]["message"]


async def test_a_request_leaves_only_if_its_providers_count_fits():
    vendor = Counts(500)
    granted = allowance(tokens(10_000), preflight=True, count=True)
    async with metered_bottle(vendor, granted) as (box, upstream), box.client() as client:
        client.headers["anthropic-version"] = "2023-06-01"
        assert (await post(client)).status_code == 200
        asked, sent = upstream.seen
        assert (asked.method, asked.path, orjson.loads(asked.body)) == ("POST", COUNT, orjson.loads(sent.body))
        assert asked.header("anthropic-version") == ["2023-06-01"]
        row = await box.event(code="ok", phase="closed")
        assert row.detail["counted"] == 500
        vendor.number = 9_500
        assert "it needs about 10," in refused(await post(client))
        assert [seen.path for seen in upstream.seen] == [COUNT, "/v1/messages", COUNT]
        standing = await grant(box)
        assert standing.leases[0].reserved == 0


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_no_count_no_request(status: int):
    granted = allowance(tokens(10_000), preflight=True, count=True)
    async with metered_bottle(Counts(5, status), granted) as (box, upstream), box.client() as client:
        assert "did not say how many tokens" in refused(await post(client))
        assert [seen.path for seen in upstream.seen] == [COUNT]
        assert (await grant(box)).leases[0].reserved == 0


async def test_a_provider_that_never_says_is_not_waited_for_long():
    vendor = Counts(5)
    vendor.silent = True
    granted = allowance(tokens(10_000), preflight=True, count=True)
    async with metered_bottle(vendor, granted) as (box, upstream), box.client() as client:
        assert "did not say how many tokens" in refused(await post(client))
        assert [seen.path for seen in upstream.seen] == [COUNT]


async def test_where_no_budget_governs_nobody_is_asked():
    granted = allowance(tokens(None), preflight=True, count=True)
    async with metered_bottle(Counts(5), granted) as (box, upstream), box.client() as client:
        assert (await post(client)).status_code == 200
        assert [seen.path for seen in upstream.seen] == ["/v1/messages"]


async def test_a_provider_without_such_an_endpoint_is_estimated():
    granted = allowance(tokens(10_000), preflight=True, count=True)
    async with metered_bottle(Counts(5), granted) as (box, upstream), box.client() as client:
        assert (await post(client, f"https://{HOST}/v1/chat/completions")).status_code == 200
        assert len(upstream.seen) == 1


def goes_on_with(message: str) -> dict[str, str]:
    return {"type": "continue", "previous_message_id": message}


@pytest.mark.parametrize("count", [False, True])
async def test_a_thread_that_goes_on_needs_what_was_before_as_well(count: bool):
    """Its body holds only what is new, and so does the provider's count of it."""
    granted = allowance(tokens(3_500), preflight=True, count=count)
    async with metered_bottle(Counts(500), granted) as (box, _), box.client() as client:
        first = (await post(client, thread={"type": "create"})).json()
        assert (await post(client, thread=goes_on_with(first["id"]))).status_code == 200
        new, going_on = (intent.input_tokens for intent in intents(box))
        assert new < COST < going_on
        # 1,500 are left: enough for what is new alone
        assert "it needs about" in refused(await post(client, thread=goes_on_with("msg_2")))


@pytest.mark.parametrize("count", [False, True])
@pytest.mark.parametrize("thread", [goes_on_with("msg_9"), {"type": "continue"}])
async def test_a_thread_that_was_not_seen_here_does_not_go_on_under_a_budget(count: bool, thread: dict[str, str]):
    granted = allowance(tokens(1_000_000), count=count)
    async with metered_bottle(Counts(500), granted) as (box, upstream), box.client() as client:
        assert "was not seen here" in refused(await post(client, thread=thread))
        assert upstream.seen == []
        assert (await grant(box)).leases[0].reserved == 0
        await grant(box, allowance(tokens(None), version=2))
        assert (await post(client, thread=thread)).status_code == 200
