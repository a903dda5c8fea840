"""Channels over real socket pairs and real unix sockets: calls, descriptors, hostile peers."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from sidecar import channel as channel_module
from sidecar.contract import Request
from sidecar.control import Answer, Channel, ChannelClosed, HandOver, RemoteError, connect, serve
from sidecar.framing import MAX_FRAME, pack
from sidecar.secret import Secret


async def echo(op: str, body: dict[str, Any], fds: list[int]) -> Answer:
    if op == "fail":
        raise ValueError("no such thing")
    if op == "wait":
        await asyncio.sleep(body["seconds"])
    return ({"op": op, **body}, fds)


def pair(**kwargs: Any) -> tuple[Channel, Channel]:
    left, right = socket.socketpair()
    return Channel(left), Channel(right, **kwargs)


async def eventually(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_call_and_reply():
    left, right = pair(handler=echo)
    body, fds = await left.call("ping", {"x": "é" * 10})
    assert body == {"op": "ping", "x": "é" * 10}
    assert fds == []
    left.close()
    await asyncio.wait_for(right.wait_closed(), 5)


async def test_both_sides_may_call_and_calls_overtake_each_other():
    left, right = pair(handler=echo)
    left.serve(echo)
    slow = asyncio.gather(left.call("wait", {"seconds": 0.2}))
    assert (await right.call("b"))[0]["op"] == "b"
    assert (await left.call("a"))[0]["op"] == "a"
    assert not slow.done()
    await slow
    left.close()


async def test_a_peer_that_asks_where_nobody_answers_is_cut_off_and_holds_nothing():
    left, right = socket.socketpair()
    channel = Channel(left)
    read, write = os.pipe()
    socket.send_fds(right, [pack(Request(seq=1, op="x", fds=1))], [write])
    os.close(write)
    await asyncio.wait_for(channel.wait_closed(), 5)
    assert os.read(read, 1) == b""
    os.close(read)
    right.close()


async def test_descriptors_that_nobody_asked_for_are_closed_and_end_the_channel():
    held: list[int] = []

    async def generous(op: str, body: dict[str, Any], fds: list[int]) -> Answer:
        read, write = os.pipe()
        held.append(read)
        return {}, [write]

    left, _right = pair(handler=generous)
    with pytest.raises(ChannelClosed):
        await left.call("any")
    assert left.closed
    assert await asyncio.to_thread(os.read, held[0], 1) == b""
    os.close(held[0])


async def test_descriptors_whose_caller_went_in_that_moment_are_closed():
    left, _right = pair(handler=echo)
    before = len(os.listdir("/dev/fd"))
    read, write = os.pipe()
    call = asyncio.ensure_future(left.call("pipe", {}, [read], takes=1))  # noqa: TID251
    take = left._take_reply

    def then_cancel(message: Any, fds: list[int]) -> bool:
        done = take(message, fds)
        call.cancel()
        return done

    left._take_reply = then_cancel
    with pytest.raises(asyncio.CancelledError):
        await call
    os.close(read)
    os.close(write)
    assert len(os.listdir("/dev/fd")) == before
    left.close()


async def test_descriptors_travel_both_ways_and_stay_with_their_frames():
    left, _right = pair(handler=echo)

    async def one(number: int) -> None:
        read, write = os.pipe()
        os.write(write, str(number).encode())
        os.close(write)
        body, fds = await left.call("pipe", {"number": number}, [read], takes=1)
        os.close(read)
        assert body["number"] == number
        assert os.read(fds[0], 10) == str(number).encode()
        assert not os.get_inheritable(fds[0])
        os.close(fds[0])

    before = len(os.listdir("/dev/fd"))
    await asyncio.gather(*(one(n) for n in range(40)), *(left.call("plain") for _ in range(40)))
    assert len(os.listdir("/dev/fd")) == before
    left.close()


async def test_large_bodies_pass_and_larger_ones_are_refused_here():
    left, _right = pair(handler=echo)
    big = "x" * (8 * 1024 * 1024)
    assert (await left.call("big", {"big": big}))[0]["big"] == big
    with pytest.raises(channel_module.BadFrame):
        await left.call("big", {"big": "x" * (MAX_FRAME + 1)})
    assert (await left.call("after"))[0]["op"] == "after"
    left.close()


async def test_errors_come_back_as_errors():
    left, _right = pair(handler=echo)
    with pytest.raises(RemoteError, match="no such thing"):
        await left.call("fail")
    left.close()


async def test_notes():
    seen: list[tuple[str, dict[str, Any]]] = []
    left, _right = pair(notes=lambda name, body: seen.append((name, body)))
    left.note("spooled", {"segment": 1})
    await eventually(lambda: seen)
    assert seen == [("spooled", {"segment": 1})]
    left.close()
    left.note("too-late")


async def test_timeout_then_the_late_reply_is_dropped():
    left, _right = pair(handler=echo)
    with pytest.raises(TimeoutError):
        await left.call("wait", {"seconds": 0.1}, timeout=0.01)
    assert (await left.call("wait", {"seconds": 0.2}))[0]["op"] == "wait"
    left.close()


async def test_a_dead_peer_ends_waiting_calls():
    left, right = pair()
    call = asyncio.gather(left.call("never"))
    await asyncio.sleep(0)
    right.close()
    with pytest.raises(ChannelClosed):
        await call
    with pytest.raises(ChannelClosed):
        await left.call("after")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x04null",
        b"\x00\x00\x00\x05hello",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        pack(Request(seq=1, op="x")).replace(b'"v":1', b'"v":9'),
        pack(Request(seq=1, op="x", fds=2)),
        pack(Request(seq=1, op="x")).replace(b'"op"', b'"oq"'),
    ],
    ids=["size", "empty", "null", "text", "http", "version", "missing-fds", "key"],
)
async def test_a_peer_that_breaks_the_protocol_is_cut_off(data: bytes):
    left, right = socket.socketpair()
    channel = Channel(left, handler=echo)
    right.send(data)
    await asyncio.wait_for(channel.wait_closed(), 5)
    right.close()


async def test_a_peer_that_never_reads_is_cut_off_and_memory_stays_bounded():
    left, right = socket.socketpair()
    channel = Channel(left)
    for _ in range(64):
        channel.note("x", {"x": "y" * 1_000_000})
    assert channel.closed
    right.close()


async def test_undeclared_descriptors_are_closed():
    left, right = socket.socketpair()
    channel = Channel(left, handler=echo)
    read, write = os.pipe()
    socket.send_fds(right, [pack(Request(seq=1, op="x"))], [write])
    os.close(write)
    right.settimeout(5)
    assert await asyncio.to_thread(right.recv, 100)
    channel.close()
    # only when the copy that travelled is closed does the pipe end
    assert os.read(read, 1) == b""
    os.close(read)
    right.close()


async def test_upgrade_turns_the_socket_into_a_stream():
    taken: list[tuple[socket.socket, bytes]] = []

    async def handler(op: str, body: dict[str, Any], fds: list[int]) -> Answer:
        def take(sock: socket.socket, rest: bytes) -> None:
            sock.setblocking(True)
            sock.sendall(b"o raw bytes")
            taken.append((sock, rest))

        return HandOver({"ok": 1}, take)

    left, right = pair(handler=handler)
    body, sock, rest = await left.upgrade("attach")
    assert body == {"ok": 1}
    sock.setblocking(True)
    sock.settimeout(5)
    got = rest
    while len(got) < 11:
        got += await asyncio.to_thread(sock.recv, 100)
    assert got == b"o raw bytes"
    assert left.closed
    assert right.closed
    sock.close()
    taken[0][0].close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    return path


async def test_dialling_with_the_token(folder: Path):
    listener = await serve(folder / "c.sock", lambda token: token == "right", lambda channel: echo)
    assert (folder / "c.sock").stat().st_mode & 0o777 == 0o600
    channel = await connect(folder / "c.sock", Secret("right"))
    assert (await channel.call("x"))[0]["op"] == "x"
    await listener.close()
    assert not (folder / "c.sock").exists()
    assert (await channel.call("y"))[0]["op"] == "y"
    channel.close()


async def test_dialling_with_another_token_or_without_hello(folder: Path):
    listener = await serve(folder / "c.sock", lambda token: token == "right", lambda channel: echo)
    with pytest.raises(PermissionError):
        await connect(folder / "c.sock", "wrong")
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, str(folder / "c.sock"))
    await loop.sock_sendall(sock, pack(Request(seq=1, op="x")))
    assert await asyncio.wait_for(loop.sock_recv(sock, 100), 5) == b""
    sock.close()
    await listener.close()


async def test_nobody_there(folder: Path):
    with pytest.raises(OSError):
        await connect(folder / "none.sock", "x")


async def test_a_left_over_socket_is_replaced_and_a_file_is_not(folder: Path):
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(folder / "c.sock"))
    stale.close()
    listener = await serve(folder / "c.sock", lambda token: True, lambda channel: echo)
    await listener.close()
    (folder / "file").write_text("mine")
    with pytest.raises(OSError):
        await serve(folder / "file", lambda token: True, lambda channel: echo)
    assert (folder / "file").read_text() == "mine"


async def test_an_open_folder_is_refused(tmp_path: Path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(PermissionError):
        await serve(folder / "c.sock", lambda token: True, lambda channel: echo)


def test_works_on_uvloop_too():
    import uvloop

    async def main() -> None:
        await test_call_and_reply()
        await test_descriptors_travel_both_ways_and_stay_with_their_frames()
        await test_upgrade_turns_the_socket_into_a_stream()

    uvloop.run(main())
