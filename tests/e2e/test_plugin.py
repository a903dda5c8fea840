"""The provider of docs/providers.md, taken from the page, installed as a package, and run in a real bottle."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from app.demo.pretend.script import Say, Turn
from app.demo.pretend.seen import Seen
from tests.e2e.judge import assert_no_credential_left, assert_no_placeholder_sent, placeholders
from tests.e2e.world import ROOT, Agent, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
HOST = "api.parrot.example"
KEY = "prt-REAL-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
PROGRAM = """#!/bin/sh
model=none
[ "$1" = --model ] && { model=$2; shift 2; }
[ "$1" = -- ] && shift
curl -sS --fail-with-body -H "x-api-key: $PARROT_KEY" -H "x-model: $model" -H "content-type: application/json" \\
    --data "{\\"say\\": \\"$1\\"}" https://api.parrot.example/v1/say
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the example was installed into."""
    page = (ROOT / "docs/providers.md").read_text().split("## A provider of your own")[1].split("\n## ")[0]
    source = tmp_path_factory.mktemp("parrot")
    (project,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (source / "pyproject.toml").write_text(project)
    (source / "carboy_parrot.py").write_text(code)
    target = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index",
         "--target", target, source],
        check=True, capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return target


@pytest.fixture
def world(worlds: Callable[..., World], package: Path) -> World:
    made = worlds(lambda _: Turn((Say("x"),)), Agent((), "template: parrot, settings: {model: jack}", (HOST,)))
    program = made.root / "bin/parrot"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    made.env["PATH"] = f"{program.parent}:{made.env['PATH']}"
    made.env["PYTHONPATH"] = str(package)

    async def says(request: web.Request, seen: Seen) -> web.StreamResponse:
        return web.json_response({"said": f"{json.loads(seen.body)['say']} (as {seen.headers['x-model']})"})

    made.vendor.handlers[HOST] = says
    return made


def test_it_runs_as_the_built_in_ones_do(world: World) -> None:
    ran = world.run(
        "start", "dev", "--headless", "--prompt", "hello there", "--model", "polly", "--cwd", str(world.project),
        env={"PARROT_KEY": KEY},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert "hello there (as polly)" in ran.stdout
    (seen,) = world.vendor.of(HOST)
    assert (seen.path, seen.headers["x-api-key"]) == ("/v1/say", KEY)
    (value,) = placeholders(world)
    assert value.startswith("prt-carboy-dev")
    assert_no_placeholder_sent(world)
    assert_no_credential_left(world, KEY)


def test_its_exit_code_is_the_sessions(world: World) -> None:
    world.vendor.handlers[HOST] = world.vendor.refuse
    ran = world.run("start", "dev", "--headless", "--prompt", "x", "--cwd", str(world.project), env={"PARROT_KEY": KEY})
    assert ran.returncode == 22, ran.stderr + ran.stdout


def test_it_is_known_everywhere(world: World) -> None:
    listed = world.run("models", "--bottle", "box")
    assert listed.stdout.split() == ["polly", "jack"] or "jack  (this bottle uses it)" in listed.stdout, listed.stderr
    assert "Parrot, tried >=1.0,<2" in listed.stderr
    assert "Parrot 1.0" in world.run("doctor").stdout


def test_what_is_missing_is_said_in_its_words(world: World) -> None:
    ran = world.run("start", "dev", "--headless", "--prompt", "x", "--cwd", str(world.project))
    assert ran.returncode == 1
    assert "PARROT_KEY" in ran.stderr
    assert "carboy secret set PARROT_KEY" in ran.stderr
    (world.root / "bin/parrot").unlink()
    ran = world.run("start", "dev", "--headless", "--prompt", "x", "--cwd", str(world.project), env={"PARROT_KEY": KEY})
    assert ran.returncode == 1
    assert "npm install -g parrot" in ran.stderr
    box = world.paths.bottles / "box.md"
    box.write_text("---\nagent_provider: {template: parrot, settings: {loudness: 11}}\n---\n")
    ran = world.run("start", "dev", "--headless", "--prompt", "x", "--cwd", str(world.project), env={"PARROT_KEY": KEY})
    assert ran.returncode == 1
    assert "knows no setting 'loudness'" in ran.stderr
    assert "volume" in ran.stderr
