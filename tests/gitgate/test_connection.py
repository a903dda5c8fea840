"""The SSH connection that gits of ours share: one handshake for what follows one another, and nothing of it is left
when the gate ends or is killed."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import until
from tests.gitgate.kit import GitRepo, bare, secret, url, world
from tests.gitgate.openssh import Ssh, e2e_without_sshd, ssh_key, sshd
from tests.gitgate.test_faults import children_of

pytestmark = e2e_without_sshd


@dataclass
class Server:
    ssh: Ssh
    repo: GitRepo


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    bare(tmp_path / "app.git")
    private, public = ssh_key()
    with sshd(tmp_path / "ssh", public) as running:
        address = f"ssh://{running.user}@127.0.0.1:{running.port}{tmp_path}/app.git"
        yield Server(running, GitRepo(name="app", url=address, host_key=running.host_key, ssh_key=secret(private)))


async def test_one_handshake_for_all_calls(server: Server) -> None:
    async with world(server.repo) as one:
        clone = await one.clone()
        for number in range(3):
            await one.commit(clone, {f"{number}.txt": "x\n"})
            await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
            await one.git("fetch", "-q", cwd=clone)
        assert server.ssh.logins == 1
        ssh = [pid for pid, name in children_of(one.box.process.pid).items() if name == "ssh"]
        assert len(ssh) == 1
        # one that breaks is made again
        os.kill(ssh[0], signal.SIGKILL)
        await one.commit(clone, {"again.txt": "x\n"})
        await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
        assert server.ssh.logins == 2


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_nothing_is_left_of_it(server: Server, how: signal.Signals) -> None:
    async with world(server.repo) as one:
        clone = await one.clone()
        process = one.box.process
        children = children_of(process.pid)
        assert "ssh" in children.values()
        gate, run = one.folder.parent / "gate", one.box.folder / "run"
        assert (gate / "ssh-0").exists()
        assert (run / "agent-0").exists()
        process.send_signal(how)
        await asyncio.to_thread(process.wait, 30)
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
        if how == signal.SIGTERM:
            assert not (gate / "ssh-0").exists()
        with socket.socket(socket.AF_UNIX) as dialled, pytest.raises(ConnectionRefusedError):
            dialled.connect(str(run / "agent-0"))  # its name goes with the session's folder, which is closed to it
        assert (clone / "README.md").exists()


async def test_a_gate_that_was_killed_leaves_nothing_in_the_way_of_the_next(server: Server, tmp_path: Path) -> None:
    async with world(server.repo) as one:
        await one.clone()
        gate = one.folder.parent / "gate"
        one.box.process.kill()
        await asyncio.to_thread(one.box.process.wait, 30)
        (gate / "ssh-0").touch()  # what one that is killed by itself cannot remove
        async with one.again() as second:
            await second.git("clone", "-q", url("app"), str(tmp_path / "second"))
            assert server.ssh.logins == 2
