"""What goes wrong: a client or a gate that is killed in the middle, an upstream that hangs, two pushes at once, bytes
that are no git. Upstream has the whole of a push or nothing, and the agent can push again."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sidecar.gitgate.pktline import FLUSH, packet
from sidecar.tasks import spawn
from tests.conftest import until
from tests.gitgate.kit import GitRepo, SmartHttp, World, bare, git, one_each, tips, url, world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Iterator[World]]:
    async with one_each(tmp_path_factory.mktemp("faults"), 8) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def one(worlds: Iterator[World]) -> World:
    return next(worlds)


def slow_hook(upstream: Path) -> tuple[Path, Path]:
    """Upstream's hook says that it began, and goes on when it is told to."""
    hook, began, go = upstream / "hooks" / "pre-receive", upstream / "began", upstream / "go"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {began}\nwhile [ ! -e {go} ]; do sleep 0.05; done\n")
    hook.chmod(0o755)
    return began, go


async def test_two_pushes_race(one: World) -> None:
    clones = [await one.clone() for _ in range(3)]
    for number, clone in enumerate(clones):
        await one.commit(clone, {f"{number}.txt": f"{number}\n"})
    pushes = [one.git("push", "origin", "HEAD:main", cwd=clone, check=False) for clone in clones]
    results = await asyncio.gather(*pushes)
    assert sorted(code for code, _ in results) == [0, 1, 1], results
    moved = ("fetch first", "non-fast-forward")  # by when the second one looked
    assert all(any(word in said for word in moved) for code, said in results if code), results
    for clone in clones:
        await one.git("pull", "-q", "--rebase", "origin", "main", cwd=clone)
        await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
    assert git("rev-list", "--count", "main", cwd=one.upstream).stdout.strip() == "4"


async def test_children_that_wait_for_an_order_may_die(one: World) -> None:
    """The runner has some in stock: it goes on without them."""
    clone = await one.clone()

    def idle() -> list[int]:
        """Below the runner, and not yet another program than it."""
        children = children_of(one.box.process.pid)
        runner = next((pid for pid in children if children_of(pid)), 0)
        return [pid for pid in children if pid != runner and children[pid] == children.get(runner)]

    for number in range(2):
        stock: Any = await until(idle)
        for pid in stock:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await one.commit(clone, {f"{number}.txt": "x\n"})
        await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
    assert git("rev-list", "--count", "main", cwd=one.upstream).stdout.strip() == "3"


async def test_a_client_killed_while_the_operator_is_asked(one: World) -> None:
    clone = await one.clone(f"{one.name}-reviewed")
    await one.commit(clone, {"a.txt": "a\n"})
    push = spawn(one.git("push", "origin", "HEAD:main", cwd=clone, check=False, timeout=60), name="push")
    asked = await until(one.asked)
    push.cancel()
    await asyncio.gather(push, return_exceptions=True)

    def withdrawn() -> bool:
        one.decided.discard(asked["proposal_id"])  # type: ignore[index]
        return one.asked() is None

    await until(withdrawn)
    assert set(tips(one.upstream)) == {"refs/heads/main"}
    await until(lambda: not list((one.folder.parents[1] / "gate").glob("incoming-*")))


async def test_a_push_that_waits_is_not_given_up_with_the_one_that_asked_first(one: World) -> None:
    """As an agent does whose tool ran into its time limit: it pushes once more."""
    clone = await one.clone(f"{one.name}-reviewed")
    mine = await one.commit(clone, {"a.txt": "a\n"})
    pushes = [
        spawn(one.git("push", "origin", "HEAD:main", cwd=clone, check=False, timeout=60), name="push", on_error=print)
        for _ in range(2)
    ]

    def holds() -> bool:
        ours = [event for event in one.box.events() if event.path.startswith(f"/{one.name}-reviewed.git")]
        return sum(event.decision == "hold" for event in ours) == len(pushes)

    await until(holds)
    asked: Any = await until(one.asked)
    pushes[0].cancel()
    await asyncio.gather(pushes[0], return_exceptions=True)
    await one.box.event(code="client_closed")
    body = {"proposal_id": asked["proposal_id"], "state": "approved", "reason": "seen"}
    await one.box.channel.call("decision", body)
    code, output = await pushes[1]
    assert code == 0, output
    assert tips(one.upstream)["refs/heads/main"] == mine


async def test_a_client_killed_while_upstream_works(one: World) -> None:
    began, go = slow_hook(one.upstream)
    clone = await one.clone()
    mine = await one.commit(clone, {"a.txt": "a\n"})
    push = spawn(one.git("push", "origin", "HEAD:main", cwd=clone, check=False, timeout=60), name="push")
    await until(began.exists)
    push.cancel()
    await asyncio.gather(push, return_exceptions=True)
    go.touch()
    # begun is finished: upstream has it, and so has the mirror
    await until(lambda: tips(one.upstream)["refs/heads/main"] == mine)
    assert mine in (await one.git("ls-remote", "origin", cwd=clone))[1]
    await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)


