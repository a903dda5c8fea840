"""The agent's terminal: bytes in, a screen out. Everything that comes in is hostile.

It never raises, never waits, and its memory and the cost of a byte are bounded, whatever is fed. Nothing is passed on:
titles are kept as bounded plain text, and clipboard, hyperlink, notification and graphics sequences are swallowed.
Answers to a program's queries go to `reply`; a second emulator on the same stream must be given none.
"""

import codecs
from collections.abc import Callable
from typing import NamedTuple

from app.terminal import answers, tokens
from app.terminal.grid import Grid
from app.terminal.history import MAX_LINES, Match, find
from app.terminal.modes import Modes
from app.terminal.redraw import redraw
from app.terminal.rows import Line
from app.terminal.sequences import CSI, ESCAPES
from app.terminal.style import apply_sgr

MAX_TITLE = 256
MAX_REPLY = 4096
"""Bytes of answers to one piece of input: a flood of queries must not become a flood of key presses."""


class Cursor(NamedTuple):
    """Where it is drawn, whether it is, and its DECSCUSR shape (0–6)."""

    x: int
    y: int
    visible: bool
    style: int


class Emulator:
    """One terminal. `dirty` holds the rows that changed since the owner last emptied it."""

    def __init__(
        self, cols: int, rows: int, reply: Callable[[bytes], None] | None = None, *, history: int = MAX_LINES
    ) -> None:
        self.grid = Grid(cols, rows, history)
        self.modes = Modes()
        self.title = ""
        self.bells = 0
        self._reply = reply
        self._reply_room = MAX_REPLY
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""
        self._string = ""
        self._collected: list[str] = []
        self._collected_size = 0
        self._skipping = False

    # what is on the screen

    @property
    def cols(self) -> int:
        return self.grid.cols

    @property
    def rows(self) -> int:
        return self.grid.rows

    @property
    def alt(self) -> bool:
        """Whether the alternate screen is shown."""
        return self.grid.alt

    @property
    def history(self) -> int:
        """How many lines scrolled off and can be read with `line(-1)` (the newest) and below."""
        return len(self.grid.history)

    @property
    def dropped(self) -> int:
        """How many lines fell out of the history, ever."""
        return self.grid.history.dropped

    @property
    def dirty(self) -> set[int]:
        return self.grid.dirty

    @property
    def cursor(self) -> Cursor:
        grid = self.grid
        return Cursor(min(grid.x, grid.cols - 1), grid.y, 25 in self.modes.private, self.modes.cursor_style)

    @property
    def kitty_flags(self) -> int:
        """The kitty keyboard flags in force on the screen shown."""
        return self.kitty_stack[-1]

    @property
    def kitty_stack(self) -> list[int]:
        return self.modes.kitty_alt if self.grid.alt else self.modes.kitty_main

    def line(self, y: int) -> Line:
        """Row `y` of the screen in runs; negative rows are history. Outside of both: nothing."""
        if 0 <= y < self.grid.rows:
            return self.grid.lines[y].runs()
        if -self.history <= y < 0:
            return self.grid.history[self.history + y].line
        return ()

    def wrapped(self, y: int) -> bool:
        """Whether the text of row `y` goes on in the next row."""
        if 0 <= y < self.grid.rows:
            return self.grid.lines[y].wrapped
        return -self.history <= y < 0 and self.grid.history[self.history + y].wrapped

    def search(self, needle: str) -> list[Match]:
        """Where `needle` is, history first; `Match.y` counts from the oldest line of the history."""
        return find((self.line(y) for y in range(-self.history, self.rows)), needle)

    def redraw(self, history: int = MAX_LINES) -> bytes:
        """Bytes that make any other Emulator of this size equal to this one (its newest `history` lines included)."""
        return redraw(self.grid, self.modes, self.title, history)

    # what changes it

    def resize(self, cols: int, rows: int) -> None:
        self.grid.resize(cols, rows)

    def reset(self) -> None:
        """RIS: as switched on."""
        self.grid.reset()
        self.modes = Modes()
        self.title = ""

    def feed(self, data: bytes) -> None:
        """Take what the program printed. May end in the middle of anything; the rest comes with the next call."""
        text = self._decode(data)
        if not text.isascii() and tokens.C1.search(text):
            text = text.translate(tokens.C1_FORMS)
        if self._held:
            text = self._held + text
            self._held = ""
        self._reply_room = MAX_REPLY
        at = 0
        size = len(text)
        while at < size:
            if self._string:
                at = self._collect(text, at)
            elif self._skipping:
                at = self._skip(text, at)
            else:
                at = self._run(text, at)

    def _run(self, text: str, at: int) -> int:
        """Interpret tokens from `at` up to the end, or to what the grammar does not cover; returns where."""
        grid = self.grid
        write, apply, control, csi = grid.write, apply_sgr, self._control, self._csi
        for match in tokens.TOKEN.finditer(text, at):
            kind = match.lastindex
            if kind == tokens.TEXT:
                write(match[1])
            elif kind == tokens.SGR:
                grid.pen = apply(grid.pen, match[2])
            elif kind == tokens.NEWLINE:
                grid.x = 0
                grid.line_feed()
            elif kind == tokens.CONTROL:
                control(match[4])
            elif kind == tokens.CSI:
                csi(match[5], match[6], match[7], match[8])
            elif kind == tokens.ESCAPE:
                self._escape(match[9])
            else:
                return self._unusual(match[match.lastindex or 0], kind or 0, text, match.end())
        return len(text)

    def _unusual(self, found: str, kind: int, text: str, end: int) -> int:
        """A string begins, the input ends inside a sequence, or a sequence is malformed."""
        if kind == tokens.STRING:
            self._string, self._collected, self._collected_size = found, [], 0
            return end
        if kind == tokens.PARTIAL:
            if len(found) <= tokens.MAX_PARTIAL:
                self._held = found
            else:
                self._skipping = found[1] == "["
            return end
        return self._broken(text, end) if found == "\x1b[" else end

    def _broken(self, text: str, at: int) -> int:
        """A CSI with controls inside it: they act at once, and the rest is read as if they had not been there."""
        kept = ""
        while at < len(text) and len(kept) <= tokens.MAX_PARTIAL:
            inner = tokens.CSI_INNER.match(text, at)
            kept += inner[0][: tokens.MAX_PARTIAL + 1] if inner else ""
            at = inner.end() if inner else at
            if at >= len(text):
                break
            char = text[at]
            if char in "\x18\x1a\x1b":
                return at if char == "\x1b" else at + 1
            at += 1
            if "@" <= char <= "~":
                whole = tokens.TOKEN.fullmatch("\x1b[" + kept + char)
                if whole and whole.lastindex in (tokens.SGR, tokens.CSI):
                    self._run("\x1b[" + kept + char, 0)
                return at
            if char < " ":
                self._control(char)
        if len(kept) > tokens.MAX_PARTIAL:
            self._skipping = True
        else:
            self._held = "\x1b[" + kept
        return at

    def _skip(self, text: str, at: int) -> int:
        match = tokens.SKIP_END.search(text, at)
        if match is None:
            return len(text)
        self._skipping = False
        return match.start() if match[0] == "\x1b" else match.end()

    def _collect(self, text: str, at: int) -> int:
        """Take the next piece of a string; act on it if it ends here."""
        match = tokens.STRING_END[self._string].search(text, at)
        end = match.start() if match else len(text)
        room = tokens.MAX_STRING - self._collected_size
        if room > 0 and end > at:
            self._collected.append(text[at : min(end, at + room)])
        self._collected_size += end - at
        if match is None:
            return end
        kind, self._string = self._string, ""
        if match[0] not in "\x18\x1a" and self._collected_size <= tokens.MAX_STRING:
            self._command(kind, "".join(self._collected))
        self._collected = []
        return match.start() if match[0] == "\x1b" else match.end()

    # what a token means

    def _control(self, char: str) -> None:
        grid = self.grid
        if char in "\n\x0b\x0c":
            if self.modes.newline:
                grid.x = 0
            grid.line_feed()
        elif char == "\r":
            grid.x = 0
        elif char == "\b":
            grid.backspace()
        elif char == "\t":
            grid.tab(1)
        elif char == "\x07":
            self.bells += 1
        elif char in "\x0e\x0f":
            grid.shift = 1 if char == "\x0e" else 0

    def _csi(self, prefix: str, params: str, inner: str, final: str) -> None:
        act = CSI.get(prefix + inner + final)
        if act is not None:
            act(self, tokens.parameters(params))

    def _escape(self, found: str) -> None:
        if found[0] in "()*+":
            self.grid.sets["()*+".index(found[0])] = found[-1]
            return
        act = ESCAPES.get(found)
        if act is not None:
            act(self)

    def _command(self, kind: str, text: str) -> None:
        """A whole OSC or DCS. What is not named here is dropped: that is the filter."""
        if kind == "P" and text.startswith("$q"):
            grid = self.grid
            self.answer(answers.setting(text[2:], grid.pen, (grid.top, grid.bottom), self.modes.cursor_style))
        elif kind == "P" and text.startswith("+q"):
            self.answer(b"\x1bP0+r\x1b\\")
        elif kind == "]":
            self._osc(text)

    def _osc(self, text: str) -> None:
        code, _, rest = text.partition(";")
        if code in ("0", "2"):
            self.title = "".join(char for char in rest[:MAX_TITLE] if char.isprintable())
        elif code in ("10", "11", "12") and rest == "?":
            self.answer(answers.colour(code, answers.BACKGROUND if code == "11" else answers.FOREGROUND))
        elif code == "4" and rest.endswith(";?") and rest[:-2].isdecimal() and len(rest) <= 5:
            self.answer(answers.colour(f"4;{int(rest[:-2])}", answers.palette(int(rest[:-2]) & 255)))

    def answer(self, data: bytes) -> None:
        """Send an answer to the program, unless this piece of input has had enough of them."""
        if self._reply is not None and len(data) <= self._reply_room:
            self._reply_room -= len(data)
            self._reply(data)
