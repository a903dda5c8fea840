"""An engine whose disk is full: a launch is undone, a snapshot leaves no half of itself, the bottle runs on."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.backends.docker import facts
from app.controller import saved
from app.errors import CarboyError
from app.paths import Paths
from tests.e2e.docker_engine import BASE, engine, import_base
from tests.integration.launching import rig
from tests.integration.test_kill import see

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180), pytest.mark.xdist_group("docker")]
MIB = 1024**2


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with engine("docker", disk=900 * MIB) as found:
        import_base(found)
        yield found


def left(url: str) -> int:
    found = os.statvfs(Path(url.removeprefix("unix://")).parent / "data")
    return found.f_bavail * found.f_frsize


def ours(url: str, paths: Paths) -> tuple[list[Any], list[Any]]:
    import docker

    client = docker.DockerClient(base_url=url)
    mine = {"label": f"{facts.HOME}={facts.home_of(paths.session_state('any'))}"}
    return client.containers.list(all=True, filters=mine), client.images.list(filters=mine)


async def test_a_full_engine(url: str, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", url)
    paths.config.mkdir(parents=True, exist_ok=True)
    paths.settings.write_text(f"image_base: {BASE}\n")
    async with rig(paths) as bottles:
        script = "head -c 30000000 /dev/urandom > /scratch/x; echo up; read line"
        own = "---\nagent_provider: {template: shell, dockerfile: Dockerfile}\n---\nFor tests.\n"
        (paths.bottles / "own.md").write_text(own)
        (paths.bottles / "Dockerfile").write_text(f"FROM {BASE}\nRUN mkdir -m 777 /scratch\n")
        await bottles.launch(script, backend="docker", bottles=("own",))
        await see(bottles, b"up")
        assert (await bottles.sessions.keeping.commit("one")).saved_at
        state = paths.session_state("one")
        first = saved.load(state)
        _, images = ours(url, paths)
        with tempfile.NamedTemporaryFile(dir=Path(url.removeprefix("unix://")).parent / "data") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, left(url) - 5 * MIB)
            with pytest.raises(CarboyError) as refused:
                await bottles.sessions.keeping.commit("one")
            assert refused.value.code == "disk_full"
            assert saved.load(state) == first
            assert len(ours(url, paths)[1]) == len(images)
            assert bottles.sessions.named("one").view.state == "running"
            os.posix_fallocate(ballast.fileno(), os.fstat(ballast.fileno()).st_size, max(1, left(url) - 8192))
            with pytest.raises(CarboyError) as failed:
                await bottles.launch("sleep 600", backend="docker", label="two")
            assert failed.value.code == "disk_full", (failed.value.code, failed.value.message)
            assert len(ours(url, paths)[0]) == 1
            assert [view.slug for view in bottles.sessions.views()] == ["one"]
        assert (await bottles.sessions.keeping.commit("one")).saved_at
        await bottles.sessions.kill("one")
        await bottles.sessions.keeping.purge("one")
        assert ours(url, paths) == ([], [])
