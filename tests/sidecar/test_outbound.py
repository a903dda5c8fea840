"""The outbound scan in a real sidecar: what is found is refused, held, taken out or approved, and nothing else happens
to anything else. The upstream keeps what arrives."""

import asyncio
import base64
import gzip
import json
import secrets
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any

import brotli
import httpx
import pytest
import zstandard

from sidecar.contract import Route, RouteAuth, RouteDlp, RouteMatch
from sidecar.tasks import spawn
from tests.sidecar.proxy_kit import Upstream, authority, bottle, pem
from tests.sidecar.supervise.mcp_kit import decide, proposal, proposals, set_policy

HOST, LLM = "files.example.com", "llm.example.com"
TOKEN = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO" + "0pINUx"  # a made-up value with a right checksum
OTHER = "AKIA" + "Q4KZ7TRWN3YB2MHX"
SECRET = "zK9#vR2qLm7Tx4Wp8sBn5Jd3"
CANARY = secrets.token_hex(32)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream((HOST, LLM, "*.wild.example.com"), authority()).run() as running:
        yield running


def options(upstream: Upstream, **more: Any) -> dict[str, Any]:
    upstream.seen.clear()
    names = (HOST, LLM, "a.wild.example.com", "b.wild.example.com")
    return {
        "extra_ca": (pem(upstream.ca),),
        "connect_to": {f"{name}:443": f"127.0.0.1:{upstream.port}" for name in names},
        "secrets": {"DEPLOY_KEY": SECRET},
        "canary": CANARY,
        **more,
    }


def refused(answer: httpx.Response, code: str) -> dict[str, Any]:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (403, code), body
    return body


BLOCK = Route(host=HOST, dlp=RouteDlp(outbound_on_match="block"))
PLACES: dict[str, dict[str, Any]] = {
    "path": {"url": f"https://{HOST}/a/{TOKEN}/b"},
    "query": {"url": f"https://{HOST}/a?q={TOKEN}"},
    "header": {"headers": {"x-note": TOKEN}},
    "cookie": {"headers": {"cookie": f"session={TOKEN}"}},
    "own credential": {"headers": {"authorization": f"Bearer {TOKEN}"}},
    "body": {"content": b"here: " + TOKEN.encode()},
    "json": {"json": {"a": [{"b": f"line\n{TOKEN}"}]}},
    "gzip": {"content": gzip.compress(TOKEN.encode()), "headers": {"content-encoding": "gzip"}},
    "form": {"data": {"x": f"%{TOKEN}"}},
    "multipart": {"files": {"f": ("n.txt", TOKEN.encode())}},
}


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_a_credential_is_found_wherever_it_stands(upstream: Upstream, http2: bool) -> None:
    async with bottle(BLOCK, **options(upstream)) as box, box.client(http2=http2) as client:
        for place, request in PLACES.items():
            method = "GET" if place in ("path", "query", "header", "cookie", "own credential") else "POST"
            answer = await client.request(method, **{"url": f"https://{HOST}/x", **request})
            body = refused(answer, "secret_found")
            assert TOKEN not in answer.text, place
            assert "GitHub" in body["reason"], place
            assert "do not look for another way" in body["what_to_do"]
        fine = await client.post(f"https://{HOST}/x", json={"a": "nothing"})
        assert fine.status_code == 200
        assert [seen.path for seen in upstream.seen] == ["/x"]
        event = await box.event(code="secret_found")
        assert event.detail["findings"][0]["detector"] == "token_patterns"
        written = "".join(event.model_dump_json() for event in box.events())
        assert TOKEN not in written


async def test_what_cannot_be_read_does_not_leave(upstream: Upstream) -> None:
    async with bottle(Route(host=HOST), **options(upstream)) as box, box.client() as client:
        for headers, body in (
            ({"content-encoding": "gzip"}, b"not gzip"),
            ({"content-encoding": "rot13"}, b"x"),
            ({"content-type": "multipart/form-data"}, b"x"),
        ):
            refused(await client.post(f"https://{HOST}/x", content=body, headers=headers), "body_undecodable")
        bomb = gzip.compress(b"\0" * 80_000_000, 9)
        headers = {"content-encoding": "gzip"}
        refused(await client.post(f"https://{HOST}/x", content=bomb, headers=headers), "body_too_large")
        assert upstream.seen == []


