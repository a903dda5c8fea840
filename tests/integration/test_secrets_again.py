"""Secrets that came by environment go with the controller: a restarted sidecar says which it lacks, and gets them."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import trustme

from app.client import Client
from app.core.model import BottleView, LaunchRequest
from app.errors import CarboyError
from app.paths import Paths
from app.processes.identity import same
from sidecar.secret import Secret
from tests.conftest import until
from tests.controllers import connected
from tests.integration.launching import prepare

pytestmark = pytest.mark.sandbox
BOTTLE = """---
agent_provider: {template: shell}
env:
  TOKEN: {secret: FIRST_TOKEN}
egress:
  routes:
    - host: allowed.example
      auth: {scheme: Bearer, token_ref: FIRST_TOKEN}
    - host: other.example
      auth: {scheme: Bearer, token_ref: OTHER_TOKEN}
---
"""
ASK = (
    "import urllib.request as u, urllib.error as e, os\n"
    "headers = {'Authorization': 'Bearer ' + os.environ['TOKEN']}\n"
    "try: print(u.urlopen(u.Request('https://allowed.example/', headers=headers)).read())\n"
    "except e.HTTPError as x: print(x.code, x.read().decode())\n"
    "except Exception as x: print(x)\n"
)


@asynccontextmanager
async def upstream(paths: Paths) -> AsyncIterator[list[str]]:
    """A server that every name leads to; gives the credentials that it saw, the last one last."""
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.extend(line.partition(": ")[2] for line in head.splitlines() if line.lower().startswith("authorization"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("allowed.example").configure_cert(tls)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    (paths.config / "ca.pem").write_bytes(authority.cert_pem.bytes())
    paths.settings.write_text(
        f"egress:\n  extra_ca: [{paths.config / 'ca.pem'}]\n"
        f'  connect_to: {{"allowed.example:443": "127.0.0.1:{port}"}}\n'
    )
    async with server:
        yield seen


async def test_missing_secrets_are_shown_and_given_again(paths: Paths) -> None:
    project = prepare(paths)
    async with upstream(paths) as seen:
        await _life(paths, project, seen)


async def _life(paths: Paths, project: Path, seen: list[str]) -> None:
    (paths.bottles / "keyed.md").write_text(BOTTLE)
    (project / "ask.py").write_text(ASK)
    given = {"FIRST_TOKEN": Secret("first-value-123456"), "OTHER_TOKEN": Secret("other-value-123456")}
    async with await connected(paths) as client:
        try:
            await _story(client, paths, project, given, seen)
        finally:
            for view in await client.bottles():
                await client.kill(view.slug) if view.state == "running" else None
            await client.shutdown(force=True)


async def _story(client: Client, paths: Paths, project: Path, given: dict[str, Secret], seen: list[str]) -> None:
    from app.controller import record

    script = "while :; do python3 ask.py > answer.new 2>&1; mv answer.new answer; sleep 0.2; done"
    request = LaunchRequest(
        bottles=("keyed",), command=("/bin/sh", "-c", script), cwd=str(project), label="one", headless=True, env=given
    )
    async for _ in client.launch(request):
        pass
    assert (await client.bottle("one")).missing_secrets == ()
    rows = (await client.audit())["rows"]
    used = [row["detail"]["secrets"] for row in rows if row["action"] == "secrets-used"]
    assert used == [{"FIRST_TOKEN": "environment", "OTHER_TOKEN": "environment"}]

    await until(lambda: seen)

    killed = (await client.status()).pid
    os.kill(killed, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(killed))
    # the sidecar lived on with its secrets, and the next controller knows none of them: a part would replace the whole
    with pytest.raises(CarboyError) as caught:
        await client.give_secrets("one", {"FIRST_TOKEN": Secret("x" * 20)})
    assert caught.value.code == "secret_missing"
    assert "OTHER_TOKEN" in caught.value.message

    kept = record.load(paths.session_state("one"))
    assert kept is not None
    assert kept.sidecar is not None
    os.kill(kept.sidecar.pid, signal.SIGKILL)
    await until(lambda: not same(kept.sidecar.identity) if kept.sidecar else True)

    async def lacking() -> BottleView | None:
        view = await client.bottle("one")
        return view if view.missing_secrets and view.sidecar.state == "healthy" else None

    view = await until(lacking)
    assert isinstance(view, BottleView)
    assert view.missing_secrets == ("FIRST_TOKEN", "OTHER_TOKEN")
    assert view.attention == 90
    await until(lambda: "credential_missing" in answer(project))

    with pytest.raises(CarboyError) as caught:
        await client.give_secrets("one", {"UNHEARD_OF": Secret("x")})
    assert caught.value.code == "secret_unknown"
    assert (await client.give_secrets("one", {"FIRST_TOKEN": given["FIRST_TOKEN"]})).missing_secrets == ("OTHER_TOKEN",)
    seen.clear()
    await until(lambda: seen)
    assert set(seen) == {"Bearer first-value-123456"}
    assert (await client.give_secrets("one", given)).missing_secrets == ()
    for file in (path for folder in (paths.state, paths.run) for path in folder.rglob("*") if path.is_file()):
        assert b"first-value-123456" not in file.read_bytes(), file


def answer(project: Path) -> str:
    try:
        return (project / "answer").read_text()
    except OSError:
        return ""
