"""What bottles did: one session's own rows, files by contents or times, and since when the operator was away."""

import os
import shutil
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.backends import restore, workspace
from app.controller import reporting
from app.controller.audit import Audit
from app.controller.presence import Presence
from app.controller.reporting import Reporting, changed
from app.core.model import BottleView
from app.core.report import summary
from app.core.schema import Keep
from app.paths import Paths, private_folder
from app.store.base import Decided, NewEvent, ProposalRow
from app.store.sqlite import SqliteStore
from tests.controller.desk import TestDesk
from tests.controller.standin import view


class Room:
    def __init__(self, paths: Paths, store: SqliteStore, audit: Audit) -> None:
        self.paths, self.store, self.audit = paths, store, audit
        self.presence = Presence(paths.state)
        self.desk = TestDesk(paths)
        self.reporting = Reporting(paths, store, self.desk, self.presence)


@pytest.fixture
async def room(paths: Paths) -> AsyncIterator[Room]:
    private_folder(paths.state)
    store = SqliteStore(paths.database)
    await store.open()
    audit = Audit(paths, store)
    await audit.start()
    yield Room(paths, store, audit)
    await audit.close()
    await store.close()


def deny(number: int, host: str, at: float, count: Any = 0) -> NewEvent:
    payload = {"code": "host_not_allowed", "host": host, "detail": {"count": count} if count else {}}
    return NewEvent(f"e{number}", at, "egress", payload, "deny", host)


async def test_a_running_bottles_counts_are_those_of_now(room: Room) -> None:
    session = room.desk.add("dev")
    await room.store.save_session(session.view)
    session.show(save=False, allowed=7, refused=3)
    (stored,) = await room.store.sessions()
    found = await room.reporting.report(stored)
    assert (found.allowed, found.refused) == (7, 3)


async def test_no_number_of_a_sidecar_ends_the_report(room: Room) -> None:
    """Each says how often something was refused; one that lies must not keep the others' news from the operator."""
    now = time.time()
    counts: list[Any] = [2**63 - 2, 2**63 - 2, -(2**62), 1e308, 1e308, 0.5, "many", [1], True, None]
    await room.store.add_events("dev", "s1", [deny(n, "a.example", now, count) for n, count in enumerate(counts)])
    await room.store.add_events("dev", "s1", [deny(99, "b.example", now, 10**9 - 1)])
    found = await room.reporting.report(view("dev", session_id="s1"))
    assert [(item.host, item.times) for item in found.refusals] == [("b.example", 10**9), ("a.example", len(counts))]


async def test_it_says_that_lines_were_dropped(room: Room) -> None:
    now = time.time()
    await room.store.add_events("dev", "s1", [deny(1, "a.example", now - 9 * 86400), deny(2, "b.example", now)])
    assert "record" not in dict(summary(await room.reporting.report(view("dev", session_id="s1"))))
    await room.store.prune(now, (), Keep(refused_days=5))
    found = await room.reporting.report(view("dev", session_id="s1"))
    assert [item.host for item in found.refusals] == ["b.example"]
    assert dict(summary(found))["record"] == "1 older line of its log dropped"


async def test_one_sessions_own_story(room: Room, tmp_path: Path) -> None:
    now = time.time()
    mine = view(
        "dev", session_id="s1", state="failed", exit_code=2, started_at=now - 100, ended_at=now, cwd=str(tmp_path)
    )
    (tmp_path / "new.py").write_text("x")
    await room.store.add_events("dev", "s1", [deny(1, "a.example", now, 8), deny(2, "b.example", now)])
    broken = {"code": "upstream_unreachable", "host": "c.example"}
    await room.store.add_events("dev", "s1", [NewEvent("e9", now, "egress", broken, "error", "c.example")])
    await room.store.add_events("dev", "former", [deny(3, "c.example", now)])
    known: list[dict[str, Any]] = [{"host": "known.example"}, {"host": "a.example", "git": {"fetch": True}}]
    payload: dict[str, Any] = {"routes": [known[0], {"host": "a.example"}], "base": known}
    for identity, session in (("p-000001", "s1"), ("p-000002", "s1"), ("p-000003", "former")):
        row = ProposalRow(identity, "dev", session, "egress-allow", "pending", now, payload)
        await room.store.add_proposal(row)
    decided = Decided("approved", now, "ann", "fine", "session")
    await room.audit.with_row(
        lambda said: room.store.decide_proposal("p-000001", decided, said),
        "proposal-approved", slug="dev", session_id="s1", actor="ann",
    )  # fmt: skip
    await room.audit.record("freeze", slug="dev", session_id="s1")
    await room.audit.record("freeze", slug="dev", session_id="former")
    found = await room.reporting.report(mine)
    assert found.outcome == "failed (exit code 2)"
    told = [(item.host, item.times, item.failed) for item in found.refusals]
    assert told == [("a.example", 9, False), ("b.example", 1, False), ("c.example", 1, True)]
    assert [(item.state, item.by, item.what) for item in found.decisions] == [
        ("approved", "ann", "a.example"),
        ("pending", "", "a.example"),
    ]
    assert found.open == 1
    assert [item.action for item in found.orders] == ["freeze"]
    assert found.changed.files == ("new.py",)
    later = await room.reporting.report(mine, now + 50)
    assert (later.refusals, later.decisions, later.orders, later.changed.files) == ((), (), (), ())