async def test_the_slot_that_a_route_owns_is_not_scanned_and_everything_else_is(upstream: Upstream) -> None:
    route = Route(host=HOST, auth=RouteAuth(token_ref="DEPLOY_KEY"), dlp=RouteDlp(outbound_on_match="block"))
    async with bottle(route, **options(upstream)) as box, box.client() as client:
        fine = await client.get(f"https://{HOST}/x", headers={"authorization": f"Bearer {TOKEN}"})
        assert fine.status_code == 200
        assert upstream.seen[0].header("authorization") == [f"Bearer {SECRET}"]
        refused(await client.get(f"https://{HOST}/x?q={TOKEN}"), "secret_found")
        refused(await client.get(f"https://{HOST}/x", headers={"x-copy": SECRET}), "secret_found")
        assert len(upstream.seen) == 1


async def test_detectors_that_are_off_find_nothing_but_the_canary(upstream: Upstream) -> None:
    route = Route(host=HOST, dlp=RouteDlp(outbound_detectors=False))
    async with bottle(route, **options(upstream)) as box, box.client() as client:
        assert (await client.post(f"https://{HOST}/x", content=TOKEN)).status_code == 200
        refused(await client.post(f"https://{HOST}/x", content=CANARY), "canary_leaked")
        refused(await client.get(f"https://{HOST}/x", headers={"a": CANARY[::-1]}), "canary_leaked")


async def test_a_hold_is_approved_for_that_value_there_and_nothing_else(upstream: Upstream) -> None:
    async with bottle(Route(host=HOST), **options(upstream)) as box, box.client() as client:
        body = {"token": TOKEN}
        held = spawn(client.post(f"https://{HOST}/a?n=1", json=body), name="held")
        asked = await proposal(box)
        assert asked.type == "egress-token-allow"
        report = asked.report
        assert report is not None
        assert (report.host, report.method, report.path, report.detector) == (HOST, "POST", "/a?n=*", "token_patterns")
        assert TOKEN not in asked.model_dump_json()
        assert (await client.get(f"https://{HOST}/other")).status_code == 200, "others go on"
        await box.event(decision="hold", code="held")
        assert await decide(box, asked.proposal_id, "approved", reason="ours")
        assert (await held).status_code == 200
        assert json.loads(upstream.seen[-1].body) == body
        assert (await client.post(f"https://{HOST}/a?n=2", json=body)).status_code == 200, "for this sidecar's life"
        for request in (
            {"url": f"https://{HOST}/b", "method": "POST", "json": body},
            {"url": f"https://{HOST}/a", "method": "PUT", "json": body},
            {"url": f"https://{HOST}/a", "method": "POST", "json": {**body, "more": OTHER}},
        ):
            before = len(proposals(box))
            again = spawn(client.request(**request), name="held")
            asked = await proposal(box, before + 1)
            assert await decide(box, asked.proposal_id, "rejected", reason="no")
            body_of = refused(await again, "hold_rejected")
            assert "the operator said no: no" in body_of["reason"]
        assert len(proposals(box)) == 4


