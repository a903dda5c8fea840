"""The zygote: what its children inherit (nothing), how they live on, and that its own death is not noticed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.errors import CarboyError
from app.processes import spawner
from app.processes.identity import ProcessId, identify, kill_and_wait, same
from app.processes.spawner import Child, Zygote
from app.tasks import spawn
from sidecar.prepared import COMPILE_SECONDS, VARIABLE
from tests.conftest import until


def _status(pid: int, key: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(key + ":"))


@pytest.fixture
async def zygote(tmp_path: Path) -> AsyncIterator[Zygote]:
    """A real one: its program executed, not forked."""
    one = Zygote(tmp_path)
    yield one
    await one.close()


async def test_a_child_inherits_nothing_and_stands_alone(zygote: Zygote, tmp_path: Path) -> None:
    other = await zygote.fork("holder", "other")
    child = await zygote.fork("holder", "carboy-test", tmp_path / "child.log")
    try:
        answer, _ = await child.channel.call("status", timeout=10)
        assert answer["state"] == "empty"
        assert identify(child.pid) == child.process
        if os.geteuid() == 0:  # to others a process that is not dumpable does not show them
            _only_its_own(child, tmp_path / "child.log")
        assert os.getsid(child.pid) == child.pid
        assert Path(f"/proc/{child.pid}/comm").read_text().strip() == "carboy-test"
        assert _status(child.pid, "Umask") == "0077"
        assert _status(child.pid, "Threads") == "1"
    finally:
        for one in (child, other):
            one.kill()
            one.close()


def _only_its_own(child: Child, log: Path) -> None:
    fds = {int(fd): os.readlink(f"/proc/{child.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{child.pid}/fd")}
    assert os.readlink(f"/proc/{child.pid}/cwd") == "/"
    assert fds[0] == "/dev/null"
    assert fds[1] == fds[2] == str(log)
    rest = sorted(target.split(":")[0] for fd, target in fds.items() if fd > 2)
    # its channel; its own event loop's epoll and wake-up pair
    assert rest == ["anon_inode", "socket", "socket", "socket"], fds


async def test_children_are_not_dumpable(zygote: Zygote) -> None:
    child = await zygote.fork("holder", "child")
    try:
        await child.channel.call("status", timeout=10)
        # the kernel gives /proc/PID of a non-dumpable process to root (proc(5)); as root both are root's
        if os.geteuid() != 0:
            assert os.stat(f"/proc/{child.pid}/environ").st_uid == 0
        else:
            assert _cannot_be_read_by_another_user(child)
    finally:
        child.kill()
        child.close()


def _cannot_be_read_by_another_user(child: Child) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            os.listdir(f"/proc/{child.pid}/fd")
        except PermissionError:
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


async def test_many_forks_at_once(zygote: Zygote) -> None:
    children = await asyncio.gather(*(zygote.fork("holder", f"child-{number}") for number in range(12)))
    try:
        assert len({child.pid for child in children}) == 12
        answers = await asyncio.gather(*(child.channel.call("status", timeout=20) for child in children))
        assert all(answer["state"] == "empty" for answer, _ in answers)
    finally:
        for child in children:
            child.kill()
            child.close()


async def test_a_child_without_orders_ends_with_its_channel(zygote: Zygote) -> None:
    children = [await zygote.fork("holder", "h"), await zygote.fork("sidecar", "s")]
    known = [child.process for child in children]
    for child in children:
        child.close()
    await until(lambda: not any(same(process) for process in known))


async def test_how_a_child_ended_is_told(zygote: Zygote) -> None:
    child = await zygote.fork("holder", "h")
    child.kill()
    await until(lambda: child.pid in zygote.exit_codes)
    assert zygote.exit_codes[child.pid] == -signal.SIGKILL
    child.close()


async def test_a_killed_zygote_is_replaced_and_its_children_live(zygote: Zygote) -> None:
    first = await zygote.fork("holder", "first")
    before = zygote.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    second = await zygote.fork("holder", "second")
    assert zygote.pid != before
    for child in (first, second):
        answer, _ = await child.channel.call("status", timeout=10)
        assert answer["state"] == "empty"
        child.kill()
        child.close()


async def test_it_ends_with_its_controller_and_its_children_do_not(tmp_path: Path) -> None:
    zygote = Zygote(tmp_path)
    child = await zygote.fork("holder", "h")
    assert zygote.pid is not None
    process = identify(zygote.pid)
    await zygote.close()
    assert process is None or not same(process)
    answer, _ = await child.channel.call("status", timeout=10)
    assert answer["state"] == "empty"
    child.kill()
    child.close()
    with pytest.raises(CarboyError):
        await zygote.fork("holder", "late")


def interpreted_by(program: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a zygote that is started run this shell script."""
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    monkeypatch.setattr(spawner.sys, "executable", str(program))


