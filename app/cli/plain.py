"""Makes an agent's raw output safe to print: text, line feeds and tabs come through, everything that a terminal would
obey does not. Pure; keeps its place between pieces, since sequences arrive cut anywhere."""

import codecs
import re

MAX_HELD = 4096
"""Longest unfinished sequence kept for its end; a longer one is thrown away as it comes."""

# ECMA-48 5.3-5.6: strings (OSC, DCS, APC, PM, SOS) up to ST or BEL, CSI, two- and three-character escapes
_SEQUENCE = re.compile(
    r"[\x1b](?:[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\[[0-?]*[ -/]*[@-~]|[ -/]+[0-~]|[0-Z\\^-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]|[\x90\x98\x9d-\x9f][^\x07\x1b\x9c]*(?:\x07|\x9c|\x1b\\)"
)
_UNFINISHED = re.compile(
    r"\x1b(?:[\]PX^_][^\x07\x1b]*\x1b?|\[[0-?]*[ -/]*|[ -/]*)?\Z"
    r"|\x9b[0-?]*[ -/]*\Z|[\x90\x98\x9d-\x9f][^\x07\x1b\x9c]*\x1b?\Z"
)
_STRING = re.compile(r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])")
_STRING_END = re.compile(r"\x07|\x9c|\x1b\\")
# what is left of controls, and what turns or hides text (Unicode bidirectional controls, UAX 9)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class PlainText:
    """Bytes in, printable text out. `finish()` gives what was held back."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._in_string = False

    def feed(self, data: bytes) -> str:
        return self._clean(self._held + self._decoder.decode(data), last=False)

    def finish(self) -> str:
        return self._clean(self._held + self._decoder.decode(b"", final=True), last=True)

    def _clean(self, text: str, *, last: bool) -> str:
        self._held = ""
        if self._in_string:
            end = _STRING_END.search(text)
            if end is None:
                # a string may end with ESC \, of which only the first half may be here
                self._held = text[-1:] if text.endswith("\x1b") else ""
                return ""
            self._in_string, text = False, text[end.end() :]
        text = _SEQUENCE.sub("", text)
        if not last:
            text = self._hold_back(text)
        return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n") if last else self._lines(text))

    def _hold_back(self, text: str) -> str:
        found = _UNFINISHED.search(text)
        if found is None:
            return text
        held = found.group()
        if len(held) <= MAX_HELD:
            self._held = held
        elif _STRING.match(held):
            self._in_string = True
        return text[: found.start()]

    def _lines(self, text: str) -> str:
        if not self._held and text.endswith("\r"):
            # perhaps the first half of a line end
            self._held, text = "\r", text[:-1]
        return text.replace("\r\n", "\n").replace("\r", "\n")
