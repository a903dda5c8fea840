"""The command line with real bottles behind a real controller."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app.paths import Paths, private_folder
from tests.controllers import started, stopped
from tests.fork_server import carboy

pytestmark = [pytest.mark.sandbox, pytest.mark.skipif(sys.platform != "linux", reason="local bottles need Linux")]
ROOT = Path(__file__).parents[2]
BOTTLE = "---\nagent_provider: {template: shell}\negress:\n  routes:\n    - host: allowed.example\n---\nFor tests.\n"

type Ended = subprocess.CompletedProcess[str]
type Run = Callable[..., Ended]


@pytest.fixture
def project(carboy_home: Path, paths: Paths) -> Iterator[Path]:
    private_folder(paths.bottles)
    (paths.bottles / "plain.md").write_text(BOTTLE)
    place = Path(tempfile.mkdtemp(prefix="cbp-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "app", *arguments]


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path)),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }


@pytest.fixture
def run(project: Path, paths: Paths) -> Iterator[Run]:
    started(paths)

    def forked(*arguments: str) -> Ended:
        return carboy(*arguments, cwd=project, environ=environment(), timeout=90)

    doctor = json.loads(forked("doctor", "--json").stdout)
    if not any(report["works"] for report in doctor["backends"]):
        pytest.skip(f"no backend works here: {doctor['backends']}")
    yield forked
    for view in json.loads(forked("list", "--json").stdout):
        forked("kill", view["slug"])
    stopped(paths)


def controller(paths: Paths) -> int:
    return int((paths.run / "controller.lock").read_text())


def test_headless_gives_output_and_exit_code(run: Run) -> None:
    script = "echo hello; echo oops >&2; printf '\\033]52;c;aGk=\\007\\033[31mred\\033[0m\\n'; exit 7"
    ended = run("start", "--headless", "--label", "one", "-b", "plain", "--", "sh", "-c", script)
    assert ended.returncode == 7, ended.stderr
    assert ended.stdout == "hello\noops\nred\n"
    (view,) = json.loads(run("list", "--json").stdout)
    assert (view["slug"], view["state"], view["exit_code"]) == ("one", "failed", 7)
    assert json.loads(run("info", "one", "--json").stdout)["session_id"] == view["session_id"]
    shown = run("info", "one").stdout
    assert not re.search(r"[{}\[\]']|\d{10}\.", shown.split("command:")[0]), "times and words, no program's own form"
    assert re.search(r"^created_at: +20\d\d-", shown, re.MULTILINE)
    again = run("start", "--headless", "--label", "one", "-b", "plain", "--", "true")
    assert again.returncode in (0, 1)


def begun(*arguments: str, project: Path) -> subprocess.Popen[str]:
    """A command that is to be signalled."""
    words = command("start", "--headless", "--label", "on", "-b", "plain", "--", *arguments)
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=project, env=environment(), stdout=pipe, stderr=pipe, text=True)


def test_a_reader_that_goes_away_is_told_what_runs_on(run: Run, project: Path) -> None:
    with begun("sh", "-c", "yes | head -n 999999; sleep 60", project=project) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.readline()
        started.stdout.close()
        assert "on runs on: carboy attach on" in started.stderr.read()
    assert started.returncode == 0
    assert json.loads(run("info", "on", "--json").stdout)["state"] == "running"


def test_a_second_ctrl_c_leaves_it(run: Run, project: Path) -> None:
    with begun("sh", "-c", "trap '' TERM HUP; echo up; while :; do sleep 1; done", project=project) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        assert started.stdout.readline() == "up\n"
        started.send_signal(signal.SIGINT)
        while "stopping on" not in started.stderr.readline():
            pass
        started.send_signal(signal.SIGINT)
        assert started.stderr.read() == "on was told to stop, and is left to that\n"
    assert started.returncode == 130


def test_a_launch_that_is_ended_by_sigterm_is_undone(run: Run, project: Path) -> None:
    with begun("sleep", "600", project=project) as started:
        assert started.stderr is not None
        while "sidecar: done" not in started.stderr.readline():
            pass
        started.send_signal(signal.SIGTERM)
        said = started.stderr.read()
    assert started.returncode == 143
    assert "cancelled: undoing" in said or "stopping on" in said  # in the midst of it, or where the agent ran already
    assert [view["state"] for view in json.loads(run("list", "--json").stdout)] in ([], ["failed"], ["stopped"])


def test_nothing_is_lost_of_much_output_and_short_lives(run: Run) -> None:
    ended = run("start", "--headless", "-b", "plain", "--", "seq", "50000")
    assert ended.stdout == "".join(f"{number}\n" for number in range(1, 50001))
    for number in range(3):
        assert run("start", "--headless", "-b", "plain", "--", "echo", str(number)).stdout == f"{number}\n"


def test_refused_requests_are_in_the_log(run: Run) -> None:
    script = "curl -sS -o /dev/null -w '%{http_code}\\n' http://refused.example/path || true"
    ended = run("start", "--headless", "--label", "one", "-b", "plain", "--", "sh", "-c", script)
    if "not found" in ended.stdout:
        pytest.skip("no curl in the bottle")
    assert ended.stdout == "403\n"
    events = json.loads(run("logs", "one", "--json", "--decision", "blocked").stdout)
    assert [(item["data"]["host"], item["data"]["code"]) for item in events] == [
        ("refused.example", "host_not_allowed")
    ]
    assert "refused.example" in run("logs", "one").stdout
    assert json.loads(run("logs", "one", "--json", "--decision", "allow").stdout) == []


def test_what_a_used_up_budget_does_is_said_at_the_launch(run: Run) -> None:
    assert run("start", "--shutdown", "no", "-b", "plain", "--", "true").returncode == 2
    started = run("start", "-d", "--label", "asks", "--shutdown", "ask", "-b", "plain", "--", "sleep", "60")
    assert started.returncode == 0, started.stderr
    (bottle,) = json.loads(run("list", "--json").stdout)
    assert bottle["shutdown"] == "ask"
    assert run("kill", "asks").returncode == 0


def test_detach_freeze_thaw_stop(run: Run) -> None:
    assert run("start", "--detach", "--label", "one", "-b", "plain", "--", "sleep", "600").stdout == "one\n"
    assert json.loads(run("routes", "one", "--json").stdout)[0]["host"] == "allowed.example"
    assert run("serve", "--stop").returncode == 3
    assert run("freeze", "one").stdout == "one: frozen\n"
    assert run("freeze", "one").returncode == 1
    assert run("thaw", "one").stdout == "one: running\n"
    stopped = json.loads(run("stop", "one", "--json").stdout)
    assert stopped["state"] in ("ended", "stopped")
    assert run("stop", "one").returncode == 1


def test_one_that_cannot_be_killed_spares_no_other(run: Run) -> None:
    for name in ("one", "two", "three"):
        assert run("start", "--detach", "--label", name, "-b", "plain", "--", "sleep", "600").returncode == 0
    ended = run("kill", "nosuch", "one", "two")
    assert (ended.returncode, ended.stdout) == (1, "one: killed\ntwo: killed\n")
    assert "no bottle nosuch" in ended.stderr
    assert run("thaw", "three").stderr == "carboy: three: A bottle that is running cannot be thawed\n"
    for command in ("kill", "archive"):
        ended = run(command, "nosuch", "three", "three", "--json")
        assert [view["slug"] for view in json.loads(ended.stdout)] == ["three"]
        assert ended.returncode == 1


def test_the_difference_of_a_path_tells_no_change_from_no_such_path(run: Run, project: Path) -> None:
    (project / "same.txt").write_text("same")
    script = "echo new > new.txt; touch done; sleep 600"
    assert run("start", "--detach", "--label", "one", "-b", "plain", "--", "sh", "-c", script).returncode == 0
    until(lambda: (project / "done").exists(), "its change")
    assert "+new" in run("diff", "one", "./new.txt").stdout
    assert "+new" in run("diff", "one", ".").stdout
    same = run("diff", "one", "same.txt")
    assert (same.returncode, same.stdout, same.stderr) == (0, "no changes\n", "")
    for path in ("nosuchpath", "/etc/passwd"):
        wrong = run("diff", "one", "new.txt", path, "--names")
        assert (wrong.returncode, wrong.stdout) == (1, ""), path
        assert path in wrong.stderr
        assert "relative to the project" in wrong.stderr


def test_a_command_that_is_not_there_fails_and_leaves_nothing(run: Run, paths: Paths) -> None:
    ended = run("start", "--headless", "--label", "one", "-b", "plain", "--", "/no/such/program")
    assert ended.returncode != 0
    assert ended.stderr
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            assert str(paths.run) not in " ".join(process.cmdline())


def until(condition: Callable[[], object], what: str | Callable[[], str]) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.05)


def test_headless_goes_on_over_kill_9_of_the_controller(run: Run, project: Path, paths: Paths) -> None:
    script = "echo before; until [ -e go ]; do sleep 0.1; done; echo after; exit 3"
    arguments = command("start", "--headless", "--label", "one", "-b", "plain", "--", "sh", "-c", script)
    with subprocess.Popen(
        arguments, cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "before\n"
        first = controller(paths)
        os.kill(first, signal.SIGKILL)
        until(lambda: controller(paths) != first and psutil.pid_exists(controller(paths)), "no new controller")
        (project / "go").touch()
        rest, errors = child.communicate(timeout=60)
    assert (rest, child.returncode) == ("after\n", 3), errors


def test_ctrl_c_stops_a_headless_agent(run: Run, project: Path) -> None:
    arguments = command("start", "--headless", "--label", "one", "-b", "plain", "--", "sh", "-c", "echo up; sleep 600")
    with subprocess.Popen(
        arguments, cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
    assert child.returncode > 0
    assert all(view["state"] == "stopped" for view in json.loads(run("list", "--json").stdout))


SCRIPT = "echo waiting; read word; test $word = hello && exit 9"


def test_interactive_start_shows_the_terminal_and_ends_with_its_code(run: Run, project: Path) -> None:
    # the words show on the screen only if the agent's terminal is drawn, not in the launch's progress
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project)
        os.execve(
            sys.executable, command("start", "--label", "one", "-b", "plain", "--", "sh", "-c", SCRIPT), environment()
        )
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    seen = bytearray()

    def see(wanted: bytes) -> bool:
        while select.select([terminal], [], [], 0)[0]:
            try:
                seen.extend(os.read(terminal, 65536))
            except OSError:
                break
        return wanted in seen

    try:
        until(lambda: see(b"waiting"), lambda: f"nothing shown: {seen[-3000:]!r}")
        os.write(terminal, b"hello\r")

        def ended() -> bool:
            see(b"")
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

        until(ended, "it did not end")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9, seen[-2000:]
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)


def at_a_terminal(words: list[str], project: Path, **more: str) -> tuple[subprocess.Popen[bytes], int, int]:
    """The command in a session and a terminal of its own, where a typed ctrl+c is a signal; the terminal's two ends."""
    ours, theirs = pty.openpty()
    begin = (
        "import os, signal; os.login_tty(0); signal.signal(signal.SIGINT, signal.SIG_DFL); "  # a job has it ignored
        f"os.execve({words[0]!r}, {words!r}, os.environ)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", begin],
        cwd=project,
        env=environment() | more,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    return process, ours, theirs