async def test_a_zygote_that_cannot_start_says_where_to_look(
    zygote: Zygote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreted_by(tmp_path / "python", "echo no such module >&2\nexit 1\n", monkeypatch)
    with pytest.raises(CarboyError) as caught:
        await zygote.start()
    assert "zygote.log" in caught.value.hint
    assert "no such module" in (tmp_path / "zygote.log").read_text()


async def test_whoever_waits_for_a_slow_one_is_told_that_it_was_slow(
    zygote: Zygote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also who asked later, and was to wait longer: it did not end by itself."""
    interpreted_by(tmp_path / "python", "exec sleep 600\n", monkeypatch)
    monkeypatch.setattr(spawner, "READY_SECONDS", 1.0)
    early = spawn(zygote.start(), name="start")
    await until(lambda: zygote.pid is not None)
    await asyncio.sleep(0)
    monkeypatch.setattr(spawner, "READY_SECONDS", 600.0)
    late = spawn(zygote.start(), name="start")
    for failed in await asyncio.gather(early, late, return_exceptions=True):
        assert isinstance(failed, CarboyError)
        assert "did not get ready" in failed.message


def test_it_is_waited_for_longer_than_its_rules_may_take_to_compile() -> None:
    """Beside it, and where that is given up once more in the zygote: else a slow machine could never start any."""
    assert spawner.READY_SECONDS > 2 * COMPILE_SECONDS


async def test_no_variable_of_the_operator_reaches_a_child(zygote: Zygote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-very-secret")
    await zygote.start()
    assert zygote.pid is not None
    assert b"very-secret" not in Path(f"/proc/{zygote.pid}/environ").read_bytes()


async def test_random_streams_of_siblings_differ(zygote: Zygote) -> None:
    """By what siblings would share: two holders that draw from `random` right after the fork."""
    import subprocess
    import sys

    script = (
        "import os, random, sys\n"
        "from app.processes.zygote import _reseed\n"
        "random.seed(1)\n"
        "for _ in range(2):\n"
        "    if os.fork() == 0:\n"
        "        _reseed(); print(random.random(), flush=True); os._exit(0)\n"
        "    os.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, second = done.stdout.split()
    assert first != second


def test_a_child_imports_nothing_for_its_random_stream() -> None:
    """Each would load it anew: what is imported after the fork is shared with nobody."""
    import subprocess
    import sys

    script = (
        "import sys\n"
        "from app.processes.zygote import _reseed\n"
        "before = set(sys.modules)\n"
        "_reseed(); print(*sorted(set(sys.modules) - before))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"


async def test_a_cancelled_fork_leaves_no_child(zygote: Zygote) -> None:
    await zygote.start()
    assert zygote.pid is not None
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.0005):
                await zygote.fork("holder", "h")
    await until(lambda: Path(f"/proc/{zygote.pid}/task/{zygote.pid}/children").read_text() == "")


def test_identities_survive_json() -> None:
    known = identify(os.getpid())
    assert known is not None
    assert ProcessId(known.pid, str(known.start)) == known


async def test_killing_what_is_gone_is_no_error(zygote: Zygote) -> None:
    child = await zygote.fork("holder", "h")
    assert await kill_and_wait(child.process)
    assert await kill_and_wait(child.process)
    child.kill()
    child.close()


async def test_it_says_why_its_first_child_takes_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = Zygote(tmp_path)
    assert not ready.slow, "the tests' rules are compiled already"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    assert "compiling the rules" in Zygote(tmp_path).slow
