"""A sidecar that its controller cannot speak to any more does not go on by itself."""

import asyncio
import os
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.controller import supervisor
from app.controller.supervisor import Supervisor
from app.core.model import SidecarHealth
from app.errors import CarboyError
from app.processes.identity import identify, same
from app.tasks import spawn
from sidecar.contract import Reply, Route
from sidecar.control import Answer, Channel, Handler, serve
from sidecar.framing import pack
from sidecar.secret import Secret
from tests.conftest import until
from tests.sidecar.proxy_kit import bottle


class Zygote:
    exit_codes: dict[int, int] = {}  # noqa: RUF012
    forks = 0

    async def fork(self, *_: Any) -> Any:
        self.forks += 1
        raise CarboyError("No other one is wanted here")


async def test_secrets_that_were_read_first_do_not_arrive_last(monkeypatch: Any) -> None:
    first, told = threading.Event(), list[dict[str, str]]()

    def locate(_: Any, *, typed: dict[str, Secret], environment: Any) -> dict[str, Any]:
        if len(typed) == 1:
            first.wait(10)  # a keyring that is slow to open
        names = ("ONE", "TWO")
        return {name: SimpleNamespace(value=typed.get(name)) for name in names}

    async def call(_: str, body: dict[str, Any]) -> dict[str, Any]:
        told.append(body["secrets"])
        return {}

    monkeypatch.setattr(supervisor.secrets, "locate", locate)
    session = SimpleNamespace(
        slug="dev", typed={}, environment={}, record=SimpleNamespace(secrets={}),
        view=SimpleNamespace(missing_secrets=("ONE", "TWO")), show=lambda **_: None,
    )  # fmt: skip
    one = Supervisor(cast(Any, session), cast(Any, None), cast(Any, None), lambda *_: None, cast(Any, None))
    one._channel = cast(Any, SimpleNamespace(closed=False))
    monkeypatch.setattr(one, "call", call)
    slow = spawn(one.give({"ONE": Secret("first")}), name="slow")
    await asyncio.sleep(0.05)
    fast = spawn(one.give({"TWO": Secret("second")}), name="fast")
    await asyncio.sleep(0.1)
    first.set()
    await asyncio.gather(slow, fast)
    assert told[-1] == {"ONE": "first", "TWO": "second"}


async def test_one_whose_channel_broke_is_ended_and_another_is_started(monkeypatch: Any) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.2)
    async with bottle(Route(host="a.example")) as box:
        process = identify(box.process.pid)
        assert process is not None
        health: list[SidecarHealth] = []
        session = SimpleNamespace(
            slug="dev", box=None, run_folder=box.folder / "run", state_folder=box.folder, sidecar_is=health.append,
            record=SimpleNamespace(
                sidecar=SimpleNamespace(identity=process), control_token=box.config.control_token.reveal()
            ),
        )  # fmt: skip
        zygote, heard = Zygote(), list[str]()
        one = Supervisor(
            cast(Any, session), cast(Any, zygote), cast(Any, None), lambda note, _: heard.append(note), cast(Any, None)
        )
        await one.adopt()
        assert health[-1].state == "healthy"
        assert (await one.call("health", {}))["ok"] is True
        assert one._channel is not None
        one._channel._sock.send(b"\xff\xff\xff\xff")  # nothing that its peer could read
        await until(lambda: not same(process))
        await until(lambda: zygote.forks)
        assert health[-1].state != "healthy"
        one.let_go()


async def test_a_sidecar_cannot_say_that_it_has_just_been_started(tmp_path: Path) -> None:
    """Each time all decisions were told anew: a hundred thousand tasks in seconds."""
    tmp_path.chmod(0o700)

    def accepted(channel: Channel) -> Handler:
        async def handle(op: str, body: dict[str, Any], fds: list[int]) -> Answer:
            del op, body, fds
            return {}

        for note in (*["up"] * 100, "engine", "lease"):
            channel.note(note)
        return handle

    listener = await serve(tmp_path / supervisor.CONTROL_SOCKET, lambda _: True, accepted)
    session = SimpleNamespace(
        slug="dev", box=None, run_folder=tmp_path, sidecar_is=lambda _: None,
        record=SimpleNamespace(sidecar=SimpleNamespace(identity=identify(os.getpid())), control_token="token"),
    )  # fmt: skip
    heard = list[str]()
    one = Supervisor(
        cast(Any, session), cast(Any, None), cast(Any, None), lambda note, _: heard.append(note), cast(Any, None)
    )
    await one.adopt()
    await until(lambda: "lease" in heard)
    assert sorted(heard) == ["lease", "spooled", "up"]
    one.let_go()
    await listener.close()


async def test_what_a_sidecar_calls_its_fault_is_one_short_line(tmp_path: Path) -> None:
    """It goes into the controller's log and to whoever asked: megabytes of it, with lines that look like others'."""
    session = SimpleNamespace(slug="dev", state_folder=tmp_path)
    one = Supervisor(cast(Any, session), cast(Any, None), cast(Any, None), lambda *_: None, cast(Any, None))
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    one._channel = Channel(ours)
    answered = spawn(one.call("decision", {}), name="call")
    loop = asyncio.get_running_loop()
    await loop.sock_recv(theirs, 65536)
    await loop.sock_sendall(
        theirs, pack(Reply(re=1, ok=False, error="no\n2026-01-01 INFO all is well" + "x" * 8_000_000))
    )
    with pytest.raises(CarboyError) as caught:
        await answered
    assert len(caught.value.message) < 1000
    assert "\n" not in caught.value.message
    one._channel.close()
    theirs.close()
