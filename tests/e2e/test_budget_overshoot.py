"""Ten bottles of five connections each under one global budget: together they pass it by no more than what was in
flight, and every token is in the store."""

import asyncio

import pytest

from app.core.model import Sum
from app.paths import Paths
from tests.conftest import until
from tests.integration.spending import EACH, PROVIDER, Spenders, spenders

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(400)]
BOTTLES, CONNECTIONS, BUDGET = 10, 5, 600_000


def counted(rig: Spenders) -> int:
    return sum(rig.answers(f"b{number}").count("200") for number in range(BOTTLES))


async def test_ten_bottles_under_one_budget(paths: Paths) -> None:
    async with spenders(paths, f"budget: {{{PROVIDER}: {BUDGET}}}\n") as rig:
        names = [f"b{number}" for number in range(BOTTLES)]
        for name in names:
            await rig.launch(name, CONNECTIONS, pause=0.05)

        def all_refused() -> bool:
            return all(rig.answers(name)[-1:] == ["400"] for name in names)

        await until(all_refused, 240)
        await asyncio.sleep(1)  # nothing more comes
        used = rig.asked * EACH
        print(f"budget {BUDGET:,}, used {used:,}, over by {used - BUDGET:,}; {BOTTLES * CONNECTIONS} connections")
        assert used <= BUDGET + BOTTLES * CONNECTIONS * EACH
        assert used > BUDGET - BOTTLES * CONNECTIONS * EACH

        async def stored() -> bool:
            whole = Sum.model_validate((await rig.get("/v1/usage"))["whole"])
            return (whole.requests, whole.total, whole.estimated) == (rig.asked, used, 0)

        await until(stored)
        await rig.post("/v1/budgets", scope="global", provider=PROVIDER, amount="40000", more=True)
        await until(lambda: rig.asked * EACH > used, 60)
        await until(all_refused, 60)
        assert rig.asked * EACH <= used + 40_000 + BOTTLES * CONNECTIONS * EACH
