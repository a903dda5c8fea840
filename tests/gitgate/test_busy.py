"""Others are at work as well: an upstream that moves while a push is on its way, a link that is slow, and more calls at
once than are served. Each ends in success or in a clear error, and nothing is lost."""

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.gitgate import limits
from sidecar.tasks import spawn
from tests.conftest import until
from tests.gitgate.kit import GitRepo, SmartHttp, World, bare, git, tips, world
from tests.gitgate.test_faults import slow_hook

ASKS, SENDS = ("GET", "info/refs?service=git-receive-pack"), ("POST", "git-receive-pack")


def somebody_else(folder: Path, upstream: Path, branch: str = "main") -> Callable[[], None]:
    """Commits to upstream directly, one more file each time."""
    git("clone", "-q", str(upstream), str(folder))
    count = iter(range(1000))

    def push() -> None:
        git("pull", "-q", "--ff-only", "origin", branch, cwd=folder)
        name = f"theirs{next(count)}.txt"
        (folder / name).write_text(name)
        git("add", ".", cwd=folder)
        git("commit", "-q", "-m", name, cwd=folder)
        git("push", "-q", "origin", f"HEAD:{branch}", cwd=folder)

    return push


def files(upstream: Path, branch: str = "main") -> set[str]:
    return set(git("ls-tree", "--name-only", branch, cwd=upstream).stdout.split())


async def again(one: World, clone: Path) -> tuple[int, str]:
    await one.git("pull", "-q", "--rebase", "origin", "main", cwd=clone)
    return await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)


@pytest.mark.parametrize("when", [ASKS, SENDS])
async def test_an_upstream_that_keeps_moving(tmp_path: Path, when: tuple[str, str]) -> None:
    """Always between the gate's look and its push, or between what upstream tells that push and what it gets."""
    upstream = bare(tmp_path / "app.git")
    theirs = somebody_else(tmp_path / "theirs", upstream)
    left = 4

    def move(method: str, target: str) -> None:
        nonlocal left
        if left and (method, target.removeprefix("/app.git/")) == when:
            left -= 1
            theirs()

    with SmartHttp(tmp_path).run() as http:
        async with world(GitRepo(name="app", url=http.url("app"))) as one:
            clone = await one.clone()
            await one.commit(clone, {"mine.txt": "mine\n"})
            http.before = move
            while left:
                before = left
                code, said = await again(one, clone)
                assert code, said
                assert left == before - 1
                assert "rejected" in said
                assert any(
                    word in said for word in ("fetch first", "stale info", "failed to update ref", "cannot lock")
                ), said
                assert "mine.txt" not in files(upstream)
            code, said = await again(one, clone)
            assert code == 0, said
            assert files(upstream) == {"README.md", "mine.txt", *(f"theirs{number}.txt" for number in range(4))}
            pushes = [event for event in one.events() if event.method == "PUSH" and event.phase == "closed"]
            assert [event.code for event in pushes] == ["git_upstream_refused"] * 4 + ["ok"]
            assert all(event.reason.startswith("main: ") for event in pushes[:4])


async def test_a_branch_that_moves_while_it_is_deleted(tmp_path: Path) -> None:
    upstream = bare(tmp_path / "app.git")
    git("branch", "side", "main", cwd=upstream)
    theirs = somebody_else(tmp_path / "theirs", upstream, "side")
    with SmartHttp(tmp_path).run() as http:
        async with world(GitRepo(name="app", url=http.url("app"), force_push=True)) as one:
            clone = await one.clone()
            http.before = lambda method, target: (
                theirs() if (method, target.removeprefix("/app.git/")) == ASKS else None
            )
            code, said = await one.git("push", "origin", ":side", cwd=clone, check=False)
            assert code, said
            assert "stale info" in said
            assert "theirs0.txt" in files(upstream, "side")
            http.before = lambda *_: None
            await one.git("push", "-q", "origin", ":side", cwd=clone)
            assert set(tips(upstream)) == {"refs/heads/main"}


