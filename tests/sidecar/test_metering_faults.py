"""Each part of metering broken in a real sidecar: the answer is cut, what it may have used is written down and charged,
and nothing stays reserved."""

import random

import httpx
import pytest

from tests.conftest import until
from tests.sidecar.meter.meter_forms import anthropic_sse
from tests.sidecar.metering_kit import Provider, ask, grant, intents, metered_bottle, usages

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
