"""The pure parts of the Docker backend: filter, options, scripts, images' names, errors."""

import json
import os
import shutil
import socket
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from app.backends import masks
from app.backends.base import BoxSpec, Command
from app.backends.docker import covering, facts, hosts, images, options, probing, script, seccomp, tiny
from app.backends.docker.backend import DockerBackend
from app.backends.docker.engine import Engine, translated
from app.backends.docker.hijack import Demultiplexer, Frozen, attach
from app.backends.docker.watch import Watch
from app.backends.local.identity import Account
from app.core.schema import Limits
from app.errors import CarboyError, NotSupported
from tests.conftest import until


def spec(tmp_path: Path, **changes: object) -> BoxSpec:
    values = {"slug": "one", "session_id": "0123456789ab", "state": tmp_path / "s", "run": tmp_path, "project": None}
    return BoxSpec(**{**values, **changes})  # type: ignore[arg-type]


def refuses(syscall: str, *args: int) -> int | None:
    """The error number with which the profile refuses a call, as the kernel would evaluate it."""
    for rule in json.loads(seccomp.profile("x86_64"))["syscalls"]:
        if syscall in rule["names"] and all(
            args[one["index"]] & one["value"] == one["valueTwo"] for one in rule["args"]
        ):
            return int(rule["errnoRet"])
    return None


