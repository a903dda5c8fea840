"""The conformance suite against every engine, as this user and, where this is root, as an ordinary one too.

Without walls the same probes must find many ways out: a suite that finds none proves nothing.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
ORDINARY = 60900
"""An otherwise unused account for the runs as an ordinary user."""
AT_LEAST = 140
NAKED_AT_LEAST = 60


@pytest.fixture(scope="session")
def readable_python() -> Iterator[tuple[Path, Path]]:
    """An interpreter and a checkout that an ordinary user may read: (python, folder to run in)."""
    folder = Path(tempfile.mkdtemp(prefix="carboy-python-"))
    try:
        folder.chmod(0o755)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        if sys.base_prefix == "/usr":  # the system's own: everybody may read it, and it is more than an interpreter
            base = Path("/usr/bin", version)
            subprocess.run([base, "-m", "venv", "--without-pip", folder / "python"], check=True)
        else:
            subprocess.run(["cp", "-a", "--reflink=auto", sys.base_prefix, folder / "python"], check=True)
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        subprocess.run(
            ["cp", "-a", "--reflink=auto", f"{packages}/.", folder / f"python/lib/{version}/site-packages"], check=True
        )
        (folder / "src").mkdir()
        for name in ("app", "sidecar"):
            shutil.copytree(ROOT / name, folder / "src" / name, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        yield folder / "python/bin" / version, folder / "src"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def attack(engine: str, python: Path, source: Path, uid: int | None = None) -> list[dict[str, str]]:
    account = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    if uid is not None:  # the copied interpreter finds its own library there
        environment["LD_LIBRARY_PATH"] = str(python.parents[1] / "lib")
    answer = subprocess.run(
        [python, "-m", "app.selftest.runner", engine],
        cwd=source, env=environment, capture_output=True, text=True, timeout=280, check=False, **account,
    )  # fmt: skip
    assert answer.stdout, answer.stderr
    found = json.loads(answer.stdout)
    if isinstance(found, dict):
        reason = str(found["error"])
        if engine == "bubblewrap" and not shutil.which("bwrap"):
            pytest.skip("bubblewrap is not installed")
        if "namespace" in reason or "Operation not permitted" in reason:
            pytest.skip(f"{engine} does not work here: {reason}")
        pytest.fail(reason)
    return found


def judge(found: list[dict[str, str]]) -> None:
    counts = Counter(one["verdict"] for one in found)
    escaped = {one["probe"]: one["detail"] for one in found if one["verdict"] == "escaped"}
    assert escaped == {}
    assert counts["held"] >= AT_LEAST, [one for one in found if one["verdict"] == "untestable"]


@pytest.mark.parametrize("engine", ["bubblewrap", "nsbox"])
def test_nothing_gets_out(engine: str) -> None:
    judge(attack(engine, Path(sys.executable), ROOT))


@pytest.mark.parametrize("engine", ["bubblewrap", "nsbox"])
def test_nothing_gets_out_as_an_ordinary_user(engine: str, readable_python: tuple[Path, Path]) -> None:
    if os.geteuid() != 0:
        pytest.skip("this is an ordinary user already")
    judge(attack(engine, *readable_python, uid=ORDINARY))


def test_the_probes_find_ways_out_where_there_are_no_walls() -> None:
    found = attack("none", Path(sys.executable), ROOT)
    counts = Counter(one["verdict"] for one in found)
    assert counts["escaped"] >= NAKED_AT_LEAST, counts
    escaped = {one["probe"] for one in found if one["verdict"] == "escaped"}
    for kind in ("files", "network", "ipc", "process", "terminal", "kernel", "resources"):
        assert any(name.startswith(kind) for name in escaped), kind
