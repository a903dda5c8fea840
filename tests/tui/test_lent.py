"""$EDITOR has the terminal while the app goes on behind it, however much it would draw, and gives it back."""

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ENDS = 'printf "EDITOR-ENDS"\nprintf after > "$1"\n'


@pytest.mark.parametrize(
    "script",
    ['printf "EDITOR-HERE"\nsleep 2\n', "trap '' INT QUIT\nprintf EDITOR-HERE\nkill -INT 0\nkill -QUIT 0\nsleep 0.5\n"],
    ids=["for-a-while", "through-ctrl-c"],
)
def test_the_app_is_back_after_an_editor(tmp_path: Path, script: str) -> None:
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\n{script}{ENDS}")
    editor.chmod(0o755)
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "VISUAL": str(editor)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tui.lent_main"], stdin=theirs, stdout=theirs, stderr=theirs, env=env,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                return
            if not data:
                return
            seen.extend(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert process.wait(60) == 0, bytes(seen[-2000:])
    finally:
        process.kill()
        process.wait()
    reader.join(10)
    os.close(ours)
    between = bytes(seen).partition(b"EDITOR-HERE")[2].partition(b"EDITOR-ENDS")[0]
    assert between == b"", "the terminal is the editor's alone"
    assert b"drawn" in bytes(seen).partition(b"EDITOR-ENDS")[2]
