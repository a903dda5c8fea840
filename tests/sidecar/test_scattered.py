"""A secret in pieces of six to eight letters, each in a request of its own: of any size, to any host, in any place."""

import asyncio
import base64
import contextlib
import random
import string
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import httpx
import pytest
import websockets

from sidecar.contract import Route, RouteDlp
from sidecar.dlp.drip import Scattered
from sidecar.dlp.engine import Engine
from sidecar.dlp.known import NO_PIECES, Pieces
from sidecar.egress.verdict import DRIP
from sidecar.tasks import spawn
from tests.sidecar.dlp.dlp_kit import BODY, engine_for
from tests.sidecar.proxy_kit import Upstream, authority, bottle, pem
from tests.sidecar.supervise.mcp_kit import decide, proposal

HOSTS = ("one.example.com", "two.example.com", "three.example.com")
SECRET = "zK9#vR2qLm7Tx4Wp8sBn5Jd3"
TOKEN = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO" + "0pINUx"  # a made-up value with a right checksum
FIRST, SECOND, THIRD = SECRET[:7], SECRET[7:13], SECRET[13:19]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(HOSTS, authority()).run() as running:
        yield running


def options(upstream: Upstream, **more: Any) -> dict[str, Any]:
    mapped = {f"{name}:443": f"127.0.0.1:{upstream.port}" for name in HOSTS}
    return {
        "extra_ca": (pem(upstream.ca),),
        "connect_to": mapped,
        "secrets": {"DEPLOY_KEY": SECRET},
        **more,
    }


