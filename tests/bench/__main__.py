"""`make bench`: the figures of docs/performance.md with machine and versions, each beside its baseline of the same run.

    python -m tests.bench [name ...]     one of the modules beside this file, all of them by default

Each runs in an interpreter of its own. Figures are printed, never asserted: a clock in a test fails on a busy machine.
"""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("mitmproxy", "textual", "aiohttp"))
    return (
        f"{os.cpu_count()} x {model}; {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}; {versions}"
    )


def main(wanted: list[str]) -> int:
    known = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    unknown = set(wanted) - set(known)
    if unknown:
        print(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    print(machine(), flush=True)
    failed = 0
    for name in wanted or known:
        print(f"\n== {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], cwd=HERE.parent.parent).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
