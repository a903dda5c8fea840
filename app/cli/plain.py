"""Makes an agent's raw output safe to print: text, line feeds and tabs come through, everything that a terminal would
obey does not. Pure; keeps its place between pieces, since sequences arrive cut anywhere."""

import codecs
import re
from collections.abc import Callable

# what starts something that a terminal would obey: ESC, and the one-character forms of DCS, SOS, CSI, OSC, PM, APC
_START = re.compile(r"[\x1b\x90\x98\x9b\x9d-\x9f]")
_STRING_END = re.compile(r"[\x07\x18\x1a\x1b\x9c]")
_CSI_BODY = re.compile(r"[ -?]*")
# what is left of controls, and what turns or hides text (Unicode bidirectional controls, UAX 9)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class PlainText:
    """Bytes in, printable text out. `finish()` gives what was held back.

    A small state machine after ECMA-48 5.3-5.6: each state eats from the text and names the next one, so where the
    pieces are cut makes no difference. What is unfinished at the end is dropped.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._state: Callable[[str, int], int] = self._plain
        self._out: list[str] = []
        self._return_held = False

    def feed(self, data: bytes) -> str:
        return self._clean(self._decoder.decode(data), last=False)

    def finish(self) -> str:
        return self._clean(self._decoder.decode(b"", final=True), last=True)

    def _clean(self, text: str, *, last: bool) -> str:
        at = 0
        while at < len(text):
            at = self._state(text, at)
        kept = _CONTROL.sub("", "".join(self._out))
        self._out.clear()
        return self._lines(kept, last=last)

    def _lines(self, text: str, *, last: bool) -> str:
        """All line ends as \\n. A return at the end is held: it may be the first half of one."""
        if self._return_held:
            text = "\r" + text
        self._return_held = not last and text.endswith("\r")
        if self._return_held:
            text = text[:-1]
        return text.replace("\r\n", "\n").replace("\r", "\n")

    # --- states: where the text is eaten up to ----------------------------------------------------------------------

    def _plain(self, text: str, at: int) -> int:
        found = _START.search(text, at)
        if found is None:
            self._out.append(text[at:])
            return len(text)
        self._out.append(text[at : found.start()])
        self._state = {"\x1b": self._escape, "\x9b": self._csi}.get(found.group(), self._string)
        return found.end()

    def _escape(self, text: str, at: int) -> int:
        character = text[at]
        if character in "]PX^_":
            self._state = self._string
        elif character == "[":
            self._state = self._csi
        elif " " <= character <= "/":
            pass  # an intermediate: the final character is still to come
        elif character != "\x1b":
            self._state = self._plain
            return at + ("0" <= character <= "~")
        return at + 1

    def _csi(self, text: str, at: int) -> int:
        body = _CSI_BODY.match(text, at)
        end = body.end() if body else at
        if end < len(text):
            self._state = self._plain
            end += "@" <= text[end] <= "~"
        return end

    def _string(self, text: str, at: int) -> int:
        found = _STRING_END.search(text, at)
        if found is None:
            return len(text)
        self._state = self._string_escape if found.group() == "\x1b" else self._plain
        return found.end()

    def _string_escape(self, text: str, at: int) -> int:
        """After ESC in a string: \\ ends it, anything else begins another sequence."""
        if text[at] == "\\":
            self._state = self._plain
            return at + 1
        self._state = self._escape
        return at
