"""One carboy of its own for a test: a home, a project, its controller, and the pretend vendor behind it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.client import Client
from app.demo.pretend import anthropic
from app.demo.pretend.server import PretendServer
from app.paths import Paths
from tests.controllers import stopped
from tests.fork_server import carboy

ROOT = Path(__file__).resolve().parents[2]
REAL_KEY = "sk-ant-api03-REALREALREAL-3f9a1c77d2e84b0c9d5e6f708192a3b4"
REAL_TOKEN = "sk-ant-oat01-REALTOKEN-91b2c3d4e5f60718293a4b5c6d7e8f90"
MARKER = "You are the tester of bottles, marker 5d1f."
AGENT = f"---\nbottle: box\n---\n{MARKER}\n"


@dataclass(frozen=True)
class Agent:
    """One agent CLI under test: what npm packages it takes, its `agent_provider`, and the hosts that are pretended."""

    packages: tuple[str, ...]
    provider: str
    hosts: tuple[str, ...]

    @property
    def bottle(self) -> str:
        return f"---\nagent_provider: {{{self.provider}}}\negress: {{log: 2}}\n---\n"


CLAUDE = Agent(("claude-code",), "template: claude", (anthropic.HOST,))


@dataclass
class World:
    """One CARBOY_HOME with its own controller, a project, and the pretend vendor that its bottles reach."""

    root: Path
    project: Path
    vendor: PretendServer
    agent: Agent = CLAUDE
    env: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """A program that runs carboy, where a test needs one."""

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def paths(self) -> Paths:
        return Paths.resolve({"CARBOY_HOME": str(self.home)})

    def write(self, ca_pem: bytes) -> None:
        config = self.paths.config
        mapped = ", ".join(f'"{host}:443": "127.0.0.1:{self.vendor.port}"' for host in self.agent.hosts)
        for name, text in (
            ("agents/dev.md", AGENT),
            ("bottles/box.md", self.agent.bottle),
            ("vendor-ca.pem", ca_pem.decode()),
            (
                "settings.yml",
                f"egress:\n  extra_ca: [{config}/vendor-ca.pem]\n  connect_to: {{{mapped}}}\n",
            ),
        ):
            path = config / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """`carboy ARGUMENTS` as a process of its own."""
        environ = {**self.env, **(env or {})}
        if not self.prefix and "PYTHONPATH" not in environ:  # which is read when an interpreter starts
            return carboy(*arguments, cwd=ROOT, environ=environ, timeout=400)
        return subprocess.run(
            [*self.prefix, sys.executable, "-m", "app", *arguments],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )

    def asked[T](self, question: Callable[[Client], Awaitable[T]]) -> T:
        """What its controller, which runs, answers. For who looks again and again: a command is a process each time."""

        async def ask() -> T:
            async with await Client.connect(self.paths, start=False) as client:
                return await question(client)

        return asyncio.run(ask())

    def log(self, slug: str, *options: str) -> list[dict[str, Any]]:
        """The egress events of a bottle, as `carboy logs --json` shows them."""
        ran = self.run("logs", slug, "--json", *options)
        assert ran.returncode == 0, ran.stderr
        return [entry["data"] for entry in json.loads(ran.stdout) if entry["kind"] == "egress"]

    def files(self) -> Iterator[Path]:
        """Every file that this carboy left anywhere."""
        return (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())

    def end(self) -> None:
        """Ends what a failed test left running: bottles go on without their controller."""
        slugs = [record.parent.name for record in self.paths.state.glob("bottles/*/session.json")]
        if slugs:
            self.run("kill", *slugs)
        stopped(self.paths)
