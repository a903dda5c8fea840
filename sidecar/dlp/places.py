"""Where in a text an expression can match at all, told from what its characters are, eight bytes at a time.

An expression without a literal in it costs as much as all of those with one. So each names a place (`Spec.where`):
what every match of it must hold, as a condition on the aligned words of eight bytes that lie inside of the match. One
translation says of which kinds each byte is; the rest is arithmetic on whole words, without the interpreter's lock.
What is kept is a superset, with the words around it that a match can reach into. Pure; linear, whatever the text is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sidecar.dlp.lookup import lookup
from sidecar.dlp.matcher import Place

WORD = 8
Array = np.ndarray[Any, Any]

_RUN, _DIGIT, _CAPITAL, _LOWER, _PAIR, _HEX, _SPACED, _BASE58 = (1 << bit for bit in range(8))
assert _CAPITAL == _DIGIT << 1  # `_accounts`
_ONES = 0x0101010101010101
_BREAK = np.uint64(0x0A0A0A0A0A0A0A0A)
_STRIDE = 64


def _kinds(code: int) -> int:
    char = chr(code)
    letter = code < 128 and char.isalnum()
    return (
        _RUN * (letter or char in "+/_-")
        + _DIGIT * ("0" <= char <= "9")
        + _CAPITAL * ("A" <= char <= "Z")
        + _LOWER * ("a" <= char <= "z" or char in " ,\n\t\\")
        + _PAIR * (not letter or char in "0123456789abcdefABCDEFxX")
        + _HEX * (char in "0123456789abcdefABCDEF")
        + _SPACED * (not letter)
        + _BASE58 * (letter and char not in "0OIl")
    )


_KINDS = bytes(_kinds(code) for code in range(256))


class Words:
    """A text as aligned words of eight bytes, and of which kinds their bytes are."""

    def __init__(self, text: bytes) -> None:
        padded = text + b"\n" * (-len(text) % WORD)
        self.size = len(text)
        self.words: Array = np.frombuffer(padded, np.uint64)
        self.kinds: Array = np.frombuffer(lookup(padded, _KINDS), np.uint64)
        both = self.kinds & (self.kinds >> np.uint64(32))
        both &= both >> np.uint64(16)
        both &= both >> np.uint64(8)
        self.whole: Array = both.astype(np.uint8)
        """The kinds of which all eight bytes of a word are."""
        self.pairs: Array = self.whole[:-1] & self.whole[1:]
        """The kinds of which a word and the next consist."""

    @cached_property
    def rows(self) -> Array:
        """The kinds of which a word consists, and one of its neighbours."""
        rows = np.zeros(len(self.whole), np.uint8)
        rows[:-1] = self.pairs
        rows[1:] |= self.pairs
        return rows

    @cached_property
    def _run_ends(self) -> Array:
        run = (self.rows & _RUN) != 0
        return np.flatnonzero(run[:-1] & ~run[1:])

    def run_before(self, char: str) -> Array:
        """The last full words of runs of letters, digits and `+/_-`, two full words long at least, in whose next word
        `char` is: where it stands behind the run, it is in that word."""
        found = np.zeros(len(self.whole), np.bool_)
        found[self._run_ends[self.hold(ord(char), self._run_ends + 1)]] = True
        return found

    @cached_property
    def near_rows(self) -> Array:
        """`rows`, with a word on both sides."""
        near = self.rows.copy()
        near[:-1] |= self.rows[1:]
        near[1:] |= self.rows[:-1]
        return near

    def count(self, kind: int) -> Array:
        """How many bytes of each word are of `kind`."""
        return np.bitwise_count(self.kinds & np.uint64(_ONES * kind))

    def hold(self, code: int, places: Array) -> Array:
        """Which of these words hold this byte."""
        return (self.words[places].view(np.uint8) == code).view(np.uint64) != 0

    @cached_property
    def digits(self) -> Array:
        """How many bytes of each word are digits."""
        return self.count(_DIGIT)

    @cached_property
    def twos(self) -> Array:
        """The kinds of which a byte and the next are."""
        kinds = self.kinds.view(np.uint8)
        return kinds[:-1] & kinds[1:]

    def cut(self, mask: Array, *, apart: bool = True) -> "Kept":
        """The words in `mask`, a break after each row of them unless they need not be `apart`."""
        if not apart:
            kept = np.flatnonzero(mask)
            return Kept(self.words[kept].tobytes(), kept, self.size)
        with_ends = mask.copy()
        with_ends[1:] |= mask[:-1]  # the word after a row is the break
        kept = np.flatnonzero(with_ends)
        words = self.words[kept]
        np.putmask(words, ~mask[kept], _BREAK)
        return Kept(words.tobytes(), kept, self.size)


@dataclass(frozen=True, eq=False)
class Kept:
    """What was cut out of a text: `words` are the places of its words there."""

    text: bytes
    words: Array
    size: int

    @property
    def whole(self) -> bool:
        return False

    def origin(self, end: int) -> int:
        """The offset in the source of an end offset in `text`."""
        return min(self.size, int(self.words[(end - 1) >> 3]) * WORD + ((end - 1) & 7) + 1)

    def anywhere(self) -> range:
        """Ends of which one is within `_STRIDE` bytes of each place: no row of words that is cut out is shorter."""
        return range(_STRIDE, len(self.text) + 1, _STRIDE)


def _spread(mask: Array, before: int, after: int) -> Array:
    """`mask` with so many words before and after each."""
    if not mask.any():
        return mask
    wide = mask.copy()
    done = 0
    while done < before:  # twice as far with each step
        step = min(done + 1, before - done)
        wide[:-step] |= wide[step:].copy()
        done += step
    done = 0
    while done < after:
        step = min(done + 1, after - done)
        wide[step:] |= wide[:-step].copy()
        done += step
    return wide


def _runs(words: Words) -> Array:
    """24 letters, digits or `+/_-` at once: two full words. A match begins in the word before, at the earliest."""
    return (words.near_rows & _RUN) != 0


def _hex(words: Words) -> Array:
    """24 hexadecimal digits at once: two full words."""
    return (words.near_rows & _HEX) != 0


def _base58(words: Words) -> Array:
    """26 letters and digits of base58 at once: two full words."""
    return (words.near_rows & _BASE58) != 0


def _dotted(words: Words) -> Array:
    """As `_runs`, of 36 at most, with a dot behind it: from two bytes before to the end of a dotted token."""
    return _spread(words.run_before("."), 6, 9)


def _wrapped(words: Words) -> Array:
    """The last 24 of such a run, with a backslash behind: two escaped line ends of five bytes each and eight more."""
    return _spread(words.run_before("\\"), 3, 4)


def _cards(words: Words) -> Array:
    """Thirteen digits at least, with a mark after every fourth or near the end: six in one word, however they lie, and
    two marks in that word are alike, with four or six of them between. In a time or a date there are two."""
    found = words.digits >= 6
    at = np.flatnonzero(words.digits == 6)
    text, marks = words.words[at], ~words.kinds[at] & np.uint64(_ONES * _DIGIT)
    alike = np.zeros(len(at), np.bool_)
    for apart in (5, 7):
        shift = np.uint64(WORD * apart)
        second = marks & (marks << shift)
        # the mark's one bit made all bits of its byte
        alike |= (second != 0) & (((text ^ (text << shift)) & (second // _DIGIT * 255)) == 0)
    found[at] = alike
    return _spread(found, 2, 2)


def _numbers(words: Words) -> Array:
    """Fifteen digits at once: a full word. What follows is 44 bytes at most."""
    return _spread((words.whole & _DIGIT) != 0, 2, 6)


def _accounts(words: Words) -> Array:
    """Two capitals and two digits, with ten bytes behind them."""
    twos = words.twos
    starts = np.zeros(len(words.whole) * WORD, np.uint8)
    # doubled, two digits have the bit of two capitals; numpy's shift of bytes is ten times slower
    np.bitwise_and(twos[:-2], twos[2:] + twos[2:], out=starts[:-3])
    return _spread((starts.view(np.uint64) & np.uint64(_ONES * _CAPITAL)) != 0, 0, 3)


def _fives(whole: Array) -> Array:
    """Where five words in a row begin, with a word before and what is left of the last."""
    pairs = whole[:-1] & whole[1:]
    starts = np.zeros(len(whole), np.bool_)
    starts[:-4] = (pairs[:-3] & pairs[2:-1] & whole[4:]) != 0
    return _spread(starts, 1, 5)


def _phrases(words: Words) -> Array:
    """Twelve words of three letters at least: 47 bytes of small letters and of what stands between words. Those hold
    five full words."""
    return _fives(words.whole & np.uint8(_LOWER))


def _codes(words: Words) -> Array:
    """Sixteen numbers of two digits at least, with up to seven blanks and commas between: 48 bytes, hence five full
    words without a letter and with a digit each."""
    return _fives(((words.whole & np.uint8(_PAIR)) != 0) & (words.digits != 0))


def _pairs(words: Words) -> Array:
    """Six times two hexadecimal digits and one or two marks: 18 bytes without other letters, one to four of each eight
    of them marks, and never three digits in a row."""
    marks = words.count(_SPACED)
    found = ((words.whole & _PAIR) != 0) & (marks >= 1) & (marks <= 4)
    at = np.flatnonzero(found)
    digits = words.kinds[at] & np.uint64(_ONES * _HEX)
    found[at] = (digits & (digits >> np.uint64(WORD)) & (digits >> np.uint64(2 * WORD))) == 0
    return _spread(found, 1, 1)


def _unicode(words: Words) -> Array:
    """Characters beyond ASCII: each of their bytes is."""
    return (words.words & np.uint64(_ONES << 7)) != 0


PLACES: dict[Place, Callable[[Words], Array]] = {
    "run": _runs,
    "dotted": _dotted,
    "wrapped": _wrapped,
    "hex": _hex,
    "base58": _base58,
    "cards": _cards,
    "numbers": _numbers,
    "accounts": _accounts,
    "phrases": _phrases,
    "pairs": _pairs,
    "codes": _codes,
    "unicode": _unicode,
}

TOGETHER: tuple[Place, ...] = ("unicode",)
"""Those of matches that what stands between two rows of words makes no difference to."""

CROWDED: tuple[Place, ...] = ("phrases",)
"""Those that lists of words, or of `null` in a minified script, are full of, and that are quickly decided about."""

ROWS: tuple[Place, ...] = "run", "dotted", "wrapped", "hex", "base58"
"""Those of what holds 24 letters, digits or `+/_-` at once."""
