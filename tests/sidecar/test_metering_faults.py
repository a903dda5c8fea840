"""Each part of metering broken in a real sidecar: the answer is cut, what it may have used is written down and charged,
and nothing stays reserved."""

import asyncio
import contextlib
import random
from typing import Any

import httpx
import pytest

from tests.conftest import until
from tests.sidecar.meter.meter_forms import Maker, anthropic_sse, chat_sse, responses_sse
from tests.sidecar.metering_kit import HOST, Provider, ask, grant, intents, metered_bottle, usages

METERING = "sidecar.egress.addons.metering:Metering"


@pytest.mark.parametrize(
    "fault",
    [
        f"{METERING}.responseheaders",
        f"{METERING}.response",
        f"{METERING}._end",
        "sidecar.meter.meter:Meter.feed",
        "sidecar.meter.meter:Meter.finish",
        "sidecar.egress.books:Books.windows",
    ],
)
async def test_what_cannot_be_metered_does_not_go_on_and_counts_as_estimated(fault: str):
    provider, answer = Provider(), anthropic_sse(random.Random(1), 200, 200)
    provider.add("a", answer, "", list(answer.pieces))
    async with metered_bottle(provider, fault=f"{fault}:raise") as (box, _), box.client() as client:
        with pytest.raises(httpx.HTTPError):
            await ask(client, "a", answer)
        await until(lambda: usages(box))
        ((row,), (intent,)) = usages(box), intents(box)
        assert (row.request_id, row.billable) == (intent.request_id, True)
        assert row.estimated or row.unmetered
        assert row.total > 0
        standing = await grant(box)
        assert (standing.in_flight, standing.leases[0].used) == (0, float(row.total))


async def killed_halfway(maker: Maker, seed: int) -> tuple[int, int]:
    """Output tokens that a killed sidecar had written down, and those that the provider had sent."""
    provider, answer = Provider(), maker(random.Random(seed), 900, 1200)
    half = len(answer.pieces) // 2
    provider.add("a", answer, "", list(answer.pieces))
    provider.gate, provider.pause = asyncio.Event(), 0.003
    left = sum(map(len, answer.pieces[:half]))
    async with metered_bottle(provider) as (box, _), box.client() as client:
        asked: dict[str, Any] = {"headers": {"x-answer": "a"}, "json": answer.request}
        with contextlib.suppress(httpx.HTTPError):
            async with client.stream("POST", f"https://{HOST}{answer.path}", **asked) as response:
                async for chunk in response.aiter_raw():
                    left -= len(chunk)
                    if left <= 0:
                        box.process.kill()
        await until(lambda: box.process.poll() is not None)
        (intent,), found = intents(box), box.lines("progress")
        assert usages(box) == []
        assert {step["request_id"] for step in found} == {intent.request_id}
        assert len(found) < 200
        return found[-1]["output_tokens"], answer.made[half - 1]


async def test_a_kill_in_the_middle_of_streams_leaves_within_ten_percent_of_what_was_sent():
    makers = (anthropic_sse, responses_sse, chat_sse)
    found = [await killed_halfway(maker, 4 + number) for number, maker in enumerate(makers)]
    ours, theirs = sum(one for one, _ in found), sum(made for _, made in found)
    assert abs(ours / theirs - 1) <= 0.10, found


async def test_a_usage_that_cannot_be_made_leaves_the_intent_and_frees_its_place():
    provider, answer = Provider(), anthropic_sse(random.Random(1), 20, 20)
    provider.add("a", answer, "", list(answer.pieces))
    fault = "sidecar.egress.books:Books._usage:raise"
    async with metered_bottle(provider, fault=fault) as (box, _), box.client() as client:
        with pytest.raises(httpx.HTTPError):
            await ask(client, "a", answer)
        await until(lambda: [event for event in box.events() if event.phase == "closed"])
        assert (len(usages(box)), len(intents(box))) == (0, 1)
        standing = await grant(box)
        assert standing.in_flight == 0
        assert standing.leases[0].used > 0


async def test_an_agent_that_asks_on_and_on_for_what_never_ends_is_stopped_and_then_let_through():
    provider, answer = Provider(), anthropic_sse(random.Random(1), 20, 20)
    provider.add("whole", answer, "", list(answer.pieces))
    provider.add("half", answer, "", list(answer.pieces[: len(answer.pieces) // 2]))
    provider.add("none", answer, "", [])
    url = f"https://{HOST}{answer.path}"
    async with metered_bottle(provider) as (box, upstream), box.client() as client:

        async def codes(*names: str) -> list[int]:
            return [
                (await client.post(url, json=answer.request, headers={"x-answer": name})).status_code for name in names
            ]

        assert await codes(*["half", "none"] * 3, "half", "whole") == [200] * 8
        assert await codes(*["half", "none"] * 4) == [200] * 8, "one that was whole begins the count anew"
        refused = await client.post(url, json=answer.request, headers={"x-answer": "half"})
        assert (refused.status_code, refused.headers["x-carboy-code"]) == (400, "answers_unfinished")
        assert "say so to the user and stop" in refused.json()["error"]["message"]
        assert await codes("half") == [200], "who mended it goes on"
        assert len(upstream.seen) == 17
        await until(lambda: len(usages(box)) == 17)
        told = [row.fault.kind if row.fault else "" for row in usages(box)]
        assert (told.count("network"), told.count("")) == (16, 1)
