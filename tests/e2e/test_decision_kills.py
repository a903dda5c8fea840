"""kill -9 of the sidecar and of the controller at random moments while an operator answers held requests: each question
is decided once, each decision is on record, nothing passes without one, and none is lost: what was decided while a part
was dead reaches the repeat of the request."""

import asyncio
import contextlib
import os
import random

import pytest

from app.core.approvals import ApproveBody, RejectBody
from app.core.model import LIVE
from app.errors import CarboyError
from app.paths import Paths
from app.tasks import cancel_and_wait, spawn
from tests.conftest import until
from tests.e2e.test_usage_kills import kill_controller, kill_sidecar
from tests.integration.asking import Asking, asking

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(600)]
KILLS, CONNECTIONS = int(os.environ.get("KILLS", "12")), 3


def wanted(path: str) -> bool:
    """Which are approved, by their number: each connection has both."""
    return int(path.rpartition("/")[2]) % 3 != 0


async def operate(rig: Asking, given: dict[str, list[str]]) -> None:
    """Answer whatever waits, for ever; a controller that dies under it is asked again."""
    while True:
        with contextlib.suppress(CarboyError, OSError):
            for card in await rig.client.proposals(state="pending"):
                path = str((card.report or {})["path"]).strip("/")
                with contextlib.suppress(CarboyError):
                    if wanted(path):
                        done = await rig.client.approve(card.id, ApproveBody(reason="yes", by="ann"))
                    else:
                        done = await rig.client.reject(card.id, RejectBody(reason="no", by="ann"))
                    given.setdefault(path, []).append(done.id)
        await asyncio.sleep(0.02)


async def test_no_kill_loses_or_doubles_a_decision(paths: Paths) -> None:
    chance = random.Random(11)
    async with asking(paths) as rig:
        await rig.launch("one", CONNECTIONS)
        given: dict[str, list[str]] = {}
        operating = spawn(operate(rig, given), name="operator")
        for number in range(KILLS):
            await asyncio.sleep(chance.random() * 0.4)  # the moment is the test
            if number % 2:
                await kill_controller(rig)
            else:
                await kill_sidecar(rig, "one")
        rig.stop()

        async def over() -> bool:
            return not [view for view in await rig.client.bottles() if view.state in LIVE]

        await until(over, 120)
        await cancel_and_wait(operating)

        answers = rig.answers()
        assert len(answers) > KILLS, "it did go on"
        assert {path: word == "yes" for path, word in answers.items()} == {path: wanted(path) for path in answers}
        assert set(rig.arrived) == {path for path in answers if wanted(path)}, "nothing passes without a yes"
        decided = {
            card.id: card for card in await rig.client.proposals() if card.state in ("approved", "modified", "rejected")
        }
        trail = await rig.client.audit()
        assert trail["findings"] == []
        rows = [
            row["detail"]["proposal"] for row in trail["rows"]
            if row["action"] in ("proposal-approved", "proposal-rejected")
        ]  # fmt: skip
        assert sorted(rows) == sorted(decided), "each decision is on record once, and nothing else is"
        assert {name for names in given.values() for name in names} <= set(decided), "what was answered stands"
        asked = [str((card.report or {})["path"]).strip("/") for card in decided.values() if card.state == "approved"]
        assert len(asked) == len(set(asked)), "one yes for each question, however often it was asked again"
        print(f"{KILLS} kills; {len(decided)} decisions, {sum(map(len, rig.arrived.values()))} requests passed")
