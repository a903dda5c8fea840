"""Real programs on a real pseudo-terminal: bash, less, vim, top, tmux, as this machine has them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from app.terminal.emulator import Emulator
from tests.terminal.ptys import Session, set_size


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed here")
    return found


def test_bash_line_editing_and_colours() -> None:
    with Session([need("bash"), "--norc", "--noprofile", "-i"], rows=10, cols=40) as bash:
        bash.until("$")
        bash.type(b"echo h\x1b[D\x1b[Cello; printf '\\033[1;31mred\\033[0m%s\\n' =end=\r")
        bash.until("red=end=")
        assert "hello" in bash.screen()
        row = next(y for y in range(10) if bash.screen()[y] == "red=end=")
        assert (bash.term.line(row)[0].text, bash.term.line(row)[0].style.fg, bash.term.line(row)[0].style.attrs) == (
            "red",
            1,
            1,
        )
        bash.type(b"stty size\r")
        bash.until("10 40")


def test_less_uses_the_alternate_screen_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("".join(f"row {number}\n" for number in range(500)))
    with Session([need("bash"), "--norc", "--noprofile", "-i"], rows=12, cols=50, cwd=str(tmp_path)) as bash:
        bash.until("$")
        bash.type(f"{need('less')} text\r".encode())
        bash.until("row 10")
        assert bash.term.alt
        bash.type(b"/row 33\r")
        bash.until("row 33")
        assert "row 33" in bash.screen()[0]
        bash.type(b"G")
        bash.until("row 499")
        bash.type(b"q")
        bash.until("$")
        assert not bash.term.alt
        assert not any("row 499" in line for line in bash.screen())


def test_vim_edits_and_is_redrawn_for_a_late_viewer(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("".join(f"line {number} 中文 end\n" for number in range(40)))
    with Session([need("vim"), "-u", "NONE", "-n", "notes.txt"], rows=20, cols=60, cwd=str(tmp_path)) as vim:
        vim.until("line 15")
        vim.type(b"ggdd5Ginew text\x1b")
        vim.until("new text")
        assert vim.screen()[0].startswith("line 1 中文 end")
        assert "new text" in vim.screen()[4]
        late = Emulator(60, 20)
        late.feed(vim.term.redraw())
        assert [late.line(y) for y in range(20)] == [vim.term.line(y) for y in range(20)]
        assert late.cursor == vim.term.cursor
        set_size(vim.master, 10, 30)
        vim.term.resize(30, 10)
        vim.settle()
        assert len([line for line in vim.screen() if line]) >= 9


def test_top_fills_the_screen() -> None:
    with Session([need("top"), "-d", "0.2"], rows=24, cols=90) as top:
        top.until("PID")
        top.read(0.5)
        assert any("load average" in line for line in top.screen())
        assert not any("\x1b" in line for line in top.screen())


def test_tmux_splits_and_scrolls(tmp_path: Path) -> None:
    socket = str(tmp_path / "s")
    tmux = need("tmux")
    with Session([tmux, "-S", socket, "-f", "/dev/null", "new", "sh"], rows=24, cols=80) as session:
        try:
            session.until("[0]")
            session.type(b"\x02%")
            session.settle(0.5)
            assert any("│" in line for line in session.screen())
            session.type(b"seq 300\r")
            session.until("300")
            assert any(line.rstrip().endswith("299") for line in session.screen())
            assert any("│" in line for line in session.screen())
        finally:
            subprocess.run([tmux, "-S", socket, "kill-server"], check=False, capture_output=True)