def worked_in(room: Room, project: Path, mode: str) -> BottleView:
    """A session in this project, whose agent changed, added and removed a file, and touched another."""
    for name in ("kept.py", "changed.py", "removed.py", "touched.py"):
        (project / name).write_text("before\n")
    session = room.desk.add("dev")
    state = session.state_folder
    told = session.view.model_copy(update={"workspace": mode, "cwd": str(project), "created_at": time.time()})
    session.record = session.record.model_copy(update={"project": str(project), "view": told})
    if mode == "mount":
        assert restore.take(project, state, threading.Event()) == ""
        at = project
    else:
        at = state / workspace.FOLDER
        workspace.copy(project, at, threading.Event())
    (at / "changed.py").write_text("after\n")
    (at / "added.py").write_text("new\n")
    (at / "removed.py").unlink()
    os.utime(at / "touched.py", (time.time() + 5, time.time() + 5))
    os.utime(at / "added.py", (1.0, 1.0))  # an agent may set any time
    return told


@pytest.mark.parametrize(("mode", "basis"), [("mount", "restore point"), ("copy", "copy")])
async def test_what_changed_is_told_by_contents(room: Room, tmp_path: Path, mode: str, basis: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    found = await room.reporting.report(worked_in(room, project, mode))
    assert set(found.changed.files) == {"changed.py", "added.py", "removed.py"}
    assert (found.changed.basis, found.changed.added, found.changed.removed, found.changed.more) == (basis, 1, 1, 0)
    said = dict(summary(found))["changed"]
    assert said.startswith("3 files (1 new, 1 removed), 10B")
    assert ("before the launch" if mode == "mount" else "its copy") in said
    one = found.model_copy(update={"changed": found.changed.model_copy(update={"files": ("a",), "removed": 0})})
    assert dict(summary(one))["changed"].startswith("1 file (1 new)")


async def test_without_a_restore_point_it_says_that_times_told_it(room: Room, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    told = worked_in(room, project, "mount")
    shutil.rmtree(room.desk.named("dev").state_folder / restore.FOLDER)
    found = await room.reporting.report(told)
    assert (found.changed.basis, "touched.py" in found.changed.files) == ("times", True)
    assert "by their times" in dict(summary(found))["changed"]


async def test_since_then_is_only_what_was_written_since(room: Room, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    told = worked_in(room, project, "mount")
    since = time.time() - 50
    assert set((await room.reporting.report(told, since)).changed.files) == {"changed.py"}


def test_files_by_their_times_and_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x")
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / ".git").mkdir()
    since = time.time() - 100
    for name in ("src/new.py", "old.py", ".git/index"):
        (project / name).write_text("abc")
    os.utime(project / "old.py", (since - 50, since - 50))
    (project / "link").symlink_to(outside)
    os.utime(project / "link", (since - 50, since - 50), follow_symlinks=False)
    found = changed(project, since)
    assert (found.files, found.bytes, found.partial) == (("src/new.py",), 3, False)
    assert not changed(tmp_path / "gone", since).known
    assert not changed(None, since).known


def test_a_huge_workspace_is_given_up_and_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "MOST_ENTRIES", 20)
    for number in range(60):
        (tmp_path / f"f{number}").touch()
    found = changed(tmp_path, 0.0)
    assert found.partial
    assert len(found.files) == 20


def test_names_that_are_no_text(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff\xfe", "w"):
        pass
    (name,) = changed(tmp_path, 0.0).files
    assert name.encode()


async def test_since_the_last_window_was_closed(room: Room) -> None:
    assert (await room.reporting.away()).since == 0
    with room.presence:
        pass
    left = Presence(room.paths.state).left
    assert left > 0
    await room.store.save_session(view("before", session_id="s0", state="ended", ended_at=left - 100))
    await room.store.save_session(view("during", session_id="s1", state="ended", ended_at=left + 1))
    await room.store.save_session(view("lives", session_id="s2"))
    found = await room.reporting.away()
    assert {item.slug for item in found.reports} == {"during", "lives"}
    with room.presence, room.presence:
        assert room.presence.left == left, "being here does not change when one left"


def test_an_app_that_was_never_seen_to_leave_counts_from_when_it_came(paths: Paths) -> None:
    private_folder(paths.state)
    first = Presence(paths.state)
    before = time.time()
    first.__enter__()  # and the controller is killed
    assert Presence(paths.state).left >= before
    (paths.state / "presence.json").write_text("{broken")
    assert Presence(paths.state).left == 0
