"""Launches on a machine that fails them: a full disk, a sidecar that will not start, walls that do not hold."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.backends.base import Check
from app.backends.held import HeldBox
from app.controller import leftovers
from app.errors import CarboyError
from app.paths import Paths
from tests.conftest import until
from tests.integration.launching import Rig, processes_of, rig

pytestmark = pytest.mark.sandbox


@pytest.fixture
async def real(paths: Paths) -> AsyncIterator[Rig]:
    async with rig(paths) as one:
        yield one


@pytest.fixture
def small_disk(paths: Paths) -> Iterator[Path]:
    """The state folder on a file system of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    paths.state.mkdir(parents=True, mode=0o700)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", paths.state], check=False)
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    yield paths.state
    subprocess.run(["umount", "-l", paths.state], check=True)


async def gone(real: Rig) -> None:
    assert not real.paths.session_state("one").exists()
    assert list(real.paths.run.glob("????????????")) == []
    await until(lambda: processes_of(real.paths) == [])
    assert list(real.project.iterdir()) == []


@pytest.mark.parametrize("room", [0, 4096, 16384, 65536])
async def test_a_full_disk(small_disk: Path, real: Rig, room: int) -> None:
    await real.sessions.zygote.start()
    await real.sessions.preflight(real.request("true"))
    free = os.statvfs(small_disk)
    with (small_disk / "filler").open("wb") as filler:
        filler.write(b"x" * max(0, free.f_bavail * free.f_frsize - room))
    try:
        view = await real.launch("sleep 60")
    except CarboyError as error:
        assert error.code in ("disk_full", "sandbox", "sidecar"), error  # noqa: PT017  # it may succeed as well
        assert any(word in error.render() for word in ("disk", "space"))  # noqa: PT017
        await gone(real)
    else:
        assert room >= 16384  # that may be enough
        assert view.state == "running"
    (small_disk / "filler").unlink()
    assert (await real.launch("sleep 60", label="two")).state == "running"


async def test_walls_that_do_not_hold_end_the_launch(real: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def leaky(box: HeldBox) -> list[Check]:
        return [Check("proxy", True), Check("raw-address", False, "connected to 192.0.2.1")]

    monkeypatch.setattr(HeldBox, "check", leaky)
    with pytest.raises(CarboyError) as caught:
        await real.launch("echo never; sleep 60")
    assert caught.value.code == "self_test"
    assert "192.0.2.1" in caught.value.message
    await gone(real)


async def test_no_finding_is_no_proof(real: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(box: HeldBox) -> list[Check]:
        return []

    monkeypatch.setattr(HeldBox, "check", nothing)
    with pytest.raises(CarboyError) as caught:
        await real.launch("sleep 60")
    assert caught.value.code == "self_test"
    await gone(real)


async def test_a_broken_settings_file_ends_the_launch(real: Rig) -> None:
    real.paths.settings.write_text("egress: {upstream_proxy: 7}\n")
    with pytest.raises(CarboyError) as caught:
        await real.launch("sleep 60")
    assert "settings.yml" in caught.value.render()
    assert real.sessions.views() == []


async def test_a_sidecar_that_cannot_start_says_why(real: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.controller.supervisor import Supervisor

    async def unusable(self: Supervisor) -> object:
        config = await original(self)
        return config.model_copy(update={"ca_cert_pem": "no certificate"})

    original = Supervisor._config
    monkeypatch.setattr(Supervisor, "_config", unusable)
    with pytest.raises(CarboyError) as caught:
        await real.launch("sleep 60")
    assert caught.value.code == "sidecar"
    await gone(real)


async def test_what_cannot_be_removed_keeps_no_bottle_alive(real: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_of_holes(folder: Path, *, but: str = "") -> None:
        raise PermissionError(13, "not yours", str(folder))

    monkeypatch.setattr(leftovers, "strip", full_of_holes)
    await real.launch("exit 0")
    ended = await asyncio.wait_for(real.sessions.wait("one"), 60)
    assert (ended.state, ended.exit_code) == ("ended", 0)


async def test_memory_stays_within_its_limit(real: Rig) -> None:
    """By the kernel, where a control group can be made: it kills one process after another. Else by the watchdog, which
    ends the whole bottle and says why."""
    limit = 64 * 2**20
    (real.paths.bottles / "plain.md").write_text(
        "---\nagent_provider: {template: shell}\nlimits: {memory: 64MiB}\n---\n"
    )
    # six shells that hold a text of 24 MiB and more while they make it: each below its own limit, together beyond
    grow = f"x=$(head -c {24 << 20} /dev/zero | tr '\\0' x); sleep 60"
    script = f"for i in 1 2 3 4 5 6; do ({grow}) & done; sleep 2; echo grown; wait"
    await real.launch(script)
    session = real.sessions.named("one")

    async def held() -> bool:
        if not session.live:
            return "memory" in session.view.error
        if session.box is None:
            return False
        used = await session.box.usage()
        return used.memory <= limit and used.pids <= 3

    await until(held, 30)


async def test_a_holder_killed_while_its_sandbox_is_checked_leaves_no_placeholder(
    real: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from app.controller import record

    async def killed(box: HeldBox) -> list[Check]:
        assert (real.project / ".envrc").is_dir()
        kept = record.load(real.paths.session_state("one"))
        assert kept is not None
        assert kept.holder is not None
        os.kill(kept.holder.pid, signal.SIGKILL)
        return []

    monkeypatch.setattr(HeldBox, "check", killed)
    with pytest.raises(CarboyError):
        await real.launch("sleep 60")
    await gone(real)
