"""The controller as a service of the user's session: a systemd user unit, or a launchd agent on macOS. Writes one file
of the user's own, and asks the service manager to take it; never as root's service, never with a secret in it."""

import os
import plistlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.errors import CarboyError
from app.files import atomic_write
from app.paths import absolute

UNIT = "carboy.service"
LABEL = "carboy.controller"
SECONDS = 20.0
_KEPT = ("CARBOY_HOME", "CARBOY_LOG_LEVEL", "XDG_CONFIG_HOME", "XDG_STATE_HOME")


@dataclass(frozen=True)
class Service:
    """One file, and the commands that put it into use; `after` is what the operator may still have to do."""

    file: Path
    text: str
    commands: tuple[tuple[str, ...], ...]
    after: str = ""


def service(environ: Mapping[str, str], platform: str, python: str, user: str) -> Service:
    """What would be installed here. Pure."""
    home, environ = Path(environ.get("HOME") or "/"), absolute(environ)
    kept = {name: environ[name] for name in _KEPT if environ.get(name)} | {"PATH": environ.get("PATH", "/usr/bin:/bin")}
    if platform == "darwin":
        file = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        return Service(file, _plist(python, kept), (("launchctl", "load", "-w", str(file)),))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    file = config / "systemd" / "user" / UNIT
    commands = (("systemctl", "--user", "daemon-reload"), ("systemctl", "--user", "enable", "--now", UNIT))
    after = f"So that it runs on after you log out: loginctl enable-linger {user}"
    return Service(file, _unit(python, kept), commands, after)


def _unit(python: str, environ: Mapping[str, str]) -> str:
    lines = [f"Environment={_quoted(f'{name}={value}')}" for name, value in environ.items()]
    return "\n".join(
        [
            "[Unit]",
            "Description=carboy controller: starts, watches, meters and stops bottles",
            "",
            "[Service]",
            f"ExecStart={_quoted(python)} -m app serve --stay",
            *lines,
            "# bottles live beyond the controller",
            "KillMode=process",
            "Restart=on-failure",
            "RestartSec=5",
            "Delegate=yes",
            "LimitCORE=0",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        ]
    )


def _quoted(text: str) -> str:
    """As systemd reads it: no specifier, no variable, no escape of its own."""
    if not text.isprintable():
        raise CarboyError("A path with a control character cannot stand in a unit", "Move it", "service")
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"'


def _plist(python: str, environ: Mapping[str, str]) -> str:
    value = {
        "Label": LABEL,
        "ProgramArguments": [python, "-m", "app", "serve", "--stay"],
        "EnvironmentVariables": dict(environ),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "AbandonProcessGroup": True,
        "HardResourceLimits": {"Core": 0},
    }
    return plistlib.dumps(value).decode()


def install(found: Service) -> list[str]:
    """Write the file and put it into use. Returns what did not work, in words: the file is there either way."""
    found.file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(found.file, found.text.encode(), 0o600)
    if shutil.which(found.commands[0][0]) is None:
        return [f"{found.commands[0][0]} is not here: {found.file} is written, and not in use"]
    for command in found.commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return [f"{' '.join(command)}: {type(error).__name__}"]
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            return [f"{' '.join(command)} failed: {said}"]
    return []


def here() -> Service:
    """For this machine and user."""
    import getpass

    return service(os.environ, sys.platform, sys.executable, getpass.getuser())
