"""Where an answer leads the bottle: a link that the upstream signed is no credential of the bottle's."""

import gzip
import json
import secrets
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import Route, RouteDlp
from sidecar.egress import lfs
from sidecar.egress.lfs import Batch
from sidecar.egress.redirects import MAX_REMEMBERED, Address, Redirects
from sidecar.tasks import spawn
from tests.sidecar.proxy_kit import Bottle, Seen, Upstream, answer, authority, bottle, pem
from tests.sidecar.supervise.mcp_kit import decide, proposal

FORGE, STORE, OTHER = "forge.example.com", "store.example.com", "other.example.com"
SECRET = "zK9vR2qLm7Tx4Wp8sBn5Jd3Gh6Yc1"
CANARY = secrets.token_hex(32)
KEY = "AKIA" + "Q4KZ7TRWN3YB2MHX"
SIGNED = f"/asset/{KEY}/1?X-Amz-Credential={KEY}%2F20261129%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature={'4e' * 32}"


async def lead(seen: Seen, send: Any) -> None:
    if seen.path == "/release":
        await answer(send, 302, b"", [(b"location", f"https://{STORE}{SIGNED}".encode())])
    elif seen.path == "/here":
        await answer(send, 307, b"", [(b"location", SIGNED.encode())])
    else:
        await answer(send)


def world(upstream: Upstream, **more: Any) -> Any:
    names = (FORGE, STORE, OTHER)
    return bottle(
        *(Route(host=name, dlp=RouteDlp(outbound_on_match="block")) for name in names),
        extra_ca=(pem(upstream.ca),),
        connect_to={f"{name}:443": f"127.0.0.1:{upstream.port}" for name in names},
        secrets={"DEPLOY_KEY": SECRET},
        canary=CANARY,
        **more,
    )


def code(got: httpx.Response) -> str:
    return "ok" if got.status_code == 200 else got.json()["code"]


@pytest.mark.e2e
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_a_signed_link_that_an_answer_led_to_may_be_followed(http2: bool) -> None:
    async with (
        Upstream((FORGE, STORE, OTHER), authority(), handler=lead).run() as upstream,
        world(upstream) as box,
        box.client(http2=http2) as client,
    ):
        assert code(await client.get(f"https://{STORE}{SIGNED}")) == "secret_found"
        for start in (f"https://{FORGE}/release", f"https://{STORE}/here"):
            assert code(await client.get(start, follow_redirects=True)) == "ok"
        assert code(await client.get(f"https://{STORE}{SIGNED}", headers={"range": "bytes=10-"})) == "ok"
        await _but_nothing_else(box, client)


async def _but_nothing_else(box: Bottle, client: httpx.AsyncClient) -> None:
    """The same value elsewhere, another in the same link, and what is known to be the bottle's."""
    for other in (f"https://{OTHER}{SIGNED}", f"https://{STORE}{SIGNED}&more=1", f"https://{STORE}/b?{KEY}"):
        assert code(await client.get(other)) == "secret_found"
    link = f"https://{STORE}{SIGNED}"
    assert code(await client.get(link, headers={"x-note": KEY})) == "secret_found"
    assert code(await client.post(link, content=KEY.encode())) == "secret_found"
    assert code(await client.get(link)) == "ok"
    let = [event for event in box.events() if event.host == STORE and event.decision == "allow"]
    assert let
    assert all(KEY not in event.model_dump_json() for event in let)


@pytest.mark.e2e
async def test_a_link_lets_no_secret_of_the_bottle_pass() -> None:
    """However it comes to be in there: here by an answer that takes off an encoding which nobody else knows."""

    async def turn(seen: Seen, send: Any) -> None:
        told = {"/1": f"/a?k={SECRET}", "/2": f"/a?k={CANARY}", "/3": f"/a?k={quote(SECRET[:14])}"}
        headers = [(b"location", f"https://{STORE}{told.get(seen.path, '/ok')}".encode())]
        await answer(send, 302 if seen.path in told else 200, b"", headers)

    async with (
        Upstream((FORGE, STORE, OTHER), authority(), handler=turn).run() as upstream,
        world(upstream) as box,
        box.client() as client,
    ):
        for path, link in (("/1", f"/a?k={SECRET}"), ("/2", f"/a?k={CANARY}"), ("/3", f"/a?k={SECRET[:14]}")):
            assert (await client.get(f"https://{FORGE}{path}")).status_code == 302
            assert (await client.get(f"https://{STORE}{link}")).status_code == 403
        assert not [seen for seen in upstream.seen if "k=" in seen.path]


