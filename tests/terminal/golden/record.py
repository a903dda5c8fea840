"""Makes the inputs of the golden screens: `python -m tests.terminal.golden.record`. Real programs on a real
pseudo-terminal with files of our own, and the samples. Run it, then `make.mjs`, only when a case is added."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.terminal import samples
from tests.terminal.ptys import Session

HERE = Path(__file__).parent
CODE = "".join(
    f'def function_{n}(value: int) -> str:\n    """Say {n} 中文."""\n    return f"{{value}} {n}"  # done\n\n\n'
    for n in range(20)
)


def vim(folder: Path) -> bytes:
    (folder / "code.py").write_text(CODE)
    with Session(
        ["vim", "-u", "NONE", "-N", "-n", "--cmd", "syntax on", "--cmd", "set number", "code.py"], 24, 80, str(folder)
    ) as run:
        run.until("function_0")
        for keys in (
            b"\x06",
            b"\x06",
            b"\x02",
            b"gg",
            b"5dd",
            b"u",
            b":%s/value/thing/g\r",
            b"ggOnew \xe4\xb8\xad line\x1b",
            b":split\r",
            b"G",
            b"5\x19",
            b"/function_7\r",
            b"zt",
            b"vjjd",
            b":only\r",
            b"ZQ",
        ):
            run.type(keys)
            run.settle(0.2)
        return run.output


def less(folder: Path) -> bytes:
    (folder / "long.txt").write_text(CODE)
    with Session(["less", "-N", "long.txt"], 20, 70, str(folder)) as run:
        run.until("function_0")
        for keys in (b" ", b"jjj", b"kk", b"/function_9\r", b"n", b"G", b"b", b"g", b"q"):
            run.type(keys)
            run.settle(0.2)
        return run.output


def tmux(folder: Path) -> bytes:
    (folder / "conf").write_text(
        'set -g status-right ""\nset -g status-left "[x] "\nset -g default-shell /bin/sh\nset -g escape-time 0\n'
    )
    socket = str(folder / "s")
    try:
        with Session(["tmux", "-S", socket, "-f", str(folder / "conf"), "new", "-n", "w", "sh"], 24, 80) as run:
            run.until("[x]")
            for keys in (
                b"seq 40\r",
                b"\x02%",
                b"seq 30\r",
                b'\x02"',
                b"echo \xe4\xb8\xad\xe6\x96\x87 hello\r",
                b"\x02o",
                b"clear\r",
                b"\x02z",
                b"seq 50\r",
                b"\x02z",
                b"\x02x",
                b"y",
            ):
                run.type(keys)
                run.settle(0.3)
            return run.output
    finally:
        subprocess.run(["tmux", "-S", socket, "kill-server"], check=False, capture_output=True)


def bash(folder: Path) -> bytes:
    with Session(["bash", "--norc", "--noprofile", "-i"], 15, 50, str(folder)) as run:
        run.until("$")
        for keys in (
            b"echo " + b"long " * 20,
            b"\x01",
            b"\x1b[C\x1b[C",
            b"insert",
            b"\x05\x7f\x7f",
            b"\r",
            b"seq 30\r",
            b"\x12seq",
            b"\x07",
            b"printf '\\033[1;32mok\\033[0m\\n'\r",
            b"\x1b[A\x1b[A",
            b"\x15",
            b"clear\r",
            b"ls --color=always /usr/share/terminfo\r",
        ):
            run.type(keys)
            run.settle(0.2)
        return run.output


def main() -> None:
    cases: dict[str, tuple[int, int, bytes]] = {
        "agent": (100, 30, samples.claude_like(60)),
        "corners": (80, 24, samples.corners()),
        "edges": (80, 24, samples.edges()),
        "scrolling": (80, 24, samples.scrolling()),
    }
    for name, make, cols, rows in (
        ("vim", vim, 80, 24),
        ("less", less, 70, 20),
        ("tmux", tmux, 80, 24),
        ("bash", bash, 50, 15),
    ):
        if shutil.which(name):
            with tempfile.TemporaryDirectory() as folder:
                cases[name] = (cols, rows, make(Path(folder)))
    for name, (_, _, data) in cases.items():
        (HERE / f"{name}.bin").write_bytes(data)
    sizes = {name: [cols, rows] for name, (cols, rows, _) in cases.items()}
    (HERE / "cases.json").write_text(json.dumps(sizes, indent=1) + "\n")


if __name__ == "__main__":
    main()
