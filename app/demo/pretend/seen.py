"""What a pretended host was asked, and the type of those who answer. Holds credentials: it stays in memory."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Seen:
    """One request as it arrived, or one message of a WebSocket (method `WS`).

    Header names are in lower case; one sent twice is joined by a newline.
    """

    host: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        return json.loads(self.body or b"{}")


Handler = Callable[[web.Request, Seen], Awaitable[web.StreamResponse]]
