"""The shell provider: which shell, and what it runs."""

from dataclasses import replace

import pytest

from app.core.schema import AgentProvider, Bottle, Manifest, ProviderSettings
from app.errors import ConfigError
from app.providers.base import Found, LaunchContext
from app.providers.shell import ShellProvider

CONTEXT = LaunchContext(
    manifest=Manifest(),
    found=Found("/bin/sh", ""),
    project="/work/a b",
    home="/home/agent",
    headless=False,
    task=None,
    model=None,
    ca_file="/etc/ssl/ca.pem",
    proxy_url="http://127.0.0.1:7878",
    rows=30,
    cols=100,
)
SHELL = ShellProvider()


def test_the_users_shell_where_a_bottle_sees_it() -> None:
    assert SHELL.find({"SHELL": "/bin/sh"}).program == "/bin/sh"


@pytest.mark.parametrize(
    "shell", ["/home/me/.local/bin/fish", "", "relative/sh", "/usr/bin/no-such-shell", "/etc/passwd"]
)
def test_another_shell_falls_back(shell: str) -> None:
    found = SHELL.find({"SHELL": shell})
    assert found.program in ("/bin/bash", "/usr/bin/bash", "/bin/sh")
    assert found.mounts == ()


def test_no_credentials_and_no_routes() -> None:
    assert SHELL.credentials(Manifest()) == ()
    assert SHELL.routes(Manifest()) == ()


@pytest.mark.parametrize(
    ("change", "argv"),
    [
        ({}, ("/bin/sh",)),
        ({"task": "echo hi"}, ("/bin/sh", "-c", "echo hi")),
        ({"command": ("make", "test")}, ("make", "test")),
        ({"command": ("make",), "task": "ignored"}, ("make",)),
    ],
)
def test_what_is_run(change: dict, argv: tuple[str, ...]) -> None:
    command = SHELL.prepare(replace(CONTEXT, **change)).command
    assert command.argv == argv
    assert (command.cwd, command.rows, command.cols, command.tty) == ("/work/a b", 30, 100, True)


def test_headless_has_no_terminal_and_no_project_means_home() -> None:
    command = SHELL.prepare(replace(CONTEXT, headless=True, project=None)).command
    assert (command.tty, command.cwd) == (False, "/home/agent")


def test_unknown_settings_are_refused() -> None:
    settings = ProviderSettings.model_validate({"base_url": "x"})
    manifest = Manifest(bottle=Bottle(agent_provider=AgentProvider(settings=settings)))
    with pytest.raises(ConfigError, match="base_url"):
        SHELL.check(manifest)
