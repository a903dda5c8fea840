"""The command line against a real controller: output, exit codes, JSON, and texts that somebody hostile wrote."""

import asyncio
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.cli import execute
from app.core.schema import Keep
from app.paths import Paths, private_folder
from app.store.base import NewEvent
from app.store.sqlite import SqliteStore
from tests.controllers import stopped
from tests.fork_server import carboy

ROOT = Path(__file__).parents[2]

type Ended = subprocess.CompletedProcess[str]
type Run = Callable[..., Ended]


@pytest.fixture
def run(paths: Paths, tmp_path: Path) -> Iterator[Run]:
    def forked(*arguments: str, stdin: str = "", **environ: str) -> Ended:
        return carboy(*arguments, cwd=tmp_path, environ={**os.environ, **environ}, stdin=stdin)

    yield forked
    stopped(paths)


@pytest.fixture
def fresh(paths: Paths, tmp_path: Path) -> Iterator[Run]:
    """Each command is an interpreter of its own, as is the controller that it starts."""

    def executed(*arguments: str, stdin: str = "", **environ: str) -> Ended:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path)), **environ}
        command = [sys.executable, "-P", "-m", "app", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )

    yield executed
    stopped(paths)


def ok(ended: Ended) -> str:
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.usefixtures("permissions_hold")
def test_a_state_folder_that_may_not_be_written_is_no_fault_of_ours(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    private_folder(paths.state).chmod(0o500)
    assert execute(["list"]) == 1
    assert f"carboy: {paths.log}: Permission denied. Make it" in capsys.readouterr().err
    paths.state.chmod(0o700)


def test_a_state_folder_that_is_a_file_is_said_so(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    paths.state.parent.mkdir(exist_ok=True)
    paths.state.write_text("")
    assert execute(["list"]) == 1
    assert f"carboy: {paths.state} is not a folder. Remove it" in capsys.readouterr().err


def test_help_names_every_command_and_needs_no_controller(fresh: Run, carboy_home: Path) -> None:
    text = ok(fresh("--help"))
    for name in ("init", "start", "attach", "list", "info", "edit", "settings", "logs", "routes", "stop", "kill"):
        assert name in text
    assert ok(fresh("--version")).startswith("carboy, version ")
    for name in ("start", "list", "logs", "serve", "doctor", "demo"):
        assert "Usage: carboy " + name in ok(fresh(name, "--help"))
    assert not (carboy_home / "state").exists()


def test_the_demo_without_a_terminal_says_how_to_have_it(run: Run, carboy_home: Path) -> None:
    ended = run("demo")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "not a terminal: use --headless" in ended.stderr
    assert "--headless" in ok(run("demo", "--help"))


def test_help_loads_little() -> None:
    code = (
        "import sys\nfrom app.cli import execute\nexecute(['--help'])\n"
        "print(*sorted({'aiohttp', 'pydantic', 'textual', 'asyncio', 'mitmproxy'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("frobnicate",),
        ("demo", "--frobnicate"),
        ("start",),
        ("list", "everything"),
        ("stop",),
        ("logs", "--decision", "maybe", "x"),
        ("start", "--budget", "=5", "a"),
    ],
)
def test_wrong_usage_is_2(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "Error" in ended.stderr


@pytest.mark.parametrize("command", ["stop", "kill", "freeze", "thaw", "info", "routes", "logs"])
def test_what_is_not_there_is_one_line_on_stderr(run: Run, command: str) -> None:
    ended = run(command, "nobody")
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("carboy: There is no bottle")
    assert ended.stderr.count("\n") == 1


def test_init_list_info_settings(fresh: Run, run: Run, paths: Paths) -> None:
    made = json.loads(ok(fresh("init", "--json")))
    assert len(made["written"]) > 5
    assert json.loads(ok(fresh("init", "--json")))["written"] == []
    agents = json.loads(ok(run("list", "agents", "--json")))
    assert {"developer", "reviewer"} <= {agent["name"] for agent in agents}
    bottles = json.loads(ok(fresh("list", "bottles", "--json")))
    assert any(bottle["lineage"] == "base -> claude" for bottle in bottles)
    assert "developer" in ok(fresh("list", "agents"))
    info = json.loads(ok(run("info", "claude", "--json")))
    assert info["manifest"]["bottle_names"] == ["claude"]
    assert "(from base)" in ok(run("info", "claude"))
    assert json.loads(ok(run("list", "--json"))) == []
    assert json.loads(ok(run("list", "archived", "--json"))) == []
    assert "leader_key: ctrl+] (from default)" in ok(run("settings"))
    assert any(item["path"] == "theme" for item in json.loads(ok(run("settings", "--json"))))
    assert json.loads(ok(run("proposals", "--json"))) == []
    assert json.loads(ok(run("logs", "--json"))) == []
    for options, said in (((), "nothing was asked for"), (("--host", "a.example"), "nothing here matches")):
        ran = run("logs", *options)
        assert (ran.returncode, ran.stdout) == (0, "")
        assert said in ran.stderr


def test_logs_say_how_many_older_lines_are_gone(run: Run, paths: Paths) -> None:
    async def fill() -> None:
        private_folder(paths.state)
        store = SqliteStore(paths.database)
        await store.open()
        payload = {"decision": "deny", "code": "host_not_allowed", "phase": "closed", "host": "a.example"}
        ages = (500, 400, 1)
        events = [NewEvent(f"e{age}", time.time() - age * 86400, "egress", payload, "deny") for age in ages]
        await store.add_events("dev", "s1", events)
        await store.prune(time.time(), (), Keep())
        await store.close()

    asyncio.run(fill())
    first, last = ok(run("logs")).splitlines()
    assert "2 older lines were dropped to make room" in first
    assert "a.example" in last
    assert [item["seq"] for item in json.loads(ok(run("logs", "--json", "--decision", "blocked")))] == [0, 3]
    assert [item["seq"] for item in json.loads(ok(run("logs", "--json", "--limit", "1")))] == [3]


def test_init_from_another_tree(run: Run, paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "tree" / "bottles").mkdir(parents=True)
    (tmp_path / "tree" / "bottles" / "mine.md").write_text("---\negress:\n  routes:\n    - host: example.com\n---\n")
    ok(run("init", "--from", "tree"))
    assert [bottle["name"] for bottle in json.loads(ok(run("list", "bottles", "--json")))] == ["mine"]
    assert run("init", "--from", "nowhere").returncode == 1


def test_a_dry_run_shows_and_makes_nothing(run: Run, paths: Paths) -> None:
    ok(run("init"))
    plan = json.loads(
        ok(run("start", "--dry-run", "--json", "--label", "Try Me", "-b", "offline", "--", "ls", "--", "-la"))
    )
    assert plan["slug"] == "try-me"
    assert plan["command"][-3:] == ["ls", "--", "-la"]
    assert plan["bottles"] == ["offline"]
    text = ok(run("start", "-b", "offline", "--", "true", CARBOY_DRY_RUN="1"))
    assert "supervise: false (from offline)" in text
    assert not (paths.state / "bottles").exists() or list((paths.state / "bottles").iterdir()) == []


def test_all_that_is_missing_is_said_at_once_what_installs_the_agent_first(run: Run, paths: Paths) -> None:
    ok(run("init"))
    without = {"PATH": "/nowhere", "HOME": str(paths.state), "OPENAI_API_KEY": ""}
    ended = run("start", "-b", "codex", "--headless", "--prompt", "x", "--", "codex", **without)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("carboy: Codex was not found. Install it with `npm install -g")
    assert "also: The secret OPENAI_API_KEY is missing" in ended.stderr
    assert "carboy secret set OPENAI_API_KEY" in ended.stderr
    ended = run("start", "--dry-run", "-b", "codex", "--headless", "--prompt", "x", "--", "codex", **without)
    assert ended.returncode == 1
    assert ended.stdout.partition("\n")[0].endswith("would be refused (see the end)")


def test_a_dry_run_names_what_would_be_refused(run: Run) -> None:
    ok(run("init"))
    ended = run("start", "--dry-run", "--headless", "-b", "nothing-like-it", "--", "true")
    assert ended.returncode == 1
    assert "nothing-like-it" in ended.stderr
    assert "`carboy list agents`" in run("start", "-b", "offline", "--headless").stderr


def test_without_a_terminal_start_says_what_to_do(run: Run) -> None:
    ended = run("start", "-b", "offline", "--", "true")
    assert ended.returncode == 2
    assert "--headless or --detach" in ended.stderr
    ended = run("attach", "x")
    assert ended.returncode == 2


@pytest.mark.parametrize("arguments", [(), ("attach", "x")])
def test_a_terminal_that_can_show_no_full_screen_is_told_so(carboy_home: Path, arguments: tuple[str, ...]) -> None:
    """TERM=dumb: the shell of an editor, for one. The app would stand there, half drawn, and hear no key."""
    ours, theirs = pty.openpty()
    try:
        env = {**os.environ, "TERM": "dumb", "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path))}
        command = [sys.executable, "-P", "-m", "app", *arguments]
        ended = subprocess.run(
            command, env=env, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=20, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert ended.returncode == 2
    assert "TERM=dumb" in ended.stderr
    assert "TERM=xterm-256color" in ended.stderr


def test_headless_needs_something_to_do(run: Run) -> None:
    ended = run("start", "developer", "--headless")
    assert ended.returncode == 2
    assert "--prompt" in ended.stderr


def test_hostile_manifests_are_shown_harmlessly(run: Run, paths: Paths, tmp_path: Path) -> None:
    ok(run("init"))
    evil = tmp_path / ".carboy" / "agents"
    evil.mkdir(parents=True)
    (evil / "evil.md").write_bytes(b'---\ndescription: "\\x1b]52;c;aGk=\\x07 \\u202e red"\nbottle: base\n---\nhi\n')
    for arguments in (("list", "agents"), ("list", "agents", "--json"), ("info", "evil"), ("info", "evil", "--json")):
        found = ok(run(*arguments))
        assert "\x1b" not in found
        assert "\u202e" not in found
        assert "evil" in found


def test_edit_checks_what_was_written(run: Run, paths: Paths, tmp_path: Path) -> None:
    ok(run("init"))
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf -- "---\\nsupervize: true\\n---\\n" > "$1"\n')
    editor.chmod(0o755)
    ended = run("edit", "bottle/new", EDITOR=str(editor), VISUAL="")
    assert ended.returncode == 1
    assert "new.md:2" in ended.stderr
    assert "supervize" in ended.stderr
    editor.write_text('#!/bin/sh\nprintf -- "---\\nsupervise: true\\n---\\n" > "$1"\n')
    assert "is in order" in ok(run("edit", "bottle/new", EDITOR=str(editor), VISUAL=""))
    assert run("edit", "../../etc/passwd", EDITOR=str(editor)).returncode == 1
    assert run("edit", "nobody", EDITOR=str(editor)).returncode == 1
    assert run("edit", "base", EDITOR="/no/such/editor", VISUAL="").returncode == 1


def test_doctor_tells_of_every_part(run: Run) -> None:
    ended = run("doctor", "--json")
    found = json.loads(ended.stdout)
    names = {check["name"] for check in found["checks"]}
    assert {"python", "bubblewrap", "namespaces", "landlock", "cgroups", "keyring", "npm", "terminal"} <= names
    assert all(check["fix"] for check in found["checks"] if not check["ok"])
    assert any(report["name"] == "local" for report in found["backends"])
    assert ended.returncode == (0 if any(report["works"] for report in found["backends"]) else 1)
    assert "python" in run("doctor").stdout


def test_a_doctor_helps_when_no_controller_can_start(run: Run, paths: Paths) -> None:
    paths.state.mkdir(parents=True)
    paths.database.write_bytes(b"garbage " * 1000)
    ended = run("doctor", "--json")
    broken = next(check for check in json.loads(ended.stdout)["checks"] if check["name"] == "controller")
    assert not broken["ok"]
    assert "carboy.db" in broken["text"]


def test_cleanup_and_audit(run: Run) -> None:
    assert "removed" in json.loads(ok(run("cleanup", "--json")))
    ok(run("cleanup"))
    assert "holds" in ok(run("audit", "--verify"))
    assert json.loads(ok(run("audit", "--json")))["findings"] == []


def test_a_changed_audit_trail_is_found(run: Run, paths: Paths) -> None:
    import sqlite3

    ok(run("serve", "--stop"))
    ok(run("audit"))
    ok(run("cleanup"))
    ok(run("serve", "--stop"))
    # rows of our own making: without the key nobody can tag one
    with sqlite3.connect(paths.database) as db:
        db.execute("DELETE FROM audit")
        db.execute("INSERT INTO audit VALUES (1, 0, 'launch', 'nobody', '', '', '{}', 'forged')")
    db.close()
    ended = run("audit", "--verify")
    assert ended.returncode == 1
    assert "does not hold" in ended.stderr


def test_a_reader_that_goes_away_is_no_error(fresh: Run, carboy_home: Path) -> None:
    ok(fresh("init"))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path))}
    for arguments in (["list", "bottles", "--json"], ["list", "bottles"], ["--help"]):
        read, write = os.pipe()
        os.close(read)  # gone before the first word
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "app", *arguments],
            stdout=write, stderr=subprocess.PIPE, text=True, env=env, check=False,
        )  # fmt: skip
        os.close(write)
        assert (ended.returncode, ended.stderr) == (0, ""), arguments


