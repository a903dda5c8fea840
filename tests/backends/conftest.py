"""What the backends' tests share: sandboxes of each engine in folders of their own, and running commands in them."""

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from app.backends import masks
from app.backends.base import BoxSpec, Command
from app.backends.local.sandbox import Sandbox
from app.errors import CarboyError

ENGINES = ("bubblewrap", "nsbox")


@dataclass
class Result:
    code: int
    output: str


@dataclass
class Bottle:
    """A sandbox with what belongs to it."""

    sandbox: Sandbox
    spec: BoxSpec
    project: Path

    def run(self, script: str, *, tty: bool = False, seconds: float = 20.0, keys: bytes = b"") -> Result:
        child = self.sandbox.spawn(Command(("/bin/sh", "-c", script), str(self.project), tty=tty))
        if keys:
            os.write(child.output_fd, keys)
        output = b""
        deadline = time.monotonic() + seconds
        try:
            while True:
                ready, _, _ = select.select([child.output_fd], [], [], max(0.0, deadline - time.monotonic()))
                assert ready, f"no end within {seconds} s: {output!r}"
                try:
                    data = os.read(child.output_fd, 65536)
                except OSError:
                    break
                if not data:
                    break
                output += data
        finally:
            os.close(child.output_fd)
            os.close(child.pidfd)
        _, status = os.waitpid(child.pid, 0)
        return Result(os.waitstatus_to_exitcode(status), output.decode(errors="replace"))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "bubblewrap" and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    return request.param


@pytest.fixture
def spec(tmp_path: Path, engine: str) -> BoxSpec:
    project = tmp_path / "my prøject"
    for name in ("state/bottles/one", "run"):
        (tmp_path / name).mkdir(parents=True, mode=0o700)
    project.mkdir()
    return BoxSpec(
        slug="one",
        session_id=f"test-{os.getpid()}-{time.monotonic_ns()}",
        state=tmp_path / "state/bottles/one",
        run=tmp_path / "run",
        project=project,
        masks=masks.complete(),
        engine=engine,
    )


@pytest.fixture
def build() -> Iterator[Callable[..., Bottle]]:
    """`build(spec, **changes)`; skips, with the reason, where this host cannot."""
    made: list[Sandbox] = []

    def make(spec: BoxSpec, **changes: object) -> Bottle:
        changed = replace(spec, **changes)  # type: ignore[arg-type]
        try:
            sandbox = Sandbox.build(changed)
        except CarboyError as error:
            if error.code in ("sandbox", "no_bwrap") and not works(changed.engine or ""):
                pytest.skip(f"{changed.engine} does not work here: {error}")
            raise
        made.append(sandbox)
        return Bottle(sandbox, changed, changed.project or Path("/"))

    yield make
    for sandbox in made:
        sandbox.close()


def works(engine: str) -> bool:
    answer = subprocess.run(
        [sys.executable, "-m", "app.backends.local.trial", engine], capture_output=True, text=True, check=False
    )
    return '"works": true' in answer.stdout


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()
