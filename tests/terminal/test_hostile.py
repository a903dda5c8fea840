"""Arbitrary bytes: nothing raises, nothing takes long, nothing grows, and nothing is passed on."""

import random
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.terminal.emulator import Emulator
from tests.terminal.streams import CONTROLS, FIXED, MODES, TEXTS


def sane(term: Emulator) -> None:
    """What must hold after any input."""
    grid = term.grid
    assert 0 <= grid.x <= grid.cols
    assert 0 <= grid.y < grid.rows
    assert 0 <= grid.top <= grid.bottom < grid.rows
    for row in grid.lines + grid.main:
        assert len(row.ch) == len(row.st) == grid.cols
        assert row.ch[0] != ""
    for y in range(-term.history, term.rows):
        for run in term.line(y):
            assert run.width >= 1
            assert not any(char < " " or "\x7f" <= char <= "\x9f" for char in run.text)
    for y in range(term.rows):
        assert sum(run.width for run in term.line(y)) <= grid.cols
    assert term.title.isprintable() or not term.title


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(-5, 40), st.integers(-5, 15))
def test_any_bytes(pieces: list[bytes], cols: int, rows: int) -> None:
    term = Emulator(20, 6, lambda _: None, history=30)
    for piece in pieces:
        term.feed(piece)
    term.resize(cols, rows)
    for piece in pieces:
        term.feed(piece)
    sane(term)


