"""State beyond a session's life, with real sandboxes: nothing is lost wherever it breaks."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.controller import saved
from app.controller.events import Bus
from app.controller.ingest import Ingest
from app.controller.session import Session
from app.controller.sessions import Sessions
from app.controller.transaction import Transaction
from app.core.model import BottleView
from app.errors import CarboyError
from app.paths import Paths
from sidecar.contract import LISTEN_PORT
from tests.conftest import until
from tests.integration.launching import Rig, rig

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]
SCRIPT = "if [ -e ~/kept ]; then echo again; else echo first; echo x > ~/kept; fi; sleep 600"
STEPS = ("set aside", "state", "restore", "authority", "sandbox", "sidecar", "listener", "self-test", "agent")


async def seen(bottles: Rig, slug: str, word: str) -> bool:
    terminal, text = await bottles.sessions.terminal(slug, 24, 80), b""
    try:
        async with asyncio.timeout(90):
            async for piece in terminal.output():
                text += piece
                if word.encode() in text:
                    return True
    finally:
        await terminal.close()
    return False


async def resume(bottles: Rig, slug: str) -> BottleView:
    return await bottles.sessions.launch(bottles.request("", resume=slug), bottles.steps.append)


@asynccontextmanager
async def ended(paths: Paths) -> AsyncIterator[tuple[Rig, Path]]:
    """A session that was killed, and its state folder."""
    async with rig(paths) as bottles:
        view = await bottles.launch(SCRIPT)
        assert await seen(bottles, view.slug, "first")
        await bottles.sessions.kill(view.slug)
        yield bottles, paths.session_state(view.slug)


async def test_a_resume_goes_on_with_its_files_and_its_name(paths: Paths) -> None:
    async with ended(paths) as (bottles, state):
        before = bottles.sessions.named("one").view
        view = await resume(bottles, "one")
        assert (view.slug, view.label, view.bottles) == (before.slug, before.label, before.bottles)
        assert await seen(bottles, "one", "again")
        assert (state / f"transcript-{before.session_id}.cast").exists()
        assert saved.waiting(paths) == []
        with pytest.raises(CarboyError) as refused:
            await resume(bottles, "one")
        assert refused.value.code == "wrong_state"


async def test_one_that_was_told_to_end_keeps_its_files_whatever_it_says(paths: Paths) -> None:
    """OpenCode and Pi end with 0 then, and have not done their work for that."""
    async with rig(paths) as bottles:
        await bottles.launch(f"trap 'exit 0' TERM; {SCRIPT.replace('sleep 600', 'while :; do sleep 0.05; done')}")
        assert await seen(bottles, "one", "first")
        stopped = await bottles.sessions.stop("one")
        assert (stopped.state, stopped.exit_code, stopped.kept) == ("stopped", 0, "preserved")
        await resume(bottles, "one")
        assert await seen(bottles, "one", "again")


ASKS = f"""
ask() {{
  exec 3<>/dev/tcp/127.0.0.1/{LISTEN_PORT}
  printf 'GET http://nowhere.example/%s HTTP/1.1\\r\\nHost: nowhere.example\\r\\nConnection: close\\r\\n\\r\\n' $1 >&3
  cat <&3 >/dev/null
}}
if [ -e ~/kept ]; then ask again; echo again; else for n in 1 2 3 4 5; do ask $n; done; echo x > ~/kept; echo first; fi
sleep 600
"""


async def test_what_it_asked_before_is_counted_once(paths: Paths) -> None:
    async with rig(paths) as bottles:
        before = await bottles.launch(f"exec bash -c {shlex.quote(ASKS)}")
        assert await seen(bottles, "one", "first")
        await bottles.sessions.kill("one")
        counts = await bottles.store.counts(before.session_id)
        assert sum(counts.values()) == 5

        async def planned(session: Session) -> None:  # as long as the budgets look: what is watched by now is read
            await bottles.sessions._spools.settle(session.id)  # type: ignore[attr-defined]

        bottles.sessions.planned = planned
        after = await resume(bottles, "one")
        assert await seen(bottles, "one", "again")

        async def counted() -> bool:
            return bool(await bottles.store.counts(after.session_id))

        await until(counted)
        await bottles.sessions.kill("one")
        assert sum((await bottles.store.counts(after.session_id)).values()) == 1
        assert await bottles.store.counts(before.session_id) == counts


async def test_a_snapshot_is_what_is_left_of_one_that_ended_well(paths: Paths) -> None:
    async with rig(paths) as bottles:
        view = await bottles.launch("[ -e ~/kept ] && echo again; echo x > ~/kept; echo up; read line; exit 0")
        assert await seen(bottles, view.slug, "up")
        assert (await bottles.sessions.keeping.commit("one")).saved_at
        terminal = await bottles.sessions.terminal("one", 24, 80)
        await terminal.write(b"\r")
        await terminal.close()
        assert (await bottles.sessions.wait("one")).state == "ended"
        assert not (paths.session_state("one") / "home").exists()
        await resume(bottles, "one")
        assert await seen(bottles, "one", "again")


async def test_a_snapshot_that_is_gone_is_said(paths: Paths) -> None:
    async with rig(paths) as bottles:
        await bottles.launch("exit 0")
        await bottles.sessions.wait("one")
        view = await resume(bottles, "one")
        assert any("fresh home" in note for note in view.notes)


async def test_archive_restore_and_purge(paths: Paths) -> None:
    async with ended(paths) as (bottles, state):
        await bottles.sessions.keeping.archive("one")
        assert not state.exists()
        other = await bottles.launch("sleep 600")  # the name is free again
        view = await bottles.sessions.keeping.restore("one", None)
        assert view.slug == "one-2"
        await resume(bottles, "one-2")
        assert await seen(bottles, "one-2", "again")
        with pytest.raises(CarboyError):
            await bottles.sessions.keeping.purge("one-2")
        for slug in (other.slug, "one-2"):
            await bottles.sessions.kill(slug)
            await bottles.sessions.keeping.purge(slug)
        assert bottles.sessions.views() == []
        assert list((paths.state / "bottles").glob("[!.]*")) == []


@pytest.mark.parametrize("step", STEPS)
async def test_a_resume_that_fails_puts_everything_back(
    paths: Paths, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ended(paths) as (bottles, state):
        breaks_at(step, monkeypatch)
        with pytest.raises(CarboyError, match="on purpose"):
            await resume(bottles, "one")
        monkeypatch.undo()
        assert (state / "home/kept").read_text() == "x\n"
        assert bottles.sessions.named("one").view.state == "stopped"
        assert saved.waiting(paths) == []


@pytest.mark.parametrize("step", ["set aside", "state", "restore", "sandbox", "self-test"])
async def test_a_controller_that_dies_in_a_resume_loses_nothing(
    paths: Paths, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ended(paths) as (bottles, state):

        async def nothing(_: Transaction) -> None:
            return

        breaks_at(step, monkeypatch)
        monkeypatch.setattr(Transaction, "roll_back", nothing)
        with pytest.raises(CarboyError, match="on purpose"):
            await resume(bottles, "one")
        monkeypatch.undo()
        await bottles.sessions.close()
        bottles.sessions = Sessions(paths, on_change=bottles.views.append, spools=Ingest(Bus(bottles.store)))
        await bottles.sessions.adopt()
        await bottles.sessions.cleanup()
        assert (state / "home/kept").read_text() == "x\n"
        assert bottles.sessions.named("one").view.state == "stopped"
        assert saved.waiting(paths) == []
        await resume(bottles, "one")
        assert await seen(bottles, "one", "again")
        await bottles.sessions.kill("one")
        await bottles.sessions.close()


async def test_a_snapshot_that_breaks_off_leaves_the_former_one(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rig(paths) as bottles:
        view = await bottles.launch(SCRIPT)
        assert await seen(bottles, view.slug, "first")
        first = await bottles.sessions.keeping.commit("one")

        def broken(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("app.backends.archives.pack", broken)
        with pytest.raises(OSError, match="No space"):
            await bottles.sessions.keeping.commit("one")
        monkeypatch.undo()
        kept = saved.load(paths.session_state("one"))
        assert kept is not None
        assert kept.at == first.saved_at
        assert bottles.sessions.named("one").view.state == "running"
        fork = await bottles.sessions.launch(bottles.request("", fork="one", label="two"), bottles.steps.append)
        assert await seen(bottles, fork.slug, "again")
        await until(lambda: not list((paths.session_state("one") / saved.FOLDER).glob("*.partial")))


def breaks_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The launch fails when this step has been made."""
    real = Transaction.step

    @asynccontextmanager
    async def breaking(self: Transaction, name: str) -> AsyncIterator[Any]:
        async with real(self, name):
            yield
            if name == step:
                raise CarboyError("broken on purpose", "", "broken")

    monkeypatch.setattr(Transaction, "step", breaking)


async def test_freeze_with_save_stops_it_just_there_and_a_resume_goes_on(paths: Paths) -> None:
    async with rig(paths) as bottles:
        await bottles.launch(SCRIPT)
        assert await seen(bottles, "one", "first")
        view = await bottles.sessions.keeping.save_and_stop("one", "by the operator")
        assert (view.state, view.kept, view.error) == ("stopped", "preserved", "by the operator")
        assert view.saved_at
        await resume(bottles, "one")
        assert await seen(bottles, "one", "again")


async def test_what_cannot_be_saved_stays_frozen_and_says_why(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.backends import archives

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with rig(paths) as bottles:
        await bottles.launch(SCRIPT)
        monkeypatch.setattr(archives, "pack", full)
        with pytest.raises(OSError, match="No space"):
            await bottles.sessions.keeping.save_and_stop("one", "by the operator")
        assert bottles.sessions.named("one").view.state == "frozen"
        assert (await bottles.sessions.thaw("one")).state == "running"
