"""The grammar of what a program prints: one regular expression whose alternatives cover every input. Pure.

Possessive repeats and one pass per token keep the cost linear on any input. Strings (OSC, DCS …) are not in the
expression: they may be long or never end, so the emulator collects them piece by piece, with a cap.
"""

import re

TEXT, SGR, NEWLINE, CONTROL, CSI, ESCAPE, STRING, PARTIAL, BROKEN = 1, 2, 3, 4, 8, 9, 10, 11, 12
"""`lastindex` of a match, in the order of the alternatives; CSI has prefix, parameters, intermediates and final."""

TOKEN = re.compile(
    r"([^\x00-\x1f\x7f]++)"
    r"|\x1b\[([0-9;:]*+)m"
    r"|(\r\n)"
    r"|([\x00-\x1a\x1c-\x1f\x7f])"
    r"|\x1b\[([<=>?]?)([0-9;:]*+)([ -/]*+)([@-~])"
    r"|\x1b([ -/]++[0-~]|[0-OQ-WYZ\\`-~])"
    r"|\x1b([\]PX^_])"
    r"|(\x1b(?:\[[0-?]*+[ -/]*+|[ -/]++)?)\Z"
    r"|(\x1b\[?)"
)
MAX_PARTIAL = 256
"""Characters of an unfinished sequence that are kept for the next piece of input. Longer ones are skipped."""
MAX_STRING = 4096
"""Characters of an OSC or DCS that are kept; the rest is counted as too long and the whole is dropped."""

C1 = re.compile("[\x80-\x9f]")
C1_FORMS: dict[int, str] = dict.fromkeys(range(0x80, 0xA0), "") | {
    code: "\x1b" + chr(code - 0x40) for code in (0x84, 0x85, 0x88, 0x8D, 0x90, 0x98, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F)
}
"""8-bit controls in their 7-bit form (ECMA-48); those without a meaning here vanish."""

STRING_END = {"]": re.compile("[\x07\x18\x1a\x1b]")} | dict.fromkeys("PX^_", re.compile("[\x18\x1a\x1b]"))
"""What ends each kind of string: BEL ends an OSC only; CAN and SUB abort; ESC ends it, and starts what follows."""

CSI_INNER = re.compile(r"[0-?]*+[ -?]*+")
"""The inside of a CSI, in whatever order: used where the grammar above does not match."""
SKIP_END = re.compile("[\x18\x1a\x1b@-~]")
"""Where skipping an overlong or broken CSI ends: its final byte, or a control that aborts it."""


def parameters(text: str) -> list[int]:
    """CSI parameters as numbers from 0 to 9999, at most 32 of them; sub-parameters count as parameters."""
    if not text:
        return [0]
    if text.isdecimal():
        return [min(int(text[:9]), 9999)]
    return [
        min(int(part[:9]), 9999) if part.isdecimal() else 0 for part in text[:MAX_PARTIAL].replace(":", ";").split(";")
    ][:32]