def _answering(path: str, answers: list[bytes]) -> threading.Thread:
    """An engine that gives these answers, one to each connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve() -> None:
        with listener:
            for answer in answers:
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    client.sendall(b"HTTP/1.1 " + answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def _state(**values: bool) -> bytes:
    text = json.dumps({"State": values}).encode()
    return b"200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text


REFUSED = b"409 Conflict\r\n\r\n"


def test_one_that_is_frozen_at_first_is_attached_to_once_it_goes_on(tmp_path: Path) -> None:
    path = str(tmp_path / "engine.sock")
    paused = [REFUSED, _state(Running=True, Paused=True)]
    thread = _answering(path, [*paused, *paused, b"101 UPGRADED\r\n\r\nup"])
    with attach(path, "abc", patience=30) as sock:
        assert sock.recv(2) == b"up"
    thread.join()


@pytest.mark.parametrize(("state", "patience"), [(_state(Running=False), 30), (_state(Paused=True), -1)])
def test_one_that_has_ended_or_stays_frozen_is_not_waited_for(tmp_path: Path, state: bytes, patience: float) -> None:
    thread = _answering(path := str(tmp_path / "engine.sock"), [REFUSED, state])
    with pytest.raises(Frozen):
        attach(path, "abc", patience=patience)
    thread.join()


def test_a_process_is_the_container_or_a_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "SETTLES", 0.0)
    with subprocess.Popen(["sh", "-c", "read line", "sh", "0123456789ab"], stdin=subprocess.PIPE) as process:
        monkeypatch.setattr(hosts, "SETTLES", 3.0)
        assert hosts.is_here(process.pid, "0123456789ab")
        monkeypatch.setattr(hosts, "SETTLES", 0.0)
        assert not hosts.is_here(process.pid, "0123456789")
        process.kill()
    assert not hosts.is_here(process.pid, "0123456789ab")


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (("mount",), 1), (("clone3",), 38), (("clone", 0x10000000), 1), (("clone", 0x11), None), (("read",), None),
        (("socket", 1, 1, 0), None), (("socket", 2, 1, 0), None), (("socket", 2, 1, 262), 93),
        (("socket", 10, 1, 262), 93), (("socket", 16, 3, 0), None), (("socket", 16, 3, 15), 97), (("socket", 17), 97),
        (("socket", 38), 97), (("socket", 40), 97), (("socket", 1 << 20 | 2, 1, 0), 97), (("socketpair", 2), 97),
        (("socketpair", 1), None), (("ioctl", 0, 0x5412), 1), (("ioctl", 0, 1 << 32 | 0x5412), 1),
        (("ioctl", 0, 0x5413), None), (("personality", 0), None), (("personality", 0xFFFFFFFF), None),
        (("personality", 8), None), (("personality", 0x40000), 1), (("personality", 0x80040000), 1),
        (("personality", 0x20008), None),
    ],
)  # fmt: skip
def test_the_filter_says_what_the_local_one_says(call: tuple[str | int, ...], code: int | None) -> None:
    name, *args = call
    assert refuses(str(name), *(int(arg) for arg in (*args, 0, 0, 0))) == code


def test_ptrace_may_be_allowed() -> None:
    assert '"ptrace"' in seccomp.profile("x86_64")
    assert '"ptrace"' not in seccomp.profile("x86_64", ptrace=True)


def test_options_harden(tmp_path: Path) -> None:
    limits = Limits(memory=2**30, pids=64, cpus=1.5)
    made = options.container(spec(tmp_path, limits=limits), "image", "/run/x", (1000, 1000), "{}")
    assert made["network_mode"] == "none"
    assert made["cap_drop"] == ["ALL"]
    assert (made["mem_limit"], made["memswap_limit"], made["pids_limit"]) == (2**30, 2**30, 64)
    assert made["nano_cpus"] == 1_500_000_000
    assert made["user"] == "1000:1000"
    assert "environment" not in made  # a snapshot keeps a container's variables
    assert made["labels"][facts.SESSION] == "0123456789ab"


def test_the_start_script_is_exact(tmp_path: Path) -> None:
    command = Command(("printf", "%s|", "a b", "'", "$HOME", "\n"), str(tmp_path), {"A": "it's $HOME"})
    text = script.start_text(command, {"PATH": "/extra", "B": "x", "not-a-name": "y"})
    ran = subprocess.run(
        ["/bin/sh", "-c", text], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert ran.stdout == "a b|'|$HOME|\n|"
    assert "not-a-name" not in text
    assert "export A='it'\"'\"'s $HOME'" in text


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_bounds_hold_in_any_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    words = script.bounds(Limits(memory=512 * 1024**2, pids=77))
    shown = "ulimit -c; ulimit -d; grep processes /proc/self/limits"
    ran = subprocess.run(
        [shell, "-c", f"{{ {words}; }} || exit 9; {shown}"], capture_output=True, text=True, check=True
    )
    core, data, processes = ran.stdout.splitlines()
    assert (core, data) == ("0", "524288")
    assert processes.split()[2:4] == ["77", "77"]


def test_a_second_holder_is_told_what_time_is_left() -> None:
    began = datetime.now(UTC) - timedelta(seconds=100)
    known = facts.Facts(url="unix:///x", name="n", listen_port=7878, tty=False, wall_clock=300)
    started = began.strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"
    told = facts.again(known, "one", "0123456789ab", Path("/s"), Path("/r"), started)
    assert (told.project, told.tty, told.listen_port) == (None, False, 7878)
    assert told.limits.wall_clock is not None
    assert 190 <= told.limits.wall_clock <= 200
    late = facts.again(
        known.model_copy(update={"wall_clock": 10}), "one", "0123456789ab", Path("/s"), Path("/r"), started
    )
    assert late.limits.wall_clock == 1


def test_a_gate_without_a_reader_stays_shut(tmp_path: Path) -> None:
    assert script.open_gate(script.prepare(tmp_path)) is False


def test_an_images_name_is_its_content(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("ARG BASE\nFROM ${BASE}\n")
    first = images.own_file(file, {"BASE": "a", "OTHER": "x"})
    assert first.tag == images.own_file(file, {"BASE": "a"}).tag
    assert first.tag != images.own_file(file, {"BASE": "b"}).tag
    assert first.context is None
    file.write_text("FROM x\nCOPY word /\n")
    (tmp_path / "word").write_text("one")
    copied = images.own_file(file, {})
    assert copied.context == tmp_path
    (tmp_path / "word").write_text("other")
    assert images.own_file(file, {}).tag != copied.tag


def test_engines_of_other_hosts_are_refused() -> None:
    with pytest.raises(NotSupported):
        hosts.candidates({"DOCKER_HOST": "tcp://10.0.0.1:2375"})
    assert hosts.candidates({"DOCKER_HOST": "unix:///x/docker.sock"}) == ("unix:///x/docker.sock",)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (requests.ConnectionError("Connection aborted.", PermissionError(13, "denied")), "docker_denied"),
        (requests.ConnectionError("Connection aborted.", FileNotFoundError(2, "no")), "docker_down"),
        (requests.ConnectionError("Connection aborted.", ConnectionRefusedError(111, "no")), "docker_down"),
        (RuntimeError("write /x: no space left on device"), "disk_full"),
        (RuntimeError("anything else"), "docker"),
    ],
    ids=["denied", "missing", "refused", "full", "other"],
)
def test_errors_in_words(error: Exception, code: str) -> None:
    assert translated(error, "unix:///x").code == code


def test_a_full_engine_is_not_mended_by_another_place_for_our_own_files() -> None:
    full = translated(RuntimeError("write /x: no space left on device"), "unix:///x")
    assert "CARBOY_HOME" not in full.hint
    assert "docker system df" in full.hint


def test_frames_of_a_container_without_a_terminal() -> None:
    frames = b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\x01d"
    for cut in range(len(frames)):
        demultiplexer = Demultiplexer()
        assert demultiplexer.feed(frames[:cut]) + demultiplexer.feed(frames[cut:]) == b"abcd"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_smallest_program_is_an_elf_file(machine: str) -> None:
    data = tiny.program(machine)
    assert data.startswith(b"\x7fELF\x02\x01\x01")
    assert len(data) < 200


@pytest.mark.parametrize(
    ("runtime", "podman", "refused"),
    [
        (None, False, ""), ("runc", False, ""), ("crun", True, ""), ("runsc", False, ""),
        ("runsc", True, "in Podman"), ("kata", False, "has no runtime kata"),
    ],
)  # fmt: skip
def test_a_runtime_that_the_engine_lacks_is_refused(
    tmp_path: Path, runtime: str | None, *, podman: bool, refused: str
) -> None:
    async def fork(_: str) -> Any:
        raise AssertionError

    backend = DockerBackend(fork, lambda _: "", tmp_path, tmp_path)
    backend._url = "unix:///nowhere"
    engine = backend.engine(backend._url)
    engine.podman, engine.runtimes = podman, frozenset({"runc", "runsc"})
    problem = backend.runtime_problem(runtime)
    assert (problem is not None) == bool(refused)
    assert problem is None or refused in problem.message


async def test_an_engine_that_goes_and_comes_is_told_once_each() -> None:
    class Wavering:
        answers = True

        async def call(self, _: Any) -> bool:
            if not self.answers:
                raise CarboyError("gone", "", "docker_down")
            return True

    engine, told = Wavering(), list[bool]()
    looking = Watch(cast("Engine", engine), 0.01)
    looking.add(told.append)
    assert told == [True], "what an older view says of it is put right"
    engine.answers = False
    await until(lambda: told == [True, False])
    late = list[bool]()
    looking.add(late.append)
    assert late == [False]
    engine.answers = True
    await until(lambda: told[1:] == late == [False, True])
    looking.remove(told.append)
    looking.remove(late.append)


def test_a_carried_bottles_worktrees_have_their_masks(tmp_path: Path) -> None:
    project, state = tmp_path / "project", tmp_path / "state/bottles/one"
    state.mkdir(parents=True)
    tree = project / ".git/worktrees/other"
    tree.mkdir(parents=True)
    (tree / "commondir").write_text("../..\n")
    one = spec(tmp_path, project=project, state=state, masks=masks.complete())
    shown = covering.prepare(one, Account(os.geteuid(), os.getegid(), dropped=False))
    covered = {bound.target for bound in shown.binds if not bound.writable}
    inside = f"{project}/.git/worktrees/other"
    assert {f"{inside}/commondir", f"{inside}/config.worktree"} <= covered
    assert {".git", ".git/worktrees/other"} <= set(shown.pins)
    (own,) = (bound for bound in shown.binds if bound.target == f"{project}/.git/worktrees")
    assert own.writable
    assert own.source == f"{state}/private/worktrees"


@pytest.mark.parametrize(
    ("program", "said", "mends"),
    [("dockerd", "Docker is installed", "start docker"), ("podman", "Podman is installed", "start podman.socket"),
     ("other", "No Docker or Podman engine", "apt install")],
)  # fmt: skip
async def test_an_engine_that_is_installed_and_does_not_run_is_not_to_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str, mends: str
) -> None:
    (tmp_path / program).touch(0o755)
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, path: found(name, path=str(tmp_path)))
    monkeypatch.setattr(hosts, "SYSTEM", ())
    for name in ("DOCKER_HOST", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    report, url = await probing.probe(lambda url: pytest.fail(url))
    assert (report.works, url) == (False, "")
    assert (said in report.reason, mends in report.fix) == (True, True)


def test_folders_of_one_path_are_not_one_carboys(tmp_path: Path) -> None:
    """Two containers that were given the host's engine, and the host itself, all have /root: the cleanup of each
    removed the running bottles of the others."""
    ours, others = tmp_path / "bottles", tmp_path / "others"
    ours.mkdir()
    home = facts.home_of(ours / "one")
    assert facts.home_of(ours / "two") == home
    ours.rename(others)
    ours.mkdir()
    assert facts.home_of(ours / "one") != home
    shutil.rmtree(ours)
    others.rename(ours)
    assert facts.home_of(ours / "one") == home


def test_a_copy_of_a_carboys_folders_is_not_that_carboy(tmp_path: Path) -> None:
    """The cleanup of each would remove what the other has started since."""
    ours, copy = tmp_path / "bottles", tmp_path / "copy"
    ours.mkdir()
    home = facts.home_of(ours / "one")
    shutil.copytree(ours, copy)
    assert facts.home_of(copy / "one") != home
    assert facts.home_of(ours / "one") == home
