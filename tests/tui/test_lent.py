"""$EDITOR has the terminal while the app goes on behind it, however much it would draw, and gives it back."""

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_app_is_back_after_an_editor_that_was_open_for_a_while(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "EDITOR-HERE"\nsleep 2\nprintf "EDITOR-ENDS"\nprintf after > "$1"\n')
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
