"""The process that does half of a large scan: in interpreters of their own, since a fork wants a process without
threads, and in a real sidecar."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SETUP = """
import os, signal, sys, time
from sidecar import prepared, scan_worker
from sidecar.dlp import aside
from sidecar.dlp.engine import Engine, EngineConfig
from sidecar.dlp.finding import Location
from sidecar.dlp.needles import Known
from sidecar.dlp.searches import PARALLEL, shapes
from sidecar.secret import Secret

BACKEND = sys.argv[1]
BODY = Location("body")
SECRET = "q7Zk3mVt9Lx2Rb8Wn5Yc1Hd6Jf4Gs0Pa"
prepared.prepare()  # compiled once for all tests
shapes(BACKEND)
worker = scan_worker.start()
engine = Engine.compile(EngineConfig((Known("KEY", Secret(SECRET)),), BACKEND))
counted = []
answer = worker.answer
worker.answer = lambda: (counted.append(1), answer())[1]

def scan(text):
    counted.clear()
    return engine.scan(text, where=BODY)

PROSE = b"The parser's error comes from the tokenizer, so let me look at it. " * (PARALLEL // 64)
assert scan(PROSE).clean and not counted  # it learns the needles meanwhile
worker.settle()
PID = int(open(f"/proc/self/task/{os.getpid()}/children").read())
"""


def run(program: str, backend: str = "hyperscan") -> str:
    code = SETUP + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", code, backend], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("backend", ["hyperscan", "portable"])
def test_it_finds_what_is_found_without_it(backend: str) -> None:
    said = run(
        """
        import base64, json, random
        rng = random.Random(5)
        token = "ghp_" + "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789", k=36))
        image = base64.b64encode(rng.randbytes(90_000))
        forms = [
            SECRET, "-".join(SECRET), base64.b64encode(SECRET.encode()).decode(), SECRET.encode().hex(), SECRET[::-1],
            base64.b64encode(b"password: " + SECRET.encode()).decode(), json.dumps(json.dumps({"key": SECRET})),
            "".join(f"%{ord(char):02x}" for char in SECRET), token, base64.b64encode(token.encode()).decode(),
            "password = 'Tr0ub4dor&3xyzzy'", "4111 1111 1111 1111", "", SECRET[:14],
        ]
        for form in forms:
            for at in (0, len(PROSE) // 2, len(PROSE)):
                for middle in (b"", image[:50_000] + form.encode() + image[50_000:]):
                    text = PROSE[:at] + b" " + form.encode() + b" " + middle + PROSE[at:]
                    helped = scan(text)
                    assert len(counted) == 3, (form, counted)
                    aside.use(None)
                    alone = scan(text)
                    aside.use(worker)
                    assert not counted
                    assert helped == alone, (form, at, len(middle))
        print(len(forms))
        """,
        backend,
    )

    assert said.strip() == "14"


def test_a_text_full_of_what_looks_like_credentials_is_refused_as_without_it() -> None:
    run(
        """
        for text in (b"-----BEGIN PRIVATE KEY----- " * 20_000, b"%41" * 100_000, SECRET.encode() * 10_000):
            helped = scan(text)
            assert counted
            aside.use(None)
            assert helped == scan(text), text[:20]
            aside.use(worker)
        """
    )


def test_who_finds_it_busy_does_the_work_without_it() -> None:
    run(
        """
        wanted = aside.Wanted(True, None)
        held = worker.begin(BACKEND, PROSE, wanted)
        assert held is not None and worker.begin(BACKEND, PROSE, wanted) is None
        assert scan(PROSE + SECRET.encode()).blocked and not counted
        next(held)
        held.close()  # the other two are waited for
        held.close()
        assert len(counted) == 3
        assert scan(PROSE + SECRET.encode()).blocked and len(counted) == 3
        """
    )


def test_a_scan_that_it_fails_in_raises_and_those_after_it_are_done_without_it() -> None:
    run(
        """
        os.kill(PID, signal.SIGSTOP)
        begun = worker.begin(BACKEND, PROSE, aside.Wanted(True, None))
        os.kill(PID, signal.SIGKILL)
        try:
            next(begun)
        except scan_worker.WorkerFailed:
            begun.close()
        else:
            raise AssertionError("nothing was raised")
        assert scan(PROSE + SECRET.encode()).blocked and not counted
        assert scan(PROSE).clean
        """
    )


def test_one_that_died_between_two_scans_is_done_without() -> None:
    run(
        """
        os.kill(PID, signal.SIGKILL)
        while os.path.exists(f"/proc/{PID}"):
            time.sleep(0.01)
        assert scan(PROSE + SECRET.encode()).blocked and not counted
        assert scan(PROSE).clean
        """
    )


def test_it_keeps_the_needles_that_were_wanted_last() -> None:
    run(
        """
        for number in range(1, 5):
            secret = SECRET[number:] + SECRET[:number]
            each = Engine.compile(EngineConfig((Known("OTHER", Secret(secret)),), BACKEND))
            assert each.scan(PROSE, where=BODY).clean
            worker.settle()
            counted.clear()
            assert each.scan(PROSE + secret.encode(), where=BODY).blocked and len(counted) == 3
        assert scan(PROSE).clean and not counted  # forgotten, and learned again
        worker.settle()
        assert scan(PROSE + SECRET.encode()).blocked and len(counted) == 3
        """
    )


def test_memory_is_given_back_and_taken_again() -> None:
    run(
        """
        def shared():
            return sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Pss_Shmem"))
        large = PROSE * 40
        assert scan(large).clean and counted
        before = shared()
        worker.rest()
        assert shared() < before // 4
        assert scan(large + SECRET.encode()).blocked and counted
        """
    )


LOCKED = """
import os, socket, sys, threading
from sidecar import confine, forked

def attempt(name, work):
    try:
        work()
        return f"{name} was possible"
    except (OSError, RuntimeError):
        return ""

def serve(sock):
    missing = confine.isolate() + confine.compute_only()
    tried = [
        attempt("a file", lambda: open("/etc/hostname").read()),
        attempt("a socket", lambda: socket.socket()),
        attempt("a pair", lambda: socket.socketpair()),
        attempt("a process", os.fork),
        attempt("a thread", lambda: threading.Thread(target=print).start()),
        attempt("a signal", lambda: os.kill(os.getppid(), 0)),
        attempt("a program", lambda: os.execv("/bin/true", ["true"])),
    ]
    sock.sendall(repr((missing, [each for each in tried if each])).encode())

sock = forked.forked("test", serve)
print(sock.recv(4096).decode())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="confinement is Linux only")
def test_it_can_do_nothing_but_compute() -> None:
    done = subprocess.run([sys.executable, "-c", LOCKED], capture_output=True, text=True, timeout=60)

    assert done.stdout.strip() == "([], [])", done.stdout + done.stderr


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("killed", [True, False], ids=["kill -9", "at its end"])
def test_it_ends_with_its_sidecar(killed: bool) -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "sidecar", "--fd", str(theirs.fileno())]
    with ours, theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as sidecar:
        theirs.close()
        wait_for(lambda: len(children(sidecar.pid)) == 2)  # the other one starts git
        started = children(sidecar.pid)
        if killed:
            sidecar.kill()
        else:
            ours.close()
        wait_for(lambda: all(map(gone, started)))


@pytest.mark.skipif(os.geteuid() != 0, reason="a sidecar's processes tell their maps to root alone")
def test_what_starts_git_does_not_share_the_texts() -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "sidecar", "--fd", str(theirs.fileno())]
    with ours, theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as sidecar:
        wait_for(lambda: len(children(sidecar.pid)) == 2)
        maps = [Path(f"/proc/{pid}/maps").read_text() for pid in children(sidecar.pid)]
        assert sorted("/dev/zero" in each for each in maps) == [False, True]
        sidecar.kill()
