"""Key names to bytes: tables for each keyboard mode, and pastes that cannot type."""

import pytest

from app.terminal import keys
from app.terminal.emulator import Emulator


def term(*sequences: bytes) -> Emulator:
    made = Emulator(20, 5)
    for sequence in sequences:
        made.feed(sequence)
    return made


def press(made: Emulator, key: str, character: str | None = None) -> bytes:
    return keys.encode(key, character, made.modes, made.kitty_flags)


PLAIN = [
    ("a", "a", b"a"),
    ("A", "A", b"A"),
    ("shift+A", "A", b"A"),
    ("é", "é", "é".encode()),
    ("full_stop", ".", b"."),
    ("space", " ", b" "),
    ("enter", "\r", b"\r"),
    ("shift+enter", None, b"\n"),
    ("ctrl+enter", None, b"\n"),
    ("alt+enter", None, b"\x1b\r"),
    ("ctrl+j", "\n", b"\n"),
    ("tab", "\t", b"\t"),
    ("shift+tab", None, b"\x1b[Z"),
    ("escape", "\x1b", b"\x1b"),
    ("backspace", "\x7f", b"\x7f"),
    ("ctrl+backspace", None, b"\b"),
    ("alt+backspace", None, b"\x1b\x7f"),
    ("ctrl+a", None, b"\x01"),
    ("ctrl+shift+a", None, b"\x01"),
    ("ctrl+c", "\x03", b"\x03"),
    ("ctrl+p", None, b"\x10"),
    ("ctrl+q", None, b"\x11"),
    ("ctrl+@", "\x00", b"\x00"),
    ("ctrl+space", None, b"\x00"),
    ("ctrl+right_square_bracket", None, b"\x1d"),
    ("ctrl+backslash", None, b"\x1c"),
    ("ctrl+underscore", None, b"\x1f"),
    ("ctrl+slash", None, b"\x1f"),
    ("alt+a", None, b"\x1ba"),
    ("alt+full_stop", None, b"\x1b."),
    ("ctrl+alt+a", None, b"\x1b\x01"),
    ("up", None, b"\x1b[A"),
    ("shift+up", None, b"\x1b[1;2A"),
    ("ctrl+left", None, b"\x1b[1;5D"),
    ("alt+right", None, b"\x1b[1;3C"),
    ("home", None, b"\x1b[H"),
    ("pageup", None, b"\x1b[5~"),
    ("ctrl+delete", None, b"\x1b[3;5~"),
    ("f1", None, b"\x1bOP"),
    ("shift+f4", None, b"\x1b[1;2S"),
    ("f12", None, b"\x1b[24~"),
    ("unknown_thing", None, b""),
    ("ctrl+unknown_thing", None, b""),
    ("left_shift", None, b""),
]


@pytest.mark.parametrize(("key", "character", "expected"), PLAIN)
def test_without_any_mode(key: str, character: str | None, expected: bytes) -> None:
    assert press(term(), key, character) == expected


@pytest.mark.parametrize(
    ("key", "expected"), [("up", b"\x1bOA"), ("end", b"\x1bOF"), ("ctrl+up", b"\x1b[1;5A"), ("f1", b"\x1bOP")]
)
def test_cursor_key_mode(key: str, expected: bytes) -> None:
    assert press(term(b"\x1b[?1h"), key) == expected


def test_newline_mode() -> None:
    assert press(term(b"\x1b[20h"), "enter", "\r") == b"\r\n"


@pytest.mark.parametrize(
    ("key", "character", "expected"),
    [
        ("ctrl+a", None, b"\x1b[27;5;97~"),
        ("alt+a", None, b"\x1b[27;3;97~"),
        ("shift+enter", None, b"\x1b[27;2;13~"),
        ("ctrl+space", None, b"\x1b[27;5;32~"),
        ("A", "A", b"A"),
        ("enter", "\r", b"\r"),
        ("up", None, b"\x1b[A"),
    ],
)
def test_modify_other_keys(key: str, character: str | None, expected: bytes) -> None:
    assert press(term(b"\x1b[>4;2m"), key, character) == expected


def test_modify_other_keys_level_one_keeps_ordinary_controls() -> None:
    made = term(b"\x1b[>4;1m")
    assert press(made, "ctrl+a") == b"\x01"
    assert press(made, "shift+enter") == b"\x1b[27;2;13~"
    assert press(made, "ctrl+equals_sign") == b"\x1b[27;5;61~"


@pytest.mark.parametrize(
    ("key", "character", "expected"),
    [
        ("escape", "\x1b", b"\x1b[27u"),
        ("ctrl+a", None, b"\x1b[97;5u"),
        ("ctrl+shift+a", None, b"\x1b[97;6u"),
        ("alt+a", None, b"\x1b[97;3u"),
        ("shift+enter", None, b"\x1b[13;2u"),
        ("shift+tab", None, b"\x1b[9;2u"),
        ("enter", "\r", b"\r"),
        ("a", "a", b"a"),
        ("A", "A", b"A"),
        ("space", " ", b" "),
        ("shift+space", " ", b" "),
        ("up", None, b"\x1b[A"),
        ("ctrl+up", None, b"\x1b[1;5A"),
    ],
)
def test_kitty_disambiguate(key: str, character: str | None, expected: bytes) -> None:
    assert press(term(b"\x1b[>1u"), key, character) == expected


def test_kitty_all_keys_as_escapes_and_pop() -> None:
    made = term(b"\x1b[>9u")
    assert press(made, "a", "a") == b"\x1b[97u"
    assert press(made, "A", "A") == b"\x1b[97;2u"
    assert press(made, "enter", "\r") == b"\x1b[13u"
    made.feed(b"\x1b[<u")
    assert press(made, "a", "a") == b"a"


def test_kitty_flags_belong_to_a_screen() -> None:
    made = term(b"\x1b[>1u\x1b[?1049h")
    assert made.kitty_flags == 0
    made.feed(b"\x1b[>5u\x1b[?1049l")
    assert made.kitty_flags == 1


def test_a_paste_is_wrapped_and_cannot_end_itself() -> None:
    hostile = "ls\x1b[201~rm -rf /\r\nnext\tline\x03\x9b201~"
    assert keys.paste(hostile, term(b"\x1b[?2004h").modes) == b"\x1b[200~ls[201~rm -rf /\rnext\tline201~\x1b[201~"
    assert keys.paste("a\nb", term().modes) == b"a\rb"


def test_focus() -> None:
    assert (keys.focus(True), keys.focus(False)) == (b"\x1b[I", b"\x1b[O")
