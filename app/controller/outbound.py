"""The few requests that carboy itself sends: a vendor's list of models, and the renewal of a login of this host.

By the same way out as the sidecars': the settings' authorities, proxy and `connect_to`; the name is always verified.
Bounded in size and time, without redirects. A credential goes into the header that it is for, and never into an error.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from app.errors import CarboyError
from app.paths import Paths
from app.settings import load_settings
from sidecar.contract import UpstreamSettings
from sidecar.secret import Secret

MAX_ANSWER = 4 * 1024 * 1024
"""A list of models has 10 to 400 KB."""
SECONDS = 20.0


@dataclass(frozen=True)
class Ask:
    """One request. `credential` goes into `header`, after `scheme` where there is one."""

    method: str
    host: str
    path: str
    port: int = 443
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    header: str = ""
    scheme: str = ""
    credential: Secret | None = None
    body: Secret | None = None


class Answered(CarboyError):
    """The vendor's answer was not what was asked for. `status` is 0 where there was none."""

    def __init__(self, ask: Ask, status: int, why: str) -> None:
        super().__init__(f"{ask.host} {why}", "", "vendor")
        self.status = status


class Outbound:
    """`settings.yml` is read for each request: it may have changed."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    async def fetch(self, ask: Ask) -> bytes:
        """The body of a successful answer. Raises CarboyError."""
        upstream = (await asyncio.to_thread(load_settings, self._paths)).upstream()
        context = await asyncio.to_thread(_trust, upstream)
        target = upstream.connect_to.get(f"{ask.host}:{ask.port}", f"{ask.host}:{ask.port}")
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as http,
                http.request(
                    ask.method,
                    f"https://{target}{ask.path}",
                    headers=_headers(ask),
                    data=None if ask.body is None else ask.body.reveal().encode(),
                    ssl=context,
                    server_hostname=ask.host,
                    proxy=upstream.upstream_proxy,
                    allow_redirects=False,
                ) as response,
            ):
                if response.status != 200:
                    raise Answered(ask, response.status, f"answered {response.status}")
                return await _bounded(response, ask)
        except TimeoutError:
            raise Answered(ask, 0, "did not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # its text may hold the request
            raise Answered(ask, 0, f"cannot be reached ({type(error).__name__})") from None


async def _bounded(response: aiohttp.ClientResponse, ask: Ask) -> bytes:
    found = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        found += chunk
        if len(found) > MAX_ANSWER:
            raise Answered(ask, response.status, "sent too much")
    return bytes(found)


def _headers(ask: Ask) -> dict[str, str]:
    headers = {"Host": ask.host, "Accept": "application/json", "User-Agent": "carboy", **ask.headers}
    if ask.body is not None:
        headers["Content-Type"] = "application/json"
    if ask.credential is not None:
        value = ask.credential.reveal()
        headers[ask.header] = f"{ask.scheme} {value}" if ask.scheme else value
    return headers


def _trust(upstream: UpstreamSettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for pem in upstream.extra_ca:
        context.load_verify_locations(cadata=pem)
    return context
