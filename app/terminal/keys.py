"""A key press as the bytes that the agent's program expects. Pure; keys come by Textual's names, which are its input.

What a program asked for decides: cursor key mode, modifyOtherKeys, the kitty keyboard flags (disambiguate and
all-as-escape; key releases are never seen here). Without a request the bytes are xterm's.
"""

import re
from typing import Protocol

ESC = "\x1b"
DISAMBIGUATE, ALL_AS_ESCAPE = 1, 8
"""Kitty keyboard flags that change presses (1: ambiguous ones as CSI u, 8: all of them)."""


class KeyModes(Protocol):
    """What of the emulator's modes is asked here; `app.terminal.modes.Modes` has it."""

    @property
    def app_cursor(self) -> bool: ...

    @property
    def newline(self) -> bool: ...

    @property
    def modify_other_keys(self) -> int: ...

    @property
    def bracketed_paste(self) -> bool: ...


MODIFIERS = {"shift": 1, "alt": 2, "ctrl": 4, "super": 8, "hyper": 16, "meta": 32}
CURSOR_KEYS = {"up": "A", "down": "B", "right": "C", "left": "D", "end": "F", "home": "H"}
"""`CSI x`, or `SS3 x` in cursor key mode, or `CSI 1 ; mods x`."""
_TILDE_NUMBERS = (2, 3, 5, 6, 15, 17, 18, 19, 20, 21, 23, 24, 25, 26, 28, 29, 31, 32, 33, 34)
TILDE_KEYS: dict[str, int] = dict(
    zip(("insert", "delete", "pageup", "pagedown", *map("f{}".format, range(5, 21))), _TILDE_NUMBERS, strict=True)
)
"""`CSI n ~`, or `CSI n ; mods ~` (xterm control sequences, PC-style function keys)."""
FUNCTION_KEYS = {"f1": "P", "f2": "Q", "f3": "R", "f4": "S"}
"""`SS3 x`, or `CSI 1 ; mods x`."""
SIMPLE = {"enter": "\r", "tab": "\t", "escape": ESC, "backspace": "\x7f", "space": " "}
CODES = {"enter": 13, "tab": 9, "escape": 27, "backspace": 127, "space": 32}
_NAMES = (
    "at left_square_bracket backslash right_square_bracket circumflex_accent underscore slash minus plus comma "
    "full_stop semicolon apostrophe grave_accent equals_sign question_mark exclamation_mark number_sign dollar_sign "
    "percent_sign ampersand asterisk colon left_parenthesis right_parenthesis less_than_sign greater_than_sign "
    "left_curly_bracket right_curly_bracket vertical_line tilde quotation_mark"
)
NAMES: dict[str, str] = dict(zip(_NAMES.split(), "@[\\]^_/-+,.;'`=?!#$%&*:()<>{}|~\"", strict=True))
"""Textual's names of punctuation, where they come with a modifier (without one the character comes along)."""
CONTROL = {**{chr(code): chr(code & 31) for code in range(64, 128)}, " ": "\x00", "2": "\x00", "3": ESC, "4": "\x1c"}
CONTROL |= {"5": "\x1d", "6": "\x1e", "7": "\x1f", "8": "\x7f", "/": "\x1f", "?": "\x7f", "-": "\x1f"}
"""Ctrl with a character (xterm's table, `ctlseqs` and VT220 manual)."""

_PASTE_UNSAFE = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f\x80-\x9f]")
MAX_PASTE = 1 << 20
"""Characters of one paste; the rest is cut off."""


def encode(key: str, character: str | None, modes: KeyModes, kitty: int = 0) -> bytes:
    """The bytes for Textual's key event (`key`, `character`); empty if there are none for it."""
    name, mods = split(key)
    if name in CURSOR_KEYS:
        return _letter(CURSOR_KEYS[name], mods, "O" if modes.app_cursor and not kitty else "[")
    if name in FUNCTION_KEYS:
        return _letter(FUNCTION_KEYS[name], mods, "O" if not kitty or name == "f3" else "[")
    if name in TILDE_KEYS:
        return f"{ESC}[{TILDE_KEYS[name]}{f';{mods + 1}' if mods else ''}~".encode()
    if name in SIMPLE:
        return _simple(name, mods, modes, kitty)
    text = character if character and (character.isprintable() or not mods) else NAMES.get(name, name)
    if len(text) != 1:
        return b"" if len(name) > 1 and not character else (character or "").encode()
    return _text(text, mods, modes, kitty)


def split(key: str) -> tuple[str, int]:
    """Textual's key name without its modifiers, and these as bits (shift 1, alt 2, ctrl 4 …)."""
    mods = 0
    name = key
    while "+" in name:
        head, _, rest = name.partition("+")
        if head not in MODIFIERS or not rest:
            break
        mods |= MODIFIERS[head]
        name = rest
    if name.startswith("upper_") and len(name) == 7:
        return name[6:].upper(), mods
    return name, mods


def _letter(final: str, mods: int, plain: str) -> bytes:
    return f"{ESC}[1;{mods + 1}{final}".encode() if mods else f"{ESC}{plain}{final}".encode()


def _simple(name: str, mods: int, modes: KeyModes, kitty: int) -> bytes:
    """Enter, tab, escape, backspace, space."""
    code = CODES[name]
    if kitty & ALL_AS_ESCAPE or (kitty & DISAMBIGUATE and (mods & ~1 or name == "escape" or (mods and code != 32))):
        return _kitty(code, mods)
    if name == "tab" and mods == 1:
        return b"\x1b[Z"
    asked = modes.modify_other_keys == 2 or (modes.modify_other_keys and name in ("enter", "tab"))
    if asked and mods and name != "escape" and not (name == "space" and mods == 1):
        return _other(code, mods)
    plain = SIMPLE[name]
    if mods & 4:
        plain = {"backspace": "\b", "space": "\x00"}.get(name, plain)
    if name == "enter" and mods & 5 and not mods & 2:
        plain = "\n"  # what a program without a keyboard protocol takes as "new line, do not send"
    elif name == "enter" and modes.newline:
        plain = "\r\n"
    return ((ESC if mods & 2 else "") + plain).encode()


def _text(text: str, mods: int, modes: KeyModes, kitty: int) -> bytes:
    strong = mods & ~1
    if kitty & ALL_AS_ESCAPE or (kitty & DISAMBIGUATE and strong):
        return _kitty(ord(text.lower()), mods | (1 if text.isupper() else 0))
    if strong and modes.modify_other_keys == 2:
        return _other(ord(text), mods)
    if mods & 4:
        control = CONTROL.get(text)
        if control is None:
            return _other(ord(text), mods) if modes.modify_other_keys else b""
        text = control
    return ((ESC if mods & (2 | 32) else "") + text).encode()


def _kitty(code: int, mods: int) -> bytes:
    return f"{ESC}[{code}{f';{mods + 1}' if mods else ''}u".encode()


def _other(code: int, mods: int) -> bytes:
    return f"{ESC}[27;{mods + 1};{code}~".encode()


def paste(text: str, modes: KeyModes) -> bytes:
    """A paste. Control characters are taken out, so that no text can end the paste and type on its own."""
    clean = _PASTE_UNSAFE.sub("", text[:MAX_PASTE]).replace("\r\n", "\r").replace("\n", "\r")
    if modes.bracketed_paste:
        return f"{ESC}[200~{clean}{ESC}[201~".encode("utf-8", "replace")
    return clean.encode("utf-8", "replace")


def focus(gained: bool) -> bytes:
    """What mode 1004 reports."""
    return b"\x1b[I" if gained else b"\x1b[O"
