"""A real agent CLI in a Docker bottle: Claude Code from npm in the bottle's image, as its recipe would put it there.

The same turn as in a local bottle, a snapshot taken while it works, and its own conversation found again after its
container was killed.
"""

import io
import json
import os
import signal
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cast import CAST
from tests.e2e.docker_engine import BASE, engine, import_base
from tests.e2e.judge import a_world, agents_processes, whole_turn
from tests.e2e.packages import installed
from tests.e2e.test_agents_overnight import actions, breaks_off, night, reaches, set_out
from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.xdist_group("docker")]
ROLE = CAST["claude"]
IMAGE = "localhost/carboy-test/claude:host"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    program = (installed("claude-code") / "claude").resolve()
    with engine() as found:
        import_base(found)
        with_claude(found, program)
        yield found


def with_claude(url: str, program: Path) -> None:
    """The base image with the CLI in it: its recipe installs nothing then, and no registry is asked."""
    import docker

    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as context:
            recipe = f"FROM {BASE}\nCOPY claude /usr/local/bin/claude\n".encode()
            entry = tarfile.TarInfo("Dockerfile")
            entry.size = len(recipe)
            context.addfile(entry, io.BytesIO(recipe))
            context.add(program, arcname="claude")
        file.seek(0)
        client = docker.DockerClient(base_url=url, timeout=300)
        client.images.build(fileobj=file, custom_context=True, tag=IMAGE, rm=True)


def in_docker(world: World, url: str, more: str = "") -> World:
    world.env["DOCKER_HOST"] = url
    with world.paths.settings.open("a") as settings:
        settings.write(f"image_base: {IMAGE}\n")
    (world.paths.bottles / "box.md").write_text(
        f"---\nagent_provider: {{{ROLE.agent.provider}}}\negress: {{log: 2}}\nbackend: docker\n{more}---\n"
    )
    return world


def test_a_turn_with_a_tool_call(worlds: Callable[..., World], url: str) -> None:
    world = in_docker(a_world(worlds, ROLE.agent, ROLE.runs()), url)
    whole_turn(world, ROLE.variable, ROLE.key, header="x-api-key")
    seen = json.loads(world.run("info", "turn", "--json").stdout)
    assert (seen["backend"], seen["isolation"], seen["exit_code"]) == ("docker", "container", 0)


def test_a_snapshot_and_its_own_conversation_again(worlds: Callable[..., World], url: str) -> None:
    world = in_docker(a_world(worlds, ROLE.agent, breaks_off(ROLE)), url, "unattended: {on_exit: {resume: 2}}\n")
    set_out(world, ROLE)
    deadline = time.monotonic() + 200
    while not (world.project / "begun").exists():
        assert time.monotonic() < deadline, night(world)
        time.sleep(0.2)
    kept = world.run("commit", "night", "--json")
    assert kept.returncode == 0, kept.stderr
    assert json.loads(kept.stdout)["saved_at"]
    for pid in agents_processes(world):
        os.kill(pid, signal.SIGKILL)
    view = reaches(world, "ended")
    assert view["backend"] == "docker"
    assert (world.project / "hello.txt").read_text() == "hello\n"
    assert actions(world).count("resumed") == 1
    said = [one.body for one in world.vendor.of(ROLE.host) if b"You were interrupted" in one.body]
    assert said
    assert b"I begin." in said[-1], "the conversation before is there"
