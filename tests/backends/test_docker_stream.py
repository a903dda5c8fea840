"""Many connections over one stream: both ends against each other, and the host's end against a hostile one."""

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.docker import stream
from app.backends.docker.stream import CONNECTIONS, DATA, END, OPEN, READY, RESET, ROOM, WINDOW, Broken, Mux, frame
from tests.conftest import until

FRAMES = st.tuples(st.integers(0, 5), st.integers(0, 2**32 - 1), st.binary(max_size=200)).map(
    lambda one: (one[0], one[1], b"abcd" if one[0] == ROOM else b"" if one[0] in (OPEN, END, RESET) else one[2])
)


@given(st.lists(FRAMES, max_size=8), st.integers(1, 50))
def test_frames_come_out_as_they_went_in(frames: list[tuple[int, int, bytes]], step: int) -> None:
    data = b"".join(frame(*one) for one in frames)
    parser, found = stream.Parser(), []
    for start in range(0, len(data), step):
        found += parser.feed(data[start : start + step])
    assert found == frames


class Host:
    """The host's end, stepped by hand; what it connects to is kept here."""

    def __init__(self) -> None:
        self.theirs, ours = socket.socketpair()
        self.theirs.setblocking(False)
        ours.setblocking(False)
        self._ours = ours
        self.ready = 0
        self.served: list[socket.socket] = []
        self.mux = Mux(ours.fileno(), ours.fileno(), lambda: ours.recv(65536), connect=self._dial, ready=self._seen)

    def _seen(self) -> None:
        self.ready += 1

    def _dial(self) -> socket.socket:
        one, other = socket.socketpair()
        other.setblocking(False)
        self.served.append(other)
        return one

    def feed(self, data: bytes) -> None:
        self.theirs.sendall(data)
        self.mux.step(1)
        self.mux.step(0)

    def answers(self) -> list[tuple[int, int, bytes]]:
        self.mux.step(0)
        try:
            return stream.Parser().feed(self.theirs.recv(1 << 20))
        except BlockingIOError:
            return []

    def close(self) -> None:
        for one in (self.theirs, self._ours, *self.served, *(each.sock for each in self.mux.connections.values())):
            one.close()
        self.mux._poll.close()


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


def test_a_connection_is_carried_both_ways_and_ends(host: Host) -> None:
    host.feed(frame(READY, 0) + frame(OPEN, 1) + frame(DATA, 1, b"question") + frame(END, 1))
    assert host.ready == 1
    (served,) = host.served
    assert served.recv(100) == b"question"
    assert served.recv(100) == b""
    served.sendall(b"answer")
    served.close()
    host.mux.step(1)
    found = host.answers()
    assert (DATA, 1, b"answer") in found
    assert (ROOM, 1, len(b"question").to_bytes(4)) in found
    host.mux.step(0)
    assert host.mux.connections == {}
    host.feed(frame(RESET, 1))  # late, of one that is over: not a fault


@pytest.mark.parametrize(
    "bad",
    [
        frame(DATA, 7, b"x"),
        frame(OPEN, 0),
        frame(OPEN, 1) + frame(OPEN, 1),
        frame(OPEN, 5) + frame(OPEN, 4),
        frame(OPEN, 1) + frame(DATA, 1),
        frame(OPEN, 1) + frame(END, 1) + frame(DATA, 1, b"x"),
        frame(OPEN, 1) + frame(ROOM, 1, b"\0\0\0\1"),
        frame(OPEN, 1) + frame(ROOM, 1, b"\xff\xff\xff\xff"),
        bytes([9]) + bytes(6),
        frame(OPEN, 1) + frame(DATA, 1, b"x" * 20000),
        bytes([ROOM, 0, 0, 0, 1, 0, 3]),
        bytes([OPEN, 0, 0, 0, 1, 0, 1]),
    ],
    ids=str,
)
def test_what_is_out_of_place_ends_the_stream(host: Host, bad: bytes) -> None:
    with pytest.raises(Broken):
        host.feed(bad)


