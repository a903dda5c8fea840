"""The wheel by itself: built, installed into an environment of its own, it has its manifests and runs a bottle."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `carboy` program of a fresh environment: the wheel from it, the dependencies lent by this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("carboy-*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    # sorted after the wheel's own files: what both have comes from the wheel
    Path(site.strip(), "zz-lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin" / "carboy"


def run(program: Path, home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "CARBOY_HOME": str(home)}
    return subprocess.run([program, *args], env=env, cwd=home, capture_output=True, text=True, timeout=120)


def test_the_installed_wheel_runs_a_bottle(installed: Path, carboy_home: Path, tmp_path: Path) -> None:
    python = installed.parent / "python"
    where = subprocess.check_output([python, "-c", "import app; print(app.__file__)"], cwd=tmp_path, text=True)
    assert where.startswith(str(installed.parents[1])), "the checkout must not stand in for the wheel"

    made = run(installed, carboy_home, "init")
    assert made.returncode == 0, made.stderr
    assert (carboy_home / "config" / "bottles" / "offline.md").exists()
    env = {**os.environ, "CARBOY_HOME": str(carboy_home)}
    try:
        done = subprocess.run(
            [installed, "start", "--headless", "--bottle", "offline", "--", "sh", "-c", "echo from the wheel; exit 3"],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 3, done.stderr
        assert "from the wheel" in done.stdout
    finally:
        run(installed, carboy_home, "serve", "--stop")
