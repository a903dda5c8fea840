"""Whether this machine goes on through the night: what may put it to sleep, and what ends a user's processes at logout.
Reads files and asks the service manager; changes nothing, and never raises."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from app.core.model import DoctorCheck

SECONDS = 3.0
LINGER = Path("/var/lib/systemd/linger")
SUPPLIES = Path("/sys/class/power_supply")
SYSTEMD = Path("/run/systemd/system")
SLEEP = Path("/sys/power/state")
INHIBIT = "Keep it awake: systemd-inhibit --what=sleep:idle carboy serve"


def sleep_check() -> DoctorCheck:
    """Whether the machine may fall asleep under a bottle."""
    if sys.platform == "darwin":
        text = "macOS sleeps when its lid is closed or it is idle"
        return DoctorCheck(name="sleep", ok=False, text=text, fix="Keep it awake: caffeinate -i carboy serve")
    found = asleep_reasons(_states(), _battery(), _logind())
    if not found:
        return DoctorCheck(name="sleep", ok=True, text="nothing here puts it to sleep by itself")
    return DoctorCheck(name="sleep", ok=False, text="; ".join(found), fix=INHIBIT)


def asleep_reasons(states: str, battery: bool, logind: Mapping[str, str]) -> list[str]:
    """What may put a Linux machine to sleep. Pure."""
    if not {"mem", "freeze", "standby"} & set(states.split()):
        return []  # it cannot
    found = ["it has a battery, and sleeps when its lid is closed"] if battery else []
    if battery and logind.get("HandleLidSwitch") in ("ignore", "lock"):
        found = []
    if logind.get("IdleAction", "ignore") in ("suspend", "hibernate", "hybrid-sleep", "suspend-then-hibernate"):
        found.append(f"logind suspends it when idle ({logind['IdleAction']})")
    return found


def logout_check() -> DoctorCheck:
    """Whether a controller and its bottles outlive the session that started them."""
    if sys.platform != "linux" or not SYSTEMD.is_dir():
        return DoctorCheck(name="logout", ok=True, text="no systemd here that ends processes at logout")
    if os.geteuid() == 0:
        return DoctorCheck(name="logout", ok=True, text="root's processes are left alone at logout")
    import getpass

    user = getpass.getuser()
    if (LINGER / user).exists():
        return DoctorCheck(name="logout", ok=True, text=f"{user} lingers: bottles run on after you log out")
    kills = _logind().get("KillUserProcesses") == "yes"
    text = "your processes are ended when you log out" if kills else "user services end when you log out"
    return DoctorCheck(name="logout", ok=False, text=text, fix=f"loginctl enable-linger {user}")


def warnings() -> tuple[str, ...]:
    """The same, for the preflight of a bottle that is meant to run alone."""
    checks = (_safely(sleep_check), _safely(logout_check))
    return tuple(f"{check.text}. {check.fix}" for check in checks if check is not None and not check.ok)


def _safely(check: Callable[[], DoctorCheck | None]) -> DoctorCheck | None:
    try:
        return check()
    except Exception:
        return None


def _states() -> str:
    try:
        return SLEEP.read_text()
    except OSError:
        return ""


def _battery() -> bool:
    try:
        kinds = [(path / "type").read_text().strip() for path in SUPPLIES.iterdir()]
    except OSError:
        return False
    return "Battery" in kinds


def _logind() -> dict[str, str]:
    """What logind says of itself; nothing where it does not answer."""
    if shutil.which("loginctl") is None:
        return {}
    command = ["loginctl", "show", "-p", "IdleAction", "-p", "HandleLidSwitch", "-p", "KillUserProcesses"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