@pytest.mark.e2e
async def test_a_link_that_is_slow_but_moves(tmp_path: Path) -> None:
    """What takes longer in all than an upstream may stand still."""
    upstream = bare(tmp_path / "app.git")
    work = tmp_path / "work"
    git("clone", "-q", str(upstream), str(work))
    (work / "large.bin").write_bytes(os.urandom(400_000))
    git("add", ".", cwd=work)
    git("commit", "-q", "-m", "large", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    theirs = somebody_else(tmp_path / "theirs", upstream)
    with SmartHttp(tmp_path, piece=20_000, pace=1.0).run() as http:
        moved = iter((True,))

        def move(method: str, target: str) -> None:
            if target.endswith("git-upload-pack") and method == "POST" and next(moved, False):
                theirs()

        http.before = move
        async with world(GitRepo(name="app", url=http.url("app"))) as one:
            loop = asyncio.get_running_loop()
            began = loop.time()
            clone = await one.clone()
            assert loop.time() - began > limits.IDLE_SECONDS
            assert (clone / "large.bin").stat().st_size == 400_000
            http.piece = 1 << 30
            await one.commit(clone, {"mine.txt": "mine\n"})
            code, said = await again(one, clone)
            assert code == 0, said
            assert {"mine.txt", "theirs0.txt", "large.bin"} <= files(upstream)


async def test_more_pushes_at_once_than_are_served(tmp_path: Path) -> None:
    """Some wait for their turn, and those that would be too many are told so; each branch is upstream or can be pushed
    again."""
    upstream = bare(tmp_path / "app.git")
    began, go = slow_hook(upstream)
    with SmartHttp(tmp_path).run() as http:
        async with world(GitRepo(name="app", url=http.url("app"))) as one:
            clone = await one.clone()
            await one.commit(clone, {"mine.txt": "mine\n"})
            names = [f"b{number}" for number in range(limits.PACKS + limits.WAITING + 4)]
            told: dict[str, tuple[int, str]] = {}

            async def push(name: str) -> None:
                told[name] = await one.git("push", "origin", f"HEAD:{name}", cwd=clone, check=False, timeout=200)

            pushes = [spawn(push(name), name="push") for name in names]
            await until(began.exists)
            await until(lambda: told)  # somebody was sent away
            go.touch()
            await asyncio.gather(*pushes)
            failed = {name: said for name, (code, said) in told.items() if code}
            assert failed
            assert all("too many git calls at once" in said for said in failed.values()), failed
            assert set(tips(upstream)) == {"refs/heads/main"} | {
                f"refs/heads/{name}" for name in set(names) - set(failed)
            }
            assert len(names) - len(failed) >= limits.PACKS
            for name in failed:
                await one.git("push", "-q", "origin", f"HEAD:{name}", cwd=clone)
            assert len(set(tips(upstream).values())) == 2
            assert len(tips(upstream)) == len(names) + 1


async def test_pushes_that_wait_for_the_operator_keep_nobody_from_working(tmp_path: Path) -> None:
    upstream = bare(tmp_path / "app.git")
    with SmartHttp(tmp_path).run() as http:
        async with world(GitRepo(name="app", url=http.url("app"), review=True), hold=200) as one:
            clone = await one.clone()
            await one.commit(clone, {"mine.txt": "mine\n"})
            names = [f"b{number}" for number in range(limits.PACKS + 2)]
            pushes = [
                spawn(one.git("push", "origin", f"HEAD:{name}", cwd=clone, timeout=200), name="push") for name in names
            ]
            held = [await until(one.asked) for _ in names]
            assert len(held) == len(names)
            assert (await one.clone() / "README.md").exists()
            one.decided.clear()
            for _ in names:
                await one.decide("approved")
            await asyncio.gather(*pushes)
            assert set(tips(upstream)) == {"refs/heads/main", *(f"refs/heads/{name}" for name in names)}


def _held(pid: int) -> int:
    """Bytes of the files without a name that a process has."""
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            status = entry.stat()
            found += status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 0 else 0
    return found


async def test_pushes_on_their_way_do_not_fill_the_disk(tmp_path: Path) -> None:
    """However many connections a bottle opens: it is the host's disk, and on a full one every bottle stands still."""
    size, number = 256 * 1024, 40
    bare(tmp_path / "app.git")
    head = "POST /app.git/{} HTTP/1.1\r\nHost: git.carboy.internal\r\nContent-Type: application/x-{}-request\r\n"
    with SmartHttp(tmp_path).run() as http:
        async with world(GitRepo(name="app", url=http.url("app")), max_push=size) as one:
            clone = await one.clone()
            before = _held(one.box.process.pid)
            writers: list[asyncio.StreamWriter] = []
            for service in ("git-receive-pack", "git-upload-pack"):
                for _ in range(number):
                    _, writer = await asyncio.open_connection("127.0.0.1", one.box.port)
                    writer.write(f"{head.format(service, service)}Content-Length: {size}\r\n\r\n".encode())
                    writer.write(b"x" * (size - 1))
                    await writer.drain()
                    writers.append(writer)
            most = limits.BODIES * size
            await until(lambda: _held(one.box.process.pid) - before > most - size)
            await one.commit(clone, {"mine.txt": "mine\n"})
            code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
            assert (code, "too many git calls at once" in said) == (1, True), said
            code, said = await one.git("fetch", "origin", "main", cwd=clone, check=False)
            assert (code, "too many git calls at once" in said) == (128, True), said
            assert _held(one.box.process.pid) - before <= most
            for writer in writers:
                writer.transport.abort()
            await until(lambda: _held(one.box.process.pid) == before)
            await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
