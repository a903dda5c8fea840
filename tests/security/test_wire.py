"""Places of the protocols themselves that could carry a secret: an upstream that keeps every byte never sees it."""

import base64
import re
from collections.abc import AsyncIterator

import pytest

from sidecar.contract import Route
from tests.security.evasions import SECRET, TOKENS
from tests.sidecar.attack_kit import H2, Tap, ask, tap
from tests.sidecar.proxy_kit import Bottle, authority, bottle, pem

pytestmark = pytest.mark.e2e
HOSTS = tuple(f"h{number}.sink.example.com" for number in range(60))
"""One for each try: a host is refused for a minute after some kinds of finding."""
_POST = "POST /x HTTP/1.1\r\nHost: {host}\r\n"
_GET = "GET / HTTP/1.1\r\nHost: {host}\r\n"
_UPGRADE = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
_SOCKET = f"{_GET}{_UPGRADE}Sec-WebSocket-Key: YWFhYWFhYWFhYWFhYWFhYQ==\r\n"
PLACES = {
    "chunk extension": f"{_POST}Transfer-Encoding: chunked\r\n\r\n5;x={{x}}\r\nhello\r\n0\r\n\r\n",
    "last chunk's extension": f"{_POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0;{{x}}\r\n\r\n",
    "trailer": f"{_POST}Transfer-Encoding: chunked\r\nTrailer: x-a\r\n\r\n5\r\nhello\r\n0\r\nX-A: {{x}}\r\n\r\n",
    "announced trailer": f"{_POST}Transfer-Encoding: chunked\r\nTrailer: {{x}}\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "body after 100-continue": f"{_POST}Expect: 100-continue\r\nContent-Length: {{size}}\r\n\r\n{{x}}",
    "folded header": f"{_GET}X-A: {{first}}\r\n {{rest}}\r\n\r\n",
    "user of the target": "GET https://{x}@{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "user of the host": "GET / HTTP/1.1\r\nHost: {x}@{host}\r\n\r\n",
    "version": "GET / HTTP/1.1{x}\r\nHost: {host}\r\n\r\n",
    "transfer encoding": f"{_POST}Transfer-Encoding: {{x}}, chunked\r\n\r\n0\r\n\r\n",
    "connection": f"{_GET}Connection: {{x}}\r\n\r\n",
    "keep-alive": f"{_GET}Keep-Alive: {{x}}\r\nProxy-Connection: {{x}}\r\n\r\n",
    "upgrade": f"{_GET}Connection: upgrade\r\nUpgrade: {{x}}\r\n\r\n",
    "second content encoding": f"{_POST}Content-Encoding: br\r\nContent-Encoding: {{x}}\r\nContent-Length: 1\r\n\r\na",
    "subprotocol": f"{_SOCKET}Sec-WebSocket-Protocol: {{x}}\r\n\r\n",
    "extension": f"{_SOCKET}Sec-WebSocket-Extensions: {{x}}\r\n\r\n",
}
HTTP2: dict[str, list[tuple[str, str]]] = {
    "path": [(":path", f"/{SECRET}")],
    "authority": [(":authority", f"{SECRET}@" + "{host}")],
    "scheme": [(":scheme", SECRET)],
    "protocol": [(":protocol", SECRET)],
    "priority": [("priority", SECRET)],
    "name": [(f"x-{SECRET.lower()}", "1")],
    "capital name": [(f"X-{SECRET}", "1")],
    "te": [("te", SECRET)],
    "two cookies": [("cookie", SECRET[:14]), ("cookie", SECRET[14:])],
}


@pytest.fixture
async def world() -> AsyncIterator[tuple[Bottle, Tap]]:
    ca = authority()
    async with tap(ca, "*.sink.example.com") as upstream:
        mapped = {f"{host}:443": f"127.0.0.1:{upstream.port}" for host in HOSTS}
        async with bottle(
            *(Route(host=host) for host in HOSTS),
            extra_ca=(pem(ca),), connect_to=mapped, secrets={"DEPLOY_KEY": SECRET}, policy={"supervise": False},
        ) as box:  # fmt: skip
            yield box, upstream


def _leaked(upstream: Tap, value: str) -> bool:
    return any(part.lower().encode() in upstream.data.lower() for part in (value[:14], value[14:28]))


async def test_no_part_of_http1_carries_a_secret(world: tuple[Bottle, Tap]) -> None:
    box, upstream = world
    hosts = iter(HOSTS)
    for value in (SECRET, TOKENS["github"]):
        for name, form in PLACES.items():
            host = next(hosts)
            text = form.format(host=host, x=value, size=len(value), first=value[:14], rest=value[14:])
            await ask(box, text.encode(), f"{host}:443", host)
            assert not _leaked(upstream, value), name


async def test_no_field_of_http2_carries_a_secret(world: tuple[Bottle, Tap]) -> None:
    box, upstream = world
    for (name, more), host in zip(HTTP2.items(), HOSTS, strict=False):
        client = await H2.open(box, host)
        usual = {":method": "GET", ":scheme": "https", ":authority": host, ":path": "/x"}
        given = [(key, value.replace("{host}", host)) for key, value in more]
        fields = [*((key, value) for key, value in usual.items() if key not in dict(given)), *given]
        stream = client.request(sorted(fields, key=lambda field: not field[0].startswith(":")))
        assert await client.answer(stream) != "200", name
        client.close()
        assert not _leaked(upstream, SECRET), name


async def test_the_nonce_of_a_websocket_is_not_the_agents(world: tuple[Bottle, Tap]) -> None:
    """Sixteen bytes that look random: a piece of a secret turned round is no finding in it."""
    box, upstream = world
    nonce = base64.b64encode(SECRET[:16][::-1].swapcase().encode()).decode()
    await ask(
        box,
        f"{_GET}{_UPGRADE}Sec-WebSocket-Key: {nonce}\r\n\r\n".format(host=HOSTS[0]).encode(),
        f"{HOSTS[0]}:443",
        HOSTS[0],
    )
    (told,) = re.findall(rb"(?i)sec-websocket-key: *(\S+)\r\n", upstream.data)
    assert len(base64.b64decode(told)) == 16
    assert told != nonce.encode()
