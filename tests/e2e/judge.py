"""What every agent's end-to-end test asks: what left the bottle, what is left of a secret, what its screen shows.

The vendor's side is the judge: what it saw is what left the bottle.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.client import Client
from app.client.streams import RemoteTerminal
from app.core.model import BottleView, LaunchRequest
from app.demo.pretend.script import Conversation, Script, Turn
from app.demo.pretend.seen import Seen
from app.terminal.emulator import Emulator
from app.terminal.rows import plain_text
from sidecar.contract import CREDENTIAL_HEADERS
from sidecar.secret import Secret
from tests.e2e.cast import DONE, REFUSED
from tests.e2e.world import MARKER, Agent, World


class InProject:
    """A script that needs the project's path, which is known only once the world is made."""

    def __init__(self, make: Callable[[str], Script]) -> None:
        self._make = make
        self.folder = ""

    def __call__(self, talk: Conversation) -> Turn:
        return self._make(self.folder)(talk)


def a_world(worlds: Callable[..., World], agent: Agent, make: Callable[[str], Script]) -> World:
    script = InProject(make)
    world = worlds(script, agent)
    script.folder = str(world.project)
    return world


def start(world: World, secrets: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """One headless turn in a bottle named `turn`."""
    ran = world.run(
        "start", "dev", "--headless", "--label", "turn", "--prompt", "Write the file", "--cwd", str(world.project),
        *options, env=secrets,
    )  # fmt: skip
    assert not [value for value in secrets.values() if value in ran.stdout + ran.stderr]
    return ran


def assert_file_written(world: World, ran: subprocess.CompletedProcess[str]) -> None:
    """The turn came to its end, and the agent wrote what it was told to, as the project's owner."""
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert DONE in ran.stdout
    hello = world.project / "hello.txt"
    assert hello.read_text() == "hello\n"
    assert hello.stat().st_uid == world.project.stat().st_uid


def placeholders(world: World) -> list[str]:
    """The placeholders of the world's one session, from its record: they may lie on disk."""
    (record,) = world.paths.state.glob("bottles/*/session.json")
    return [given["value"] for given in json.loads(record.read_bytes())["placeholders"]]


def assert_no_credential_left(world: World, real: str) -> None:
    """No file of this carboy holds it: not the agent's home, transcript or record, not the project, not a log."""
    guilty = [str(path) for path in world.files() if real.encode() in path.read_bytes()]
    assert guilty == []


def assert_no_placeholder_sent(world: World) -> None:
    for value in placeholders(world):
        for seen in world.vendor.seen:
            everything = seen.body + seen.path.encode() + seen.query.encode() + "".join(seen.headers.values()).encode()
            assert value.encode() not in everything, f"the placeholder left in {seen.method} {seen.path}"


def assert_looked_around(world: World, slug: str, real: str) -> None:
    """`cast.LOOK_AROUND` ran: no credential in sight, and the other host was refused."""
    seen = (world.project / "env.txt").read_text()
    assert "HTTPS_PROXY=" in seen
    assert real not in seen
    assert "200" not in (world.project / "curl.txt").read_text()
    refused = [entry for entry in world.log(slug) if entry["host"] == REFUSED]
    assert {entry["code"] for entry in refused} == {"host_not_allowed"}
    assert not world.vendor.of(REFUSED)


def turns(world: World, host: str, *, real: str, header: str) -> list[Seen]:
    """What the vendor saw. Each request had the real credential in this header, and no other one."""
    seen = [one for one in world.vendor.of(host) if one.method != "WS"]
    assert seen
    others = CREDENTIAL_HEADERS - {header}
    assert {one.headers.get(header) for one in seen} == {real}
    assert not [one.path for one in seen if others & one.headers.keys()]
    return seen


def whole_turn(world: World, variable: str, key: str, *, header: str, scheme: str = "") -> list[Seen]:
    """What the vendor saw of one headless turn that looks around. No credential is where it must not be."""
    assert_file_written(world, start(world, {variable: key}))
    seen = turns(world, world.agent.hosts[0], real=scheme + key, header=header)
    assert MARKER in "".join(one.body.decode() for one in world.vendor.seen)
    assert_looked_around(world, "turn", key)
    assert_no_placeholder_sent(world)
    assert_no_credential_left(world, key)
    return seen


def egress(world: World, slug: str) -> set[tuple[str, str, str]]:
    """Decision, host and path of all requests."""
    return {(entry["decision"], entry["host"], entry["path"].partition("?")[0]) for entry in world.log(slug)}


def screen(emulator: Emulator) -> str:
    return "\n".join(plain_text(emulator.line(row)) for row in range(emulator.rows))


@dataclass
class Seat:
    """A terminal before which the test sits."""

    slug: str
    client: Client
    terminal: RemoteTerminal
    emulator: Emulator

    @property
    def text(self) -> str:
        return screen(self.emulator)

    async def shows(self, text: str, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, f"{text!r} never came:\n{self.text}"
            await asyncio.sleep(0.05)

    async def type(self, text: str) -> None:
        await self.terminal.write(text.encode())


@asynccontextmanager
async def seated(world: World, secrets: dict[str, str]) -> AsyncIterator[Seat]:
    """An interactive session of the world's agent; it is killed at the end."""
    request = LaunchRequest(
        agent="dev", cwd=str(world.project), rows=30, cols=100, label="talk",
        env={name: Secret(value) for name, value in secrets.items()},
    )  # fmt: skip
    async with await Client.connect(world.paths) as client:
        views = [step async for step in client.launch(request) if isinstance(step, BottleView)]
        slug = views[0].slug
        terminal = await client.terminal(slug, 30, 100)
        seat = Seat(slug, client, terminal, Emulator(100, 30, lambda _: None))

        async def follow() -> None:
            async for data in terminal.output():
                seat.emulator.feed(data)

        following = asyncio.get_running_loop().create_task(follow())
        try:
            yield seat
        finally:
            following.cancel()
            await terminal.close()
            await client.kill(slug)
            await client.wait(slug)


async def assert_memory_is_clean(world: World, real: str, *, known: str) -> None:
    """No process of the agent holds the secret; that it is looked for rightly is shown by a text which they do."""
    processes = list(agents_processes(world))
    assert processes
    try:
        held = [await asyncio.to_thread(memory_holds, pid, known.encode()) for pid in processes]
    except PermissionError:
        pytest.skip("this system lets nobody but root read the memory of a process")
    assert any(held)
    leaked = [pid for pid in processes if await asyncio.to_thread(memory_holds, pid, real.encode())]
    assert leaked == []


def assert_environment_is_clean(world: World, real: str) -> None:
    """No process of the agent has it in its environment or its arguments, where the placeholder is."""
    found = [Path(f"/proc/{pid}") for pid in agents_processes(world)]
    assert found
    seen = [(folder / name).read_bytes() for folder in found for name in ("environ", "cmdline")]
    assert not [text for text in seen if real.encode() in text]
    assert any(value.encode() in text for value in placeholders(world) for text in seen)


def agents_processes(world: World) -> Iterator[int]:
    """Processes that have the bottle's canary in their environment: the agent and its children."""
    (record,) = world.paths.state.glob("bottles/*/session.json")
    mark = f"{json.loads(record.read_bytes())['canary_name']}=".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (environment := (folder / "environ").read_bytes()) and b"CARBOY=1" in environment:
                yield int(folder.name)
        except OSError:
            continue


def memory_holds(pid: int, needle: bytes) -> bool:
    """Whether the bytes are anywhere in the private, writable memory of a process."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, mode, *_ = line.split()
            if not mode.startswith("rw"):
                continue
            start, end = (int(number, 16) for number in span.split("-"))
            if _range_holds(memory.fileno(), start, end, needle):
                return True
    return False


def _range_holds(descriptor: int, start: int, end: int, needle: bytes, step: int = 1 << 22) -> bool:
    kept = b""
    for offset in range(start, end, step):
        try:
            piece = os.pread(descriptor, min(step, end - offset), offset)
        except OSError:
            return False
        if needle in kept + piece:
            return True
        kept = piece[-len(needle) :]
    return False
