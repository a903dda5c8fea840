"""`carboy secret`: from a prompt, stdin or a descriptor into a keyring, and nowhere else."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.paths import Paths
from tests.controllers import stopped
from tests.fork_server import carboy

ROOT = Path(__file__).parents[2]
VALUE = "sk-test-3f9a1c77d2e84b0c9d5e6f70"
HERE = Path(__file__).parent / "memory_keyring"


@pytest.fixture
def env(carboy_home: Path, tmp_path: Path) -> dict[str, str]:
    """A controller takes little of its client's environment, so the keyring is named in the keyring package's file."""
    choose(tmp_path, "memory_keyring.MemoryKeyring")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}


def choose(home: Path, keyring: str) -> None:
    for folder in (home / ".config" / "python_keyring", home / "Library" / "Preferences" / "python_keyring"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "keyringrc.cfg").write_text(f"[backend]\ndefault-keyring={keyring}\nkeyring-path={HERE}\n")


type Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(env: dict[str, str], paths: Paths) -> Iterator[Run]:
    def either(*arguments: str, stdin: str = "", **more: Any) -> subprocess.CompletedProcess[str]:
        if not more:
            return carboy(*arguments, cwd=Path.cwd(), environ=env, stdin=stdin)
        return subprocess.run(
            [sys.executable, "-P", "-m", "app", *arguments],
            env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False, **more,
        )  # fmt: skip

    yield either
    stopped(paths)


def test_set_listed_and_removed(run: Run, carboy_home: Path) -> None:
    ended = run("secret", "set", "MY_TOKEN", stdin=f"{VALUE}\n")
    assert (ended.returncode, ended.stdout.strip()) == (0, "MY_TOKEN is in memory"), ended.stderr
    listed = json.loads(run("secret", "list", "--json").stdout)
    assert [(item["name"], item["used_at"]) for item in listed["secrets"]] == [("MY_TOKEN", None)]
    assert run("secret", "set", "MY_TOKEN", stdin="another-value-1234").returncode == 0
    assert len(json.loads(run("secret", "list", "--json").stdout)["secrets"]) == 1
    assert run("secret", "rm", "MY_TOKEN").returncode == 0
    gone = run("secret", "rm", "MY_TOKEN")
    assert gone.returncode == 1
    assert "has no secret MY_TOKEN" in gone.stderr
    rows = json.loads(run("audit", "--json").stdout)["rows"]
    # a controller clears away what dead ones of this host left, other tests' too
    told = [row["action"] for row in rows if row["action"] != "cleanup"]
    assert told == ["secret-set", "secret-set", "secret-removed"]
    assert nowhere(carboy_home)


def nowhere(home: Path) -> bool:
    """No file of this carboy holds the value: database, audit, logs."""
    return not [path for path in home.rglob("*") if path.is_file() and VALUE.encode() in path.read_bytes()]


def test_by_descriptor_and_wrongly(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text(VALUE)
    with file.open() as source:
        given = run("secret", "set", "BY_FD", "--fd", str(source.fileno()), pass_fds=(source.fileno(),))
    assert given.returncode == 0, given.stderr
    for name, stdin, says in (("BAD NAME", VALUE, "name"), ("EMPTY", "", "empty"), ("BIG", "x" * 70_000, "no secret")):
        ended = run("secret", "set", name, stdin=stdin)
        assert ended.returncode == 1, name
        assert says in ended.stderr
        assert VALUE not in ended.stderr


def test_an_error_that_repeats_the_value_is_told_without_it(run: Run, carboy_home: Path) -> None:
    ended = run("secret", "set", "TOKEN", stdin=f"refuse-{VALUE}")
    assert ended.returncode == 1
    assert "RuntimeError" in ended.stderr
    assert VALUE not in ended.stderr + ended.stdout
    assert nowhere(carboy_home)


@pytest.mark.sandbox
def test_bottles_that_keep_the_former_value_are_named(run: Run, paths: Paths, tmp_path: Path) -> None:
    route = "{host: allowed.example, auth: {scheme: Bearer, token_ref: MY_TOKEN}}"
    paths.bottles.mkdir(parents=True, exist_ok=True)
    (paths.bottles / "plain.md").write_text(
        f"---\nagent_provider: {{template: shell}}\negress: {{routes: [{route}]}}\n---\n"
    )
    project = tmp_path / "project"
    project.mkdir()
    assert run("secret", "set", "MY_TOKEN", stdin=VALUE).stderr == ""
    try:
        begun = run("start", "-d", "--label", "one", "-b", "plain", "--cwd", str(project), "--", "sleep", "600")
        assert begun.returncode == 0, begun.stderr
        again = run("secret", "set", "MY_TOKEN", stdin="another-value-1234")
        assert again.stderr.strip() == "one goes on with the value from before: carboy give one MY_TOKEN"
        assert run("secret", "set", "OTHER", stdin="another-value-1234").stderr == ""
    finally:
        run("kill", "one")
    assert run("secret", "set", "MY_TOKEN", stdin=VALUE).stderr == ""


def at_a_terminal(env: dict[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """`secret set` with a terminal of its own, and our end of that."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "app", "secret", "set", "TYPED"],
        env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    return process, ours


