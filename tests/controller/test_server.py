"""The API over its real socket with the real client: answers, errors, streams, and clients that behave badly."""

import asyncio
import io
import json
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.client import Client, api
from app.controller.api import Parts
from app.controller.audit import Audit
from app.controller.events import Bus
from app.controller.proposals import Proposals
from app.controller.server import Activity, Server
from app.core.model import Doctor, LaunchRequest, LaunchStep
from app.errors import CarboyError, NotFound, Refused
from app.paths import Paths, private_folder
from app.store.base import NewEvent
from app.store.sqlite import SqliteStore
from app.tasks import cancel_and_wait, spawn
from sidecar.secret import Secret
from tests.conftest import until
from tests.controller.desk import TestDesk
from tests.controller.standin import Registry, view


@dataclass
class Room:
    paths: Paths
    parts: Parts
    server: Server
    bottles: Registry
    bus: Bus
    client: Client
    stopped: list[bool]
    activity: Activity


@pytest.fixture
async def room(paths: Paths) -> AsyncIterator[Room]:
    private_folder(paths.state)
    store = SqliteStore(paths.database)
    await store.open()
    bus = Bus(store, queue_limit=200)
    await bus.start()
    audit = Audit(paths, store)
    await audit.start()
    bottles, stopped, activity = Registry(), [], Activity()

    async def doctor() -> Doctor:
        return Doctor()

    proposals = Proposals(store, bus, audit, TestDesk(paths), paths)
    parts = Parts(paths, store, bus, audit, bottles, doctor, lambda: stopped.append(True), proposals=proposals)
    server = Server(parts, paths.controller_socket, activity)
    await server.start()
    client = await Client.connect(paths, start=False)
    yield Room(paths, parts, server, bottles, bus, client, stopped, activity)
    await client.close()
    await server.close()
    await store.close()


def event(identity: str, **more: Any) -> NewEvent:
    return NewEvent(identity, 1.0, "egress", {"id": identity, **more}, str(more.get("decision", "allow")))


