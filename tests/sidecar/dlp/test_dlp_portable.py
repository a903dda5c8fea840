"""The shortcuts of the portable search against the plain way of doing the same: they may never miss what it finds."""

import random
import re
import string

import numpy as np
import pytest

from sidecar.dlp import gates, literal_sieve, shape
from sidecar.dlp.following import following
from sidecar.dlp.literal_owners import Owners
from sidecar.dlp.matcher import Spec, backend
from sidecar.dlp.portable_matcher import _GATED, _LOWER, Expression, _Byte, _Rest
from sidecar.dlp.searches import shapes
from sidecar.dlp.signs import signs_of

_SPECS = [rule.spec for rule in shapes().rules] + [spec for each in shapes().decoders for spec in each.specs]
LITERAL = [spec for spec in _SPECS if spec.literals]
REST = [spec for spec in _SPECS if not spec.literals and spec.where != "blob"]
GATED = [spec for spec in REST if spec.where in _GATED and gates.gated(spec.source)]
ALL = _Rest(list(enumerate(GATED)))
PLAIN = [Expression(spec.source) for spec in GATED]
FRAGMENTS = [
    b"%", b"%41", b"%u0041", b"\\", b"\\u", b"\\u00", b"\\u0041", b"\\x4", b"\\x41", b"\\/", b"\\101", b"&", b"&#x",
    b"&#65;", b"&amp;", b"=", b"=4", b"=41", b"=41=42=43", b"a=\n", b"b", b'\\"key\\": \\"', b"machine ",
    b">a</b><i>", b"]]><![CDATA[", b"a<!--x-->b", b"\0", b"a\0b\0c\0d\0", b"H4sI", b"eJw", b"A" * 20, b"h4Si",
    b"UEsDB", b"1f8b08", b"PK\x03\x04", b"\x1f\x8b", b"\x08", b"BZh91AY&SY", b"zTXt", "→".encode(), "é".encode(),
    "а".encode(), "𝐀".encode(), b"\xe2\x80", b"\xf0\x9d", b"10, 20, ", b"65 ", b"\\n", b"\\t", b"SK", b"AC",
    b"0123456789abcdef" * 2, b"xprv", b"_PABC_", b" ", b"\n", b"token", b"\xff", b"63%", b"x\x9c", b"m1234567-",
    b";56#&", b"14u\\", b"14x\\",
]  # fmt: skip


def matching(rng: random.Random, source: str) -> bytes:
    """A text that an expression matches, as it may be at random."""
    return _of(rng, shape._parser.parse(source))


def _of(rng: random.Random, nodes: object) -> bytes:
    return b"".join(_one(rng, str(op), argument) for op, argument in nodes)  # type: ignore[attr-defined]


def _one(rng: random.Random, op: str, argument: object) -> bytes:
    if op == "LITERAL":
        return bytes([argument])  # type: ignore[list-item]
    if op == "SUBPATTERN":
        return _of(rng, argument[-1])  # type: ignore[index]
    if op == "BRANCH":
        return _of(rng, rng.choice(argument[1]))  # type: ignore[index]
    if op == "MAX_REPEAT":
        least, most, item = argument  # type: ignore[misc]
        count = rng.choice((least, min(most, least + 1), min(most, least + rng.randint(0, 40))))
        return b"".join(_of(rng, item) for _ in range(count))
    if op == "AT":
        return b""
    return bytes([rng.choice(_class(op, argument))])


def _class(op: str, argument: object) -> list[int]:
    if op == "ANY":
        return list(range(256))
    if op == "NOT_LITERAL":
        return [code for code in range(256) if code != argument]
    inside: set[int] = set()
    for kind, value in argument:  # type: ignore[attr-defined]
        if str(kind) == "RANGE":
            inside |= set(range(value[0], value[1] + 1))
        elif str(kind) == "LITERAL":
            inside.add(value)
        elif str(kind) == "CATEGORY":
            source = {"CATEGORY_DIGIT": rb"\d", "CATEGORY_SPACE": rb"[ \t\n\f\r]", "CATEGORY_WORD": rb"\w"}[str(value)]
            inside |= {code for code in range(256) if re.match(source, bytes([code]))}
    if str(argument[0][0]) == "NEGATE":  # type: ignore[index]
        return [code for code in range(256) if code not in inside]
    return sorted(inside)