def test_a_prompt_does_not_echo(run: Run, env: dict[str, str]) -> None:
    run("secret", "list")  # the controller is there
    process, ours = at_a_terminal(env)
    shown = b""
    while b"TYPED: " not in shown:
        shown += os.read(ours, 4096)
    os.write(ours, f"{VALUE}\n".encode())
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:
            break
    assert process.wait(30) == 0, shown
    assert VALUE.encode() not in shown
    assert [item["name"] for item in json.loads(run("secret", "list", "--json").stdout)["secrets"]] == ["TYPED"]


def test_without_a_keyring_no_value_is_asked_for(run: Run, env: dict[str, str], tmp_path: Path) -> None:
    choose(tmp_path, "keyring.backends.fail.Keyring")
    run("secret", "list")
    process, ours = at_a_terminal(env)
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 4096):
            shown += piece
            assert b"TYPED: " not in shown
    assert process.wait(30) == 1
    assert b"There is no system keyring here" in shown


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_process_shows_it_and_none_leaves_a_core(run: Run, carboy_home: Path) -> None:
    assert run("secret", "set", "TOKEN", stdin=VALUE).returncode == 0
    pid = int(json.loads((carboy_home / "run" / "controller.lock").read_text()))
    core = [text for text in Path(f"/proc/{pid}/limits").read_text().splitlines() if text.startswith("Max core")]
    assert core[0].split()[4:6] == ["0", "0"]
    assert Path(f"/proc/{pid}/environ").stat().st_uid == 0, "not dumpable: only root may look into it"
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        for name in ("cmdline", "environ"):
            try:
                assert VALUE.encode() not in (process / name).read_bytes()
            except OSError:
                continue


def test_without_a_keyring_nothing_is_stored(run: Run, tmp_path: Path, carboy_home: Path) -> None:
    choose(tmp_path, "keyring.backends.fail.Keyring")
    ended = run("secret", "set", "TOKEN", stdin=VALUE)
    assert ended.returncode == 1
    assert "GNOME Keyring" in ended.stderr
    listed = run("secret", "list")
    assert "no secrets" in listed.stdout
    assert "GNOME Keyring" in listed.stderr
    assert nowhere(carboy_home)


def test_a_secret_for_one_launch_by_descriptor(run: Run, carboy_home: Path, tmp_path: Path) -> None:
    (carboy_home / "config" / "bottles").mkdir(parents=True)
    route = "{host: api.example.com, auth: {scheme: Bearer, token_ref: MY_TOKEN}}"
    (carboy_home / "config" / "bottles" / "box.md").write_text(f"---\negress: {{routes: [{route}]}}\n---\n")
    start = ("start", "--dry-run", "--json", "-b", "box", "--cwd", str(tmp_path / "project"), "--secret-fd")
    (tmp_path / "project").mkdir()
    (tmp_path / "value").write_text(f"{VALUE}\n")
    with (tmp_path / "value").open() as source:
        number = source.fileno()
        planned = run(*start, f"MY_TOKEN={number}", "--", "true", pass_fds=(number,))
        assert planned.returncode == 0, planned.stderr
        assert [(one["name"], one["source"]) for one in json.loads(planned.stdout)["secrets"]] == [
            ("MY_TOKEN", "request")
        ]
        assert VALUE not in planned.stdout + planned.stderr
    for given, code, says in (("MY_TOKEN", 2, "write NAME=FD"), ("A=x", 2, "write NAME=FD"), ("A=971", 1, "971")):
        ended = run(*start, given, "--", "true")
        assert (ended.returncode, says in ended.stderr) == (code, True), ended.stderr
    assert nowhere(carboy_home)
