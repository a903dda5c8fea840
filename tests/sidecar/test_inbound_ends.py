"""Where an answer ends: half of one must not pass for all of it."""

import zlib
from collections.abc import Callable

import httpx
import pytest

from sidecar.contract import Route, RouteAuth
from tests.sidecar.proxy_kit import Seen, Upstream, answer, authority, bottle, pem
from tests.sidecar.test_inbound import ENCODERS as USUAL
from tests.sidecar.test_inbound import HOST, SECRET, Send

pytestmark = pytest.mark.e2e
ENCODERS = {**USUAL, "deflate": zlib.compress}
ROUTE = Route(host=HOST, auth=RouteAuth(token_ref="KEY"))
LINES = b"".join(b"line %d of a file\n" % number for number in range(4000))
CUTS: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda body: body[: len(body) // 2],
    "without its last byte": lambda body: body[:-1],
    "with nothing but its first byte": lambda body: body[:1],
}


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
async def test_half_of_an_encoded_answer_is_no_answer(coding: str, http2: bool) -> None:
    async def handler(seen: Seen, send: Send) -> None:
        body = ENCODERS[coding](LINES)
        cut = CUTS.get(seen.path[1:].replace("%20", " "))
        kind = b"text/event-stream" if seen.path == "/events" else b"text/plain"
        if seen.path == "/empty":
            body = b""
        elif seen.path == "/events":
            body = body[:-1]
        elif cut is not None:
            body = cut(body)
        await answer(send, 200, body, [(b"content-type", kind), (b"content-encoding", coding.encode())])

    async with Upstream((HOST,), authority(), handler=handler).run() as upstream:
        mapped = {f"{HOST}:443": f"127.0.0.1:{upstream.port}"}
        async with (
            bottle(ROUTE, extra_ca=(pem(upstream.ca),), connect_to=mapped, secrets={"KEY": SECRET}) as box,
            box.client(http2=http2) as client,
        ):
            for cut in CUTS:
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get(f"https://{HOST}/{cut}")
                assert (await box.event(phase="closed", path=f"/{cut}".replace(" ", "%20"))).decision == "error"
            assert (await client.get(f"https://{HOST}/whole")).content == LINES
            assert (await client.get(f"https://{HOST}/empty")).content == b""
            assert LINES.startswith((await client.get(f"https://{HOST}/events")).content)
