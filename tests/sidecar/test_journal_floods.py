"""Floods of lines: what a bottle can have written down is bounded, whatever it asks for. Through a real sidecar."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from sidecar.contract import Route
from tests.sidecar.proxy_kit import Bottle, Upstream, authority, bottle, pem

HOST = "api.example.com"
CANARY = secrets.token_hex(32)


@pytest.fixture
async def box() -> AsyncIterator[Bottle]:
    """It writes twenty lines in full."""
    async with (
        Upstream((HOST,), authority()).run() as upstream,
        bottle(
            Route(host=HOST),
            extra_ca=(pem(upstream.ca),),
            connect_to={f"{HOST}:443": f"127.0.0.1:{upstream.port}"},
            canary=CANARY,
            main="tests.sidecar.brief_main",
        ) as running,
    ):
        yield running


async def test_a_flood_of_anything_becomes_few_lines(box: Bottle):
    """Whatever the hosts and paths are, allowed or not, once there was more than agents ask for."""
    async with box.client() as client:
        for number in range(150):
            host = HOST if number % 2 else f"h{number}.example.org"
            assert (await client.get(f"https://{host}/p{number}")).status_code == (200 if number % 2 else 403)
        async with asyncio.timeout(10):
            while sum(1 + event.detail.get("count", 0) for event in box.events()) < 150:
                await asyncio.sleep(0.05)
        by = Counter[str]()
        for event in box.events():
            by[event.decision] += 1 + event.detail.get("count", 0)
        assert by == {"allow": 75, "deny": 75}
        assert {f"/p{number}" for number in range(20)} <= {event.path for event in box.events()}
        assert len(box.events()) < 100


async def test_alarms_are_not_lost_in_a_flood_and_fill_no_disk(box: Bottle):
    async with box.client() as client:
        await asyncio.gather(*(client.get(f"https://{HOST}/p{number}") for number in range(60)))
        await asyncio.gather(*(client.post(f"https://{HOST}/p{number}", content=CANARY) for number in range(60)))
        async with asyncio.timeout(10):
            while not any("others like this; " in notice["text"] for notice in box.notices()):
                await asyncio.sleep(0.05)
        told = [notice["text"] for notice in box.notices() if notice["code"] == "canary_leaked"]
        assert told[0].startswith("The canary")
        assert len(told) < 20
