"""What to do where a backend lacks a capability. Pure; `app.backends.base.Capability` names them."""

from collections.abc import Mapping

WAYS: dict[str, str] = {
    "pause": "`carboy stop`, then `carboy resume`: its files and conversation go on",
    "commit": "`workspace: mount` keeps the work in the project itself",
    "limits": "bound the whole of carboy from outside: a systemd slice, or a virtual machine",
    "reattach": "keep the window open, or start it with --headless: its output is in the transcript",
    "gpu": "no backend hands a GPU through: run what needs it outside, and let the agent ask for its results",
    "disk_quota": "`limits.disk` is looked at every few seconds: a bottle that is nearly full is paused",
}


def ways(capabilities: Mapping[str, bool]) -> dict[str, str]:
    return {name: WAYS.get(name, "") for name, can in capabilities.items() if not can}
