"""Screens as xterm.js draws them (tests/terminal/golden/make.mjs): every line, every style, the cursor, the history."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.terminal.emulator import Emulator
from app.terminal.rows import plain_text
from app.terminal.style import UNDERLINE, UNDERLINE2

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "cases.json").read_text())


def drawn(term: Emulator, y: int) -> list[list[Any]]:
    """A row in the form of the golden files."""
    out: list[list[Any]] = []
    for run in term.line(y):
        attrs = run.style.attrs & ~UNDERLINE2 | (UNDERLINE if run.style.attrs & UNDERLINE2 else 0)
        style = [list(colour) if isinstance(colour, tuple) else colour for colour in run.style[:2]] + [attrs]
        if out and out[-1][1:] == style:
            out[-1][0] += run.text
        else:
            out.append([run.text, *style])
    return out


@pytest.mark.parametrize("piece", [16384, 61])
@pytest.mark.parametrize("name", CASES)
def test_every_line_is_as_xterm_draws_it(name: str, piece: int) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    data = (GOLDEN / f"{name}.bin").read_bytes()
    term = Emulator(golden["cols"], golden["rows"], lambda _: None, history=1000)
    wrong: list[str] = []
    at = 0
    for screen in golden["screens"]:
        while at < screen["at"]:
            term.feed(data[at : min(at + piece, screen["at"])])
            at = min(at + piece, screen["at"])
        for y, line in enumerate(screen["lines"]):
            if drawn(term, y) != line:
                wrong.append(f"at {at}, row {y}: {drawn(term, y)} instead of {line}")
        if [term.grid.x, term.grid.y] != screen["cursor"] or term.alt != screen["alt"]:
            wrong.append(f"at {at}: cursor {term.grid.x, term.grid.y} instead of {screen['cursor']}")
    past = [plain_text(term.line(y)).rstrip() for y in range(-term.history, 0)]
    assert wrong == []
    assert past == [line.rstrip() for line in golden["past"]]
