"""The whole chain with everything real: a bottle spends, is cut off, the operator raises, it goes on."""

import pytest

from app.core.model import LaunchRequest, Sum
from app.paths import Paths
from tests.conftest import until
from tests.integration.launching import launched
from tests.integration.spending import EACH, PROVIDER, spenders

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]


async def test_a_bottle_spends_is_cut_off_and_goes_on_when_its_budget_is_raised(paths: Paths) -> None:
    async with spenders(paths, f"budget: {{{PROVIDER}: 4000}}\n") as rig:
        await rig.launch("one", pause=0.1)
        await until(lambda: "400" in rig.answers("one"))
        answers = rig.answers("one")
        first = answers.index("400")
        assert set(answers[:first]) == {"200"}
        assert set(answers[first:]) == {"400"}
        assert first == 4
        assert "budget_exhausted" in rig.body("one")
        assert "4,000 tokens" in rig.body("one")

        async def used() -> bool:
            whole = Sum.model_validate((await rig.get("/v1/usage"))["whole"])
            return (whole.requests, whole.total) == (rig.asked, rig.asked * EACH)

        await until(used)
        await rig.post("/v1/budgets", scope="global", provider=PROVIDER, amount="3000", more=True)
        await until(lambda: rig.answers("one").count("200") >= 7)
        await until(lambda: rig.answers("one")[-1] == "400")
        assert rig.answers("one").count("200") == rig.asked == 7
        await until(used)
        fresh = LaunchRequest(bottles=("plain",), command=("true",), cwd=str(rig.project), headless=True)
        (said,) = [text for text in (await rig.client.preflight(fresh)).warnings if "used up" in text]
        assert "its requests to the model are refused" in said
        assert f"carboy budget raise global {PROVIDER} AMOUNT" in said
        refused = await rig.client.preflight(fresh.model_copy(update={"shutdown": "freeze"}))
        assert "is used up" in refused.problems[0]


async def test_a_resume_goes_on_with_what_is_left_of_its_launch_s_budget(paths: Paths) -> None:
    async with spenders(paths) as rig:
        await rig.launch("one", pause=0.3, budget={PROVIDER: "6000"})
        await until(lambda: rig.asked >= 3)
        await rig.post("/v1/budgets", scope="one", provider=PROVIDER, amount="1000", more=True)
        await rig.client.stop("one")
        before = rig.asked

        again = LaunchRequest(resume="one", cwd=str(rig.project))
        assert not any("used up" in text for text in (await rig.client.preflight(again)).warnings)
        await launched(rig.client, again)
        await until(lambda: rig.answers("one")[-1] == "400")
        # one more than fits may have been broken off by the stop, and counts for less than it said
        assert before + 1 <= rig.asked <= 8

        async def spent() -> bool:
            budgets = (await rig.client.bottle("one")).budgets
            return [(one.limit, one.percent >= 100) for one in budgets] == [(7000, True)]

        await until(spent)
        await rig.client.stop("one")
        assert any("carboy budget raise one" in text for text in (await rig.client.preflight(again)).warnings)