async def test_a_yes_holds_for_as_long_as_was_said(upstream: Upstream) -> None:
    async with bottle(Route(host=HOST), **options(upstream)) as box, box.client() as client:

        def post(path: str, **more: str) -> asyncio.Task[httpx.Response]:
            return spawn(client.post(f"https://{HOST}/{path}", json={"token": TOKEN, **more}), name="held")

        held = post("once", more=OTHER)
        for number in (1, 2):
            asked = await proposal(box, number)
            assert await decide(box, asked.proposal_id, "approved", scope="once", decided_at=time.time())
        assert (await held).status_code == 200, "both values were said yes to, each for this once"
        again = post("once")
        asked = await proposal(box, 3)
        assert await decide(box, asked.proposal_id, "rejected")
        refused(await again, "hold_rejected")

        held = post("quarter")
        asked = await proposal(box, 4)
        assert await decide(box, asked.proposal_id, "approved", scope="15m", decided_at=time.time() - 890)
        assert (await held).status_code == 200
        assert (await post("quarter")).status_code == 200
        held = post("over")
        asked = await proposal(box, 5)
        assert await decide(box, asked.proposal_id, "approved", scope="15m", decided_at=time.time() - 901)
        assert (await held).status_code == 200, "who waited for the answer goes"
        again = post("over")
        asked = await proposal(box, 6)
        assert await decide(box, asked.proposal_id, "rejected")
        refused(await again, "hold_rejected")


async def test_once_is_for_the_next_one_where_nobody_waits_any_more(upstream: Upstream) -> None:
    async with bottle(Route(host=HOST), **options(upstream)) as box:
        async with box.client() as client:
            held = spawn(client.post(f"https://{HOST}/a", json={"token": TOKEN}), name="held")
            asked = await proposal(box)
            held.cancel()
        await box.event(code="client_closed")
        assert await decide(box, asked.proposal_id, "approved", scope="once")
        async with box.client() as client:
            assert (await client.post(f"https://{HOST}/a", json={"token": TOKEN})).status_code == 200
            again = spawn(client.post(f"https://{HOST}/a", json={"token": TOKEN}), name="held")
            asked = await proposal(box, 2)
            assert await decide(box, asked.proposal_id, "rejected")
            refused(await again, "hold_rejected")


async def test_a_yes_to_a_piece_of_a_secret_is_none_to_the_secret(upstream: Upstream) -> None:
    piece = TOKEN[10:26]
    async with bottle(Route(host=HOST), **options(upstream)) as box, box.client() as client:
        held = spawn(client.post(f"https://{HOST}/a", content=f'password = "{piece}"'), name="held")
        asked = await proposal(box)
        assert await decide(box, asked.proposal_id, "approved", reason="a test's", scope="session")
        assert (await held).status_code == 200
        again = await client.post(f"https://{HOST}/a", content=f'password = "{piece}" and "{piece}"')
        assert again.status_code == 200
        for number, text in enumerate((f"x {TOKEN} y", f'password = "{piece}" {TOKEN}'), 2):
            held = spawn(client.post(f"https://{HOST}/a", content=text), name="held")
            asked = await proposal(box, number)
            assert asked.report is not None
            assert "GitHub" in asked.report.title
            assert await decide(box, asked.proposal_id, "rejected")
            refused(await held, "hold_rejected")
        assert len(upstream.seen) == 2


STRICTER: dict[str, Route] = {
    "block": BLOCK,
    "redact": Route(host=HOST, dlp=RouteDlp(outbound_on_match="redact")),
    "more detectors": Route(host=HOST),
}


@pytest.mark.parametrize("change", STRICTER)
async def test_a_yes_does_not_go_past_a_policy_that_came_meanwhile(upstream: Upstream, change: str) -> None:
    before = Route(host=HOST, dlp=RouteDlp(outbound_detectors=("token_patterns",)))
    async with bottle(before, **options(upstream)) as box, box.client() as client:
        body = {"a": TOKEN, "b": SECRET}
        held = spawn(client.post(f"https://{HOST}/a", json=body), name="held")
        asked = await proposal(box)
        await set_policy(box, STRICTER[change])
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope="session")
        if change == "more detectors":
            second = await proposal(box, 2)
            assert second.report is not None
            assert second.report.detector == "known_secrets"
            assert await decide(box, second.proposal_id, "rejected")
            refused(await held, "hold_rejected")
        elif change == "block":
            refused(await held, "secret_found")
            refused(await client.post(f"https://{HOST}/a", json={"a": TOKEN}), "secret_found")
        else:
            assert (await held).status_code == 200
            assert json.loads(upstream.seen.pop().body) == {"a": "[redacted]", "b": "[redacted]"}
        assert upstream.seen == []
        assert SECRET not in "".join(event.model_dump_json() for event in box.events())


