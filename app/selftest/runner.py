"""The conformance suite: builds a bottle, attacks it from inside with every probe, and says what held. One bottle of
its own, in folders of its own; nothing stays. `python -m app.selftest.runner ENGINE` prints the findings as JSON.

ENGINE `none` runs the same probes without any walls: what they find then shows that they can find something.
"""

import contextlib
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from app.backends import masks
from app.backends.base import BoxSpec, Command, FileIn, Mount
from app.backends.local.identity import Account
from app.backends.local.sandbox import Sandbox
from app.core.schema import Limits
from app.errors import CarboyError
from app.selftest.findings import Finding, Verdict

LIMITS = Limits(memory=256 * 1024 * 1024, pids=64)
SECONDS = 240.0
_PROGRAMS = ("kit.py", "probes.py", "attack_files.py", "attack_network.py", "attack_kernel.py")
_INSIDE = "/opt/selftest"
_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"


def run(engine: str) -> list[Finding]:
    """All findings against one engine's sandbox. Raises CarboyError where none can be built."""
    with folders() as (base, project), victims(base / "victims") as facts:
        facts |= {
            "project": str(project),
            "beside_project": "beside",
            "limits": {"memory": LIMITS.memory, "pids": LIMITS.pids},
            "facts": "facts.json",
        }
        lines = _naked(base, facts) if engine == "none" else _bottled(engine, base, project, facts)
        return [*lines, judged_outside(project)]


@contextlib.contextmanager
def folders() -> Iterator[tuple[Path, Path]]:
    base = Path(tempfile.mkdtemp(prefix="carboy-selftest-"))
    try:
        base.chmod(0o755)
        for name in ("victims", "bottles/self/state", "run", "work/beside", "work/project/.git/hooks"):
            (base / name).mkdir(parents=True)
        project = base / "work/project"
        for name in ("objects", "refs/heads"):
            (project / ".git" / name).mkdir(parents=True)
        (project / ".git/HEAD").write_text("ref: refs/heads/main\n")
        (project / ".git/config").write_text(_CONFIG)
        give(base / "victims")
        give(project)
        yield base, project
    finally:
        shutil.rmtree(base, ignore_errors=True)


def give(folder: Path) -> None:
    """As root: hand a folder of ours to the account that bottles run under."""
    account = Account.of_this_process()
    if not account.dropped:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


@contextlib.contextmanager
def victims(folder: Path) -> Iterator[dict[str, Any]]:
    """In a process of their own: they need threads, and this one forks."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app.selftest.victims", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise CarboyError("The self-test's victims did not start", "See the messages above", "selftest")
        yield json.loads(line)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def python() -> tuple[str, tuple[Mount, ...]]:
    """A Python for the probes, and what must be shown for it."""
    # a system may carry a versioned one alone
    for system in (Path("/usr/bin/python3"), *sorted(Path("/usr/bin").glob("python3.[0-9]*[0-9]"), reverse=True)):
        if system.exists():
            return str(system), ()
    prefix = Path(sys.base_prefix).resolve()
    return str(prefix / "bin" / "python3"), (Mount(prefix, str(prefix)),)


def _sources() -> list[tuple[str, bytes]]:
    return [(name, Path(__file__).with_name(name).read_bytes()) for name in _PROGRAMS]


def _bottled(engine: str, base: Path, project: Path, facts: dict[str, Any]) -> list[Finding]:
    interpreter, shown = python()
    files = [FileIn(f"{_INSIDE}/{name}", content) for name, content in _sources()]
    files.append(FileIn(f"{_INSIDE}/facts.json", json.dumps(facts).encode()))
    spec = BoxSpec(
        slug="selftest",
        session_id=f"selftest-{os.getpid()}",
        state=base / "bottles/self/state",
        run=base / "run",
        project=project,
        mounts=shown,
        files=tuple(files),
        limits=LIMITS,
        masks=masks.complete(),
        engine=engine,
    )
    sandbox = Sandbox.build(spec)
    try:
        argv = (interpreter, "-I", "-B", f"{_INSIDE}/probes.py", f"{_INSIDE}/facts.json")
        child = sandbox.spawn(Command(argv, str(project)))
        try:
            return _read(child.output_fd)
        finally:
            os.close(child.output_fd)
            os.close(child.pidfd)
    finally:
        sandbox.close()


def _naked(base: Path, facts: dict[str, Any]) -> list[Finding]:
    """Without walls, as an ordinary account: which can harm nothing."""
    programs = base / "programs"
    programs.mkdir()
    for name, content in [*_sources(), ("facts.json", json.dumps(facts).encode())]:
        (programs / name).write_bytes(content)
    give(base / "work")
    child, master = pty.fork()
    if child == 0:
        _become_naked(programs)
    try:
        return _read(master)
    finally:
        os.close(master)
        os.kill(child, 9)
        os.waitpid(child, 0)


def _become_naked(programs: Path) -> NoReturn:
    try:
        os.chdir("/")
        Account.of_this_process().become()
        argv = [python()[0], "-I", "-B", str(programs / "probes.py"), str(programs / "facts.json")]
        os.execv(argv[0], argv)  # noqa: S606
    finally:
        os._exit(127)


def _read(fd: int) -> list[Finding]:
    """The probes' lines from their terminal; what else comes there is noise. Raises CarboyError if they do not end."""
    deadline = time.monotonic() + SECONDS
    data, found = b"", list[Finding]()
    while True:
        readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        piece = b""
        if readable:
            with contextlib.suppress(OSError):  # EIO: the terminal's other side is gone
                piece = os.read(fd, 65536)
        if not piece:
            said = data[-500:].decode(errors="replace")
            raise CarboyError(f"The probes ended early, after {len(found)}", said, "selftest")
        data += piece
        *lines, data = data.split(b"\n")
        for line in lines:
            _, _, text = line.strip().rpartition(b"@@")
            if text == b"done":
                return found
            with contextlib.suppress(ValueError, KeyError):
                one = json.loads(text)
                found.append(Finding(str(one["probe"]), one["verdict"], str(one["detail"])))


def judged_outside(project: Path) -> Finding:
    config = (project / ".git/config").read_text()
    verdict: Verdict = "held" if config == _CONFIG else "escaped"
    return Finding("files.git_config_on_the_host", verdict, "" if verdict == "held" else "the host's file was changed")


if __name__ == "__main__":
    try:
        print(json.dumps([asdict(finding) for finding in run(sys.argv[1])]))
    except CarboyError as error:
        print(json.dumps({"error": error.render()}))
        sys.exit(2)