async def test_bytes_that_are_no_git(one: World) -> None:
    """The gate answers, or hangs up; it never falls over, and nothing reaches upstream."""
    before = tips(one.upstream)
    noise = random.Random(11)
    a, b = "a" * 40, "b" * 40
    command = f"{a} {b} refs/heads/main\0 report-status side-band-64k".encode()
    bodies = [b"", b"0000", b"0001", b"000", b"zzzz" * 100, packet(command), packet(command) + FLUSH]
    bodies += [packet(command) + FLUSH + b"PACK" + noise.randbytes(size) for size in (0, 1, 8, 100, 5000)]
    bodies += [packet(command) + FLUSH + b"PACK\0\0\0\x02\xff\xff\xff\xff" + noise.randbytes(300)]
    bodies += [noise.randbytes(size) for size in (1, 3, 4, 5, 100, 70_000)]
    bodies += [packet(noise.randbytes(60)) + FLUSH for _ in range(10)]
    create = f"{'0' * 40} {b} refs/heads/x\0 report-status".encode()
    bodies += [
        packet(create) + FLUSH + b"PACK\0\0\0\x02\0\0\0\0" + bytes.fromhex("029d08823bd8a8eab510ad6ac75c823cfd3ed31e")
    ]
    async with one.box.client() as client:
        for service in ("git-receive-pack", "git-upload-pack"):
            for body in bodies:
                for encoding in ({}, {"content-encoding": "gzip"}):
                    kind = {"content-type": f"application/x-{service}-request", "git-protocol": "version=2"}
                    answer = await client.post(f"{url(one.name)}/{service}", content=body, headers={**kind, **encoding})
                    assert answer.status_code in (200, 400, 403, 413, 415), (service, body[:60], answer.status_code)
    assert tips(one.upstream) == before
    health, _ = await one.box.channel.call("health", {})
    assert health["ok"]
    clone = await one.clone()
    await one.commit(clone, {"a.txt": "a\n"})
    await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)


async def test_an_upstream_that_hangs(tmp_path: Path) -> None:
    bare(tmp_path / "app.git")
    with SmartHttp(tmp_path).run() as http:
        async with world(GitRepo(name="app", url=http.url("app"))) as one:
            await one.clone()
            http.hang.set()
            target = one.folder / "second"
            _, said = await one.git("clone", url("app"), str(target))
            assert "upstream cannot be reached" in said
            assert (target / "README.md").exists()
            http.hang.clear()
            http.released.set()


async def test_a_gate_killed_in_the_middle(tmp_path: Path) -> None:
    """kill -9 of the sidecar while upstream's hook runs: upstream decides, and the next gate sees what became of it."""
    upstream = bare(tmp_path / "app.git")
    began, go = slow_hook(upstream)
    with SmartHttp(tmp_path).run() as http:
        repo = GitRepo(name="app", url=http.url("app"))
        clone = tmp_path / "clone"
        async with world(repo) as one:
            await one.git("clone", "-q", url("app"), str(clone))
            mine = await one.commit(clone, {"a.txt": "a\n"})
            push = spawn(one.git("push", "origin", "HEAD:main", cwd=clone, check=False), name="push")
            await until(began.exists)
            children = children_of(one.box.process.pid)
            assert any("git" in name for name in children.values()), children
            # upstream may take it whatever becomes of us
            (row,) = [event for event in one.events() if event.method == "PUSH"]
            assert (row.phase, row.decision, row.path) == ("open", "allow", "/app.git refs/heads/main")
            one.box.process.send_signal(signal.SIGKILL)
            code, _ = await push
            assert code != 0
            await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
        go.touch()
        await until(lambda: not list((upstream / "objects").glob("tmp_objdir-*")) and not http_busy(upstream))
        found = tips(upstream)
        assert set(found) == {"refs/heads/main"}
        async with world(repo) as again:
            second = await again.clone()
            has = (await again.git("rev-parse", "HEAD", cwd=second))[1].strip()
            assert has == tips(upstream)["refs/heads/main"]
            await again.git("push", "-q", url("app"), f"{mine}:refs/heads/main", cwd=clone)
            assert tips(upstream)["refs/heads/main"] == mine


async def test_a_push_that_cannot_be_written_down_does_not_leave(tmp_path: Path) -> None:
    upstream = bare(tmp_path / "app.git")
    with SmartHttp(tmp_path).run() as http:
        repo, full = GitRepo(name="app", url=http.url("app")), "sidecar.spool:SpoolWriter._next_segment:full"
        async with world(repo, fault=full) as one:
            clone = await one.clone()
            await one.commit(clone, {"a.txt": "a\n"})
            before = tips(upstream)
            code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
            assert (code, tips(upstream)) == (1, before), said
            assert "cannot be written" in said


def http_busy(upstream: Path) -> bool:
    return bool(list((upstream / "refs").rglob("*.lock")))


def children_of(pid: int) -> dict[int, str]:
    """All processes below `pid`, by their numbers."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        name = stat[stat.index("(") + 1 : stat.rindex(")")]
        parents[int(entry)] = (int(stat[stat.rindex(")") + 2 :].split()[1]), name)
    found: dict[int, str] = {}
    todo = [pid]
    while todo:
        parent = todo.pop()
        for child, (its, name) in parents.items():
            if its == parent and child not in found:
                found[child] = name
                todo.append(child)
    return found