async def test_a_second_secret_is_asked_about_by_itself(upstream: Upstream) -> None:
    async with bottle(Route(host=HOST), **options(upstream)) as box, box.client() as client:
        held = spawn(client.post(f"https://{HOST}/a", json={"a": TOKEN, "b": OTHER}), name="held")
        first = await proposal(box)
        assert await decide(box, first.proposal_id, "approved", reason="fine")
        second = await proposal(box, 2)
        assert not held.done()
        assert await decide(box, second.proposal_id, "rejected")
        refused(await held, "hold_rejected")
        assert upstream.seen == []


async def test_the_same_value_held_again_makes_one_proposal(upstream: Upstream) -> None:
    async with bottle(Route(host=HOST), **options(upstream)) as box, box.client() as client:
        held = [spawn(client.post(f"https://{HOST}/a", content=TOKEN), name="held") for _ in range(3)]
        asked = await proposal(box)
        for _ in range(3):
            await asyncio.sleep(0)
        while len([event for event in box.events() if event.code == "held"]) < 3:
            await asyncio.sleep(0.02)
        assert await decide(box, asked.proposal_id, "approved", reason="x")
        assert {(await each).status_code for each in held} == {200}
        assert len(proposals(box)) == 1


async def test_without_an_answer_or_an_operator_it_is_refused(upstream: Upstream) -> None:
    async with bottle(Route(host=HOST), **options(upstream, policy={"hold_seconds": 0.5})) as box, box.client() as c:
        refused(await c.post(f"https://{HOST}/a", content=TOKEN), "hold_expired")
    async with bottle(Route(host=HOST), **options(upstream, policy={"supervise": False})) as box, box.client() as c:
        refused(await c.post(f"https://{HOST}/a", content=TOKEN), "secret_found")
        assert proposals(box) == []


async def test_nobody_is_asked_about_what_would_be_refused_anyway(upstream: Upstream) -> None:
    async with bottle(Route(host=HOST), **options(upstream)) as box, box.client() as client:
        parted = ".".join(SECRET)
        refused(await client.post(f"https://{HOST}/a", content=f"{TOKEN} and {parted}"), "secret_found")
        refused(await client.post(f"https://{HOST}/a", content=parted), "secret_found")
        assert proposals(box) == []


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_a_client_that_leaves_withdraws(upstream: Upstream, http2: bool) -> None:
    main = "tests.sidecar.impatient_main"
    async with bottle(Route(host=HOST), main=main, **options(upstream)) as box:
        async with box.client(http2=http2) as client:
            assert (await client.get(f"https://{HOST}/warm")).status_code == 200
            upstream.seen.clear()
            with pytest.raises(httpx.ReadTimeout):
                await client.post(f"https://{HOST}/a", content=TOKEN, timeout=1.0)
        asked = await proposal(box)
        gone = await proposal(box, 2)
        assert (gone.proposal_id, gone.action) == (asked.proposal_id, "withdrawn")
        assert upstream.seen == []


