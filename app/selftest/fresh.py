"""The self-test of a backend: a private controller launches one bottle of it, and the agent is the attack.

Everything is in folders of its own, and nothing stays. A running bottle is attacked through its controller instead.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.client import Client
from app.core.model import BottleView, LaunchRequest
from app.errors import CarboyError
from app.paths import Paths
from app.selftest import findings, runner
from app.selftest.findings import Finding
from app.tasks import run as run_loop

ALLOWED = "allowed.carboy-selftest.example"
SECONDS = 300.0
COLUMNS = 1000
"""As wide as a terminal can be: no line of a finding is wrapped."""
OWN_KERNEL_MEMORY = 1024**3
"""Under another runtime: a kernel of its own needs some for each process."""
_BOTTLE = f"""---
agent_provider: {{template: shell}}
limits: {{memory: %d, pids: {runner.LIMITS.pids}}}
egress:
  routes:
    - host: {ALLOWED}
---
"""

type Tell = Callable[[str], None]


def run(
    backend: str, image_base: str | None, tell: Tell, runtime: str | None = None
) -> tuple[BottleView, list[Finding]]:
    """The bottle as it ended, and what the probes found. Raises CarboyError where it could not be tried."""
    memory = OWN_KERNEL_MEMORY if runtime else runner.LIMITS.memory or 0
    with runner.folders() as (base, project), runner.victims(base / "victims") as facts:
        paths = Paths.resolve({"CARBOY_HOME": str(base / "home")})
        _write(paths, image_base, runtime, memory)
        with _home(paths):
            view, output = run_loop(_attack(paths, backend, project, facts | own_facts(project, memory), tell))
        found, ended = findings.parse(output)
        if not ended and b"@@last" in output and view.error.startswith("out of memory"):
            found.append(Finding("resources.memory", "held", "the whole bottle was ended, at limits.memory"))
        elif not ended:
            said = output[-300:].decode(errors="replace")
            reason = view.error or ("the bottle has no Python" if b"@@no-python" in output else said)
            raise CarboyError(f"The probes ended early, after {len(found)}: {reason}", "", "selftest")
        return view, [*found, runner.judged_outside(project)]


@contextlib.contextmanager
def _home(paths: Paths) -> Iterator[None]:
    """The controller that is started takes its folders from the environment."""
    before = {name: os.environ.pop(name, None) for name in ("CARBOY_HOME", "CARBOY_BACKEND", "CARBOY_DRY_RUN")}
    os.environ["CARBOY_HOME"] = str(paths.config.parent)
    try:
        yield
    finally:
        os.environ.pop("CARBOY_HOME")
        os.environ.update({name: value for name, value in before.items() if value is not None})


def own_facts(project: Path, memory: int) -> dict[str, Any]:
    return {
        "project": str(project),
        "beside_project": "beside",
        "limits": {"memory": memory, "pids": runner.LIMITS.pids},
        "facts": "facts.json",
        "allowed_host": ALLOWED,
    }


def _write(paths: Paths, image_base: str | None, runtime: str | None, memory: int) -> None:
    paths.bottles.mkdir(parents=True)
    named = f"---\nruntime: {json.dumps(runtime)}\n" if runtime else "---\n"
    (paths.bottles / "selftest.md").write_text((_BOTTLE % memory).replace("---\n", named, 1))
    base = f"image_base: {image_base}\n" if image_base else ""
    paths.settings.write_text(f"idle_exit_minutes: 1\n{base}")


async def _attack(
    paths: Paths, backend: str, project: Path, facts: dict[str, Any], tell: Tell
) -> tuple[BottleView, bytes]:
    request = LaunchRequest(
        bottles=("selftest",), command=findings.command(facts), label="selftest", backend=backend, cwd=str(project),
        rows=50, cols=COLUMNS,
    )  # fmt: skip
    client = await Client.connect(paths)
    try:
        async with client:
            view: BottleView | None = None
            async for item in client.launch(request):
                if isinstance(item, BottleView):
                    view = item
                elif item.detail:
                    tell(item.detail)
            assert view is not None
            tell(f"attacking from inside {view.backend}/{view.engine or view.isolation}")
            async with asyncio.timeout(SECONDS):
                view = await client.wait("selftest")
            return view, await _printed(client)
    finally:
        with contextlib.suppress(CarboyError):
            async with Client(paths, start=False) as last:
                with contextlib.suppress(CarboyError):
                    await last.kill("selftest")
                await last.shutdown(force=True)


async def _printed(client: Client) -> bytes:
    terminal = await client.terminal("selftest", 50, COLUMNS)
    output = bytearray()
    try:
        async for data in terminal.output():
            output += data
    finally:
        await terminal.close()
    return bytes(output)
