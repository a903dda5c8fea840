"""How an operator elsewhere is reached: by which way, and with no word of a bottle as a command or an option."""

from pathlib import Path
from typing import Any, cast

import pytest

from app.desktop import command, sequence, tell, way

BUS = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/x", "DISPLAY": ":0", "TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"TERM": "xterm-kitty"}, "linux", "osc9"),
        ({"TERM_PROGRAM": "WezTerm", "SSH_CONNECTION": "x"}, "linux", "osc9"),
        ({"LC_TERMINAL": "iTerm2", "TERM": "tmux-256color"}, "linux", "osc9"),
        ({"TERM": "foot-extra"}, "linux", "osc777"),
        (BUS, "linux", "notify-send"),
        ({**BUS, "SSH_CONNECTION": "x"}, "linux", ""),
        ({"TERM": "linux"}, "linux", ""),
        ({"TERM": "xterm-256color"}, "darwin", "osascript"),
    ],
)
def test_way(environ: dict[str, str], platform: str, expected: str) -> None:
    assert way(environ, lambda name: f"/usr/bin/{name}", platform) == expected


def test_without_a_program_there_is_no_way() -> None:
    assert way(BUS, lambda _: None, "linux") == ""


@pytest.mark.parametrize("how", ["osc9", "osc777"])
@pytest.mark.parametrize("tmux", [False, True])
def test_a_sequence_ends_where_it_should(how: Any, tmux: bool) -> None:
    made = sequence(how, "a\x07b;c", "\x1b]52;c;AAAA\x07\x9c", tmux=tmux)
    inner = made.removeprefix("\x1bPtmux;").removesuffix("\x1b\\").replace("\x1b\x1b", "\x1b") if tmux else made
    assert inner.startswith("\x1b]")
    assert inner.endswith("\x07")
    assert all(char.isprintable() for char in inner[2:-1])
    assert inner.count(";") == (3 if how == "osc777" else 1)


def test_words_are_no_options() -> None:
    argv = command("notify-send", "--help", "-u critical")
    assert argv.index("--") < argv.index("--help")


async def test_a_program_of_the_project_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("own", "project/tools"):
        program = tmp_path / folder / "notify-send"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n: > {tmp_path}/{folder.partition('/')[0]}-ran\n")
        program.chmod(0o755)
    for name in ("SSH_CONNECTION", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID", "VTE_VERSION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**BUS, "PATH": f"{tmp_path}/project/tools:{tmp_path}/own"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.chdir(tmp_path / "project")
    await tell(cast("Any", None), "title", "text")
    assert (tmp_path / "own-ran").exists()
    assert not (tmp_path / "project-ran").exists()
