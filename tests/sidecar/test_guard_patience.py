"""A hook in which somebody is asked may take longer than others, and only there."""

import asyncio

from mitmproxy.proxy.layers.http import HttpRequestHook
from mitmproxy.test import tflow

from sidecar.egress.exchange import exchange_of
from sidecar.guard import Guard, patient


class Failures:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def failed(self, where: str, flow: object) -> None:
        self.seen.append(where)


class Asks:
    def __init__(self, *, patient: bool, answer: asyncio.Event) -> None:
        self.patient, self.answer = patient, answer

    async def request(self, flow: object) -> None:
        if not self.patient:
            await self.answer.wait()
            return
        async with patient(flow, 30):  # type: ignore[arg-type]
            await self.answer.wait()


async def run(patience: bool) -> tuple[list[str], int | None]:
    answer, failures = asyncio.Event(), Failures()
    guard = Guard([Asks(patient=patience, answer=answer)], failures, hook_seconds=0.05)
    flow = tflow.tflow()
    waiting = guard.run(HttpRequestHook(flow))
    assert waiting is not None
    asyncio.get_running_loop().call_later(0.3, answer.set)
    await waiting
    assert exchange_of(flow).held == 0
    return failures.seen, flow.response.status_code if flow.response else None


async def test_only_what_asks_somebody_has_time():
    assert await run(True) == ([], None)
    assert await run(False) == (["request"], 403)
