"""What a used up budget does, and what the operator does about it, each in a real bottle with a real sidecar."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from app.core.model import BottleView, LaunchRequest
from app.core.spending import AnswerOrder, CutoffOrder
from app.errors import CarboyError
from app.paths import Paths
from tests.conftest import until
from tests.integration.launching import launched
from tests.integration.spending import EACH, PROVIDER, Spenders, spenders

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(180)]
ROOT = Path(__file__).parents[2]
BUDGET = f"budget: {{{PROVIDER}: {4 * EACH}}}\n"


async def ended(rig: Spenders, name: str) -> BottleView:
    async with asyncio.timeout(60):
        return await rig.client.wait(name)


async def actions(rig: Spenders) -> list[str]:
    return [row["action"] for row in (await rig.client.audit())["rows"]]


async def refused_after(rig: Spenders, name: str, answers: int) -> None:
    await until(lambda: "400" in rig.answers(name))
    assert rig.answers(name).count("200") == rig.asked == answers


async def carboy(*words: str) -> str:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "app", *words, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    out, _ = await child.communicate()
    assert child.returncode == 0
    return out.decode()


async def resume(rig: Spenders, name: str) -> BottleView:
    return await launched(rig.client, LaunchRequest(resume=name, cwd=str(rig.project)))


async def test_freeze_saves_and_stops_and_a_resume_goes_on(paths: Paths) -> None:
    async with spenders(paths, BUDGET) as rig:
        await rig.launch("one", pause=0.1, shutdown="freeze")
        view = await ended(rig, "one")
        assert view.saved_at is not None
        assert "saved and stopped" in view.error
        assert "4,000 tokens" in view.error
        assert rig.asked == 4
        assert (paths.session_state("one") / "snapshot/snapshot.json").exists()
        with pytest.raises(CarboyError) as caught:
            await resume(rig, "one")
        assert caught.value.code == "budget_used_up"
        await rig.post("/v1/budgets", scope="global", provider=PROVIDER, amount=str(2 * EACH), more=True)
        assert (await resume(rig, "one")).state == "running"
        await until(lambda: rig.asked == 6)
        assert (await ended(rig, "one")).saved_at is not None
        assert (await actions(rig)).count("budget-freeze") == 2


async def test_kill_ends_it(paths: Paths) -> None:
    async with spenders(paths, BUDGET) as rig:
        await rig.launch("one", pause=0.1, shutdown="kill")
        view = await ended(rig, "one")
        assert (view.state, view.saved_at, rig.asked) == ("stopped", None, 4)
        assert view.error.endswith("is used up: killed")
        assert "budget-kill" in await actions(rig)


async def test_ask_holds_until_the_answer(paths: Paths) -> None:
    async with spenders(paths, BUDGET) as rig:
        await rig.launch("one", pause=0.1, shutdown="ask")

        async def asks() -> bool:
            return bool((await rig.client.bottle("one")).asks)

        async def waits() -> bool:
            standing: Any = (await rig.client.bottle("one")).cut
            return standing == "ask" and rig.asked == len(rig.answers("one"))

        await until(asks)
        await until(waits)
        assert set(rig.answers("one")) == {"200"}, "what is held is not refused"
        (card,) = json.loads(await carboy("proposals", "--json"))
        assert (card["id"], card["kind"]) == (f"budget:one:{PROVIDER}", "budget-ask")
        assert "raised" in await carboy("approve", card["id"], "--amount", str(2 * EACH))
        await until(lambda: rig.asked == 6)
        await until(asks)
        await rig.client.answer_budget("one", AnswerOrder(action="cutoff", by="me"))
        await refused_after(rig, "one", 6)
        await rig.client.answer_budget("one", AnswerOrder(action="raise", amount=str(EACH), by="me"))
        await until(lambda: rig.asked == 7)
        await until(asks)
        await rig.client.answer_budget("one", AnswerOrder(action="freeze", by="me"))
        assert (await ended(rig, "one")).saved_at is not None
        said = [action for action in await actions(rig) if action.startswith("budget-")]
        assert said[:3] == ["budget-ask", "budget-set", "budget-lifted"]
        assert "budget-freeze" in said


async def test_the_operators_cutoff_its_end_and_a_raise(paths: Paths) -> None:
    async with spenders(paths, BUDGET) as rig:
        await rig.launch("one", pause=0.1)
        await until(lambda: rig.asked >= 1)
        await rig.client.cutoff("one", CutoffOrder(reason="enough", by="me"))
        await until(lambda: rig.answers("one")[-1:] == ["400"])
        assert "budget_cutoff" in rig.body("one")
        assert "enough" in rig.body("one")
        before = rig.asked
        assert before < 4
        await rig.client.restore_egress("one", CutoffOrder(by="me"))
        await until(lambda: rig.asked == 4)
        await until(lambda: rig.answers("one")[-1:] == ["400"])
        assert "budget_exhausted" in rig.body("one")
        with pytest.raises(CarboyError) as caught:
            await rig.client.restore_egress("one", CutoffOrder(by="me"))
        assert caught.value.code == "budget_used_up"
        await rig.post("/v1/budgets", scope="global", provider=PROVIDER, amount=str(EACH), more=True)
        await until(lambda: rig.asked == 5)
        await until(lambda: rig.answers("one")[-1:] == ["400"])
        record = json.loads((paths.session_state("one") / "session.json").read_text())
        assert record["cutoff"] is None
