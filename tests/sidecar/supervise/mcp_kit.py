"""A real sidecar asked over its listener by the SDK's own client, and an operator to answer it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from sidecar.contract import Policy, ProposalEvent, Route
from sidecar.spool import SpoolReader
from tests.sidecar.proxy_kit import Bottle

ROUTES = (
    Route.model_validate({"host": "api.example.com", "auth": {"token_ref": "KEY"}, "matches": [{"methods": ["GET"]}]}),
    Route.model_validate({"host": "*.wild.example"}),
)


def proposals(box: Bottle) -> list[ProposalEvent]:
    lines = SpoolReader(box.folder / "spool").read(100_000)
    found = [orjson.loads(line) for _, line in lines]
    return [ProposalEvent.model_validate(event) for event in found if event["kind"] == "proposal"]


async def proposal(box: Bottle, number: int = 1) -> ProposalEvent:
    """The n-th proposal, once it is written."""
    async with asyncio.timeout(20):
        while len(found := proposals(box)) < number:
            await asyncio.sleep(0.02)
        return found[number - 1]


async def decide(box: Bottle, proposal_id: str, state: str, **more: Any) -> bool:
    answer, _ = await box.channel.call("decision", {"proposal_id": proposal_id, "state": state, **more}, timeout=10)
    return answer["known"]


async def set_policy(box: Bottle, *routes: Route, version: int = 2, **more: Any) -> None:
    await box.set_policy(Policy(routes=routes, version=version, **more))


@dataclass
class Talk:
    """A client, and what it was told on the way."""

    client: Client
    progress: list[tuple[float, str | None]] = field(default_factory=list[tuple[float, str | None]])

    async def call(self, name: str, *, watch: bool = False, **arguments: Any) -> Any:
        async def told(progress: float, total: float | None, message: str | None) -> None:
            self.progress.append((progress, message))

        return await self.client.call_tool(name, arguments, progress_callback=told if watch else None)


@contextlib.asynccontextmanager
async def talk(box: Bottle, *, mode: str = "auto", url: str = "", proxy: bool = False) -> AsyncIterator[Talk]:
    """`mode` as the SDK's: `legacy` is the generation with a handshake, `2026-07-28` the one without."""
    target = url or f"http://127.0.0.1:{box.port}/mcp"
    http = httpx2.AsyncClient(proxy=box.proxy if proxy else None, trust_env=False, timeout=60)
    async with http, Client(streamable_http_client(target, http_client=http), mode=mode) as client:
        yield Talk(client)