@pytest.mark.parametrize("coding", ["", "gzip", "br", "zstd", "deflate"])
async def test_redaction_keeps_json_and_encodings_right(upstream: Upstream, coding: str) -> None:

    encode = {
        "": bytes,
        "gzip": gzip.compress,
        "br": brotli.compress,
        "zstd": zstandard.ZstdCompressor().compress,
        "deflate": zlib.compress,
    }[coding]
    decode = {
        "": bytes,
        "gzip": gzip.decompress,
        "br": brotli.decompress,
        "zstd": zstandard.ZstdDecompressor().decompress,
        "deflate": zlib.decompress,
    }[coding]
    route = Route(host=HOST, dlp=RouteDlp(outbound_on_match="redact"))
    document = {"messages": [{"role": "user", "content": f"run:\n export T={TOKEN}\nok"}], "n": 1, "k": "é"}
    async with bottle(route, **options(upstream)) as box, box.client() as client:
        headers = {"content-type": "application/json", "x-note": f"see {TOKEN}"}
        headers |= {"content-encoding": coding} if coding else {}
        body = encode(json.dumps(document).encode())
        answer = await client.post(f"https://{HOST}/p/{TOKEN}?q={TOKEN}&n=1", content=body, headers=headers)
        assert answer.status_code == 200
        (seen,) = upstream.seen
        assert seen.path == "/p/redacted?q=redacted&n=1"
        assert seen.header("x-note") == ["see [redacted]"]
        assert seen.header("content-encoding") == ([coding] if coding else [])
        assert seen.header("content-length") == [str(len(seen.body))]
        after = json.loads(decode(seen.body))
        assert TOKEN not in str(after)
        assert after["n"] == 1
        assert after["messages"][0]["role"] == "user"
        event = await box.event(decision="redact", code="redacted")
        assert event.detail["findings"]
        assert TOKEN not in event.model_dump_json()


async def test_what_cannot_be_taken_out_is_refused(upstream: Upstream) -> None:
    route = Route(host=HOST, dlp=RouteDlp(outbound_on_match="redact"))
    async with bottle(route, **options(upstream)) as box, box.client() as client:
        wide = json.dumps({"a": TOKEN}).encode("utf-16")
        kind = {"content-type": "application/json; charset=utf-16"}
        refused(await client.post(f"https://{HOST}/x", content=wide, headers=kind), "redaction_failed")
        assert upstream.seen == []


async def test_the_providers_route_redacts_and_lets_documented_examples_pass(upstream: Upstream) -> None:
    policy = {"provider_hosts": (LLM,)}
    async with bottle(Route(host=LLM), **options(upstream, policy=policy)) as box, box.client() as client:
        example = "AKIA" + "IOSFODNN7EXAMPLE"
        text = f"{example} and {TOKEN} and {CANARY}"
        answer = await client.post(f"https://{LLM}/v1/messages", json={"content": text})
        assert answer.status_code == 200
        sent = json.loads(upstream.seen[0].body)["content"]
        assert sent == f"{example} and [redacted] and [redacted]"
        notices = [notice for notice in box.notices() if notice["code"] == "canary_leaked"]
        assert len(notices) == 1
        assert "COPPER_HERALD_SECRET" in notices[0]["text"]
        assert CANARY not in str(box.notices())


async def test_the_canary_never_leaves_whatever_the_policy(upstream: Upstream) -> None:
    for on_match in ("supervise", "redact", "block"):
        route = Route(host=HOST, dlp=RouteDlp(outbound_on_match=on_match))
        async with bottle(route, **options(upstream)) as box, box.client() as client:
            for text in (CANARY, CANARY.upper(), CANARY[5:40], " ".join(CANARY)):
                refused(await client.post(f"https://{HOST}/x", content=text), "canary_leaked")
            assert len([notice for notice in box.notices() if notice["code"] == "canary_leaked"]) == 4
            assert proposals(box) == []
    assert upstream.seen == []


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_a_canary_that_moves_is_an_alarm_wherever_to(upstream: Upstream, http2: bool) -> None:
    """To a host that is on no list, by a method that is not allowed, in front of what cannot be read."""
    route = Route(host=HOST, matches=(RouteMatch(methods=("GET", "POST")),), max_body=1024)
    unreadable = {"content-encoding": "gzip"}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("other.example.org", {"method": "GET", "params": {"q": CANARY}}),
        ("other.example.org", {"method": "GET", "headers": {"x-note": CANARY[::-1]}}),
        ("other.example.org", {"method": "POST", "content": b"it is " + base64.b64encode(CANARY.encode())}),
        (HOST, {"method": "PUT", "content": CANARY.encode()}),
        (HOST, {"method": "POST", "content": b"no gzip", "headers": {**unreadable, "x-note": CANARY}}),
        (HOST, {"method": "POST", "content": CANARY.encode() + b" and no gzip", "headers": unreadable}),
        (HOST, {"method": "POST", "content": CANARY.encode() + b"x" * 100_000}),
    ]
    async with bottle(route, **options(upstream)) as box, box.client(http2=http2) as client:
        assert (await client.get(f"https://{HOST}/x")).status_code == 200  # the scan is ready
        for number, (host, request) in enumerate(requests, 1):
            answer = await client.request(url=f"https://{host}/x", **request)
            assert answer.status_code == 403
            told = [notice["text"] for notice in box.notices() if notice["code"] == "canary_leaked"]
            assert len(told) == number, request
            assert f"was stopped on its way to {host}" in told[-1]
        await client.get("https://other.example.org/x", headers={"x-note": TOKEN})
        assert len([notice for notice in box.notices() if notice["code"] == "canary_leaked"]) == len(requests)
    assert len(upstream.seen) == 1


