"""Which editor is taken, and what is said where it cannot be had or ends badly."""

import shutil
from pathlib import Path

import pytest

from app import editor
from app.errors import CarboyError


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)


@pytest.mark.parametrize(
    ("visual", "plain", "found"),
    [
        ("", "code --wait", ["code", "--wait"]),
        ("'my editor' -n", "vi", ["my editor", "-n"]),
        ("", "", ["vim"]),
        ("  ", "vi", ["vim"]),
    ],
)
def test_which_editor(monkeypatch: pytest.MonkeyPatch, visual: str, plain: str, found: list[str]) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nano" else f"/usr/bin/{name}")
    monkeypatch.setenv("VISUAL", visual)
    monkeypatch.setenv("EDITOR", plain)
    assert editor.command() == found


def test_one_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "vim 'x")
    with pytest.raises(CarboyError, match="EDITOR cannot be read: no closing quotation in") as failed:
        editor.command()
    assert failed.value.code == "editor"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sh", "-c", "exit 3"], "sh ended with code 3. Nothing was taken over"),
        (["sh", "-c", "kill -9 $$"], "sh was ended by SIGKILL. Nothing was taken over"),
        (["no-such-editor"], "no-such-editor cannot be started: No such file or directory."),
        (["with\0zero"], "cannot be started: embedded null byte."),
    ],
)
def test_how_it_ended(tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(CarboyError) as failed:
        editor.run(words, tmp_path / "file")
    assert said in failed.value.render()