@pytest.mark.e2e
@pytest.mark.parametrize("dlp", [RouteDlp(outbound_detectors=False), RouteDlp(outbound_detectors=("known_secrets",))])
async def test_where_nothing_was_looked_for_an_answer_gives_nothing_free(dlp: RouteDlp) -> None:
    """A host that is trusted with credentials and leads wherever it is told to would carry one to any other."""

    async def back(seen: Seen, send: Any) -> None:
        _, _, to = seen.path.partition("?to=")
        await answer(send, 302 if to else 200, b"", [(b"location", to.encode())] if to else [])

    routes = Route(host=FORGE, dlp=dlp), Route(host=STORE, dlp=RouteDlp(outbound_on_match="block"))
    async with (
        Upstream((FORGE, STORE), authority(), handler=back).run() as upstream,
        bottle(
            *routes,
            extra_ca=(pem(upstream.ca),),
            connect_to={f"{name}:443": f"127.0.0.1:{upstream.port}" for name in (FORGE, STORE)},
        ) as box,
        box.client() as client,
    ):
        link = f"https://{STORE}/a/{KEY}"
        assert (await client.get(f"https://{FORGE}/?to={link}")).headers["location"] == link
        assert code(await client.get(link)) == "secret_found"


@pytest.mark.e2e
@pytest.mark.parametrize("scope", ["once", "session"])
async def test_what_was_approved_at_one_host_is_not_led_to_another(scope: str) -> None:
    async def back(seen: Seen, send: Any) -> None:
        _, _, to = seen.path.partition("?to=")
        await answer(send, 302 if to else 200, b"", [(b"location", to.encode())] if to else [])

    async with (
        Upstream((FORGE, STORE), authority(), handler=back).run() as upstream,
        bottle(
            Route(host=FORGE),
            Route(host=STORE, dlp=RouteDlp(outbound_on_match="block")),
            extra_ca=(pem(upstream.ca),),
            connect_to={f"{name}:443": f"127.0.0.1:{upstream.port}" for name in (FORGE, STORE)},
        ) as box,
        box.client() as client,
    ):
        link = f"https://{STORE}/a/{KEY}"
        waiting = spawn(client.get(f"https://{FORGE}/?to={link}", timeout=60), name="held", on_error=lambda _: None)
        asked = await proposal(box)
        assert await decide(box, asked.proposal_id, "approved", reason="ours", scope=scope)
        assert (await waiting).headers["location"] == link
        if scope == "session":
            assert (await client.get(f"https://{FORGE}/?to={link}")).headers["location"] == link
        assert code(await client.get(link)) == "secret_found"


@pytest.mark.e2e
async def test_a_location_in_another_character_set_is_an_answer_like_any_other() -> None:
    async def latin(seen: Seen, send: Any) -> None:
        await answer(send, 302, b"", [(b"location", b"/caf\xe9?" + KEY.encode())])

    async with (
        Upstream((FORGE,), authority(), handler=latin).run() as upstream,
        world(upstream) as box,
        box.client() as client,
    ):
        assert (await client.get(f"https://{FORGE}/")).status_code == 302


def batch(*links: str) -> bytes:
    objects = [
        {"oid": "1a" * 32, "size": 3, "actions": {"download": {"href": link, "expires_in": 900}}} for link in links
    ]
    return json.dumps({"transfer": "basic", "objects": [*objects, {"oid": "2b" * 32, "error": {"code": 404}}]}).encode()


