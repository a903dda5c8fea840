"""Probing engines for real, and the advice where none works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.backends.local import probing
from app.backends.local.probing import Finding, Host


@pytest.mark.sandbox
async def test_a_working_engine_is_found_and_leaves_nothing() -> None:
    report = await probing.probe()
    if not report.works:
        assert report.reason
        assert report.fix
        pytest.skip(f"no engine works here: {report.reason}")
    assert report.engine in probing.ENGINES
    assert not list(Path("/tmp").glob("carboy-trial-*"))


def test_advice_names_the_switch() -> None:
    failed = [Finding("bubblewrap", False, "bubblewrap is not installed"), Finding("nsbox", False, "EPERM")]
    assert "apt-get install bubblewrap" in probing.fix(failed, Host())
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in probing.fix(failed, Host(apparmor="1"))
    assert "kernel.unprivileged_userns_clone=1" in probing.fix(failed, Host(clone_switch="0"))
    assert "user.max_user_namespaces" in probing.fix(failed, Host(maximum="0"))
    nothing_known = [Finding("bubblewrap", False, "EPERM"), Finding("nsbox", False, "EPERM")]
    assert "container" in probing.fix(nothing_known, Host(in_container=True))
    assert "backend: docker" in probing.fix(nothing_known, Host())


@pytest.mark.sandbox
def test_no_user_namespaces_is_said_clearly() -> None:
    """Where none may be made (as the kernel's switch does), both engines fail with a reason, and leave nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root can take user namespaces away for a try")
    script = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
if libc.unshare(0x10000000):
    sys.exit(77)
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write("0 0 1")
open("/proc/self/gid_map", "w").write("0 0 1")
open("/proc/sys/user/max_user_namespaces", "w").write("0")
os.execv(sys.executable, [sys.executable, "-m", "app.backends.local.trial", sys.argv[1]])
"""
    for engine in probing.ENGINES:
        answer = subprocess.run(
            [sys.executable, "-c", script, engine],
            capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        if answer.returncode == 77:
            pytest.skip("no user namespaces here to begin with")
        assert '"works": false' in answer.stdout, answer
        assert '"reason": ""' not in answer.stdout
