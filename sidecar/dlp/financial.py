"""Rules for money: cards, bank accounts, wallets and their keys, seed phrases. Outbound only. Pure.

Every one has a checksum, so that a number that merely looks like one is none.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

from sidecar.dlp import money, shape
from sidecar.dlp.derived import TooMuch
from sidecar.dlp.matcher import Spec, Where
from sidecar.dlp.patterns.model import KEYWORD_REACH
from sidecar.dlp.portable_matcher import Expression
from sidecar.dlp.rules import Rule

# Digits and letters of a longer token, the fraction of a decimal number and a factor (`15*t`) are no card and no
# address.
_LEFT = r"(?:\A|[^0-9A-Za-z_.+/\-]|\\[nrt]|[^0-9A-Za-z]-)"
_RIGHT = r"(?:\z|[^0-9A-Za-z_+/=\-.*]|[.\-](?:\z|[^0-9A-Za-z])|\*{1,2}(?:\z|[^0-9A-Za-z_(*]))"
# For the search alone: also the letters that end an escape.
_BEFORE = r"(?:\A|[^0-9A-Za-mo-qsu-z_.+/])"

_CARD = "|".join(
    (
        r"[2-6][0-9]{12,18}",
        r"[2-6][0-9]{3}(?:[ .\-][0-9]{4}){2,3}(?:[ .\-][0-9]{1,4}){0,1}",
        r"3[0-9]{3}[ .\-][0-9]{6}[ .\-][0-9]{4,5}",
    )
)
_CARD_END = r"(?:[^0-9A-Za-z_+/=]|$)"
_CARD_SEARCH = "|".join(
    (
        rf"{_BEFORE}(?:{money.cards(named=False)}){_CARD_END}",
        *(
            rf"{_BEFORE}(?:[2-6][0-9]{{3}}(?:{mark}[0-9]{{4}}){{2}}{mark}[0-9]|3[0-9]{{3}}{mark}[0-9]{{6}}{mark}[0-9]{{4}})"
            for mark in (" ", r"\.", "-")
        ),
    )
)
"""Its beginning, length and end are told by the search: a text of decimal fractions, coordinates or large numbers would
be a flood of places."""
_CARD_WORDS = ("card", "visa", "discover", "jcb", "payment")
_IBAN = r"[A-Z]{2}[0-9]{2}(?: {0,1}[A-Z0-9]{4}){2,7}(?: {0,1}[A-Z0-9]{1,3}){0,1}"
_IBAN_SEARCH = rf"{money.iban_countries()}[0-9]{{2}} {{0,1}}[A-Z0-9]{{4}} {{0,1}}[A-Z0-9]{{4}}"
_B58 = r"[1-9A-HJ-NP-Za-km-z]"
_TEST_CARDS = (
    "4242424242424242 4000056655665556 5555555555554444 2223003122003222 5200828282828210 5105105105105100 "
    "378282246310005 371449635398431 6011111111111117 6011000990139424 3056930009020004 36227206271667 "
    "3566002020360505 6200000000000005 4111111111111111 4012888888881881 4000000000000002 4000002500003155"
)
"""Numbers that payment providers print for testing."""
_SAMPLE_ACCOUNTS = (
    "AT611904300234573201 BE68539007547034 CH9300762011623852957 DE89370400440532013000 DK5000400440116243 "
    "ES9121000418450200051332 FI2112345600000785 FR1420041010050500013M02606 GB29NWBK60161331926819 "
    "GB82WEST12345698765432 IE29AIBK93115212345678 IT60X0542811101000000123456 LU280019400644750000 "
    "NL91ABNA0417164300 NO9386011117947 PL61109010140000071219812874 PT50000201231234567890154 SE4550000000058398257466"
)
"""Of the standard's register, and of its articles."""
_DOCUMENTED = {"card": _TEST_CARDS, "iban": _SAMPLE_ACCOUNTS}


def _grouped(digits: str) -> Iterator[str]:
    yield digits
    for mark in " -":
        yield mark.join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _rule(
    kind: str,
    title: str,
    source: str,
    accept: Callable[[str], bool],
    *,
    search: str = "",
    words: tuple[bytes, ...] = (),
    where: Where = "text",
    lane: str = "",
) -> Rule:
    return Rule(
        kind=kind,
        title=title,
        detector="financial",
        code=f"financial_{kind}",
        severity="block",
        spec=Spec(search or f"{_BEFORE}{shape.trimmed(source)}", False, words, where, lane),
        width=shape.max_width(source) + 4,
        regex=Expression(f"{_LEFT}({source}){_RIGHT}"),
        accept=accept,
        documented=frozenset(form.encode() for each in _DOCUMENTED.get(kind, "").split() for form in _grouped(each)),
        placeholders=False,
    )


def _named_cards() -> Rule:
    """Of thirteen digits, or seventeen and more, near a word for it: else nothing tells them from other numbers."""
    source = rf".{{0,{KEYWORD_REACH}}}(?:{money.cards(named=True)})"
    words = tuple(word.encode() for word in _CARD_WORDS)
    rule = _rule("card", "A payment card number", _CARD, money.card)
    spec = Spec(f"(?:{'|'.join(_CARD_WORDS)}){source}", True, words)
    return replace(rule, spec=spec, keywords=words, width=rule.width + KEYWORD_REACH + 16)


_WORD = re.compile(rb"[a-z]{3,9}")
_LEAST_WORDS, _MOST_WORDS = 12, 24
_AT_ONCE = 128
"""Words of a long row that are looked at, and those that a phrase which begins in them may end with."""
_ROW = re.compile(rb"\x01{%d,}" % _LEAST_WORDS)
_MOST_PLACES = 4096
"""Words of a text that a phrase may begin with, and one for 128 bytes of it; each row of them and each checksum counts
as one more."""