@pytest.mark.parametrize(("how", "wanted"), [("ctrl+c", 130), ("SIGTERM", 143), ("value", 0)])
def test_a_question_for_a_secret_can_be_broken_off(
    run: Run, paths: Paths, project: Path, how: str, wanted: int
) -> None:
    asks = BOTTLE.replace("egress:", "env: {KEY: {prompt: 'Which key?'}}\negress:", 1)
    asks = asks.replace("host: allowed.example", "{host: allowed.example, auth: {token_ref: KEY}}")
    (paths.bottles / "asks.md").write_text(asks)
    words = command("start", "--detach", "--label", "asking", "-b", "asks", "--", "true")
    process, ours, theirs = at_a_terminal(words, project)
    shown = bytearray()
    try:
        while b"Which key?: " not in shown:
            shown += os.read(ours, 4096)
        until(lambda: not termios.tcgetattr(theirs)[3] & termios.ECHO, "it echoes")
        if how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            os.write(ours, b"\x03" if how == "ctrl+c" else b"a-key-of-some-length\n")
        assert process.wait(60) == wanted
        assert termios.tcgetattr(theirs)[3] & termios.ECHO
        while select.select([ours], [], [], 0)[0]:
            shown += os.read(ours, 4096)
        assert b"a-key-of-some-length" not in shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def test_what_is_missing_is_no_question_where_nobody_sits(run: Run, paths: Paths, project: Path) -> None:
    wants = BOTTLE.replace("host: allowed.example", "{host: allowed.example, auth: {scheme: Bearer, token_ref: KEY}}")
    (paths.bottles / "wants.md").write_text(wants)
    reading, writing = os.pipe()  # as of a service: open, and nobody writes
    process = subprocess.Popen(
        command("start", "--detach", "--label", "asking", "-b", "wants", "--", "true"),
        cwd=project, env=environment(), stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, told = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(reading)
        os.close(writing)
    assert (process.returncode, said) == (1, "")
    assert "(for " not in told, "it asks"
    assert "KEY" in told
    assert "carboy secret set KEY" in told


def test_a_budget_of_what_is_not_there_is_warned_of(run: Run, paths: Paths) -> None:
    kept = run("budget", "set", "bottle:plian", "claude", "500k")
    assert kept.returncode == 0
    assert "no bottle file is called plian here, so this holds nothing yet; there are plain" in kept.stderr
    assert "no agent is called dev here" in run("budget", "set", "agent:dev", "claude", "500k").stderr
    assert run("budget", "set", "bottle:plain", "claude", "500k").stderr == ""
    assert run("budget", "clear", "bottle:plian", "claude").stderr == ""


def test_what_is_left_of_a_purged_bottle_is_told(run: Run) -> None:
    assert run("start", "--detach", "--label", "gone", "-b", "plain", "--", "true").returncode == 0
    until(lambda: run("purge", "gone", "--yes").returncode == 0, "over, and purged")
    refused = run("diff", "gone")
    assert refused.returncode == 1
    assert "of a purged one `carboy report` and `carboy logs` still tell" in refused.stderr
    assert "done" in run("report", "gone").stdout


def test_time_that_is_over_is_exit_code_124(run: Run, paths: Paths) -> None:
    (paths.bottles / "short.md").write_text(BOTTLE.replace("egress:", "limits: {wall_clock: 1s}\negress:", 1))
    ended = run("start", "--headless", "-b", "short", "--", "sh", "-c", "sleep 100")
    assert ended.returncode == 124
    assert "its time is over" in ended.stderr


def test_secrets_are_given_from_environment_or_descriptor_never_as_arguments(
    run: Run, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = "    - host: keyed.example\n      auth: {scheme: Bearer, token_ref: MY_TOKEN}\n---"
    (paths.bottles / "keyed.md").write_text(BOTTLE.replace("---\nFor", route + "\nFor"))
    monkeypatch.setenv("MY_TOKEN", "a-token-of-mine-1")
    assert (
        run("start", "--headless", "--detach", "--label", "one", "-b", "keyed", "--", "sleep", "1000").returncode == 0
    )
    assert run("give", "one").stderr == "one lacks no secret\n"
    ended = run("give", "one", "MY_TOKEN", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["missing_secrets"] == []
    assert "a-token" not in ended.stdout + ended.stderr
    monkeypatch.delenv("MY_TOKEN")
    ended = run("give", "one", "MY_TOKEN")
    assert ended.returncode == 1
    assert "--fd" in ended.stderr
    read, write = os.pipe()
    os.write(write, b"another-token-of-mine\n")
    os.close(write)
    with os.fdopen(read):
        ended = subprocess.run(
            command("give", "one", "MY_TOKEN", "--fd", str(read)),
            env=environment(), pass_fds=[read], capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "one has all its secrets\n"), ended.stderr
    assert run("give", "one", "MY_TOKEN", "OTHER", "--fd", "3").returncode == 2