@pytest.mark.e2e
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_a_signed_link_of_git_lfs_may_be_followed(http2: bool, encoding: str) -> None:
    """As `git lfs pull` does; told in another kind of answer it may not."""
    link = f"https://{STORE}{SIGNED}"
    media = {"/lfs": b"Application/VND.git-lfs+json; charset=utf-8", "/json": b"application/json"}

    async def objects(seen: Seen, send: Any) -> None:
        body = batch(f"https://{OTHER}/first", link)
        headers = [(b"content-type", media.get(seen.path, b"text/plain"))]
        if encoding and seen.path in media:
            body, headers = gzip.compress(body), [*headers, (b"content-encoding", b"gzip")]
        await answer(send, 200, body, headers)

    async with (
        Upstream((FORGE, STORE, OTHER), authority(), handler=objects).run() as upstream,
        world(upstream) as box,
        box.client(http2=http2) as client,
    ):
        wanted = {"operation": "download", "objects": [{"oid": "1a" * 32, "size": 3}]}
        assert code(await client.get(link)) == "secret_found"
        assert code(await client.post(f"https://{FORGE}/json", json=wanted)) == "ok"
        assert code(await client.get(link)) == "secret_found"
        told = await client.post(f"https://{FORGE}/lfs", json=wanted)
        assert told.json()["objects"][1]["actions"]["download"]["href"] == link
        assert code(await client.get(link)) == "ok"
        await _but_nothing_else(box, client)


@given(data=st.binary(max_size=200), encoding=st.sampled_from(["", "gzip", "br", "nothing"]))
def test_what_is_no_answer_of_git_lfs_leads_nowhere(data: bytes, encoding: str) -> None:
    read = Batch(encoding)
    read.feed(data)
    assert read.links() == []


@pytest.mark.parametrize(
    "body",
    [
        batch("/x" * lfs.MOST),
        batch("/x").replace(b'"/x"', b'"\\ud800"'),
        batch("/x").replace(b'"/x"', b"7"),
        b'{"objects": ' + b"[" * 5000,
        b'{"objects": {"actions": {"a": {"href": "/x"}}}}',
    ],
    ids=["too large", "half a character", "a number", "deep", "no list"],
)
def test_an_odd_answer_of_git_lfs_leads_nowhere(body: bytes) -> None:
    read = Batch("")
    for at in range(0, len(body), 10_000):
        read.feed(body[at : at + 10_000])
    assert read.links() == []
    whole = Batch("")
    whole.feed(batch("/x"))
    assert whole.links() == ["/x"]


def test_an_answer_of_git_lfs_leads_to_as_many_places_as_a_client_asks_for() -> None:
    """Half a megabyte holds 17,000: they held the sidecar up for half a minute."""
    told = json.dumps({"objects": [{"actions": {"download": {"href": f"/{each}"}}} for each in range(5000)]})
    read = Batch("")
    read.feed(told.encode())
    assert read.links() == [f"/{each}" for each in range(lfs.MOST_LINKS)]


ASKED = Address("https", "a.example.com", 443, "/x/y?q=1")


@pytest.mark.parametrize(
    ("location", "led"),
    [
        ("https://b.example.com/z?a=b%2Fc#top", ("https", "b.example.com", 443, "/z?a=b%2Fc")),
        ("https://B.example.com:8443", ("https", "b.example.com", 8443, "/")),
        ("http://b.example.com/z", ("http", "b.example.com", 80, "/z")),
        ("//b.example.com/z", ("https", "b.example.com", 443, "/z")),
        ("/z", ("https", "a.example.com", 443, "/z")),
        ("z?b", ("https", "a.example.com", 443, "/x/z?b")),
        ("https://[::1]:1/z", ("https", "::1", 1, "/z")),
        ("https://me@b.example.com/z", None),
        ("https://b.example.com:99999/z", None),
        ("https://[::1/z", None),
        ("ftp://b.example.com/z", None),
        ("mailto:a@b", None),
    ],
)
def test_where_a_location_leads(location: str, led: tuple[str, str, int, str] | None) -> None:
    assert ASKED.led_to(location) == (Address(*led) if led else None)


def test_only_the_latest_are_remembered() -> None:
    known = Redirects()
    for number in range(MAX_REMEMBERED + 1):
        known.note(ASKED, f"/{number}")
    assert not known.led_to(Address("https", "a.example.com", 443, "/0"))
    assert known.led_to(Address("https", "a.example.com", 443, f"/{MAX_REMEMBERED}"))