def cased(rng: random.Random, spec: Spec, text: bytes) -> bytes:
    return rng.choice((text, text.upper(), text.swapcase())) if spec.caseless else text


def test_what_must_follow_a_literal_follows_it_in_every_match() -> None:
    rng = random.Random(1)
    told = 0
    for spec in LITERAL:
        told += bool(any(following(spec).values()))
        owners = Owners([spec], words := sorted({word.lower() for word in spec.literals}))
        for _ in range(3):
            for before, after in ((b"", b""), (b" ", b" "), (b"key", b"pat")):
                match = cased(rng, spec, matching(rng, spec.source))
                assert Expression(spec.source, caseless=spec.caseless).fullmatch(match)
                text = before + match + after
                hits = [
                    (place, found.end())
                    for place, word in enumerate(words)
                    for found in re.finditer(b"(?<=" + re.escape(word) + b")", text.lower())
                ]
                places = np.array(hits)
                found = list(owners.followed(text, places[:, 0], places[:, 1]))
                assert any(len(before) < end <= len(before) + len(match) for _, end in found), (spec.source, text)
                assert set(found) <= set(owners._few(text, hits))
    assert told > 250


@pytest.mark.parametrize("dense", [False, True])
def test_literals_of_all_expressions_are_found_in_a_long_text(dense: bool) -> None:
    rng = random.Random(2)
    search = backend("portable").expressions(LITERAL)
    text, places = b"", list[tuple[int, int, int]]()
    for index, spec in enumerate(LITERAL):
        text += b" " if dense else b"the parser reads the next token " * rng.randint(1, 40)
        match = cased(rng, spec, matching(rng, spec.source))
        places.append((index, len(text), len(text) + len(match)))
        text += match
    found = search.scan(text, 1 << 20)
    assert not found.overflow
    ends = {index: [end for each, end in found.pairs if each == index] for index in range(len(LITERAL))}
    assert all(any(start < end <= stop for end in ends[index]) for index, start, stop in places)


