"""kill -9 of a controller at one step of a launch, a snapshot or a resume, and what the next one must find. For each
backend alike."""

import asyncio

from app.backends import parts
from app.controller import saved
from app.paths import Paths
from tests.conftest import until
from tests.integration.launching import rig
from tests.integration.test_kill import controller, line, nothing_left, only, see

LAUNCH = ("state", "authority", "sandbox", "sidecar", "listener", "self-test", "agent")
COMMIT = ("pack running", "pack done", "keep running", "keep done")
RESUME = ("set aside", "state", "restore", "authority", "sandbox", "sidecar", "listener", "self-test", "agent")
SCRIPT = "if [ -e ~/kept ]; then echo again; else echo first; echo x > ~/kept; fi; sleep 600"


async def killed_in(paths: Paths, backend: str, work: str, at: str) -> None:
    """A controller that did `work` until it printed `at`; for a resume only after its first bottle was ended."""
    async with controller(paths, SCRIPT, backend, work) as process:
        if work:
            await line(process, "running")
        if work == "resume":
            await line(process, "killed")
        await line(process, at)
        await process.killed()


async def after_a_launch(paths: Paths) -> None:
    """Either the agent runs and is found again, or nothing of it stays."""
    async with rig(paths) as real:
        await real.sessions.adopt()
        await real.sessions.cleanup()
        if real.sessions.views():
            assert only(real).state == "running"
            await until(lambda: only(real).sidecar.state == "healthy")
            await real.sessions.kill("one")
        else:
            assert not paths.session_state("one").exists()
        await nothing_left(real)
        assert not list(real.project.iterdir())


async def after_a_commit(paths: Paths) -> None:
    """The bottle runs on, not halted; the next snapshot is whole, and nothing of the torn one stays."""
    async with rig(paths) as real:
        await real.sessions.adopt()
        await real.sessions.cleanup()
        assert only(real).state == "running"
        result = await asyncio.wait_for(real.sessions.exec("one", ("/bin/sh", "-c", "echo awake"), 20), 30)
        assert result.output == b"awake\n"
        assert (await real.sessions.keeping.commit("one")).saved_at
        folder = paths.session_state("one") / saved.FOLDER
        kept = saved.load(paths.session_state("one"))
        assert kept is not None
        lists = {name.removesuffix(parts.SUFFIX) + parts.LIST for name in kept.parts}
        assert {entry.name for entry in folder.iterdir()} == {saved.FILE, kept.files, *kept.parts, *lists}
        fork = await real.sessions.launch(real.request("", fork="one", label="two"), real.steps.append)
        await see(real, b"again", fork.slug)
        for slug in ("one", fork.slug):
            await real.sessions.kill(slug)
            await real.sessions.keeping.purge(slug)
        await nothing_left(real)


async def after_a_resume(paths: Paths) -> None:
    """It runs, or it is as it was before; nothing is set aside, and it can be gone on with."""
    async with rig(paths) as real:
        await real.sessions.adopt()
        await real.sessions.cleanup()
        assert saved.waiting(paths) == []
        assert (paths.session_state("one") / "home/kept").read_text() == "x\n"
        if only(real).state != "running":
            assert only(real).state == "stopped"
            await real.sessions.launch(real.request("", resume="one"), real.steps.append)
        await see(real, b"again")
        await real.sessions.kill("one")
        await real.sessions.keeping.purge("one")
        await nothing_left(real)
