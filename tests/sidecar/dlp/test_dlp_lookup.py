"""What is told by tables of bytes, and layers taken off many pieces at once: each held against the plain way."""

import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.dlp import derive, lookup, steps
from sidecar.dlp.places import PLACES, Words

MANY = settings(max_examples=300, deadline=None)
DIGIT = lookup.kind(lambda code: 48 <= code <= 57)


@MANY
@given(data=st.binary(max_size=3000), table=st.binary(min_size=256, max_size=256))
def test_lookup_is_translate(data: bytes, table: bytes) -> None:
    assert lookup.lookup(data, table) == data.translate(table)


@MANY
@given(
    sizes=st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 40)), max_size=20),
    least=st.sampled_from([1, 14, 15, 24, 31, 32, 63, 64, 127, 200, 1023, 1025]),
)
def test_rows_are_the_same_by_blocks_and_one_by_one(sizes: list[tuple[int, int]], least: int) -> None:
    text = b"".join(b"7" * row + b"x" * gap for row, gap in sizes)
    plain = [match.span() for match in re.finditer(rb"[0-9]{%d,}" % least, text)]
    kinds = lookup.lookup(text, DIGIT)
    assert list(lookup._one_by_one(kinds, least)) == plain
    if least >= lookup._BLOCKS[0][0]:
        assert list(lookup._in_blocks(kinds, least)) == plain
    assert list(lookup.rows(text + b"x" * lookup._LARGE, DIGIT, least)) == plain


@MANY
@given(size=st.integers(0, 700), share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]), seed=st.integers(0, 1000))
def test_what_is_true_is_told_as_numpy_tells_it(size: int, share: float, seed: int) -> None:
    found = np.random.default_rng(seed).random(size) < share
    assert lookup.true_at(found).tolist() == np.flatnonzero(found).tolist()


CARDS = (
    "4539148803436467", "36227206271667", "4539-1488-0343-6467", "4539 1488 0343 6467", "4539.1488.0343.6467",
    "3782-822463-10005", "3782 822463 10005", "6304-1234-5678-9012-345", "378282246310005", "5018 1234 5678 9",
)  # fmt: skip
PAIRS = ("61:62:63:64:65:66", "0x61, 0x62, 0x63, 0x64, 0x65, 0x66,", "%61%62%63%64%65%66", "61 62 63 64 65 66 ")


@pytest.mark.parametrize(
    ("place", "value"), [*(("cards", each) for each in CARDS), *(("pairs", each) for each in PAIRS)]
)
def test_a_value_is_kept_wherever_it_lies_in_a_text(place: str, value: str) -> None:
    rng = random.Random(value)
    for offset in range(64):
        before, after = ("".join(rng.choices("0a:- \n\\é", k=size)) for size in (offset, 30))
        text = f"{before} {value},{after}".encode()
        words = Words(text)
        assert value.encode() in words.cut(PLACES[place](words)).text  # type: ignore[index]


def test_times_and_dates_are_no_place_of_cards() -> None:
    words = Words(b"2026-03-11T07:12:07.123Z " * 400)
    assert not PLACES["cards"](words).any()


SCRAPS = [
    *(b"%41", b"%", b"\\u0041", b"\\", b"\\\\", b"\\n", b"\\x00", b"\\xff", b"&#65;", b"&", b"amp;", b"<a", b">"),
    *(b"<!--", b"-->", b"=41", b"=\n", b"\0", b"\xc3", b"\xa9", b"x", b"\xff", b"12", b"65, ", b"65"),
    *("é".encode(), "\u200b".encode(), "ａ".encode(), "\U000e0041".encode() * 6),
]
PIECES = st.lists(st.lists(st.sampled_from(SCRAPS), max_size=12).map(b"".join), min_size=2, max_size=8)


@MANY
@given(pieces=PIECES)
def test_a_layer_is_taken_off_many_pieces_as_off_each(pieces: list[bytes]) -> None:
    for decoder in derive.decoders():
        if step := decoder.step:
            each, together = ([*map(_readable, after)] for after in (map(step, pieces), steps._of_each(step, pieces)))
            assert together == each, decoder.name


def _readable(data: bytes) -> str:
    """What is no UTF-8 is replaced at one time or another."""
    return data.decode("utf-8", "replace")