@pytest.mark.parametrize("density", [3, 30, 300])
def test_the_literal_sieve_finds_what_the_automaton_finds(density: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(density)
    search = backend("portable").expressions(LITERAL)
    owners, sieve = search._owners, search._sieve  # type: ignore[attr-defined]
    words = [word for spec in LITERAL for word in spec.literals]
    monkeypatch.setattr(literal_sieve, "_MANY", 1)
    for part in (1 << 18, 1 << 10):
        monkeypatch.setattr(literal_sieve, "_PART", part)
        for _ in range(12):
            size, text = rng.choice((1, 40, 2000, 20_000)), b""
            while len(text) < size:
                word = rng.choice(words)
                whole = rng.choice((word, word.upper(), word.swapcase(), word[:-1], bytes(code ^ 32 for code in word)))
                after = matching(rng, rng.choice(LITERAL).source)[:60] if rng.random() < 0.2 else b""
                text += filler(rng, rng.randint(0, density)) + whole + after
            hits = search._words.scan(text.translate(_LOWER), 1 << 20).pairs  # type: ignore[attr-defined]
            found = sieve.scan(text)
            assert found is not None
            plain = sorted(owners.followed(text, *np.array(hits, np.int64).reshape(-1, 2).T))
            assert sorted(owners.followed(text, *found, sure=False)) == plain


def test_a_text_full_of_literals_is_left_to_the_automaton() -> None:
    search = backend("portable").expressions(LITERAL)
    text = b"api_key token " * 10_000
    assert search._sieve.scan(text) is None  # type: ignore[attr-defined]
    assert len(search.scan(text, 1 << 20).pairs) >= 20_000


def assert_superset(text: bytes) -> int:
    """All that the expressions match is near a hit of the gated search, which is taken; how many there are."""
    assert ALL._gated is not None
    found = ALL._gated.scan(text, 1 << 20)
    assert found is not None
    assert not found.overflow
    ends: dict[int, list[int]] = {}
    for index, end in found.pairs:
        ends.setdefault(index, []).append(end)
    plain = {(index, *match.span()) for index, each in enumerate(PLAIN) for match in each.finditer(text)}
    for index, start, stop in plain:
        assert any(start < end <= stop for end in ends.get(index, ())), (GATED[index].source, text[start:stop])
    return len(plain)


def filler(rng: random.Random, size: int) -> bytes:
    return "".join(rng.choices(string.ascii_letters + " _\n.", k=size)).encode()


def test_signs_stand_wherever_an_expression_matches() -> None:
    rng = random.Random(3)
    for spec in GATED:
        for _ in range(20):
            match = matching(rng, spec.source)
            before, after = filler(rng, rng.randint(1, 30)), filler(rng, rng.choice((0, 0, 30)))
            text = before + match + after
            gate = gates.Gate([spec.source])
            found = gate._sorted(*_all_pairs(gate, text), 1 << 20)
            assert found is not None
            begins = [span for spans in found.values() for span in spans]
            assert any(
                len(before) <= start and start + (size or 2) <= len(before) + len(match) for start, size in begins
            ), (spec.source, text)
            for start, size in begins:
                if size:
                    assert Expression(spec.source).fullmatch(text[start : start + size])


def _all_pairs(gate: gates.Gate, text: bytes) -> tuple[gates.Array, gates.Array, gates.Array]:
    codes = np.frombuffer(text, np.uint8)
    pairs = codes[:-1].astype(np.int64) | codes[1:].astype(np.int64) << 8
    held = gate._pairs[pairs]
    places = np.flatnonzero(held)
    return codes, places, held[places]


def test_gated_expressions_are_found_as_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_MANY", 1)
    rng = random.Random(4)
    assert len(GATED) > 25
    compared = 0
    for density in (12, 40, 400):
        for _ in range(6):
            parts = [
                rng.choice(FRAGMENTS) if rng.random() < 0.7 else matching(rng, rng.choice(GATED).source)[:200]
                for _ in range(12_000 // (density + 20))
            ]
            text = b"".join(part + filler(rng, rng.randint(0, 2 * density)) for part in parts)
            compared += assert_superset(text)
    assert compared > 1500


@pytest.mark.parametrize("place", range(len(GATED)))
def test_a_match_at_the_end_of_a_long_text_is_found(place: int) -> None:
    rng = random.Random(place)
    for _ in range(6):
        text = filler(rng, gates.LEAST + rng.randint(0, 9)) + matching(rng, GATED[place].source)
        assert_superset(text)


def test_parts_of_a_text_join_where_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_PART", 64)
    monkeypatch.setattr(gates, "_MANY", 1)
    rng = random.Random(5)
    for _ in range(8):
        text = b"".join(rng.choice(FRAGMENTS) + filler(rng, rng.randint(20, 60)) for _ in range(400))
        assert_superset(text)


def test_too_many_signs_are_left_to_the_expressions() -> None:
    text = b"%41" * 20_000
    assert ALL._gated is not None
    assert ALL._gated.scan(text, 1 << 20) is None
    assert len(ALL.scan(text, 1 << 20).pairs) >= 20_000
    assert ALL.scan(text, 100).overflow


def test_every_expression_of_prose_but_one_has_signs() -> None:
    assert [spec.source for spec in REST if spec.where == "prose" and not signs_of(spec.source)] == []
    # lines so short that no piece of a secret would be whole: what shows them is the end of every line
    (ungated,) = [spec.source for spec in REST if spec.where == "prose" and spec not in GATED]
    assert ungated.endswith("{0,2}){3}")


def test_an_expression_of_one_byte_is_found_as_any_other() -> None:
    for source in ("[^A-Za-z0-9+/_-]", "[^0-9A-Fa-f]", "x", ".", "[ ,]"):
        search = backend("portable").expressions([Spec(source)])
        assert isinstance(search._rest._all[0], _Byte)  # type: ignore[attr-defined]
        for size in (0, 1, 300):
            text = random.Random(size).randbytes(size)
            plain = [(0, match.end()) for match in Expression(source).finditer(text)]
            assert search.scan(text, 1 << 20) == (plain, False)
            assert search.scan(text, 1).pairs == plain[:1]
    for source in ("ab", "a{2}", "a|bc", "(?:a|b)c", r"\Aa"):
        assert not isinstance(backend("portable").expressions([Spec(source)])._rest._all[0], _Byte)  # type: ignore[attr-defined]
