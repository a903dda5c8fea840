"""The service file: read back as the service manager reads it, bottles outlive it, nothing of the shell is in it."""

import plistlib
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from app.errors import CarboyError
from app.service import Service, install, service

ENV = {"HOME": "/home/op", "PATH": "/usr/bin:/bin", "ANTHROPIC_API_KEY": "sk-not-for-files", "CARBOY_HOME": "/srv/c b"}


def test_a_unit() -> None:
    found = service(ENV, "linux", "/opt/my venv/100%/bin/python", "op")
    assert found.file == Path("/home/op/.config/systemd/user/carboy.service")
    assert 'ExecStart="/opt/my venv/100%%/bin/python" -m app serve --stay' in found.text
    assert 'Environment="CARBOY_HOME=/srv/c b"' in found.text
    assert "KillMode=process" in found.text
    assert "sk-not-for-files" not in found.text
    assert "enable-linger op" in found.after


def test_a_folder_that_is_named_relative_is_the_same_to_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = service(ENV | {"CARBOY_HOME": "here"}, "linux", "/opt/python", "op")
    assert f"CARBOY_HOME={tmp_path}/here" in found.text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_it(tmp_path: Path) -> None:
    found = service(ENV, "linux", shutil.which("python3") or "/usr/bin/python3", "op")
    unit = tmp_path / "carboy.service"
    unit.write_text(found.text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(unit)], capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin:/sbin:/usr/sbin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert "carboy.service" not in done.stderr, done.stderr


def test_a_launchd_agent() -> None:
    found = service(ENV, "darwin", "/opt/venv/bin/python", "op")
    value = plistlib.loads(found.text.encode())
    assert value["ProgramArguments"] == ["/opt/venv/bin/python", "-m", "app", "serve", "--stay"]
    assert value["AbandonProcessGroup"] is True
    assert "ANTHROPIC_API_KEY" not in value["EnvironmentVariables"]


def test_a_line_break_adds_no_key() -> None:
    with pytest.raises(CarboyError):
        service({**ENV, "CARBOY_HOME": "/x\nExecStartPre=/bin/evil"}, "linux", "/usr/bin/python", "op")


def test_installed_and_what_fails_is_said(tmp_path: Path) -> None:
    file = tmp_path / "a" / "unit"
    assert install(Service(file, "text", (("true",),))) == []
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("text", 0o600)
    (fault,) = install(Service(file, "text", (("sh", "-c", "echo no bus >&2; exit 1"), ("true",))))
    assert fault.endswith("failed: no bus")
    (fault,) = install(Service(file, "text", (("does-not-exist-here",),)))
    assert "not in use" in fault
