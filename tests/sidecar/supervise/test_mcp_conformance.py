"""The public MCP conformance suite against the sidecar's server, for what it offers: tools over streamable HTTP."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.e2e.packages import installed
from tests.sidecar.proxy_kit import bottle
from tests.sidecar.supervise.mcp_kit import ROUTES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
OWN = ("server-initialize", "ping", "tools-list", "dns-rebinding-protection", "server-sse-multiple-streams")
FIXTURES = (
    *OWN,
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-error",
    "tools-call-with-progress",
    "json-schema-2020-12",
)
"""Not offered, so not asked: logging, completion, resources, prompts, sampling and elicitation (a bottle's server never
asks the agent anything), and the polling that needs stored events."""


def suite() -> list[str]:
    """The command. It needs Node 22; an older one on PATH is passed over for npm's."""
    script = installed("mcp-conformance").parent / "@modelcontextprotocol/conformance/dist/index.js"
    node = next(
        (path for path in (installed("node") / "node", Path(shutil.which("node") or "")) if path.exists()), None
    )
    if node is None or not script.exists():
        pytest.skip("the conformance suite did not install")
    return [str(node), str(script)]


@pytest.mark.parametrize(("main", "scenarios"), [("", OWN), ("tests.sidecar.supervise.conformance_main", FIXTURES)])
async def test_conformance(main: str, scenarios: tuple[str, ...], tmp_path: Path) -> None:
    command = await asyncio.to_thread(suite)
    failed: dict[str, str] = {}
    async with bottle(*ROUTES, main=main) as box:
        for scenario in scenarios:
            process = await asyncio.create_subprocess_exec(
                *command,
                "server",
                "--url",
                f"http://localhost:{box.port}/mcp",
                "--scenario",
                scenario,
                cwd=tmp_path,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await asyncio.wait_for(process.communicate(), 60)
            if process.returncode:
                failed[scenario] = output.decode()[:1500]
    assert failed == {}
