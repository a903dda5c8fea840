"""A bottle whose requests carry a token, so that each is held until the operator has decided: a shell that asks for one
path after another, again and again until it is answered, and the upstream behind. What the tests and figures of held
requests share."""

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from aiohttp import web

from app.client import Client
from app.core.model import LIVE, BottleView, LaunchRequest
from app.demo.pretend.script import Conversation, Say, Turn
from app.demo.pretend.seen import Seen
from app.demo.pretend.server import PretendServer
from app.paths import Paths
from sidecar.contract import LISTEN_PORT
from tests.conftest import until
from tests.controllers import connected
from tests.integration.launching import launched, prepare

HOST = "files.example"
TOKEN = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO" + "0pINUx"  # a made-up value with a right checksum
BOTTLE = f"""---
agent_provider: {{template: shell}}
egress:
  routes:
    - host: {HOST}
---
For tests.
"""
ASK = f"""
post() {{
  exec 3<>/dev/tcp/127.0.0.1/{LISTEN_PORT} || return
  printf 'POST http://{HOST}/%s HTTP/1.1\\r\\nHost: {HOST}\\r\\nConnection: close\\r\\n' "$1" >&3
  printf 'Content-Length: 40\\r\\n\\r\\n{TOKEN}' >&3
  answer=$(cat <&3); exec 3>&-
}}
work() {{
  number=0
  while [ ! -e stop ]; do
    number=$((number + 1))
    while :; do
      post "$1/$number" 2>/dev/null
      case "$answer" in
        *' 200 '*) echo "$1/$number yes" >> answers; break;;
        *hold_rejected*) echo "$1/$number no" >> answers; break;;
      esac
      answer=; sleep 0.05
    done
  done
}}
"""


@dataclass
class Asking:
    paths: Paths
    project: Path
    client: Client
    arrived: dict[str, list[float]] = field(default_factory=dict)
    """When a path reached the upstream."""

    async def launch(self, name: str, connections: int) -> BottleView:
        """A bottle that asks on so many connections for one path after the other until `stop`:
        `NAME.CONNECTION/NUMBER`."""
        lines = " ".join(f"work {name}.{number} &" for number in range(connections))
        asked = LaunchRequest.model_validate(
            {
                "bottles": ("plain",),
                "command": ("/bin/bash", "-c", f"{ASK}\n{lines} wait"),
                "cwd": str(self.project),
                "label": name,
                "headless": True,
            }
        )
        return await launched(self.client, asked)

    def stop(self) -> None:
        """Ask for no further path: the bottle ends once what it asked for is answered."""
        (self.project / "stop").touch()

    def answers(self) -> dict[str, str]:
        """What the bottle was answered, by path."""
        file = self.project / "answers"
        lines = file.read_text().splitlines() if file.exists() else []
        return dict(line.split() for line in lines)

    async def upstream(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        self.arrived.setdefault(seen.path.strip("/"), []).append(time.perf_counter())
        return web.Response(text="fine")


def nothing(talk: Conversation) -> Turn:
    return Turn((Say(""),))


@contextlib.asynccontextmanager
async def asking(paths: Paths) -> AsyncIterator[Asking]:
    project = prepare(paths)
    (paths.bottles / "plain.md").write_text(BOTTLE)
    server = PretendServer(nothing)
    async with server:
        paths.settings.write_text(f'egress:\n  connect_to: {{"{HOST}:80": "127.0.0.1:{server.port}"}}\n')
        async with await connected(paths) as client:
            rig = Asking(paths, project, client)
            server.handlers[HOST] = rig.upstream
            try:
                yield rig
            finally:
                for view in await client.bottles():
                    if view.state in LIVE:
                        await client.kill(view.slug)
                pid = (await client.status()).pid
                await client.shutdown(force=True)
                await until(lambda: not psutil.pid_exists(pid))
