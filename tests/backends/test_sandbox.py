"""Sandboxes of both engines, as the agent and the operator find them."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.backends import masks
from app.backends.base import BoxSpec, Command, FileIn, Mount
from app.backends.local.sandbox import Sandbox
from app.core.schema import Limits
from app.errors import CarboyError
from tests.backends.conftest import Bottle, until

pytestmark = pytest.mark.sandbox
Build = Callable[..., Bottle]


def test_project_is_worked_on_and_files_keep_their_owner(spec: BoxSpec, build: Build) -> None:
    assert spec.project is not None
    (spec.project / "old").write_text("from the host")
    bottle = build(spec)
    result = bottle.run("pwd; cat old; echo new > new; mkdir sub; id -u; stat -c %u old new")
    assert result.output.split("\n")[:2] == [str(spec.project), "from the host1000"]
    assert result.output.split("\n")[2:4] == ["1000", "1000"]
    assert (spec.project / "new").read_text() == "new\n"
    assert (spec.project / "new").stat().st_uid == os.getuid()


def test_nothing_of_the_host_but_its_programs(spec: BoxSpec, build: Build) -> None:
    result = build(spec).run(
        "ls -A /home /root /srv /mnt /media /opt /boot /sys /var 2>/dev/null; cat /etc/passwd; env"
    )
    assert "daemon:" not in result.output
    assert "agent:x:1000:1000" in result.output
    listed = result.output.split("root:x:0")[0].split()
    assert set(listed) <= {"/home:", "agent", "/var:", "tmp"}
    assert "PYTEST" not in result.output
    assert os.environ.get("PATH", "-") not in result.output or os.environ["PATH"] == "/usr/local/bin:/usr/bin:/bin"


def test_read_only_project_and_none(spec: BoxSpec, build: Build) -> None:
    assert spec.project is not None
    (spec.project / "old").write_text("x")
    result = build(spec, project_writable=False).run("cat old; touch new; echo y > old")
    assert "Read-only file system" in result.output
    assert (spec.project / "old").read_text() == "x"
    empty = build(spec, project=None, masks=(), session_id="none")
    assert empty.run("ls -A /home/agent").code == 0


def test_a_symlinked_project_is_shown_at_its_real_place(spec: BoxSpec, build: Build, tmp_path: Path) -> None:
    assert spec.project is not None
    (tmp_path / "link").symlink_to(spec.project)
    bottle = build(spec, project=tmp_path / "link")
    bottle.project = spec.project
    assert bottle.run("pwd").output.strip() == str(spec.project)


@pytest.mark.parametrize("path", ["/", "/usr", "/usr/bin", "/etc", "/proc", "/nonexistent-project"])
def test_projects_that_cannot_be_shown_are_refused(spec: BoxSpec, path: str) -> None:
    from dataclasses import replace

    with pytest.raises(CarboyError) as refused:
        Sandbox.build(replace(spec, project=Path(path)))
    assert refused.value.hint


def test_carboys_own_state_is_never_shown(spec: BoxSpec, tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(CarboyError, match="own state"):
        Sandbox.build(replace(spec, project=tmp_path))


def test_files_home_and_mounts(spec: BoxSpec, build: Build, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.mkdir()
    (tool / "run").write_text("#!/bin/sh\necho tool works\n")
    (tool / "run").chmod(0o755)
    bottle = build(
        spec,
        files=(
            FileIn("/etc/ssl/certs/ca-certificates.crt", b"AUTHORITY"),
            FileIn("/home/agent/.config/x/settings", b"configured"),
            FileIn("/opt/thing", b"#!/bin/sh\necho thing\n", 0o755),
        ),
        mounts=(Mount(tool, "/opt/tool"),),
        env={"MARK": "set"},
    )
    reading = "cat /etc/ssl/certs/ca-certificates.crt ~/.config/x/settings; /opt/thing"
    result = bottle.run(f"{reading}; /opt/tool/run; echo $MARK; touch /opt/tool/x")
    assert result.output.startswith("AUTHORITYconfiguredthing\ntool works\nset\n")
    assert "Read-only" in result.output
    bottle.run("echo kept > ~/note")
    assert (spec.state / "home/note").read_text() == "kept\n"


def test_files_are_not_written_through_links_an_agent_left(spec: BoxSpec, build: Build, tmp_path: Path) -> None:
    home = spec.state / "home"
    home.mkdir()
    (tmp_path / "target").mkdir()
    (home / ".config").symlink_to(tmp_path / "target")
    (home / "direct").symlink_to(tmp_path / "target/direct")
    with pytest.raises(OSError):
        build(spec, files=(FileIn("/home/agent/.config/x", b"data"),))
    build(spec, files=(FileIn("/home/agent/direct", b"data"),), session_id="second")
    assert not list((tmp_path / "target").iterdir())
    assert (home / "direct").read_bytes() == b"data"


def test_terminal_is_the_sandboxes_own(spec: BoxSpec, build: Build) -> None:
    result = build(spec).run("tty; stty size; read line; echo got $line; ls /dev/pts", tty=True, keys=b"hello\n")
    assert "/dev/pts/0" in result.output
    assert "24 80" in result.output
    assert "got hello" in result.output


def test_listener_answers_the_self_test(spec: BoxSpec, build: Build) -> None:
    bottle = build(spec)
    listener = bottle.sandbox.listen(7878)

    def answer() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    checks = bottle.sandbox.check(7878)
    thread.join(5)
    assert [check.name for check in checks if not check.ok] == []
    assert {check.name for check in checks} >= {"proxy", "raw address", "dns", "metadata"}
    listener.close()


def test_listener_is_reachable_from_inside_only(spec: BoxSpec, build: Build) -> None:
    build(spec)
    with socket.socket() as outside, pytest.raises(OSError):
        outside.connect(("127.0.0.1", 7878))


def test_exit_codes_and_missing_programs(spec: BoxSpec, build: Build) -> None:
    bottle = build(spec)
    assert bottle.run("exit 7").code == 7
    assert bottle.run("kill -9 $$").code == -9
    with pytest.raises(CarboyError, match="no-such-program could not be started: it is not in the bottle") as missing:
        bottle.sandbox.spawn(Command(("no-such-program",), "/", tty=False))
    assert "project's files" in missing.value.hint
    with pytest.raises(CarboyError, match="its working folder /nowhere"):
        bottle.sandbox.spawn(Command(("true",), "/nowhere", tty=False))


def test_a_file_that_cannot_be_executed_says_what_to_mend(spec: BoxSpec, build: Build) -> None:
    bottle = build(spec)
    assert bottle.run("cd ~; echo hi > plain; printf '#!/no/such\\n' > script; chmod +x script; pwd").code == 0
    home = spec.home
    with pytest.raises(CarboyError, match="it is not executable") as plain:
        bottle.sandbox.spawn(Command((f"{home}/plain",), "/", tty=False))
    assert plain.value.hint == f"If it is a program: chmod +x {home}/plain"
    with pytest.raises(CarboyError, match="the interpreter that its first line names"):
        bottle.sandbox.spawn(Command((f"{home}/script",), "/", tty=False))


def test_agent_that_kills_everything_it_sees(spec: BoxSpec, build: Build) -> None:
    bottle = build(spec)
    bottle.run("kill -9 -1; kill -9 1; kill -TERM 1; true")
    assert bottle.run("echo alive").output == "alive\n"


def test_orphans_are_buried_and_die_with_the_sandbox(spec: BoxSpec, build: Build) -> None:
    bottle = build(spec)
    bottle.run("for i in 1 2 3; do (sleep 0.01 &) ; done; (sleep 1000 > /dev/null 2>&1 &); true")
    assert until(lambda: bottle.sandbox.usage().pids == 1)
    bottle.sandbox.close()
    assert not alive(bottle.sandbox.init_pid)


def test_freeze_thaw_and_end_while_frozen(spec: BoxSpec, build: Build) -> None:
    bottle = build(spec)
    child = bottle.sandbox.spawn(
        Command(("/bin/sh", "-c", "while :; do echo x >> ticks; sleep 0.01; done"), str(bottle.project), tty=False)
    )
    ticks = bottle.project / "ticks"
    assert until(lambda: ticks.exists() and ticks.stat().st_size > 10)
    bottle.sandbox.freeze()
    assert until(lambda: state(child.pid) in "TD")
    size = ticks.stat().st_size
    assert not until(lambda: ticks.stat().st_size > size, 0.3)
    bottle.sandbox.thaw()
    assert until(lambda: ticks.stat().st_size > size)
    bottle.sandbox.freeze()
    bottle.sandbox.close()
    assert not alive(child.pid)
    os.close(child.pidfd)
    os.close(child.output_fd)


def test_a_freeze_never_stops_whoever_got_the_pid_of_an_ended_exec(spec: BoxSpec, build: Build) -> None:
    import asyncio

    from app.processes.once import run_once

    sandbox = build(spec).sandbox
    answer = asyncio.run(run_once(sandbox, {"argv": ["/bin/sh", "-c", "sleep 50 & echo $$"], "timeout": 0.3}))
    assert answer["timed_out"]
    assert sandbox._roots() == [sandbox.init_pid]


def test_fork_bomb_and_memory_are_bounded(spec: BoxSpec, build: Build) -> None:
    bottle = build(spec, limits=Limits(pids=30, memory=128 * 1024 * 1024))
    result = bottle.run("i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done; wait; true", seconds=30)
    assert "fork" in result.output.lower() or result.code != 0
    assert bottle.run("head -c 300m /dev/zero | tail -c 300m > /dev/null").code != 0
    assert bottle.run("head -c 100m /dev/zero > /tmp/full; echo end").output.count("No space") == 1


def test_usage_counts_the_tree(spec: BoxSpec, build: Build) -> None:
    bottle = build(spec)
    child = bottle.sandbox.spawn(Command(("/bin/sh", "-c", "sleep 100 & sleep 100 & wait"), "/", tty=False))
    assert until(lambda: bottle.sandbox.usage().pids == 3)
    assert bottle.sandbox.usage().memory > 0
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    os.close(child.pidfd)
    os.close(child.output_fd)


def test_a_sandbox_does_not_outlive_its_holder(spec: BoxSpec, tmp_path: Path) -> None:
    """The holder is killed with SIGKILL while an agent runs; everything inside ends at once."""
    program = f"""
