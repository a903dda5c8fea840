"""Sessions with everything real around them: store, ingestion, zygote, sandboxes. What the launch tests share."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.client import Client
from app.controller.events import Bus
from app.controller.ingest import Ingest
from app.controller.sessions import Sessions
from app.core.model import BottleView, LaunchRequest, LaunchStep
from app.paths import Paths, private_folder
from app.store.sqlite import SqliteStore
from sidecar.contract import LISTEN_PORT
from tests.fork_server import ForkedZygote

BOTTLE = """---
agent_provider: {template: shell}
egress:
  routes:
    - host: allowed.example
---
For tests.
"""


def asking(url: str) -> str:
    """A shell command that asks the proxy for a plain-http `url` and prints its answer, with bash alone: what else a
    system has is not known."""
    host = url.split("/")[2]
    ask = f"GET {url} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n"
    return f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{LISTEN_PORT}; printf \"{ask}\" >&3; cat <&3'"


@dataclass
class Rig:
    paths: Paths
    project: Path
    sessions: Sessions
    store: SqliteStore
    views: list[BottleView] = field(default_factory=list)
    steps: list[LaunchStep] = field(default_factory=list)

    def request(self, script: str, **changes: object) -> LaunchRequest:
        values: dict[str, object] = {
            "bottles": ("plain",), "command": ("/bin/sh", "-c", script), "cwd": str(self.project), "label": "one",
        }  # fmt: skip
        return LaunchRequest.model_validate(values | changes)

    async def launch(self, script: str, **changes: object) -> BottleView:
        return await self.sessions.launch(self.request(script, **changes), self.steps.append)


async def launched(client: Client, asked: LaunchRequest) -> BottleView:
    """The bottle that a controller made of it."""
    async for item in client.launch(asked):
        if isinstance(item, BottleView):
            return item
    raise AssertionError("no bottle came of it")


def prepare(paths: Paths) -> Path:
    """A bottle file and a project folder."""
    private_folder(paths.state)
    private_folder(paths.run)
    paths.bottles.mkdir(parents=True, exist_ok=True)
    (paths.bottles / "plain.md").write_text(BOTTLE)
    project = paths.config.parent.with_name(paths.config.parent.name + "-project")
    project.mkdir(exist_ok=True)
    return project


@asynccontextmanager
async def rig(paths: Paths) -> AsyncIterator[Rig]:
    project = prepare(paths)
    store = SqliteStore(paths.database)
    await store.open()
    bus = Bus(store)
    await bus.start()
    ingest = Ingest(bus)
    views: list[BottleView] = []
    sessions = Sessions(paths, on_change=views.append, spools=ingest, zygote=ForkedZygote(paths.state))
    try:
        yield Rig(paths, project, sessions, store, views)
    finally:
        for view in sessions.views():
            if view.state in ("running", "frozen", "stopping"):
                await sessions.kill(view.slug)
        await sessions.close()
        await ingest.close()
        await store.close()
        shutil.rmtree(project, ignore_errors=True)


def processes_of(paths: Paths) -> list[str]:
    """Command lines and names of all processes that have to do with this CARBOY_HOME's sessions: those with a file of
    it open as their log."""
    found: list[str] = []
    home = str(paths.config.parent)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            log = os.readlink(f"/proc/{pid}/fd/2")
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        if log.startswith(home) and name.startswith("carboy-"):
            found.append(f"{pid} {name}")
    return found
