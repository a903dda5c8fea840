"""A silent bottle is shown as stalled, one that does something again is not; with one timer and no polling."""

import os
from pathlib import Path

import pytest

from app.controller.health import Stall, last_sign
from app.controller.record import SessionRecord
from app.controller.session import Session
from app.core.bottles import mark
from app.core.health import silence_left
from app.core.lifecycle import Happening
from app.core.model import BottleView
from app.core.report import outcome
from app.core.schema import Manifest
from app.paths import Paths, private_folder
from sidecar.contract import Policy
from tests.conftest import until
from tests.controller.standin import view


@pytest.fixture
def session(paths: Paths) -> Session:
    one = view("one", created_at=100.0, started_at=100.0)
    record = SessionRecord(
        view=one, manifest=Manifest(), policy=Policy(), project=None, holder_token="", control_token=""
    )
    private_folder(paths.session_state("one"))
    return Session(record=record, paths=paths, on_change=changes.append)


changes: list[BottleView] = []


async def test_silence_is_seen_and_activity_ends_it(session: Session) -> None:
    import time

    changes.clear()
    session.show(started_at=time.time())
    stall = Stall(session, 0.3)
    stall.start()
    session.heard("activity", {})
    assert not session.view.stalled
    await until(lambda: session.view.stalled, 5)
    assert time.time() - (session.view.last_activity or 0) >= 0.3
    assert session.view.attention == 100
    assert changes[-1].stalled
    session.heard("activity", {})
    assert (session.view.stalled, session.view.attention) == (False, 10)
    await until(lambda: session.view.stalled, 5)
    session.happened(Happening.FREEZE)
    assert not session.view.stalled
    stall.close()


async def test_one_that_waits_for_its_user_is_not_stalled(session: Session) -> None:
    session.show(stalled=True, doing="waiting")
    assert (session.view.attention, mark(session.view).word, outcome(session.view)) == (50, "waits", "running")
    session.show(doing="working")
    assert (session.view.attention, mark(session.view).word, outcome(session.view)) == (100, "stalled", "stalled")


async def test_activity_costs_no_timer(session: Session) -> None:
    """However much a bottle prints, its timer is set once for each period."""
    now = [100.0]
    stall = Stall(session, 60.0, lambda: now[0])
    set_for: list[float] = []
    wait = stall._wait

    def counted(seconds: float) -> None:
        set_for.append(seconds)
        wait(seconds)

    stall._wait = counted
    stall.start()
    for moment in range(1000):
        session.show(save=False, last_activity=100.0 + moment / 100)
    now[0] = 160.0
    stall._look()
    assert set_for == [60.0, pytest.approx(9.99)]
    stall.close()


async def test_what_was_counted_again_is_no_activity(session: Session) -> None:
    session.show(last_activity=500.0)
    session.show(stalled=True)
    session.show(last_activity=500.0, allowed=3)
    assert session.view.stalled


def test_a_clock_that_was_set_back_makes_it_wait_no_longer() -> None:
    one = view("one", started_at=1000.0, last_activity=5000.0)
    assert silence_left(one, 60.0, 1000.0) == 60.0
    assert silence_left(one, 60.0, 5070.0) == -10.0
    assert silence_left(view("one", state="frozen"), 60.0, 1e9) == 60.0


def test_the_last_sign_on_disk(tmp_path: Path) -> None:
    assert last_sign(tmp_path) == 0.0
    (tmp_path / "spool").mkdir()
    for name, at in (("transcript.cast", 100), ("spool/00000001.jsonl", 400), ("spool/00000002.jsonl", 300)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
    assert last_sign(tmp_path) == 300.0