import os, sys
from pathlib import Path
from app.backends.base import BoxSpec, Command
from app.backends.local.sandbox import Sandbox
state, run, project = Path({str(spec.state)!r}), Path({str(spec.run)!r}), Path({str(spec.project)!r})
spec = BoxSpec("one", {spec.session_id!r}, state, run, project, engine={spec.engine!r})
sandbox = Sandbox.build(spec)
child = sandbox.spawn(Command(("/bin/sh", "-c", "setsid sleep 1000 & sleep 1000"), "/", tty=False))
print(sandbox.init_pid, child.pid, flush=True)
sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdout is not None
    line = holder.stdout.readline()
    if not line:
        pytest.skip("no sandbox on this host")
    pids = [int(word) for word in line.split()]
    assert all(alive(pid) for pid in pids)
    holder.kill()
    holder.communicate()
    assert until(lambda: not any(alive(pid) for pid in pids))
    for group in Path("/sys/fs/cgroup").glob(f"*/carboy-{spec.session_id}"):
        assert until(lambda group=group: removed(group)), "nothing is in it any more"


def test_many_lives_leave_nothing(spec: BoxSpec, build: Build) -> None:
    """50 sandboxes, one after the other: no descriptor, mount, process or control group stays."""
    from dataclasses import replace

    build(spec).sandbox.close()
    before = traces()
    for index in range(50):
        sandbox = Sandbox.build(replace(spec, session_id=f"{LIFE}-{index}"))
        child = sandbox.spawn(Command(("/bin/true",), "/", tty=False))
        os.close(child.pidfd)
        os.close(child.output_fd)
        sandbox.close()
    until(
        lambda: not new_since(before)
    )  # a control group goes with its last process, which the kernel takes its time for
    assert new_since(before) == set()