def test_more_than_was_granted_ends_the_stream(host: Host) -> None:
    host.feed(frame(OPEN, 1))
    host.served[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with pytest.raises(Broken):  # noqa: PT012
        for _ in range(200):  # nobody reads at the other side
            host.feed(frame(DATA, 1, b"x" * stream.PIECE))


def test_more_connections_than_there_may_be_end_the_stream(host: Host) -> None:
    for number in range(1, CONNECTIONS + 1):
        host.feed(frame(OPEN, number))
    with pytest.raises(Broken):
        host.feed(frame(OPEN, CONNECTIONS + 1))


def test_who_asks_and_never_listens_is_cut_off(host: Host) -> None:
    """Each refused connection is answered: an end that reads no answers must not fill our memory."""

    def refused() -> socket.socket:
        raise ConnectionRefusedError

    host.mux._connect = refused
    with pytest.raises((Broken, BlockingIOError)):  # noqa: PT012
        for number in range(1, 2_000_000):
            host.feed(b"".join(frame(OPEN, number * 1000 + one) for one in range(1000)))
            assert len(host.mux._out) <= stream.OVERFULL


@given(st.binary(max_size=3000))
def test_any_bytes_are_frames_or_a_fault(data: bytes) -> None:
    host = Host()
    try:
        host.feed(data or b"\0" * 7)
        assert len(host.mux.connections) <= CONNECTIONS
    except Broken:
        pass
    finally:
        host.close()


@given(st.lists(FRAMES.map(lambda one: (one[0], one[1] % 6, one[2])), max_size=40))
def test_frames_in_any_order_leave_the_books_in_order(frames: list[tuple[int, int, bytes]]) -> None:
    host = Host()
    try:
        for one in frames:
            host.feed(frame(*one))
            for connection in host.mux.connections.values():
                assert 0 <= connection.granted <= WINDOW
                assert 0 <= connection.room <= WINDOW
    except Broken:
        pass
    finally:
        host.close()


# --- both ends, the bottle's as its own program --------------------------------------------------------------------


@contextmanager
def carried(serve: socket.socket) -> Iterator[int]:
    """A relay as a bottle runs it, and the host's end in a thread, connecting to `serve`. Gives the relay's port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    source = Path(stream.__file__).read_text() + f"\nrelay({port})\n"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    reader, writer = process.stdout.fileno(), process.stdin.fileno()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    ready = threading.Event()

    def dial() -> socket.socket:
        return socket.create_connection(serve.getsockname())

    mux = Mux(reader, writer, lambda: os.read(reader, 65536), connect=dial, ready=ready.set)
    thread = threading.Thread(target=mux.run, daemon=True)
    thread.start()
    try:
        assert ready.wait(20)
        yield port
    finally:
        process.kill()
        process.wait()
        thread.join(20)
        process.stdin.close()
        process.stdout.close()


def test_many_at_once_carry_all_bytes_and_a_slow_one_holds_up_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as serve:

        def echo(sock: socket.socket) -> None:
            with sock, contextlib.suppress(ConnectionError):
                while data := sock.recv(65536):
                    sock.sendall(data)

        def accept() -> None:
            while True:
                try:
                    sock, _ = serve.accept()
                except OSError:
                    return
                threading.Thread(target=echo, args=(sock,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        with carried(serve) as port:
            slow = socket.create_connection(("127.0.0.1", port))
            slow.settimeout(0.5)
            # it writes, and reads nothing: held back, at a bounded amount
            with pytest.raises(TimeoutError):  # noqa: PT012
                while True:
                    slow.send(b"x" * 65536)
            content = random.Random(7).randbytes(1_500_000)
            results: list[bool] = []

            def one() -> None:
                with socket.create_connection(("127.0.0.1", port)) as sock:
                    sender = threading.Thread(target=lambda: (sock.sendall(content), sock.shutdown(socket.SHUT_WR)))
                    sender.start()
                    got = b"".join(iter(lambda: sock.recv(65536), b""))
                    sender.join()
                    results.append(got == content)

            threads = [threading.Thread(target=one) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert results == [True] * 8
            slow.close()
        serve.shutdown(socket.SHUT_RDWR)


async def test_the_relay_ends_with_its_stream() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    source = Path(stream.__file__).read_text() + f"\nrelay({port})\n"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as it:
        assert it.stdin is not None
        assert it.stdout is not None
        assert it.stdout.read(7) == frame(READY, 0)
        it.stdin.close()
        await until(lambda: it.poll() is not None)