async def test_status_and_modes(room: Room) -> None:
    status = await room.client.status()
    assert (status.pid, status.bottles, status.last_seq) == (os.getpid(), 0, 0)
    assert stat.S_IMODE(room.paths.controller_socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(room.paths.run.stat().st_mode) == 0o700


async def test_bottles_and_what_can_be_done_to_them(room: Room) -> None:
    room.bottles.all["dev"] = view("dev")
    assert [item.slug for item in await room.client.bottles()] == ["dev"]
    assert (await room.client.bottle("dev")).state == "running"
    assert (await room.client.freeze("dev")).state == "frozen"
    with pytest.raises(CarboyError) as caught:
        await room.client.freeze("dev")
    assert caught.value.code == "wrong_state"
    assert (await room.client.thaw("dev")).state == "running"
    assert (await room.client.restart_sidecar("dev")).slug == "dev"
    assert await room.client.routes("dev") == [{"host": "example.com"}]
    assert (await room.client.stop("dev")).exit_code == 0
    assert (await room.client.wait("dev")).state == "ended"
    assert (await room.client.cleanup()).removed == ("a thing",)
    rows = (await room.client.audit())["rows"]
    assert [row["action"] for row in rows] == ["freeze", "freeze", "thaw", "restart-sidecar", "stop", "cleanup"]


async def test_an_unknown_bottle_is_not_found(room: Room) -> None:
    for call in (room.client.bottle, room.client.stop, room.client.routes, room.client.wait, room.client.terminal):
        with pytest.raises(NotFound, match="no bottle nobody"):
            await call("nobody")
    assert (await room.client.audit())["rows"] == []


@pytest.mark.parametrize("name", ["..", "../../etc", "A", "a b", "x" * 64, "%2e%2e", "-a", "a\n", "ä", ""])
async def test_a_name_that_cannot_be_one_reaches_nothing(room: Room, name: str) -> None:
    with pytest.raises(CarboyError) as caught:
        await room.client.stop(name)
    assert caught.value.code in ("bad_name", "bad_request")


async def test_remembered_sessions_answer_for_bottles_that_are_gone(room: Room) -> None:
    await room.parts.store.save_session(view("old", state="ended", exit_code=0))
    assert (await room.client.bottle("old")).state == "ended"
    assert (await room.client.wait("old")).exit_code == 0
    assert [item.slug for item in await room.client.bottles(ended=True)] == ["old"]
    assert await room.client.bottles() == []


async def test_shutdown_is_refused_while_bottles_run(room: Room) -> None:
    room.bottles.all["dev"] = view("dev")
    with pytest.raises(Refused) as caught:
        await room.client.shutdown()
    assert caught.value.code == "bottles_running"
    assert room.stopped == []
    await room.client.shutdown(force=True)
    assert room.stopped == [True]


async def raw(room: Room, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    connector = aiohttp.UnixConnector(str(room.paths.controller_socket))
    async with (
        aiohttp.ClientSession("http://x", connector=connector) as http,
        http.request(method, path, data=io.BytesIO(body) if body else None) as response,
    ):
        return response.status, json.loads(await response.read())


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/launch", b"not json", 400),
        ("POST", "/v1/launch", b'{"cwd": "/", "surprise": 1}', 400),
        ("POST", "/v1/launch", b'{"cwd": 7}', 400),
        ("POST", "/v1/launch", b'{"cwd": "/", "rows": 0}', 400),
        ("POST", "/v1/launch", b"[" * 100_000, 400),
        ("POST", "/v1/preflight", b"", 400),
        ("POST", "/v1/launch", b" " * (5 * 1024 * 1024), 413),
        ("GET", "/v1/log?limit=0", b"", 400),
        ("GET", "/v1/log?limit=x", b"", 400),
        ("GET", "/v1/log?limit=1&limit=2", b"", 400),
        ("GET", "/v1/log?decision=maybe", b"", 400),
        ("GET", "/v1/log?what=1", b"", 400),
        ("GET", "/v1/events?since=-1", b"", 400),
        ("GET", "/v1/nothing", b"", 404),
        ("PUT", "/v1/status", b"", 405),
        ("POST", "/v1/bottles/dev/explode", b"", 404),
        ("DELETE", "/v1/launch/zzz", b"", 404),
        ("POST", "/v1/shutdown", b'{"force": "perhaps"}', 400),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_bad_requests_get_an_answer(room: Room, method: str, path: str, body: bytes, status: int) -> None:
    found, answer = await raw(room, method, path, body)
    assert found == status
    assert answer["message"]
    assert answer["code"]
    assert (await room.client.status()).pid == os.getpid()


async def test_an_answer_never_repeats_a_secret(room: Room) -> None:
    body = json.dumps({"cwd": "/", "secrets": {"TOKEN": ["hunter2hunter2"]}, "env": {"A": {"hunter2hunter2": 1}}})
    status, answer = await raw(room, "POST", "/v1/launch", body.encode())
    assert status == 400
    assert "hunter2" not in json.dumps(answer)


async def test_garbage_on_the_socket_hurts_nobody(room: Room) -> None:
    for data in (
        b"\x00" * 1000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"A" * 100_000,
        b"POST /v1/launch HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    ):
        _, writer = await asyncio.open_unix_connection(str(room.paths.controller_socket))
        writer.write(data)
        writer.close()
    assert (await room.client.status()).pid == os.getpid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")
async def test_another_user_gets_nothing(room: Room) -> None:
    # what protects the socket is its folder; here the way in is left open, to see the second wall
    for folder in (room.paths.run, room.paths.run.parent):
        folder.chmod(0o755)
    room.paths.controller_socket.chmod(0o777)
    code = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "s.sendall(b'GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "print(s.makefile().readline())"
    )
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/python3", "-c", code, str(room.paths.controller_socket), stdout=-1, cwd="/"
    )
    out, _ = await process.communicate()
    assert b" 403 " in out


async def test_a_launch_streams_its_steps(room: Room) -> None:
    room.bottles.gate.set()
    request = LaunchRequest(cwd="/", label="new", secrets={"TOKEN": Secret("s3cret-value")})
    found = [item async for item in room.client.launch(request)]
    assert [(item.step, item.state) for item in found if isinstance(item, LaunchStep)] == [
        ("one", "running"),
        ("one", "done"),
    ]
    assert found[-1] == view("new")
    assert room.bottles.launched[0].secrets["TOKEN"].reveal() == "s3cret-value"
    (row,) = (await room.client.audit())["rows"]
    assert (row["action"], row["slug"], row["detail"]["typed_secrets"]) == ("launch", "new", ["TOKEN"])
    assert b"s3cret-value" not in room.paths.database.read_bytes()


@pytest.mark.parametrize(("prompt", "code"), [("fail", "broken"), ("crash", "internal")])
async def test_a_failed_launch_says_why(room: Room, prompt: str, code: str) -> None:
    with pytest.raises(CarboyError) as caught:
        _ = [item async for item in room.client.launch(LaunchRequest(cwd="/", prompt=prompt))]
    assert caught.value.code == code


async def test_a_launch_outlives_its_client(room: Room) -> None:
    async for item in room.client.launch(LaunchRequest(cwd="/", label="new")):
        assert isinstance(item, LaunchStep)
        break
    await room.client.close()
    room.bottles.gate.set()
    other = await Client.connect(room.paths, start=False)
    await until(lambda: "new" in room.bottles.all)
    assert (await other.bottle("new")).state == "running"
    await other.close()


async def test_a_launch_can_be_cancelled(room: Room) -> None:
    async def launch() -> None:
        async for item in room.client.launch(LaunchRequest(cwd="/")):
            assert isinstance(item, LaunchStep)
            await room.client.cancel_launch(item.session_id)
            assert room.bottles.undone.is_set()

    with pytest.raises(CarboyError) as caught:
        await launch()
    assert caught.value.code == "launch_cancelled"


async def test_the_terminal_both_ways(room: Room) -> None:
    room.bottles.all["dev"] = view("dev")
    terminal = await room.client.terminal("dev", 30, 100)
    stream = terminal.output()
    assert await anext(stream) == b"ready "
    await terminal.write(b"hello\x00\xff")
    assert await anext(stream) == b"hello\x00\xff"
    await terminal.resize(40, 120)
    assert await anext(stream) == b"[40x120]"
    await terminal.write(b"exit")
    assert [data async for data in stream] == []
    await terminal.close()
    await asyncio.wait_for(room.bottles.terminals[0].closed.wait(), 10)


async def test_a_paste_longer_than_one_message_arrives(room: Room) -> None:
    room.bottles.all["dev"] = view("dev")
    terminal = await room.client.terminal("dev")
    stream = terminal.output()
    assert await anext(stream) == b"ready "
    paste = bytes(range(256)) * (3 * 1024 * 1024 // 256)
    await terminal.write(paste)
    arrived = bytearray()
    async for data in stream:
        arrived += data
        if len(arrived) >= len(paste):
            break
    assert arrived == paste
    await terminal.close()


async def test_a_terminal_client_that_does_not_read_slows_only_itself(room: Room) -> None:
    room.bottles.all["dev"] = view("dev")
    room.bottles.flood = 64 * 1024 * 1024
    terminal = await room.client.terminal("dev")
    held = room.bottles.terminals[0]
    before = -1
    while held.sent != before:
        before = held.sent
        assert (await room.client.status()).bottles == 1
        await asyncio.sleep(0.1)
    assert held.sent <= 2 * 65536, "a window, and the piece that did not fit in any more"
    await terminal.close()
    await asyncio.wait_for(held.closed.wait(), 10)


async def test_input_that_waits_for_output_to_be_taken_does_not_stop_both(room: Room) -> None:
    """A program that prints what it is sent reads no more while nobody takes its output; that it was taken is said
    behind the input that it does not read."""
    room.bottles.all["dev"] = view("dev")
    room.bottles.flood = 512 * 1024 * 1024
    terminal = await room.client.terminal("dev")
    held = room.bottles.terminals[0]
    held.room = 16384
    paste = b"p" * 3_000_000
    writing = spawn(terminal.write(paste), name="paste")
    whole, arrived = len(b"ready ") + room.bottles.flood + len(paste), 0
    async with asyncio.timeout(60):
        async for data in terminal.output():
            arrived += len(data)
            if arrived >= whole:
                break
        await writing
    assert arrived == whole
    await terminal.close()


async def test_a_broken_message_ends_a_terminal(room: Room) -> None:
    room.bottles.all["dev"] = view("dev")
    for message in ("not json", '{"resize": [0, 0]}', '{"resize": ["a", "b"]}', '{"x": 1}'):
        terminal = await room.client.terminal("dev")
        await terminal._send(message)  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(CarboyError, match="lost"):
            _ = [data async for data in terminal.output()]
        await terminal.close()


async def test_events_resume_over_a_restart_of_the_controller(room: Room) -> None:
    found: list[tuple[str, str]] = []
    states: list[str] = []
    room.client.on_state = states.append

    async def listen() -> None:
        async for item in room.client.events(since=0):
            found.append((item.kind, item.data.get("id", "")))

    await room.bus.keep("dev", "s1", [event("a")])
    task = spawn(listen(), name="listener")
    await until(lambda: ("egress", "a") in found)
    await room.server.close()
    await until(lambda: "reconnecting" in states)
    bus = Bus(room.parts.store)
    await bus.start()
    await bus.keep("dev", "s1", [event("b")])
    room.parts.bus = bus
    second = Server(room.parts, room.paths.controller_socket)
    await second.start()
    await until(lambda: ("egress", "b") in found)
    bus.bottle(view("dev"))
    await until(lambda: any(kind == "bottle" for kind, _ in found))
    assert [entry for entry in found if entry[0] == "egress"] == [("egress", "a"), ("egress", "b")]
    assert ("lagged", "") in found
    assert states[-1] == "connected"
    await cancel_and_wait(task)
    await second.close()


async def test_a_slow_event_client_loses_nothing_that_is_kept(room: Room) -> None:
    await room.bus.keep("dev", "s1", [event("first")])
    found: list[str] = []
    async for item in room.client.events(since=0):
        if item.kind != "egress":
            continue
        found.append(item.data["id"])
        if len(found) == 1:
            # while we do not read, far more happens than fits into any queue
            for batch in range(30):
                await room.bus.keep("dev", "s1", [event(f"{batch}-{n}", fill="x" * 2000) for n in range(100)])
        if len(found) == 3001:
            break
    assert found == ["first", *(f"{batch}-{n}" for batch in range(30) for n in range(100))]


async def test_log_queries(room: Room) -> None:
    await room.bus.keep("dev", "s1", [event("a"), event("b", decision="deny")])
    await room.bus.keep("ops", "s2", [event("c", decision="hold")])
    assert [item.data["id"] for item in await room.client.log()] == ["a", "b", "c"]
    assert [item.data["id"] for item in await room.client.log(slug="dev", limit=1)] == ["b"]
    assert [item.data["id"] for item in await room.client.log(decision="blocked")] == ["b", "c"]
    assert await room.client.proposals() == []


async def test_activity_counts_what_is_open(room: Room) -> None:
    room.bottles.all["dev"] = view("dev")
    assert room.activity.open == 0
    terminal = await room.client.terminal("dev")
    await until(lambda: room.activity.open == 1)
    await terminal.close()
    await until(lambda: room.activity.open == 0)


async def test_without_a_controller_it_says_so() -> None:
    with tempfile.TemporaryDirectory(prefix="cb-") as home:
        paths = Paths(Path(home) / "config", Path(home) / "state", Path(home) / "run")
        with pytest.raises(CarboyError) as caught:
            await Client.connect(paths, start=False)
    assert caught.value.code == "no_controller"


async def test_secrets_are_given_by_name_on_record_and_value_nowhere(room: Room) -> None:
    room.bottles.all["one"] = view("one")
    await room.client.give_secrets("one", {"TOKEN": Secret("s3cret-value")})
    assert room.bottles.given == {"TOKEN": "s3cret-value"}
    trail = await room.client.audit()
    assert trail["rows"][-1]["action"] == "secrets-given"
    assert trail["rows"][-1]["detail"]["names"] == ["TOKEN"]
    assert "s3cret-value" not in json.dumps(trail)
    with pytest.raises(CarboyError) as caught:
        await room.client.give_secrets("one", {"TOKEN": Secret("")})
    assert caught.value.code == "bad_request"


async def test_one_controller_is_started_however_many_ask_and_whoever_gives_up(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go = list[bool](), asyncio.Event()

    async def ensure(_: Paths, *, start: bool = True) -> None:
        began.append(start)
        await go.wait()

    monkeypatch.setattr(api, "ensure", ensure)
    async with Client(paths) as client:
        first = spawn(client.status(), name="first")
        await until(lambda: began)
        others = [spawn(client.status(), name="other", on_error=lambda _: None) for _ in range(3)]
        await cancel_and_wait(first)
        go.set()
        answers = await asyncio.gather(*others, return_exceptions=True)
        assert [getattr(error, "code", "") for error in answers] == ["connection_lost"] * 3
        assert began == [True]
        with pytest.raises(CarboyError):
            await client.status()
        assert began == [True, True], "who comes later starts another"