def test_a_file_of_ours_that_finds_no_room_is_named(fresh: Run, carboy_home: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = f"ulimit -f 0; exec {sys.executable} -P -m app init --yes"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=env, check=False)
    assert ended.returncode == 1
    assert f"The disk is full: {carboy_home}" in ended.stderr
    assert not [file for file in carboy_home.rglob("*.md") if file.stat().st_size == 0]
    ok(fresh("init", "--yes"))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_descriptor_is_no_error(fresh: Run, carboy_home: Path, closed: str) -> None:
    ok(fresh("init"))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path))}
    command = f"{sys.executable} -P -m app list bottles {closed}"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=env, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ("LINEAGE" in ended.stdout) == (">&-" not in closed.replace("2>&-", ""))


def test_what_cannot_be_written_is_said(fresh: Run, carboy_home: Path) -> None:
    ok(fresh("init"))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path)), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-P", "-m", "app", "list", "prompts"]
    (carboy_home / "config/prompts").mkdir()
    (carboy_home / "config/prompts/greet.md").write_text("---\ndescription: Grüße\n---\nHello")
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=env, check=False)
    assert ended.returncode == 1
    assert "The output cannot be written" in ended.stderr
    ended = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Gr??e" in ended.stdout


def test_a_folder_that_is_gone_or_no_text(fresh: Run, carboy_home: Path, tmp_path: Path) -> None:
    ok(fresh("init"))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path))}
    carboy = f"{sys.executable} -P -m app"
    for folder, command, wanted in (
        (b"gone", "start -b offline --headless -- true", f"{tmp_path}/gone"),
        (b"no\xfftext", "start -b offline --headless -- true", "UTF-8"),
        (b"good", "start -b offline --headless -- echo '\udcff'", "UTF-8"),
    ):
        place = os.path.join(os.fsencode(tmp_path), folder)
        os.mkdir(place)
        script = os.fsencode(f"{'rmdir ../gone; ' if folder == b'gone' else ''}{carboy} {command}")
        ended = subprocess.run(["sh", "-c", script], cwd=place, capture_output=True, text=True, env=env, check=False)
        assert ended.returncode == 1
        assert wanted in ended.stderr
        assert "carboy itself" not in ended.stderr


