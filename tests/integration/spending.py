"""Bottles that spend tokens: a shell that asks the pretended model again and again, its vendor, and a controller
with budgets. What the tests of metering and budgets share."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from app.client import Client
from app.core.model import LIVE, BottleView, LaunchRequest
from app.demo.pretend import anthropic
from app.demo.pretend.script import Conversation, Say, Script, Turn, Usage
from app.demo.pretend.server import PretendServer
from app.paths import Paths
from sidecar.contract import LISTEN_PORT
from tests.conftest import until
from tests.controllers import connected
from tests.integration.launching import launched, prepare

EACH = 1000
"""Tokens of an answer."""
PROVIDER = "anthropic"
BOTTLE = """---
agent_provider: {{template: shell}}
egress:
  routes:
    - host: {host}
{more}
---
For tests.
"""
ASK = r"""
count=0
ask() {{
  count=$((count + 1))
  body='{{"model":"m-'$1-$count'","stream":true,"messages":[{{"role":"user","content":"hello"}}]}}'
  exec 3<>/dev/tcp/127.0.0.1/{port} || return
  printf 'POST http://{host}/v1/messages HTTP/1.1\r\nHost: {host}\r\nx-api-key: none\r\n' >&3
  printf 'Content-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' ${{#body}} "$body" >&3
  cat <&3 > $1.body; exec 3>&-
  head -c 12 $1.body | tail -c 3 >> $1.answers; echo >> $1.answers
}}
work() {{ while :; do ask $1; sleep {pause}; done; }}
"""


def worker(name: str, connections: int = 1, pause: float = 0.0) -> str:
    """A bash script that asks on so many connections for ever, and writes each answer's status to a file."""
    head = ASK.format(port=LISTEN_PORT, host=anthropic.HOST, pause=pause)
    return head + " ".join(f"work {name}.{number} &" for number in range(connections)) + " wait"


@dataclass
class Spenders:
    paths: Paths
    project: Path
    client: Client
    vendor: PretendServer

    async def launch(self, name: str, connections: int = 1, pause: float = 0.0, **more: Any) -> BottleView:
        asked = LaunchRequest.model_validate(
            {
                "bottles": ("plain",),
                "command": ("/bin/bash", "-c", worker(name, connections, pause)),
                "cwd": str(self.project),
                "label": name,
                "headless": True,
                **more,
            }
        )
        return await launched(self.client, asked)

    def answers(self, name: str) -> list[str]:
        """The status of each answer that a bottle got, on all its connections."""
        files = sorted(self.project.glob(f"{name}.*.answers"))
        return [line for file in files for line in file.read_text().split()]

    def body(self, name: str) -> str:
        return (self.project / f"{name}.0.body").read_text()

    async def get(self, path: str, **query: str) -> Any:
        return json.loads(await self.client._call("GET", path, query=query))  # pyright: ignore[reportPrivateUsage]

    async def post(self, path: str, **body: Any) -> Any:
        return json.loads(await self.client._call("POST", path, body))  # pyright: ignore[reportPrivateUsage]

    @property
    def asked(self) -> int:
        """How many model calls have reached the vendor."""
        return len(self.vendor.of(anthropic.HOST, "/v1/messages"))


def turn(talk: Conversation) -> Turn:
    return Turn((Say("some words of an answer"),), Usage(EACH - 300, 100, 150, 50), delay=0.002)


@contextlib.asynccontextmanager
async def spenders(
    paths: Paths, settings: str = "", bottle: str = "", script: Script = turn
) -> AsyncIterator[Spenders]:
    """`settings` and `bottle` are more lines of settings.yml and of the bottle's file."""
    project = prepare(paths)
    (paths.bottles / "plain.md").write_text(BOTTLE.format(host=anthropic.HOST, more=bottle))
    async with PretendServer(script) as vendor:
        mapped = f'egress:\n  connect_to: {{"{anthropic.HOST}:80": "127.0.0.1:{vendor.port}"}}\n'
        paths.settings.write_text(mapped + settings)
        async with await connected(paths) as client:
            try:
                yield Spenders(paths, project, client, vendor)
            finally:
                for view in await client.bottles():
                    if view.state in LIVE:
                        await client.kill(view.slug)
                pid = (await client.status()).pid
                await client.shutdown(force=True)
                await until(lambda: not psutil.pid_exists(pid))
