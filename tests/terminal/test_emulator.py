"""What the golden screens do not show: answers to queries, modes, clusters, odd sequences, history, resizing."""

import pytest

from app import __version__
from app.terminal.emulator import Emulator
from app.terminal.rows import plain_text
from app.terminal.style import BOLD, UNDERLINE, UNDERLINE2, Style, apply_sgr, sgr


def fed(data: bytes | str, cols: int = 20, rows: int = 5) -> Emulator:
    term = Emulator(cols, rows)
    term.feed(data.encode() if isinstance(data, str) else data)
    return term


def text(term: Emulator, y: int = 0) -> str:
    return "".join(run.text for run in term.line(y))


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (b"\x1b[c", b"\x1b[?62;22c"),
        (b"\x1b[0c", b"\x1b[?62;22c"),
        (b"\x1b[>c", b"\x1b[>0;280;0c"),
        (b"\x1b[5n", b"\x1b[0n"),
        (b"ab\r\nc\x1b[6n", b"\x1b[2;2R"),
        (b"\x1b[2;4r\x1b[?6h\x1b[3;1H\x1b[6n", b"\x1b[3;1R"),
        (b"\x1b[>q", f"\x1bP>|carboy({__version__})\x1b\\".encode()),
        (b"\x1b[?2026$p", b"\x1b[?2026;2$y"),
        (b"\x1b[?2026h\x1b[?2026$p", b"\x1b[?2026;1$y"),
        (b"\x1b[?2027$p", b"\x1b[?2027;2$y"),
        (b"\x1b[?7$p", b"\x1b[?7;1$y"),
        (b"\x1b[?1049h\x1b[?1049$p", b"\x1b[?1049;1$y"),
        (b"\x1b[?4242$p", b"\x1b[?4242;0$y"),
        (b"\x1b[4$p", b"\x1b[4;2$y"),
        (b"\x1b[?u", b"\x1b[?0u"),
        (b"\x1b[>5u\x1b[=2;2u\x1b[?u", b"\x1b[?7u"),
        (b"\x1b[>4;2m\x1b[?4m", b"\x1b[>4;2m"),
        (b"\x1b]11;?\x07", b"\x1b]11;rgb:1212/1212/1212\x1b\\"),
        (b"\x1b]10;?\x1b\\", b"\x1b]10;rgb:e5e5/e5e5/e5e5\x1b\\"),
        (b"\x1b]4;196;?\x07", b"\x1b]4;196;rgb:ffff/0000/0000\x1b\\"),
        (b"\x1b[1;31m\x1bP$qm\x1b\\", b"\x1bP1$r0;1;31m\x1b\\"),
        (b"\x1b[2;4r\x1bP$qr\x1b\\", b"\x1bP1$r2;4r\x1b\\"),
        (b"\x1bP$qx\x1b\\", b"\x1bP0$r\x1b\\"),
        (b"\x1bP+q5463\x1b\\", b"\x1bP0+r\x1b\\"),
        (b"\x1b[18t", b"\x1b[8;5;20t"),
        (b"\x1b[21t", b""),
        (b"\x05", b""),
    ],
)
def test_answers(query: bytes, answer: bytes) -> None:
    said: list[bytes] = []
    Emulator(20, 5, said.append).feed(query)
    assert b"".join(said) == answer


@pytest.mark.parametrize(
    ("printed", "cells", "column"),
    [
        ("👨‍👩‍👧x", ["👨‍👩‍👧", "x"], 3),
        ("🇩🇪🇫🇷", ["🇩🇪", "🇫🇷"], 4),
        ("❤️x", ["❤️", "x"], 3),
        ("👍🏽", ["👍🏽"], 2),
        ("e\u0301x", ["e\u0301", "x"], 2),
        ("한글", ["한", "글"], 4),
    ],
)
def test_clusters_with_mode_2027(printed: str, cells: list[str], column: int) -> None:
    term = fed("\x1b[?2027h" + printed)
    assert [cell for cell in term.grid.lines[0].ch if cell.strip()] == cells
    assert term.cursor.x == column
    split = Emulator(20, 5)
    for byte in ("\x1b[?2027h" + printed).encode():
        split.feed(bytes([byte]))
    assert split.line(0) == term.line(0)


def test_without_mode_2027_each_code_point_has_its_own_width() -> None:
    assert fed("👨‍👩x").cursor.x == 5
    assert fed("❤️x").cursor.x == 2


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a\x1b[1\x08;3Hb", "a b"),
        (b"ab\x1b[2\x18Cc", "abCc"),
        (b"a\x1b[31\x1b[1mb", "ab"),
        (b"\xc2\x9b3Cx", "   x"),
        (b"a\x1b]0;t\x1b[3Cx", "a   x"),
        (b"a\x1bPdata\x18b", "ab"),
        (b"a\x1b[?1;2;3zb\x1b[1 zc", "abc"),
        (b"a\x1b%Gb\x1b Fc", "abc"),
        (b"\xff\xfea", "\ufffd\ufffda"),
        (b"ab\x7f\x00c", "abc"),
    ],
)
def test_odd_sequences(data: bytes, shown: str) -> None:
    assert text(fed(data)) == shown


