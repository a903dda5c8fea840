"""What a sandbox's processes use, as the host reads it from /proc."""

import subprocess
import sys

import pytest

from app.backends.local.tree import descendants, measure

MIB = 1024 * 1024
PROGRAM = """
import mmap, os, sys
with open("/proc/self/comm", "w") as name:
    name.write("RssAnon: kB\\r1 kB")
block = mmap.mmap(-1, 96 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
for offset in range(0, len(block), 4096):
    block[offset] = 1
for _ in range(2):
    if os.fork() == 0:
        for offset in range(0, len(block), 4096):
            block[offset]
        break
print("ready", flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_shared_memory_counts_once() -> None:
    """Else a bottle without a control group would take all of the host's."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        found = measure(descendants([process.pid]))
        process.communicate()
    assert found.pids == 3
    assert 96 * MIB <= found.memory < 160 * MIB
