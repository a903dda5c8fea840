"""Approving from the command line: a real bottle asks its sidecar by MCP, waits, and goes on with what was decided."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from app.paths import Paths
from tests.cli.test_cli_bottles import Run, at_a_terminal, command, project, run, until

pytestmark = [pytest.mark.sandbox, pytest.mark.skipif(sys.platform != "linux", reason="local bottles need Linux")]
__all__ = ["project", "run"]


def asking(host: str) -> str:
    """A shell line that asks for a host by the bottle's MCP server, and prints the answer."""
    arguments = {"host": host, "methods": ["GET"], "justification": "the tests need it"}
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "egress-allow", "arguments": arguments},
    }
    accept = "-H 'accept: application/json, text/event-stream' -H 'content-type: application/json'"
    return f"curl -sN {accept} -d {shlex.quote(json.dumps(call))} http://127.0.0.1:7878/mcp"


def waiting(run: Run) -> dict[str, Any]:
    found: list[Any] = []

    def one() -> bool:
        found[:] = json.loads(run("proposals", "--json").stdout)
        return bool(found)

    until(one, "a proposal")
    return found[0]


def test_asked_in_the_bottle_and_approved_outside(run: Run, project: Path, paths: Paths) -> None:
    if not any((Path(place) / "curl").exists() for place in os.environ["PATH"].split(":")):
        pytest.skip("no curl here")
    calls = [f"{asking(f'{name}.example')} >{name}" for name in ("new", "other", "third")]
    script = "; ".join([*calls, "touch done", "sleep 600"])
    assert run("start", "--detach", "--label", "one", "-b", "plain", "--", "sh", "-c", script).returncode == 0
    first = waiting(run)
    assert (first["slug"], first["hosts"], first["justification"]) == ("one", ["new.example"], "the tests need it")
    assert "new.example" in run("proposals").stdout
    assert "+- host: new.example" in run("approve", first["id"], "--preview").stdout
    done = run("approve", first["id"], "--reason", "fine", "--scope", "save")
    assert done.returncode == 0, done.stderr
    until(lambda: "approved" in (project / "new").read_text(), "the agent's answer")
    assert [route["host"] for route in json.loads(run("routes", "one", "--json").stdout)] == [
        "allowed.example",
        "new.example",
    ]
    assert "host: new.example" in (paths.bottles / "plain.md").read_text()
    late = run("reject", first["id"])
    assert late.returncode == 1
    assert "approved already by" in late.stderr
    second = waiting(run)
    assert (
        json.loads(run("reject", second["id"], "--reason", "use new.example", "--json").stdout)["state"] == "rejected"
    )
    third = waiting(run)
    assert run("approve", third["id"], "--scope", "15m").returncode == 0
    until((project / "done").exists, "the last answer")
    shown = run("routes", "one").stdout.partition("FOR A WHILE")[2]
    assert "third.example" in shown
    assert third["id"] in shown
    assert "new.example" not in shown
    assert "approved 15m" in run("proposals", "--all").stdout
    assert "for:     15m, until " in run("proposals", third["id"]).stdout
    assert "use new.example" in (project / "other").read_text()
    told = run("audit").stdout
    assert "reason fine, scope save, diff of " in told
    assert "{'" not in told
    actions = [row["action"] for row in json.loads(run("audit", "--json").stdout)["rows"]]
    assert [name for name in actions if name.startswith("proposal")] == [
        "proposal-approved",
        "proposal-rejected",
        "proposal-approved",
    ]


def test_routes_from_a_file(run: Run, project: Path) -> None:
    assert run("start", "--detach", "--label", "one", "-b", "plain", "--", "sleep", "600").returncode == 0
    (project / "routes.yml").write_text("routes:\n- host: allowed.example\n- host: mine.example\n")
    changed = run("routes", "one", "--file", "routes.yml", "--reason", "mine")
    assert changed.stdout.splitlines()[0] == "  +- host: mine.example", changed.stderr
    assert "nothing was changed" in run("routes", "one", "--file", "routes.yml").stdout
    (project / "routes.yml").write_text("routes:\n- hosts: x\n")
    wrong = run("routes", "one", "--file", "routes.yml")
    assert wrong.returncode == 1
    assert "hosts" in wrong.stderr
    assert run("approve", "p-nothing").returncode == 1


@pytest.mark.parametrize(("key", "wanted"), [(b"\x03", 130), (b"n\n", 1)])
def test_routes_that_cannot_be_read_are_edited_again_or_broken_off_at_once(
    run: Run, project: Path, key: bytes, wanted: int
) -> None:
    assert run("start", "--detach", "--label", "one", "-b", "plain", "--", "sleep", "600").returncode == 0
    spoil = project / "spoil"
    spoil.write_text("#!/bin/sh\necho 'routes: 7' >\"$1\"\n")
    spoil.chmod(0o755)
    process, ours, theirs = at_a_terminal(command("routes", "one", "--edit"), project, EDITOR=str(spoil))
    shown = bytearray()
    try:
        while b"Edit it again?" not in shown:
            shown += os.read(ours, 4096)
        os.write(ours, key)
        assert process.wait(60) == wanted
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
