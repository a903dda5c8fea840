"""What happens to a request while it is held: its client, its policy, its credential and its budget do not stand still.
What is released has to be right by then, and one that waits is not another one's business."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from sidecar.allowance import Allowance, Cutoff
from sidecar.contract import Route, RouteAuth
from sidecar.tasks import spawn
from tests.sidecar.attack_kit import H2, fields, tunnel
from tests.sidecar.metering_kit import HOST as LLM
from tests.sidecar.metering_kit import PROVIDER, allowance, grant, intents, metered_bottle, tokens
from tests.sidecar.proxy_kit import Bottle, Upstream, authority, bottle, pem
from tests.sidecar.supervise.mcp_kit import decide, proposal, proposals, set_policy
from tests.sidecar.test_metering_budget import Vendor

HOST, OTHER = "api.example.com", "other.example.com"
TOKEN = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO" + "0pINUx"  # a made-up value with a right checksum
KEY, NEW = "zK9#vR2qLm7Tx4Wp8sBn5Jd3", "hY6!cN1wQd8Uf3Xs7eGm2Kz4"
ROUTE = Route(host=HOST, auth=RouteAuth(token_ref="KEY"))


@contextlib.asynccontextmanager
async def held_by(*routes: Route, **more: Any) -> AsyncIterator[tuple[Bottle, Upstream]]:
    async with Upstream((HOST, OTHER), authority()).run() as upstream:
        mapped = {f"{name}:443": f"127.0.0.1:{upstream.port}" for name in (HOST, OTHER)}
        secrets = {"KEY": KEY, "OTHER": "vB3-pL9-tR5-mJ1-xW7-dC2"}
        async with bottle(
            *(routes or (ROUTE,)), extra_ca=(pem(upstream.ca),), connect_to=mapped, secrets=secrets, **more
        ) as box:
            yield box, upstream


def post(client: httpx.AsyncClient, url: str = f"https://{HOST}/a", **body: Any) -> asyncio.Task[httpx.Response]:
    return spawn(client.post(url, json=body or {"a": TOKEN}, timeout=60), name="held", on_error=lambda _: None)


async def held(box: Bottle, number: int) -> None:
    async with asyncio.timeout(100):
        while len([event for event in box.events() if event.code == "held"]) < number:
            await asyncio.sleep(0.02)


# --- who waits ------------------------------------------------------------------------------------------------------


async def test_the_end_of_the_first_ones_time_is_not_that_of_the_second() -> None:
    async with held_by(policy={"hold_seconds": 2.0}) as (box, upstream), box.client() as client:
        first = post(client)
        asked = await proposal(box)
        await set_policy(box, ROUTE, hold_seconds=300.0)
        second = post(client)
        assert (await first).json()["code"] == "hold_expired"
        assert upstream.seen == []
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="once")
        assert (await second).status_code == 200
        assert len(upstream.seen) == 1
        again, longer = post(client), proposals(box)[1]
        assert (longer.proposal_id, longer.action, longer.report) == (asked.proposal_id, "open", asked.report)
        assert (longer.expires_at or 0) > (asked.expires_at or 0) + 200, "the operator's card stands as long as it"
        third = await proposal(box, 3)
        assert await decide(box, third.proposal_id, "rejected")
        assert (await again).json()["code"] == "hold_rejected"


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_the_first_one_leaving_takes_nothing_from_the_second(http2: bool) -> None:
    async with held_by(main="tests.sidecar.impatient_main") as (box, upstream), box.client() as staying:
        async with box.client(http2=http2) as leaving:
            first = post(leaving)
            asked = await proposal(box)
            second = post(staying)
            await held(box, 2)
            first.cancel()
        assert (await box.event(code="client_closed")).decision == "error", "nothing of it left"
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="once")
        assert (await second).status_code == 200
        assert {event.action for event in proposals(box)} == {"open"}
        assert len(upstream.seen) == 1


async def test_a_stream_that_is_reset_while_it_is_held_never_leaves() -> None:
    async with held_by() as (box, upstream):
        client = await H2.open(box, HOST)
        stream = client.request(fields(HOST, "/a", "POST"), TOKEN.encode())
        asked = await proposal(box)
        client.conn.reset_stream(stream)
        client.flush()
        assert (await box.event(code="client_closed")).decision == "error", "nothing of it left"
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="once")
        assert await client.answer(client.request(fields(HOST, "/b"))) == "200", "the connection goes on"
        assert [seen.path for seen in upstream.seen] == ["/b"]
        client.close()


LEAVINGS = {
    "end": b"",
    "goaway": b"\x00\x00\x08\x07\x00" + bytes(12),
    "a continuation of nothing": b"\x00\x00\x00\x09\x04\x00\x00\x00\x01",
    "resets without end": b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08" * 1000,
}


@pytest.mark.parametrize(
    ("http2", "way"), [(False, "end"), (False, "abort"), *((True, way) for way in (*LEAVINGS, "abort"))]
)
async def test_an_approval_for_a_client_that_is_gone_sends_nothing(http2: bool, way: str) -> None:
    """However it goes: neither the request nor the credential leaves, until somebody asks again."""
    async with held_by() as (box, upstream):
        if http2:
            client = await H2.open(box, HOST)
            client.request(fields(HOST, "/a", "POST"), TOKEN.encode())
            writer = client.writer
        else:
            _, writer = await tunnel(box, f"{HOST}:443", HOST)
            writer.write(f"POST /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(TOKEN)}\r\n\r\n{TOKEN}".encode())
        asked = await proposal(box)
        if way == "abort":
            writer.transport.abort()
        elif way == "end":
            writer.close()
        else:
            writer.write(LEAVINGS[way])
        await box.event(phase="closed", code="client_closed")
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="once")
        async with box.client() as other:
            assert (await other.get(f"https://{HOST}/b")).status_code == 200
        assert [seen.path for seen in upstream.seen] == ["/b"]
        assert (await box.channel.call("health"))[0]["live"] == 0
        writer.close()


@pytest.mark.parametrize("way", ["reset", "goaway"])
async def test_who_leaves_in_the_same_breath_is_not_asked_for(way: str) -> None:
    """Before the first check of its request has come to an end."""
    async with held_by() as (box, upstream):
        client = await H2.open(box, HOST)
        stream = client.conn.get_next_available_stream_id()
        client.conn.send_headers(stream, [(str(name), str(value)) for name, value in fields(HOST, "/a", "POST")])
        client.conn.send_data(stream, TOKEN.encode(), end_stream=True)
        if way == "reset":
            client.conn.reset_stream(stream)
        client.writer.write(client.conn.data_to_send() + (LEAVINGS["goaway"] if way == "goaway" else b""))
        await box.event(phase="closed", code="client_closed")
        async with box.client() as other:
            again = post(other, f"https://{HOST}/c")
            asked = await proposal(box)
            assert asked.report is not None
            assert asked.report.path == "/c"
            assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="session")
            assert (await again).status_code == 200
        assert [seen.path for seen in upstream.seen] == ["/c"]
        assert {event.action for event in proposals(box)} == {"open"}
        assert len(proposals(box)) == 1
        client.close()


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_a_sidecar_that_stops_sends_nothing_that_it_holds(http2: bool) -> None:
    async with held_by() as (box, upstream), box.client(http2=http2) as client:
        waiting = post(client)
        await proposal(box)
        await box.channel.call("stop")
        with pytest.raises(httpx.HTTPError):
            await waiting
        assert await asyncio.to_thread(box.process.wait, 60) == 0
        assert upstream.seen == []
        assert (await box.event(phase="closed")).code == "killed"


# --- what changes meanwhile -----------------------------------------------------------------------------------------

POLICIES: dict[str, tuple[Route, ...]] = {
    "no route": (),
    "another host": (Route(host=OTHER),),
    "another path": (Route.model_validate({**ROUTE.model_dump(), "matches": [{"paths": [{"value": "/b"}]}]}),),
    "another credential": (Route(host=HOST, auth=RouteAuth(token_ref="OTHER")),),
    "no credential": (Route(host=HOST),),
}


@pytest.mark.parametrize("change", POLICIES)
async def test_a_yes_does_not_bring_back_a_route(change: str) -> None:
    async with held_by() as (box, upstream), box.client() as client:
        waiting = post(client)
        asked = await proposal(box)
        await set_policy(box, *POLICIES[change])
        await decide(box, asked.proposal_id, "approved", reason="ours", scope="session")
        with pytest.raises(httpx.HTTPError):
            await waiting
        assert (await box.event(phase="closed")).reason == "its route was removed"
        assert upstream.seen == []


async def test_the_credential_is_the_one_of_the_moment_it_leaves() -> None:
    async with held_by() as (box, upstream), box.client() as client:
        waiting = post(client)
        asked = await proposal(box)
        await box.channel.call("secrets", {"secrets": {"KEY": NEW}})
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="session")
        assert (await waiting).status_code == 200
        assert upstream.seen.pop().header("authorization") == [f"Bearer {NEW}"]
        waiting = post(client, a=f"{TOKEN} and more {KEY}")
        asked = await proposal(box, 2)
        assert asked.report is not None
        assert asked.report.detector == "known_secrets", "the former one is still one"
        await box.channel.call("secrets", {"secrets": {}})
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="session")
        assert (await waiting).json()["code"] == "credential_missing"
        assert upstream.seen == []


async def test_what_is_a_secret_meanwhile_is_found() -> None:
    async with held_by() as (box, upstream), box.client() as client:
        waiting = post(client, a=TOKEN, b=NEW)
        asked = await proposal(box)
        await box.channel.call("secrets", {"secrets": {"KEY": KEY, "NEW": NEW}})
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="session")
        asked = await proposal(box, 2)
        assert asked.report is not None
        assert asked.report.detector == "known_secrets"
        assert await decide(box, asked.proposal_id, "rejected")
        assert (await waiting).json()["code"] == "hold_rejected"
        assert upstream.seen == []


NOTHING_LEFT: dict[str, tuple[Allowance, str]] = {
    "all taken back": (allowance(tokens(0), version=2), "budget_exhausted"),
    "cut off": (allowance(tokens(9000), version=2, cutoff=Cutoff(providers=(PROVIDER,))), "budget_cutoff"),
    "all cut off": (allowance(tokens(9000), version=2, cutoff=Cutoff(scope="all")), "budget_cutoff"),
    "no lease any more": (allowance(version=2), "budget_unknown"),
    "expired": (allowance(tokens(9000, seconds=0.01), version=2), "budget_unknown"),
    "used up, with more to come": (allowance(tokens(0, when_spent="more"), version=2), "budget_unknown"),
}


def ask_model(client: httpx.AsyncClient) -> asyncio.Task[httpx.Response]:
    return post(client, f"https://{LLM}/v1/messages", model="m", messages=[{"role": "user", "content": TOKEN}])


@pytest.mark.parametrize("change", NOTHING_LEFT)
async def test_a_yes_spends_nothing_that_is_no_longer_there(change: str) -> None:
    granted, code = NOTHING_LEFT[change]
    async with metered_bottle(Vendor(), allowance(tokens(9000))) as (box, upstream), box.client() as client:
        waiting = ask_model(client)
        asked = await proposal(box)
        assert (await grant(box)).in_flight == 1, "what it will use is set aside while it is held"
        await grant(box, granted)
        await asyncio.sleep(sum(lease.seconds or 0 for lease in granted.leases))
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="session")
        answer = await waiting
        assert (answer.status_code, json.loads(answer.text)["code"]) == (400, code)
        assert upstream.seen == []
        assert intents(box) == []
        assert (await grant(box)).in_flight == 0


async def test_a_grant_that_comes_right_behind_the_yes_is_waited_for() -> None:
    async with metered_bottle(Vendor(), allowance(tokens(9000))) as (box, upstream), box.client() as client:
        waiting = ask_model(client)
        asked = await proposal(box)
        await grant(box, allowance(tokens(9000, seconds=0.01), version=2))
        await asyncio.sleep(0.01)
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="session")
        async with asyncio.timeout(60):
            while (await grant(box)).waiting == 0:
                await asyncio.sleep(0.02)
        assert upstream.seen == []
        await grant(box, allowance(tokens(9000, seconds=600), version=3))
        assert (await waiting).status_code == 200
        assert (len(upstream.seen), len(intents(box))) == (1, 1)
