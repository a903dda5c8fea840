"""How long a sandbox takes from nothing to ready (listener made, self-contained), and until a program has run in it,
beside the plainest bubblewrap in the same interleaved run. `python -m tests.bench.sandbox` prints a table.
"""

import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from app.backends import masks
from app.backends.base import BoxSpec, Command
from app.backends.local.sandbox import Sandbox

ROUNDS = 20
LIMIT_MS = {"bubblewrap": 60.0, "nsbox": 100.0}
"""The issue's numbers: from nothing to ready."""


@dataclass
class Times:
    build: list[float] = field(default_factory=list[float])
    run: list[float] = field(default_factory=list[float])
    close: list[float] = field(default_factory=list[float])


def bare_bubblewrap() -> float:
    words = [
        "--unshare-all",
        "--ro-bind",
        "/usr",
        "/usr",
        "--symlink",
        "usr/lib",
        "/lib",
        "--symlink",
        "usr/lib64",
        "/lib64",
    ]
    began = time.perf_counter()
    subprocess.run(["bwrap", *words, "--proc", "/proc", "--dev", "/dev", "/usr/bin/true"], check=True)
    return (time.perf_counter() - began) * 1000


def once(engine: str, base: Path, times: Times, index: int) -> None:
    spec = BoxSpec(
        "bench", f"bench-{os.getpid()}-{index}", base / "state", base / "run", base / "project",
        masks=masks.complete(), engine=engine,
    )  # fmt: skip
    began = time.perf_counter()
    sandbox = Sandbox.build(spec)
    sandbox.listen(spec.listen_port).close()
    built = time.perf_counter()
    child = sandbox.spawn(Command(("/bin/true",), "/"))
    os.waitpid(child.pid, 0)
    ran = time.perf_counter()
    os.close(child.pidfd)
    os.close(child.output_fd)
    sandbox.close()
    times.build.append((built - began) * 1000)
    times.run.append((ran - built) * 1000)
    times.close.append((time.perf_counter() - ran) * 1000)


def measure(rounds: int = ROUNDS) -> tuple[dict[str, Times], list[float]]:
    engines = [engine for engine in LIMIT_MS if engine != "bubblewrap" or shutil.which("bwrap")]
    times = {engine: Times() for engine in engines}
    bare: list[float] = []
    with tempfile.TemporaryDirectory(prefix="cb-bench-") as folder:
        base = Path(folder)
        for name in ("state", "run", "project/.git/hooks"):
            (base / name).mkdir(parents=True, mode=0o700)
        (base / "project/.git/config").write_text("[core]\n")
        for index in range(rounds + 1):
            if shutil.which("bwrap"):
                bare.append(bare_bubblewrap())
            for engine in engines:
                once(engine, base, times[engine], index)
    for each in times.values():  # the first round warms the caches
        del each.build[0], each.run[0], each.close[0]
    return times, bare[1:]


def main() -> bool:
    """Print the table; whether all limits were kept."""
    times, bare = measure()
    print(
        f"sandbox, median of {ROUNDS} in ms, as {'root' if os.geteuid() == 0 else 'a user'}, Linux {platform.release()}"
    )
    print(f"{'':24}{'to ready':>10}{'limit':>8}{'run true':>10}{'close':>8}")
    kept = True
    for engine, each in times.items():
        ready = statistics.median(each.build)
        kept = kept and ready <= LIMIT_MS[engine]
        run, close = statistics.median(each.run), statistics.median(each.close)
        print(f"{engine:24}{ready:10.1f}{LIMIT_MS[engine]:8.0f}{run:10.1f}{close:8.1f}")
    if bare:
        print(f"{'bare bwrap true':24}{statistics.median(bare):10.1f}")
    return kept


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