@pytest.mark.parametrize("seed", range(3))
def test_fuzz_of_real_sequences_broken_at_random(seed: int) -> None:
    """Valid sequences, cut, joined and with bytes flipped; sizes change in between; a redraw always works."""
    chance = random.Random(seed)
    parts = [text.encode() for text in (*TEXTS, *CONTROLS, *FIXED)]
    term = Emulator(30, 8, lambda _: None, history=40)
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        data = bytearray()
        for _ in range(chance.randint(1, 60)):
            kind = chance.random()
            if kind < 0.5:
                data += chance.choice(parts)
            elif kind < 0.9:
                numbers = b";".join(
                    b"%d" % chance.choice((0, 1, 2, 3, 8, 30, 999, 10**12)) for _ in range(chance.randint(0, 4))
                )
                data += (
                    b"\x1b["
                    + chance.choice((b"", b"?", b">", b"=", b"<", b" "))
                    + numbers
                    + bytes([chance.randint(64, 126)])
                )
            else:
                data += b"\x1b[?%d" % chance.choice(MODES) + chance.choice((b"h", b"l"))
        for _ in range(chance.randint(0, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        term.feed(bytes(data))
        if chance.random() < 0.1:
            term.resize(chance.randint(1, 50), chance.randint(1, 20))
        sane(term)
    Emulator(term.cols, term.rows).feed(term.redraw())


SLOW = {
    "an endless CSI": b"\x1b[" + b"1" * 200_000,
    "an endless CSI of separators": b"\x1b[" + b";" * 200_000 + b"m",
    "endless intermediates": b"\x1b[" + b" " * 200_000,
    "escapes": b"\x1b" * 200_000,
    "openings": b"\x1b[" * 100_000,
    "an endless OSC": b"\x1b]0;" + b"x" * 200_000,
    "an endless DCS": b"\x1bP" + b"\x07" * 200_000,
    "huge SGR": (b"\x1b[" + b"38;5;1;" * 1000 + b"m") * 30,
    "different SGRs": b"".join(b"\x1b[38;2;%d;%d;%dm" % (n & 255, n >> 8 & 255, n % 7) for n in range(12_000)),
    "combining marks": b"a" + "\u0301".encode() * 100_000,
    "joiners": b"\x1b[?2027h" + "👨\u200d".encode() * 30_000,
    "wide characters": "中".encode() * 60_000,
    "repeats": b"x" + b"\x1b[9999b" * 200,
    "line inserts": b"\x1b[999L" * 3_000,
    "scrolls": b"\x1b[999S" * 3_000,
    "clears": b"\x1b[2J" * 5_000,
    "fills": b"\x1b#8" * 3_000,
    "resets": b"\x1bc" * 3_000,
    "screens": b"\x1b[?1049h\x1b[?1049l" * 3_000,
    "tabs": b"\x1b[9999I\r" * 5_000,
    "tab stops": b"\x1b[1C\x1bH" * 20_000,
    "selective erase": b'\x1b[1"q' + b"x" * 5000 + b"\x1b[?2J" * 300,
    "queries": b"\x1b[c\x1b[6n" * 20_000,
    "keyboard pushes": b"\x1b[>1u" * 30_000,
    "no autowrap": b"\x1b[?7l" + b"x" * 200_000,
    "broken CSI": b"\x1b[1\n" * 50_000,
    "broken UTF-8": b"\xf0\x9f\x98" * 60_000,
}


@pytest.mark.parametrize("name", SLOW)
def test_the_most_expensive_input_stays_linear(name: str) -> None:
    """In pieces of one, seven and many bytes. 3 s of CPU for at most 0.2 MB is ten times what the worst takes here."""
    answered: list[bytes] = []
    for size in (16384, 7, 1):
        term = Emulator(120, 40, answered.append, history=200)
        data = SLOW[name] if size > 7 else SLOW[name][:60_000]
        began = time.thread_time()
        for at in range(0, len(data), size):
            term.feed(data[at : at + size])
        assert time.thread_time() - began < 3
        term.feed(b"\x18\x1b[0m\x1b[2J\x1b[?7h\x1b[?2027l\x1b[1;1Hstill here")
        assert term.line(0)[0].text == "still here"


def test_memory_is_bounded() -> None:
    term = Emulator(100, 30, history=500)
    chance = random.Random(1)
    tracemalloc.start()
    try:
        sizes: list[int] = []
        for turn in range(20):
            term.feed(b"\x1b]0;" + b"t" * 5000 + b"\x1bP" + bytes(chance.randbytes(3000)))
            term.feed(
                b"\x18" + b"".join(b"\x1b[38;2;%d;%d;%dm\xe2\x94\x80" % tuple(chance.randbytes(3)) for _ in range(3000))
            )
            term.feed(
                "e\u0301\u0302\u0303\u0304".encode() * 500 + b"\x1b[?%dh" % turn + b"\x1b[>3u" * 10 + b"\r\n" * 60
            )
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] < 30_000_000
    assert sizes[-1] - sizes[12] < 3_000_000


@pytest.mark.parametrize(
    "data",
    [
        *(b"\x1b]52;c;aGk=\x07", b"\x1b]52;c;?\x07", b"\x1b]8;;x:\x1b\\", b"\x1b]9;note\x07", b"\x1b]4;1;red\x07"),
        *(b"\x1b]777;notify;a;b\x07", b"\x1b]1337;File=:x\x07", b"\x1b]50;?\x07", b"\x1b_Gf=100;AAAA\x1b\\", b"\x05"),
        *(b"\x1bPq#0;2;0;0;0#0~~\x1b\\", b"\x1bP+q544e\x1b\\", b"\x1b[21t", b"\x1b[5i", b"\x1b[0x", b"\x1b^pm\x1b\\"),
    ],
)  # fmt: skip
def test_what_is_filtered_leaves_no_trace(data: bytes) -> None:
    answered: list[bytes] = []
    term = Emulator(40, 5, answered.append)
    term.feed(b"a" + data + b"\x18b")
    assert term.line(0)[0].text == "ab"
    assert term.title == ""
    assert b"".join(answered) in (b"", b"\x1bP0+r\x1b\\")
    assert b"52;" not in term.redraw()


def test_a_title_is_bounded_plain_text() -> None:
    term = Emulator(40, 5)
    term.feed("\x1b]0;a\u202eb\u0007".encode())
    assert term.title == "ab"
    term.feed(b"\x1b]2;" + b"x" * 4000 + b"\x07")
    assert term.title == "x" * 256
    term.feed(b"\x1b]2;" + b"y" * 100_000 + b"\x07")
    assert term.title == "x" * 256


def test_answers_are_bounded() -> None:
    answered: list[bytes] = []
    term = Emulator(40, 5, answered.append)
    term.feed(b"\x1b[c" * 10_000)
    assert 0 < sum(map(len, answered)) <= 4096
