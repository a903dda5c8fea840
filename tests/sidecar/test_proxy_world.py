"""Starts world.py in namespaces of its own, where it may be the name server and own public addresses."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sidecar.world import SECOND, V4, V6

SET_UP = f"""
set -e
ip link set lo up
ip addr add {V4}/32 dev lo
ip addr add {SECOND}/32 dev lo
ip -6 addr add {V6}/128 dev lo nodad
echo nameserver 127.0.0.1 > "$1/resolv.conf"
echo "hosts: files dns" > "$1/nsswitch.conf"
echo "127.0.0.1 localhost" > "$1/hosts"
for name in resolv.conf nsswitch.conf hosts; do mount --bind "$1/$name" "$(readlink -f /etc/$name)"; done
shift
exec "$@"
"""


def test_in_a_world_of_its_own(tmp_path: Path):
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("unshare or ip is not installed")
    shell = ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", SET_UP, "sh", str(tmp_path)]
    tried = subprocess.run([*shell, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no namespaces of our own here: {tried.stderr.strip()[:200]}")
    done = subprocess.run(
        [
            *shell,
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "tests/sidecar/world.py",
        ],
        cwd=Path(__file__).parents[2],
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "6 passed" in done.stdout, done.stdout[-6000:]