def seed_phrases(text: bytes, start: int, end: int, judged: dict[bytes, bool]) -> Iterator[tuple[int, int]]:
    """Where words of the list follow one another and their checksum holds."""
    listed = bytes(map(_listed().__contains__, _WORD.findall(text, start, end)))
    if bytes([1]) * _LEAST_WORDS not in listed:
        return
    rows = list(_ROW.finditer(listed))
    _bounded(text, sum(row.end() - row.start() - _LEAST_WORDS + 2 for row in rows) + len(judged))
    spans = [match.span() for match in _WORD.finditer(text, start, end)]
    for row in rows:
        for first in range(row.start(), row.end() - _LEAST_WORDS + 1, _AT_ONCE):
            judged[b"from %d" % spans[first][0]] = False
            last = min(first + _AT_ONCE + _MOST_WORDS, row.end()) - 1
            yield from _in_row(text, spans[first][0], spans[last][1], judged)


def _bounded(text: bytes, places: int) -> None:
    if places > _MOST_PLACES + len(text) // 128:
        raise TooMuch("too many strings that look like credentials")


@cache
def _listed() -> frozenset[bytes]:
    """The list, also behind the end of a line, escaped."""
    return frozenset(before + word for word in money.seed_words() for before in (b"", b"n", b"r", b"t"))


def _in_row(text: bytes, start: int, end: int, judged: dict[bytes, bool]) -> Iterator[tuple[int, int]]:
    listed = money.seed_words()
    run: list[tuple[str, int, int]] = []
    for match in _WORD.finditer(text, start, end):
        word = match.group()
        first = match.start()
        if text[first - 1 : first] == b"\\" and word[:1] in b"nrt":  # the end of a line, escaped
            first, word = first + 1, word[1:]
        whole = not text[match.end() : match.end() + 1].isalnum() and (
            first > match.start() or not text[first - 1 : first].isalpha()
        )
        near = not run or first - run[-1][2] <= 8
        if not near or not (whole and word in listed):
            yield from _phrases(text, run, judged)
            run = []
        if whole and word in listed:
            run.append((word.decode(), first, match.end()))
    yield from _phrases(text, run, judged)


def _phrases(text: bytes, run: list[tuple[str, int, int]], judged: dict[bytes, bool]) -> Iterator[tuple[int, int]]:
    ascending = _ascending([word for word, _, _ in run])
    at = 0
    while at + _LEAST_WORDS <= len(run):
        judged[b"%d" % run[at][1]] = False  # each place costs, whatever is there
        _bounded(text, len(judged))
        for size in (24, 21, 18, 15, _LEAST_WORDS):
            part = run[at : at + size]
            if len(part) == size > ascending[at] and _judged(text, part, judged):
                yield part[0][1], part[-1][2]
                at += size - 1
                break
        at += 1


def _ascending(words: list[str]) -> list[int]:
    """How many words from each on are in the order of the alphabet, as all of the list itself are."""
    found = [1] * len(words)
    for at in range(len(words) - 2, -1, -1):
        if words[at] < words[at + 1]:
            found[at] += found[at + 1]
    return found


def _judged(text: bytes, part: list[tuple[str, int, int]], judged: dict[bytes, bool]) -> bool:
    key = text[part[0][1] : part[-1][2]]
    counts = judged.get(key)
    if counts is None:
        counts = judged[key] = money.seed_phrase([word for word, _, _ in part])
    return counts


@cache
def financial_rules() -> tuple[Rule, ...]:
    phrase = r"(?:[a-z]{3,8}[ \t\r\n,.;:0-9)\]\"'\\\-]{1,8}){11}[a-z]{3,8}"
    return (
        _rule("card", "A payment card number", _CARD, money.plain_card, search=_CARD_SEARCH, where="cards"),
        _named_cards(),
        _rule("iban", "A bank account (IBAN)", _IBAN, money.iban, search=_IBAN_SEARCH, where="accounts"),
        _rule(
            "bitcoin",
            "A Bitcoin-like address",
            rf"[13LMDT]{_B58}{{25,34}}",
            money.base58check,
            where="base58",
        ),
        _rule(
            "bech32",
            "A Bitcoin-like address",
            r"(?:bc|tb|ltc)1[02-9ac-hj-np-z]{20,80}",
            money.bech32,
            words=(b"bc1", b"tb1", b"ltc1"),
        ),
        _rule(
            "ethereum",
            "An Ethereum address",
            r"0x[0-9A-Fa-f]{40}",
            money.ethereum,
            search=r"x[0-9A-Fa-f]{40}",
            where="hex",
        ),
        _rule("wif", "A Bitcoin private key", rf"[5KLc9]{_B58}{{50,51}}", money.base58check, where="base58"),
        _rule(
            "extended-key",
            "An extended wallet key",
            rf"[xyztuv](?:prv|pub){_B58}{{100,112}}",
            money.base58check,
            where="run",
        ),
        Rule(
            kind="seed-phrase",
            title="A wallet's seed phrase (BIP-39)",
            detector="financial",
            code="financial_seed-phrase",
            severity="block",
            spec=Spec(r"(?:[a-z]{3,8}(?:[ ,\n\t]{1,2}|\\n)){11}[a-z]{3}", where="phrases"),
            width=shape.max_width(phrase) * 2 + 16,
            regex=None,
            locate=seed_phrases,
        ),
    )