def test_sgr_forms() -> None:
    plain = Style()
    assert apply_sgr(plain, "38:2::1:2:3") == apply_sgr(plain, "38;2;1;2;3") == apply_sgr(plain, "38:2:1:2:3")
    assert apply_sgr(plain, "48:5:9").bg == 9
    assert apply_sgr(plain, "4:3").attrs == UNDERLINE
    assert apply_sgr(plain, "4:2").attrs == UNDERLINE2
    assert apply_sgr(Style(1, 2, BOLD), "") == plain
    assert apply_sgr(plain, "58:2::1:2:3;1").attrs == BOLD
    style = Style((1, 2, 3), 200, BOLD | UNDERLINE)
    assert apply_sgr(Style(4, 5, 64), sgr(style)[2:-1]) == style


def test_history_is_bounded_counted_and_cleared() -> None:
    term = Emulator(10, 3, history=5)
    term.feed(b"".join(b"%d\r\n" % number for number in range(20)))
    assert (term.history, text(term, -1), text(term, -5), term.dropped) == (5, "17", "13", 13)
    assert term.line(-6) == ()
    assert term.line(99) == ()
    term.feed(b"\x1b[3J")
    assert (term.history, term.dropped) == (0, 18)


def test_the_alternate_screen_leaves_the_history_alone() -> None:
    term = fed("one\r\n\x1b[?1049h" + "x\r\n" * 50 + "\x1b[?1049l")
    assert (term.history, text(term), term.alt) == (0, "one", False)


def test_search_finds_in_history_and_screen() -> None:
    term = fed("".join(f"Line {number}\r\n" for number in range(30)))
    assert [(match.y, match.x) for match in term.search("line 3")] == [(3, 0)]
    assert len(term.search("LINE")) == 30
    assert term.search("") == []


def test_growing_takes_lines_back_and_shrinking_keeps_them() -> None:
    term = fed("".join(f"{number}\r\n" for number in range(10)))
    term.resize(20, 3)
    assert [text(term, y) for y in range(3)] == ["8", "9", ""]
    term.resize(20, 8)
    assert [text(term, y) for y in range(8)] == ["3", "4", "5", "6", "7", "8", "9", ""]
    assert term.cursor.y == 7


def test_a_narrower_screen_wraps_and_a_wider_one_joins_again() -> None:
    term = fed("a long line of text\r\nshort\r\n$ ")
    term.resize(8, 8)
    assert [text(term, y) for y in range(6)] == ["a long l", "ine of t", "ext", "short", "$", ""]
    assert term.cursor[:2] == (2, 4)
    term.resize(20, 5)
    assert [text(term, y) for y in range(4)] == ["a long line of text", "short", "$", ""]
    assert term.cursor[:2] == (2, 2)


def test_what_a_narrower_screen_has_no_room_for_goes_to_the_history() -> None:
    term = fed("0123456789\r\nabcdefghij\r\n$ ", cols=10, rows=3)
    term.resize(5, 3)
    assert [text(term, y) for y in range(3)] == ["abcde", "fghij", "$"]
    assert [plain_text(past.line) for past in term.grid.history] == ["01234", "56789"]
    assert term.cursor[:2] == (2, 2)


def test_a_wide_character_is_not_broken_by_a_narrower_screen() -> None:
    term = fed("ab漢字漢字\r\n$ ", cols=10, rows=4)
    term.resize(5, 4)
    assert [text(term, y) for y in range(4)] == ["ab漢", "字漢", "字", "$"]


def test_the_line_with_the_cursor_is_left_to_its_program() -> None:
    term = fed("$ a command that is typed", cols=40, rows=3)
    term.resize(10, 3)
    assert [text(term, y) for y in range(3)] == ["$ a comman", "", ""]


def test_sizes_are_clamped() -> None:
    term = Emulator(0, -5)
    assert (term.cols, term.rows) == (2, 1)
    term.resize(10**9, 10**9)
    assert (term.cols, term.rows) == (1000, 500)


def test_dirty_rows() -> None:
    term = fed("")
    term.dirty.clear()
    term.feed(b"\x1b[3;1Hx")
    assert term.dirty == {2}
    term.dirty.clear()
    term.feed(b"\x1b[31m\x1b[2C")
    assert term.dirty == set()