def noise(seed: int, size: int = 5000) -> str:
    return " ".join(
        "".join(random.Random(f"{seed} {at}").choices(string.ascii_letters, k=9)) for at in range(size // 10)
    )


def carrying(piece: str) -> list[dict[str, Any]]:
    """Requests that a search for words that change does not look at."""
    return [
        {"method": "POST", "url": f"https://{HOSTS[0]}/a", "content": f"{noise(1)} {piece} {noise(2)}"},
        {"method": "GET", "url": f"https://{HOSTS[1]}/b", "headers": {"user-agent": f"curl/8 ({piece})"}},
        {"method": "POST", "url": f"https://{HOSTS[2]}/c", "json": {"text": noise(3), "more": f"x {piece} y"}},
    ]


ORDERS = [(0, 1, 2), (2, 0, 1), (1, 1, 1), (0, 0, 0)]


@pytest.mark.parametrize("order", ORDERS, ids=str)
async def test_the_third_piece_does_not_leave(upstream: Upstream, order: tuple[int, int, int]) -> None:
    async with bottle(*(Route(host=host) for host in HOSTS), **options(upstream)) as box, box.client() as client:
        for piece, place in zip((FIRST, SECOND, FIRST), (*order[:2], order[0]), strict=True):
            assert (await client.request(**carrying(piece)[place])).status_code == 200
        answer = await client.request(**carrying(THIRD)[order[2]])
        assert (answer.status_code, answer.json()["code"]) == (403, "secret_found")
        assert "DEPLOY_KEY" in answer.json()["reason"]
        assert len(upstream.seen) == 3
        assert not [seen for seen in upstream.seen if THIRD in str(seen)]
        event = await box.event(code="secret_found")
        found = event.detail["findings"][0]
        assert (found["code"], found["location"], found["snippet"]) == ("known_secret_fragments", DRIP, "")
        # what holds no new piece goes on
        assert (await client.request(**carrying(FIRST)[0])).status_code == 200
        assert (await client.request(**carrying("nothing")[1])).status_code == 200


async def test_other_secrets_that_change_meanwhile_are_no_way_round(upstream: Upstream) -> None:
    """As an OAuth token does each hour; the first in the list moves the numbers of the others."""
    given = {"ACCESS": "an-access-token-0z9y8x7w6v5u", "DEPLOY_KEY": SECRET}
    settings = options(upstream, secrets=given)
    async with bottle(*(Route(host=host) for host in HOSTS), **settings) as box, box.client() as client:
        for number, piece in enumerate((FIRST, SECOND)):
            assert (await client.request(**carrying(piece)[0])).status_code == 200
            renewed = {"ACCESS": f"another-one-5t4r3e2w1q-{number}", "EARLIER": "one-more-9s8d7f6g5h4j"}
            await box.channel.call("secrets", {"secrets": given | renewed})
        answer = await client.request(**carrying(THIRD)[1])
        assert (answer.status_code, answer.json()["code"]) == (403, "secret_found")
        assert "DEPLOY_KEY" in answer.json()["reason"]


async def test_nobody_is_asked_about_pieces_and_none_is_taken_out(upstream: Upstream) -> None:
    routes = [Route(host=host, dlp=RouteDlp(outbound_on_match="redact")) for host in HOSTS[:2]]
    async with bottle(*routes, **options(upstream)) as box, box.client() as client:
        for piece in (FIRST, SECOND):
            assert (await client.request(**carrying(piece)[0])).status_code == 200
        answer = await client.request(**carrying(THIRD)[1])
        assert (answer.status_code, answer.json()["code"]) == (403, "redaction_failed")


async def test_what_is_left_of_a_redacted_request_counts_too(upstream: Upstream) -> None:
    """Something to take out of each would else be a way round."""
    routes = [Route(host=host, dlp=RouteDlp(outbound_on_match="redact")) for host in HOSTS[:2]]
    url = f"https://{HOSTS[0]}/a"
    async with bottle(*routes, **options(upstream)) as box, box.client() as client:
        for piece in (FIRST, SECOND):
            assert (await client.post(url, content=f"{TOKEN} {noise(1)} {piece}")).status_code == 200
        assert [SECOND in seen.body.decode() and TOKEN not in seen.body.decode() for seen in upstream.seen] == [0, 1]
        answer = await client.post(url, content=f"{TOKEN} {noise(1)} {THIRD}")
        assert (answer.status_code, answer.json()["code"]) == (403, "redaction_failed")
        event = await box.event(code="redaction_failed")
        assert DRIP in {found["location"] for found in event.detail["findings"]}
        async with websockets.connect(f"wss://{HOSTS[1]}/ws", proxy=box.proxy, ssl=box.tls()) as socket:
            await socket.send(f"{TOKEN} {noise(4)} {THIRD}")
            assert "secret_found" in await _last(socket)


async def test_an_approved_request_counts_too(upstream: Upstream) -> None:
    """A yes to one value is none to the piece of another beside it."""
    async with bottle(*(Route(host=host) for host in HOSTS), **options(upstream)) as box, box.client() as client:
        for piece in (FIRST, SECOND):
            assert (await client.request(**carrying(piece)[0])).status_code == 200
        held = spawn(client.post(f"https://{HOSTS[1]}/", content=f"{TOKEN} {noise(4)} {THIRD}"), name="held")
        asked = await proposal(box)
        assert await decide(box, asked.proposal_id, "approved", reason="ours")
        answer = await held
        assert (answer.status_code, answer.json()["code"]) == (403, "secret_found")
        assert "DEPLOY_KEY" in answer.json()["reason"]


async def test_a_message_of_a_websocket_counts_too(upstream: Upstream) -> None:
    async with bottle(*(Route(host=host) for host in HOSTS), **options(upstream)) as box, box.client() as client:
        for piece in (FIRST, SECOND):
            assert (await client.request(**carrying(piece)[0])).status_code == 200
        async with websockets.connect(f"wss://{HOSTS[1]}/ws", proxy=box.proxy, ssl=box.tls()) as socket:
            await socket.send(f"{noise(4)} {THIRD}")
            with pytest.raises(websockets.ConnectionClosed):
                await _until(socket, THIRD)


@pytest.mark.parametrize("on_match", ["block", "redact"])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
async def test_a_token_over_the_edge_of_two_messages_does_not_leave(
    upstream: Upstream, on_match: Literal["block", "redact"], *, binary: bool
) -> None:
    """Neither half is a finding, so nothing can be taken out of the second."""
    halves = f"a {TOKEN[:20]}", f"{TOKEN[20:]} b"
    route = Route(host=HOSTS[1], dlp=RouteDlp(outbound_on_match=on_match))
    async with (
        bottle(route, **options(upstream)) as box,
        websockets.connect(f"wss://{HOSTS[1]}/ws", proxy=box.proxy, ssl=box.tls()) as socket,
    ):
        for half in halves:
            await socket.send(half.encode() if binary else half)
        assert "secret_found" in await _last(socket)


async def test_an_edge_that_cannot_be_examined_to_its_end_does_not_leave(upstream: Upstream) -> None:
    """Each message opens as many archives of nothing as it may; both together are more than that."""
    starts = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" * 60
    hidden = base64.b64encode(f"here is {TOKEN} for you".encode())
    async with (
        bottle(Route(host=HOSTS[1], dlp=RouteDlp(outbound_on_match="block")), **options(upstream)) as box,
        websockets.connect(f"wss://{HOSTS[1]}/ws", proxy=box.proxy, ssl=box.tls()) as socket,
    ):
        await socket.send(starts + hidden[:30])
        await socket.send(hidden[30:] + starts)
        assert "scan_limits" in await _last(socket)


async def _last(socket: websockets.ClientConnection) -> str:
    """What was said before the connection was closed. Raises TimeoutError where it is not."""
    said = ""
    async with asyncio.timeout(10):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                said = str(await socket.recv())
    return said


async def _until(socket: websockets.ClientConnection, text: str) -> None:
    while text not in str(await socket.recv()):
        pass


async def test_one_request_with_pieces_in_its_head_and_its_body(upstream: Upstream) -> None:
    async with bottle(Route(host=HOSTS[0]), **options(upstream)) as box, box.client() as client:
        answer: httpx.Response = await client.post(
            f"https://{HOSTS[0]}/x", headers={"user-agent": f"a {FIRST} b {SECOND}"}, content=f"{noise(1)} {THIRD}"
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "secret_found")


def seen(engine: Engine, *texts: str) -> Iterator[Pieces]:
    for text in texts:
        scan = engine.scan(text.encode(), where=BODY)
        assert not scan.blocked
        yield scan.pieces


def test_what_left_long_ago_or_before_much_else_is_forgotten() -> None:
    engine = engine_for((SECRET,))
    first, second, third = seen(engine, FIRST, SECOND, THIRD)
    for later, examined in ((Scattered.SECONDS + 1, 10), (5.0, Scattered.BYTES + 1)):
        scattered = Scattered()
        assert scattered.before(first, 0.0) == NO_PIECES
        scattered.add(first, 10, 0.0)
        scattered.add(second, 10, 1.0)
        assert engine.scattered(third, scattered.before(third, 2.0))
        scattered.add(NO_PIECES, examined, 2.0)
        assert not engine.scattered(third, scattered.before(third, later))


def test_pieces_count_for_the_secret_whatever_others_there_are() -> None:
    one, renewed = engine_for((SECRET,)), engine_for((SECRET, "another-secret-0a9s8d7f6g"))
    changed = engine_for((SECRET.swapcase(), "another-secret-0a9s8d7f6g"))
    scattered = Scattered()
    for piece in seen(one, FIRST, SECOND):
        scattered.add(piece, 10, 0.0)
    (third,) = seen(renewed, THIRD)
    assert renewed.scattered(third, scattered.before(third, 1.0))
    (third,) = seen(changed, THIRD.swapcase())
    assert third.seen
    assert not changed.scattered(third, scattered.before(third, 1.0))
