"""What git and ssh cannot do behind their walls, and can."""

import asyncio
import shutil
import socket
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="confinement is Linux only"),
    pytest.mark.skipif(shutil.which("git") is None, reason="no git here"),
]

TRIES = """
import ctypes, os, resource, subprocess, sys
from sidecar.gitgate import walls
folder, mine = sys.argv[1:]
print(walls.enclose(folder))
libc = ctypes.CDLL(None, use_errno=True)
def shared():
    if libc.shmget(0, 4096, 0o1600) < 0: raise OSError
def watched():
    if libc.inotify_add_watch(libc.inotify_init1(0), b"/root", 0xFFF) < 0: raise OSError
for name, attempt in {
    "owner": lambda: os.chown(mine, os.geteuid(), os.getegid()),
    "attributes": lambda: os.setxattr(mine, "user.x", b"x"),
    "limits": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0)),
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 0),
    "processors": lambda: os.sched_setaffinity(os.getppid(), os.sched_getaffinity(0)),
    "shared memory": shared,
    "watching": watched,
}.items():
    try: attempt()
    except OSError: pass
    else: print("ESCAPED", name)
os.chdir(folder)
who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "core.sharedRepository=group")
env = {"HOME": folder, "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
for words in ("init -q .", "commit -q --allow-empty -m one", "repack -adq", "gc -q --prune=now"):
    subprocess.run(["git", *who, *words.split()], check=True, env=env,
                   preexec_fn=lambda: walls.before_exec(online=False))
print("git works")
"""


async def test_git_does_nothing_to_what_else_its_user_has(tmp_path: Path) -> None:
    """Its packs come from the network. Landlock covers neither the limits of other processes, which end them as surely
    as a signal, nor what a file has beside its content."""
    folder, mine = tmp_path / "git", tmp_path / "mine"
    folder.mkdir()
    mine.touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", TRIES, str(folder), str(mine)), cwd=Path(__file__).parents[2], stdout=-1, stderr=-1
    )
    out, err = (data.decode() for data in await process.communicate())
    if "seccomp" in out:
        pytest.skip(f"this kernel lacks: {out}")
    assert "ESCAPED" not in out
    assert "git works" in out, err


SOCKETS = """
import socket, sys
from sidecar.gitgate import walls
folder, engine = sys.argv[1:3]
online, ssh = (each == "1" for each in sys.argv[3:])
print(walls.enclose(folder))
walls.before_exec(online=online, ssh=ssh)
for name, attempt in {
    "tcp": lambda: socket.socket().close(),
    "pair": lambda: [each.close() for each in socket.socketpair()],
    "unix": lambda: socket.socket(socket.AF_UNIX).connect(engine),
}.items():
    try: attempt()
    except PermissionError: pass
    else: print("open:", name)
"""


@pytest.mark.parametrize(
    ("online", "ssh", "wanted"),
    [(False, False, ""), (True, False, "tcp pair"), (True, True, "tcp pair unix")],
    ids=["offline", "https", "ssh"],
)
async def test_only_ssh_dials_unix_sockets(tmp_path: Path, online: bool, ssh: bool, wanted: str) -> None:
    """Behind those of others are the user's bus and engines. What reads a bottle's bytes opens none of any kind."""
    folder, engine = tmp_path / "git", tmp_path / "engine.sock"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(engine))
        listening.listen()
        argv = (sys.executable, "-c", SOCKETS, str(folder), str(engine), f"{online:d}", f"{ssh:d}")
        process = await asyncio.create_subprocess_exec(*argv, cwd=Path(__file__).parents[2], stdout=-1, stderr=-1)
        out, err = (data.decode() for data in await process.communicate())
    if "seccomp" in out:
        pytest.skip(f"this kernel lacks: {out}")
    assert [line.removeprefix("open: ") for line in out.splitlines()[1:]] == wanted.split(), err
    assert process.returncode == 0, err