def test_failed_build_leaves_nothing(spec: BoxSpec, build: Build) -> None:
    from dataclasses import replace

    build(spec).sandbox.close()
    before = traces()
    taken = replace(spec, files=(FileIn("/proc/nonsense", b""),), session_id=f"{LIFE}-broken")
    with pytest.raises(CarboyError):
        Sandbox.build(taken)
    assert new_since(before) == set()
    assert spec.project is not None
    assert list(spec.project.iterdir()) == []


LIFE = f"life-{os.getpid()}"
"""Tests beside us have sandboxes of their own."""


def traces() -> set[str]:
    """What a sandbox could leave: descriptors, mounts, children, control groups. Small file systems that tests beside
    us mount (from `none`) are theirs."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return {
        *(f"descriptor {fd}" for fd in os.listdir("/proc/self/fd")),
        *(f"mount {line}" for line in mounts if not line.startswith("none ")),
        *(f"child {pid}" for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
        *(f"group {path}" for path in Path("/sys/fs/cgroup").glob(f"*/carboy-{LIFE}*")),
    }


def new_since(before: set[str]) -> set[str]:
    return traces() - before


def removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def alive(pid: int) -> bool:
    """Process 1 of a namespace that has been killed stays until all in it are buried, which is up to this host's own
    process 1; it has no memory then and runs nothing any more."""
    try:
        return state(pid) not in "ZX" and Path(f"/proc/{pid}/statm").read_text().split()[0] != "0"
    except (FileNotFoundError, ProcessLookupError):
        return False


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


@pytest.mark.parametrize("engine", ["bubblewrap"], indirect=True)
def test_masks(spec: BoxSpec, build: Build) -> None:
    project = repository(spec)
    (project / ".vscode").mkdir()
    (project / ".vscode/settings.json").write_text("{}")
    before = (project / ".git/config").read_text()
    bottle = build(spec)
    script = """
        echo evil > .git/hooks/post-checkout; mv .git .git2; rm -rf .git/hooks; ln -s /tmp .vscode/x
        echo evil > .envrc; mkdir .idea/x; echo x > .claude/settings.json; echo x > .mcp.json; rmdir .envrc
        cat .vscode/settings.json; git config user.name Agent && git config user.name
    """
    result = bottle.run(script)
    assert result.output.endswith("{}Agent\n")
    assert (project / ".git/config").read_text() == before
    assert not (project / ".git/hooks/post-checkout").exists()
    assert not (project / ".git2").exists()
    bottle.sandbox.close()
    assert sorted(path.name for path in project.iterdir()) == [".git", ".vscode"]


def test_git_cannot_be_pointed_to_another_config(spec: BoxSpec, build: Build) -> None:
    """A `.git/commondir` names the folder of the config: with one of the agent's, the operator's next `git status`
    would run what the agent wrote."""
    project = repository(spec)
    mark = project / "pwned"
    bottle = build(spec)
    bottle.run(f"""
        mkdir -p evil/objects evil/refs; printf '#!/bin/sh\\ntouch "{mark}"\\n' > run; chmod +x run
        printf '[core]\\n\\trepositoryformatversion = 0\\n\\tfsmonitor = ./run\\n' > evil/config
        cp evil/config .git/config.worktree; rm -f .git/commondir; echo ../evil > .git/commondir
    """)
    subprocess.run(["git", "status"], cwd=project, capture_output=True, check=True)
    assert not mark.exists()
    bottle.run("git add run && git -c user.name=a -c user.email=b commit -qm x")
    during = subprocess.run(["git", "log", "--oneline"], cwd=project, capture_output=True, text=True, check=True)
    assert during.stdout.endswith(" x\n"), "git works for both while the masks are up"
    bottle.sandbox.close()
    assert not (project / ".git/commondir").exists()
    assert not (project / ".git/config.worktree").exists()
    subprocess.run(["git", "status"], cwd=project, capture_output=True, check=True)
    assert not mark.exists()


def git(*words: str, cwd: Path) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@y.z", "-c", "safe.directory=*")
    subprocess.run(["git", *who, *words], cwd=cwd, check=True, capture_output=True)


def test_worktrees_elsewhere_cannot_be_pointed_to_another_config(spec: BoxSpec, build: Build, tmp_path: Path) -> None:
    project, worktree, planted = repository(spec), tmp_path / "elsewhere", tmp_path / "planted"
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=project)
    git("worktree", "add", "-q", str(worktree), cwd=project)
    git("config", "extensions.worktreeConfig", "true", cwd=project)
    bottle = build(spec)
    result = bottle.run(
        f"cp -r .git evil; rm evil/config; printf '[core]\\n\\tfsmonitor = touch {planted}; false\\n' > evil/config\n"
        "cd .git/worktrees; mv elsewhere away && mv away elsewhere\n"
        "cp ../../evil/config elsewhere/config.worktree\n"
        'rm -f elsewhere/commondir; echo "$PWD/../../evil" > elsewhere/commondir\n'
        "echo ref: refs/heads/other > elsewhere/HEAD && echo committed"
    )
    assert result.output.endswith("committed\n")
    git("status", cwd=worktree)
    assert not planted.exists()
    bottle.sandbox.close()
    assert not (project / ".git/worktrees/elsewhere/config.worktree").exists()
    assert [path.name for path in (project / ".git/worktrees").iterdir()] == ["elsewhere"]


def test_worktrees_that_are_added_outside_meanwhile_are_out_of_reach(
    spec: BoxSpec, build: Build, tmp_path: Path
) -> None:
    project, worktree, planted = repository(spec), tmp_path / "elsewhere", tmp_path / "planted"
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=project)
    bottle = build(spec)
    attack = (
        "rm -rf evil; cp -r .git evil; rm evil/config\n"
        f"printf '[core]\\n\\tfsmonitor = touch {planted}; false\\n' > evil/config\n"
        "cd .git/worktrees; mkdir -p elsewhere; rm -f elsewhere/commondir; echo $PWD/../../evil > elsewhere/commondir\n"
    )
    for _ in range(2):  # git removes the folder of worktrees with the last of them
        git("worktree", "add", "-q", "--detach", str(worktree), cwd=project)
        bottle.run(attack)
        git("status", cwd=worktree)
        assert not planted.exists()
        git("worktree", "remove", str(worktree), cwd=project)
        git("worktree", "prune", cwd=project)
    bottle.sandbox.close()
    assert not (project / ".git/worktrees").exists()


def test_a_bottle_adds_worktrees_of_its_own(spec: BoxSpec, build: Build) -> None:
    project = repository(spec)
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=project)
    bottle = build(spec)
    made = bottle.run(
        "git worktree add -q -b work inside && cd inside && echo a > a && git add a"
        " && git -c user.name=a -c user.email=b commit -qm made && git worktree list | wc -l && git status --short"
    )
    assert made.output.endswith("2\n")
    bottle.sandbox.close()
    assert not (project / ".git/worktrees").exists()
    shown = subprocess.run(["git", "log", "--format=%s", "work"], cwd=project, capture_output=True, text=True)
    assert shown.stdout == "made\nx\n"


def test_a_bottle_leaves_the_operator_most_of_inotify(spec: BoxSpec, build: Build) -> None:
    code = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True); count = 0\n"
        "while libc.inotify_init() >= 0: count += 1\n"
        "print(count, ctypes.get_errno())"
    )
    result = build(spec).run(f'python3 -c "{code}"')
    host = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    assert result.output == f"{host // 4} {errno.EMFILE}\n"


def test_files_without_a_name_are_seen(spec: BoxSpec, build: Build) -> None:
    bottle = build(spec)
    before = bottle.sandbox.unlinked()
    command = (
        "exec 9>~/x; rm ~/x; head -c 5000000 /dev/urandom >&9; exec 8>/tmp/y; rm /tmp/y; echo x >&8; exec sleep 60"
    )
    child = bottle.sandbox.spawn(Command(("/bin/sh", "-c", command), spec.home, tty=False))
    until(lambda: bottle.sandbox.unlinked() - before >= 5_000_000)
    assert 5_000_000 <= bottle.sandbox.unlinked() - before < 5_100_000
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: bottle.sandbox.unlinked() == before)
    assert bottle.sandbox.unlinked() == before
    os.close(child.pidfd)
    os.close(child.output_fd)


def test_masks_do_not_follow_links(spec: BoxSpec, build: Build, tmp_path: Path) -> None:
    assert spec.project is not None
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "hooks").mkdir()
    (spec.project / ".git").symlink_to(secret)
    (spec.project / ".envrc").symlink_to("/etc/passwd")
    bottle = build(spec)
    result = bottle.run("ls .git/; cat .envrc; rm .git; rm .envrc; ln -sfn /tmp .git; ls -la")
    assert "hooks" not in result.output
    assert os.readlink(spec.project / ".git") == str(secret)
    assert os.readlink(spec.project / ".envrc") == "/etc/passwd"
    assert list(secret.iterdir()) == [secret / "hooks"]


def test_a_new_repository_is_the_bottles_own(spec: BoxSpec, build: Build) -> None:
    assert spec.project is not None
    bottle = build(spec)
    result = bottle.run("git init -q . && git config core.fsmonitor evil && git status --short && echo made")
    assert result.output.endswith("made\n")
    bottle.sandbox.close()
    assert list(spec.project.iterdir()) == []
    assert (spec.state / "private/git/HEAD").exists()


def test_allowed_masks_are_open(spec: BoxSpec, build: Build) -> None:
    from app.core.schema import Mask

    project = repository(spec)
    bottle = build(spec, masks=masks.complete([Mask(path=".git", mode="allow"), Mask(path="keys", mode="hide")]))
    (project / "keys").mkdir(exist_ok=True)
    bottle.run("echo ok > .git/hooks/post-checkout; ls keys; touch keys/x")
    assert (project / ".git/hooks/post-checkout").exists()
    assert list((project / "keys").iterdir()) == []


def test_placeholders_stay_while_another_session_needs_them(spec: BoxSpec, build: Build) -> None:
    from dataclasses import replace

    assert spec.project is not None
    first = build(spec)
    other = spec.state.parent / "two"
    other.mkdir(mode=0o700)
    second = build(replace(spec, slug="two", state=other, session_id=spec.session_id + "b"))
    first.sandbox.close()
    assert (spec.project / ".envrc").is_dir()
    assert "Read-only" in second.run("touch .vscode/x").output
    second.sandbox.close()
    assert list(spec.project.iterdir()) == []


def test_an_empty_folder_of_the_operator_stays(spec: BoxSpec, build: Build) -> None:
    from dataclasses import replace

    assert spec.project is not None
    (spec.project / ".vscode").mkdir()
    first = build(spec)
    other = spec.state.parent / "two"
    other.mkdir(mode=0o700)
    second = build(replace(spec, slug="two", state=other, session_id=spec.session_id + "b"))
    for bottle in (first, second):
        assert "Read-only" in bottle.run("touch .vscode/x").output
        bottle.sandbox.close()
    assert [path.name for path in spec.project.iterdir()] == [".vscode"]


def repository(spec: BoxSpec) -> Path:
    assert spec.project is not None
    subprocess.run(["git", "init", "-q", str(spec.project)], check=True)
    return spec.project


def test_whether_memory_is_held_is_read_back_from_the_kernel(spec: BoxSpec, build: Build) -> None:
    from app.backends.local.cgroup import Cgroup

    sandbox = build(spec, limits=Limits(memory=64 * 1024 * 1024)).sandbox
    group = sandbox._cgroup
    assert sandbox.memory_is_held == (group is not None)
    if group is None:
        pytest.skip("no control group can be made here")
    for folder in group.folders.values():
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (folder / name).exists():
                (folder / name).write_text("-1" if name.endswith("bytes") else "max")
    assert isinstance(group, Cgroup)
    assert not sandbox.memory_is_held