async def test_encoded_placeholders_are_found(upstream: Upstream) -> None:
    value = "sk-ant-carboy-mybottle-0123456789abcdef0123456789abcd77"
    for dlp in (RouteDlp(outbound_on_match="supervise"), RouteDlp(outbound_on_match="block")):
        route = Route(host=HOST, dlp=dlp)
        async with bottle(route, **options(upstream, placeholders={"T": value})) as box, box.client() as client:
            encoded = base64.b64encode(b"x" + value.encode()).decode()
            for text in (value, encoded, value.encode().hex(), value[::-1]):
                refused(await client.post(f"https://{HOST}/x", content=text), "placeholder_misplaced")
            assert (await client.post(f"https://{HOST}/x", content="carboy-mybottle is up")).status_code == 200
    assert len(upstream.seen) == 1


async def test_values_of_the_bottles_own_environment_are_known(upstream: Upstream) -> None:
    more = {"sensitive": {"DB_PASSWORD": "correct-horse-battery-9431"}}
    async with bottle(BLOCK, **options(upstream, **more)) as box, box.client() as client:
        refused(await client.post(f"https://{HOST}/x", content="correct-horse-battery-9431"), "secret_found")
        event = await box.event(code="secret_found")
        assert event.detail["findings"][0]["kind"] == "DB_PASSWORD"


async def test_a_secret_in_small_pieces_is_found(upstream: Upstream) -> None:
    async with bottle(Route(host=HOST), **options(upstream)) as box, box.client() as client:
        answers = [await client.get(f"https://{HOST}/log?c={part}") for part in SECRET.replace("#", "%23")]
        assert answers[-1].status_code == 403
        assert "many small requests" in answers[-1].json()["reason"]
        assert "one minute" in answers[-1].json()["reason"]
        assert len(upstream.seen) < len(SECRET)


async def test_data_in_the_names_of_a_wildcard_is_refused(upstream: Upstream) -> None:
    async with bottle(Route(host="*.wild.example.com"), **options(upstream)) as box, box.client() as client:
        assert (await client.get("https://a.wild.example.com/")).status_code == 200
        data = secrets.token_hex(20)
        refused(await client.get(f"https://{data}.wild.example.com/"), "host_label_data")


async def test_a_line_break_in_the_target_is_refused(upstream: Upstream) -> None:
    async with bottle(Route(host=HOST), **options(upstream)) as box, box.client() as client:
        refused(await client.get(f"https://{HOST}/x?u=1%0d%0aX-Evil:%201"), "crlf_injection")


async def test_secrets_that_come_later_are_known_before_they_are_used(upstream: Upstream) -> None:
    async with bottle(BLOCK, **options(upstream)) as box, box.client() as client:
        later = "q8!Rt5mVz2Kx7Yw4"
        assert (await client.post(f"https://{HOST}/x", content=later)).status_code == 200
        await box.channel.call("secrets", {"secrets": {"LATER": later}})
        refused(await client.post(f"https://{HOST}/x", content=later), "secret_found")
