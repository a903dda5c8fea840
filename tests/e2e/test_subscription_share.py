"""A subscription's window, as the provider's headers tell of it: how full it is, and which bottle caused how much."""

import time
from dataclasses import replace
from itertools import count

import pytest

from app.core.windows import Gauge
from app.demo.pretend.script import Conversation, Turn
from app.paths import Paths
from tests.conftest import until
from tests.integration.spending import PROVIDER, spenders, turn

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(180)]


async def test_each_bottle_has_its_share_of_the_window(paths: Paths) -> None:
    asked, end = count(), str(int(time.time()) + 9000)
    name = "anthropic-ratelimit-unified-5h"

    def script(talk: Conversation) -> Turn:
        used = 0.20 + 0.01 * next(asked)  # 20 % were used before the first answer of ours
        return replace(turn(talk), headers=((f"{name}-utilization", f"{used:.2f}"), (f"{name}-reset", end)))

    async with spenders(paths, script=script) as rig:

        async def gauge() -> Gauge:
            found = [Gauge.model_validate(item) for item in (await rig.get("/v1/usage"))["windows"]]
            return next(
                (item for item in found if (item.provider, item.name) == (PROVIDER, "5h")), Gauge(provider="", name="")
            )

        async def filled(share: str, least: float) -> bool:
            return (await gauge()).shares.get(share, 0.0) >= least

        await rig.launch("one", pause=0.2)
        await until(lambda: filled("one", 0.03))
        await rig.client.kill("one")
        before = (await gauge()).shares["one"]
        await rig.launch("two", pause=0.2)
        await until(lambda: filled("two", 0.02))
        found = await gauge()
        assert found.kind == "subscription"
        assert found.used is not None
        assert before <= found.shares["one"] <= before + 0.011
        assert sum(found.shares.values()) == pytest.approx(found.used, abs=0.001)
        assert found.shares[""] == pytest.approx(0.20, abs=0.011)