@pytest.mark.parametrize("command", ["resume", "fork", "kill", "logs", "usage", "traces", "report"])
@pytest.mark.parametrize("name", ["", "../x", "Ä"])
def test_no_bottle_can_have_that_name(run: Run, command: str, name: str) -> None:
    ended = run(command, name, *(["--detach"] if command in ("resume", "fork") else []))
    assert ended.returncode == 1
    assert "No bottle can have that name" in ended.stderr


def test_a_bottle_that_never_was_is_no_bottle_of_which_nothing_is_found(run: Run) -> None:
    ok(run("init"))
    for words in (("traces", "nobody"), ("search", "x", "--bottle", "nobody"), ("proposals", "--slug", "nobody")):
        ended = run(*words)
        assert (ended.returncode, ended.stdout) == (1, ""), words
        assert "There is no bottle nobody" in ended.stderr
    assert ok(run("traces")) == "no traces\n"


def test_no_report_of_the_time_to_come(run: Run) -> None:
    assert run("report", "--since", "-3").returncode == 2


def test_an_editor_of_nobody_needs_a_terminal(run: Run) -> None:
    ok(run("init"))
    ended = run("edit", "bottle/base", EDITOR="", VISUAL="")
    assert ended.returncode == 2
    assert "not a terminal: set EDITOR" in ended.stderr


def test_a_trial_notice_without_an_outlet_is_an_error(run: Run) -> None:
    ok(run("init"))
    ended = run("notices", "--try", "--json")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "No outlet is set" in ended.stderr
