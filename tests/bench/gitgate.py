"""The git gate against git without one, to the same upstream over SSH, in the same run: a push of 1,000 small commits,
a clone of 100 MB, and the sidecar's memory while a push of 1 GB is refused.

    python -m tests.bench.gitgate [rounds [push | clone | refused]]
"""

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from tests.conftest import until
from tests.gitgate.kit import GitRepo, World, bare, git, secret, url, world
from tests.gitgate.openssh import Ssh, ssh_key, sshd
from tests.gitgate.test_faults import children_of

COMMITS, CLONE_MB, PUSH_MB = 1000, 100, 1000


def many_commits(folder: Path, count: int) -> None:
    """`count` small commits on top of main, by fast-import: a file of some lines each."""
    stream = b""
    for number in range(count):
        body = f"def f{number}():\n    return {number * 7919}\n".encode() * 5
        stream += b"commit refs/heads/main\ncommitter T <t@example.com> %d +0000\n" % (1_700_000_000 + number)
        stream += b"data 7\nchange\n" + (b"from refs/heads/main^0\n" if number == 0 else b"")
        stream += b"M 644 inline src/m%d/f%d.py\ndata %d\n" % (number % 30, number, len(body)) + body + b"\n"
    git("fast-import", "--quiet", cwd=folder, input=stream.decode())


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


def ssh_env(folder: Path, server: Ssh) -> dict[str, str]:
    (folder / "known").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    options = f"-o UserKnownHostsFile={folder}/known -o IdentityFile={folder}/key -o IdentitiesOnly=yes -F none"
    return {"GIT_SSH_COMMAND": f"ssh {options}", "PATH": os.environ["PATH"]}


async def pushes(one: World, root: Path, direct: str, env: dict[str, str], rounds: int) -> None:
    """Direct, each with a handshake of its own; by the gate with one of its own as well, and over the connection that
    stands from the call before, as it is while an agent works."""
    work = root / "many"
    git("clone", "-q", str(root / "app.git"), str(work))
    many_commits(work, COMMITS)
    times: dict[str, list[float]] = {"plain": [], "first": [], "next": []}

    def away(name: str) -> None:
        git("push", "-q", str(root / "app.git"), f":{name}", cwd=work)
        git("gc", "-q", "--prune=now", cwd=root / "app.git")

    async def through(name: str) -> None:
        await one.git("push", "-q", url("app"), f"main:{name}", cwd=work)

    async def plainly(name: str) -> None:
        await asyncio.to_thread(git, "push", "-q", direct, f"main:{name}", cwd=work, env=env)

    for number in range(rounds):
        for kind, push in (("plain", plainly), ("first", through), ("next", through)):
            if kind == "first":
                for pid in (pid for pid, name in children_of(one.box.process.pid).items() if name == "ssh"):
                    os.kill(pid, signal.SIGTERM)
                await until(lambda: "ssh" not in children_of(one.box.process.pid).values())
            name = f"{kind}{number}"
            times[kind].append(await timed(lambda push=push, name=name: push(name)))
            if kind != "plain":  # what the mirror has of it goes as well, or the next would bring nothing new
                await one.git("push", "-q", url("app"), f":{name}", cwd=work)
                git("gc", "-q", "--prune=now", cwd=root / "app.git")
            else:
                away(name)
    show(f"push of {COMMITS} commits, its own handshake", times["plain"], times["first"], 2.0)
    show(f"push of {COMMITS} commits, connection open", times["plain"], times["next"], 2.0)


async def clones(one: World, root: Path, direct: str, env: dict[str, str], rounds: int) -> None:
    work = root / "large"
    git("clone", "-q", str(root / "app.git"), str(work))
    for number in range(CLONE_MB // 5):
        (work / f"asset{number}.bin").write_bytes(os.urandom(5_000_000))
    git("add", ".", cwd=work)
    git("commit", "-q", "-m", "assets", cwd=work)
    git("push", "-q", str(root / "app.git"), "main", cwd=work)
    git("repack", "-a", "-d", "-q", cwd=root / "app.git")  # as a forge keeps it: else packing is all that is measured
    await one.git("ls-remote", url("app"))  # the mirror is up to date, as it is some seconds after a launch
    plain: list[float] = []
    gated: list[float] = []
    for _ in range(rounds):
        for times, address, extra in ((plain, direct, env), (gated, url("app"), None)):
            target = root / "cloned"
            if extra is None:
                times.append(await timed(lambda a=address, t=target: one.git("clone", "-q", a, str(t), timeout=600)))
            else:
                times.append(
                    await timed(lambda a=address, t=target: asyncio.to_thread(git, "clone", "-q", a, str(t), env=env))
                )
            shutil.rmtree(target)
    show(f"clone of {CLONE_MB} MB", plain, gated, 1.3)


async def refused(one: World, root: Path) -> None:
    """A push that is much too large: only what it costs the sidecar counts."""
    work = root / "huge"
    git("clone", "-q", str(root / "app.git"), str(work), "--depth=1", "--no-local")
    for number in range(PUSH_MB // 50):
        (work / f"huge{number}.bin").write_bytes(os.urandom(50_000_000))
    git("-c", "core.compression=0", "add", ".", cwd=work)
    git("commit", "-q", "-m", "huge", cwd=work)
    process = psutil.Process(one.box.process.pid)

    def memory() -> tuple[int, int]:
        """Of the sidecar, and of all that works for it."""
        own, others = process.memory_info().rss, 0
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                others += child.memory_info().rss
        return own, own + others

    before = memory()
    most = before
    stop = asyncio.Event()

    async def watch() -> None:
        nonlocal most
        while not stop.is_set():
            now = memory()
            most = max(most[0], now[0]), max(most[1], now[1])
            await asyncio.sleep(0.02)

    watching = asyncio.get_running_loop().create_task(watch())
    code, said = await one.git(
        "-c", "core.compression=0", "push", url("app"), "HEAD:huge", cwd=work, check=False, timeout=900
    )
    stop.set()
    await watching
    own, every = ((after - then) / 1e6 for after, then in zip(most, before, strict=True))
    told = "larger than" in said
    print(
        f"refused push of {PUSH_MB} MB: sidecar +{own:.0f} MB, with its git processes +{every:.0f} MB (target 64), "
        f"git ended with {code}, told why: {told}"
    )


def show(what: str, plain: list[float], gated: list[float], target: float) -> None:
    low, high = statistics.median(plain), statistics.median(gated)
    print(
        f"{what}: direct over SSH {low:.2f} s, through the gate {high:.2f} s: {high / low:.2f} times (target {target})"
    )


async def main(rounds: int, only: str) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    root = Path(tempfile.mkdtemp(prefix="cb-bench-"))
    private, public = ssh_key()
    try:
        bare(root / "app.git")
        (root / "key").write_text(private)
        (root / "key").chmod(0o600)
        with sshd(root / "ssh", public) as server:
            direct = f"ssh://{server.user}@127.0.0.1:{server.port}{root}/app.git"
            repo = GitRepo(name="app", url=direct, host_key=server.host_key, ssh_key=secret(private))
            env = ssh_env(root, server)
            async with world(repo) as one:
                warm = await one.clone()
                await one.commit(warm, {"warm.txt": "x\n"})
                await one.git("push", "-q", "origin", "HEAD:warm", cwd=warm)
                if only in ("", "push"):
                    await pushes(one, root, direct, env, rounds)
                if only in ("", "clone"):
                    await clones(one, root, direct, env, rounds)
                if only in ("", "refused"):
                    await refused(one, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2] if len(sys.argv) > 2 else ""))
