"""Each shortcut of the scan against the plain way of doing the same: they may never differ."""

import base64
import codecs
import gzip
import html
import random
import re
import string
import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.dlp import bits, derive, escapes, fold, hyperscan_matcher, needles, runs
from sidecar.dlp.cores import Cores
from sidecar.dlp.derived import Allowance
from sidecar.dlp.engine import Engine, EngineConfig
from sidecar.dlp.finding import Location, Match
from sidecar.dlp.lookup import rows
from sidecar.dlp.matcher import Spec, backend
from sidecar.dlp.patterns.model import all_types
from sidecar.dlp.patterns.vendors import structure
from sidecar.dlp.places import PLACES, ROWS, TOGETHER, Words
from sidecar.dlp.rules import credential_rules
from sidecar.dlp.runs import Split, long_rows
from sidecar.dlp.searches import _Blobs, shapes

MANY = settings(max_examples=100, deadline=None)
_PARTS = r"\ \\ \\\ n r t b f v u x 0 1 3 7 / \" ' { } 0041 41 d83d de00 \u00 \x4 a"
ESCAPED = st.lists(st.sampled_from([*_PARTS.encode().split(), b"\n", b" ", b"\xff"]), max_size=24).map(b"".join)
_CHARS = "ab →ïéﬁ㎡Ａ１ао\u200b\u0301⒜℃¼𝐀\U000e0041€\nx"
MIXED = st.text(st.sampled_from(_CHARS), max_size=40).map(str.encode)


@MANY
@given(data=ESCAPED)
def test_escapes_are_taken_off_as_by_one_expression(data: bytes) -> None:
    assert escapes.unescape(data) == escapes._ESCAPE.sub(lambda match: escapes._meaning(match.group()), data)


@MANY
@given(
    data=st.lists(
        st.sampled_from(
            b"&amp; &lt &#65; &#x41 &#X41; &#x1F600; &#0; &#128; &#xD800; &#9999999; &notit; &#; & ; # 1 lt".split()
        ),
        max_size=24,
    )
)
def test_each_different_entity_is_told_once(data: list[bytes]) -> None:
    text = b"".join(data)
    assert escapes.entities(text) == html.unescape(text.decode()).encode()


@MANY
@given(runs=st.lists(st.tuples(st.sampled_from(["AB27", "ab27", "aB1-"]), st.integers(0, 70)), max_size=8))
def test_long_base32_is_told_from_its_letters(runs: list[tuple[str, int]]) -> None:
    text = "".join((letters * 18)[:size] for letters, size in runs).encode()
    plain = [match.end() for match in re.finditer(rb"[A-Z2-7]{32}", text) if _begins(match, "A-Z2-7")]
    plain += [match.end() for match in re.finditer(rb"[a-z2-7]{32}", text) if _begins(match, "a-z2-7")]
    assert derive._long_base32(text) == sorted(plain)


def _begins(match: re.Match[bytes], letters: str) -> bool:
    """Whether a run of `letters` begins where this match does."""
    before = match.string[match.start() - 1 : match.start()] if match.start() else b""
    return not re.fullmatch(f"[{letters}]".encode(), before)


@MANY
@given(
    data=st.one_of(
        MIXED,
        st.binary(max_size=200),
        # cut out of a text, in the midst of characters as it may be
        st.builds(
            lambda text, before, after: text.encode("utf-8", "replace")[before : len(text.encode()) - after],
            st.text(st.sampled_from("a→ïА\u200b𝐀b\u0301éﬁ"), max_size=100),
            st.integers(0, 4),
            st.integers(0, 4),
        ),
        st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")),
    )
)
def test_folding_by_replacement_is_folding_by_table(data: bytes) -> None:
    table = fold._table()
    text = data.decode("utf-8", "replace")
    plain = "".join(char if char.isascii() else char.translate(table) for char in text)
    folded = fold.fold(data)
    assert folded.replace("\ufffd".encode(), b"\x1a") == plain.replace("\ufffd", "\x1a").encode("utf-8", "replace")


def test_the_whole_table_folds_alike_one_by_one() -> None:
    table = fold._table()
    for code in fold.foldable():
        char = chr(code)
        assert fold.fold(f"a{char}b".encode()) == f"a{table[code] or ''}b".encode()


PERCENT = st.lists(st.sampled_from([b"%", b"4", b"1", b"%41", b"%fF", b"g", b"%%", b"\xff"]), max_size=300).map(
    b"".join
)


@MANY
@given(data=PERCENT)
def test_much_percent_encoding_is_taken_off_as_little_of_it(data: bytes) -> None:
    plain = escapes._PERCENT.sub(lambda match: bytes.fromhex(match.group().replace(b"%", b"").decode()), data)
    assert bits.percent_decoded(data) == plain == escapes.percent(data)


ENTITIES = st.sampled_from(["&#65;", "&#x41;", "&#x110000;", "&#55296;", "&#0;", "&#8203;", "&#X0041;"])


@MANY
@given(parts=st.lists(ENTITIES, min_size=1, max_size=30))
def test_entities_in_a_row_are_what_each_is_alone(parts: list[str]) -> None:
    assert escapes.entities("".join(parts).encode()) == b"".join(escapes.entities(part.encode()) for part in parts)


@MANY
@given(data=st.binary(max_size=300))
def test_rot13_by_table(data: bytes) -> None:
    assert needles.OVERLAYS["rot13"](data) == codecs.encode(data.decode("latin-1"), "rot13").encode("latin-1")


@MANY
@given(parts=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12), ascii_first=st.booleans())
def test_a_run_of_ascii_is_never_overlooked(parts: list[tuple[int, int]], ascii_first: bool) -> None:
    data = b"".join(
        b"a" * left + b"\xff" * right if ascii_first else b"\xff" * right + b"a" * left for left, right in parts
    )
    if re.search(rb"[\x00-\x7f]{24}", data):
        assert bits.may_hold_ascii(data)


HEX = st.lists(st.sampled_from([b"0x", b"4", b"a", b"F", b"-", b":", b" ", b"0X", b"g", b"61", b"\n"]), max_size=40)


@MANY
@given(run=HEX.map(b"".join))
def test_hex_is_read_as_digits_alone(run: bytes) -> None:
    digits = re.sub(rb"0[xX]", b"", run).translate(None, derive._NOT_HEX)
    expected = [bytes.fromhex(digits[offset:][: len(digits[offset:]) // 2 * 2].decode()) for offset in range(2)]
    assert list(derive._unhexed(run)) == expected


@MANY
@given(seed=st.integers(0, 2**32), text=st.integers(0, 30), at=st.integers(0, 5000), gap=st.booleans())
def test_text_in_long_hex_is_never_overlooked(seed: int, text: int, at: int, gap: bool) -> None:
    rng = random.Random(seed)
    noise = rng.randbytes(3000).hex().encode()
    run = noise[:at] + (b"a" * text).hex().encode() + noise[at:]
    plain = [derive._text_in(bytes.fromhex(run[offset:][: len(run[offset:]) // 2 * 2].decode())) for offset in range(2)]
    sent = run[: at // 2] + b"-" + run[at // 2 :] if gap else run
    assert [derive._text_in(data) for data in derive._unhexed(sent)] == plain


PIECES = [
    b"4539 1488 0343 6467 ", b"4539148803436467 ", b"3782-822463-10005 ", b"4539.1488.0343.6467",
    b"1/1234567890123456:",
    b"DE89370400440532013000 ", b"GB82 WEST 1234 5698 7654 32", b"0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67",
    b"61 62 63 64 65 66 67 ", b"61:62:63:64:65:66", b"41x42", b"61626364656667686970717273747576",
    b"legal winner thank year wave sausage worth useful legal winner thank yellow ", b"abandon\\nability, able\tabout ",
    b"1BoatSLRHtKNngkdXEobR76b53LETtpyT ", b"5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ",
    b"MTIzNDU2Nzg5MDEyMzQ1Njc4", b"MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE.abcdefghijklmnopqrstuvwxyz0",
    b"1/1234567890123456:0123456789abcdef0123456789abcdef",
    b"0.12345678-1234-1234-1234-123456789abc.abcdefghijklmnopqrstuvwxyz0123:ABCDEFGHIJKLMNOPQRSTUV==",
    b".GabcdE.", b"dGhlIHBhcnNlciByZWFkcyB0aGUgbmV4dCB0b2tlbg==", b"0.12345678-1234-1234-1234-123456789abc.",
    b"SK0123456789abcdef0123456789abcdef", b"u1234567-0123456789abcdef01234567",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    b"xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi",
    b"72, 101, 108 , 108,\n111, 44, 32, 119, 111, 114, 108 ,100, 33, 33, 33, 72, 101, 108, 108, 111, ",
    b"99 100 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 ",
    b"616263646566676869707172737475", rb"\n", rb"\\\\r\\\\n", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ23",
    rb"61626364656667686970717273747576\r\n6162636465666768",
    b"abcd", b"X", b" ", b"\n", b"self.parser.read(token)", b'{"a": [1, 2, 3]}', "naïve →".encode(), b"\xff\x00",
]  # fmt: skip


def test_places_leave_out_nothing_that_matches() -> None:
    rng = random.Random(3)
    for name in ("hyperscan", "portable"):
        compiled = shapes(name)._all  # type: ignore[arg-type]
        held: set[str] = set()
        for place, search in compiled._places.items():
            for _ in range(60 if name == "hyperscan" else 8):
                text = b"".join(rng.choice(PIECES)[: rng.randint(1, 120)] for _ in range(rng.randint(1, 400)))
                whole = set(search.scan(text, 1 << 20).pairs)
                words = Words(text)
                cut = words.cut(PLACES[place](words), apart=place not in TOGETHER)
                for kept in (cut, *([long_rows(text)] if place in ROWS else [])):
                    assert whole <= {(spec, kept.origin(end)) for spec, end in search.scan(kept.text, 1 << 20).pairs}
                held |= {place} if whole else set()
        assert held == set(compiled._places)


def test_a_long_text_is_searched_as_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(6)
    compiled = shapes("hyperscan")
    for _ in range(12):
        split = Split.of(b"".join(rng.choice(PIECES) for _ in range(800)))
        both: list[set[tuple[int, int]]] = []
        for short in (1 << 20, 0):
            monkeypatch.setattr(compiled._all, "_short", short)
            both.append(set(compiled._all.scan_places(split, 1 << 20).pairs))
        assert both[0] <= both[1]  # a break may look like the start of something
        assert len(both[1]) < len(both[0]) * 1.05


@MANY
@given(
    parts=st.lists(
        st.tuples(st.sampled_from(["run", "gap", "words"]), st.integers(1, 2200), st.integers(0, 2**32)), max_size=12
    )
)
def test_blobs_are_the_long_runs(parts: list[tuple[str, int, int]]) -> None:
    text = b""
    for kind, size, seed in parts:
        rng = random.Random(seed)
        if kind == "run":
            text += base64.b64encode(rng.randbytes(size)).rstrip(b"=")[:size]
        elif kind == "gap":
            text += b" " * (size % 40)
        else:
            text += b" ".join([b"a" * rng.randint(10, 40)] * (size // 30))
    plain = [match.span() for match in re.finditer(rb"[A-Za-z0-9+/_-]{1025,}", text)]
    assert list(rows(text, runs._CLASS, 1025)) == plain


@MANY
@given(seed=st.integers(0, 2**32), texts=st.lists(st.integers(20, 200), max_size=4), many=st.booleans())
def test_islands_of_text_in_base64_are_found_as_by_the_exact_look(seed: int, texts: list[int], many: bool) -> None:
    rng = random.Random(seed)
    noise = base64.b64encode(rng.randbytes(9000)).rstrip(b"=")
    for size in texts * (20 if many else 1):
        at = rng.randrange(len(noise))
        noise = noise[:at] + base64.b64encode(bytes(rng.randrange(32, 127) for _ in range(size))) + noise[at:]
    assert bits.ascii_islands(noise) == bits._islands(noise)
    first = [chr(code) in string.ascii_uppercase + "abcdef" for code in noise]
    held = [all(first[at : at + 93 : 4]) for at in range(len(noise) - 92)]
    plain = [at + 96 for at in range(len(held)) if held[at] and not (at >= 4 and held[at - 4])]
    assert bits._islands(noise) == plain


@pytest.mark.parametrize(
    ("work", "most"),
    [
        (lambda: fold.fold_text("é\ufeffa" * 1_000_000), 30),  # the text and its result are eight of them
        (lambda: bits._islands(b"a" * 3_000_000), 10),
        (lambda: list(bits.base32_offsets(b"a" * 3_000_000)), 14),
    ],
    ids=["folded", "islands", "base32"],
)
def test_a_large_text_takes_few_bytes_for_each_of_its_own(work: Callable[[], object], most: int) -> None:
    work()
    tracemalloc.start()
    try:
        work()
        assert tracemalloc.get_traced_memory()[1] < most * 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("planted", [0, 1, 9, 400])
def test_the_sieve_lets_every_literal_pass(planted: int) -> None:
    rng = random.Random(planted)
    letters = string.ascii_letters + string.digits
    words = ["".join(rng.choices(letters, k=rng.randint(6, 60))).encode() for _ in range(3000)]
    search = backend("portable").literals(words, [False] * len(words))
    for size in (0, 5, 6, 7, 300, 9001):
        text = "".join(rng.choices(letters, k=size)).encode()
        for _ in range(planted):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(words) + text[at:]
        assert sorted(search.scan(text, 1 << 20).pairs) == sorted(search._words.scan(text, 1 << 20).pairs)  # type: ignore[attr-defined]


def test_parts_of_a_text_hold_each_match_once_or_more() -> None:
    rng = random.Random(7)
    specs = [Spec(r"[0-9]{4}-[a-f]{3}"), Spec(r"x[^y]{0,40}y"), Spec(r"\\u00[2-7]")]
    search = backend("portable").expressions(specs)
    for _ in range(20):
        text = b"".join(
            rng.choice([b" " * rng.randint(1, 9000), b"1234-abc", b"x" + b"." * rng.randint(0, 40) + b"y", b"\\u0041"])
            for _ in range(rng.randint(1, 40))
        )
        plain = {(at, m.end()) for at, spec in enumerate(specs) for m in re.finditer(spec.source.encode(), text, re.S)}
        assert plain <= set(search.scan(text, 1 << 20).pairs)


def test_each_run_in_a_blob_is_found_once_and_many_mean_everywhere() -> None:
    rng = random.Random(4)
    noise = base64.b64encode(rng.randbytes(3000)).replace(b"=", b"")
    search = _Blobs([Spec(r"[0-9A-Fa-f]{64}", where="blob")])
    for count in (0, 1, 5, 64, 65, 200):
        hexes = [rng.randbytes(rng.randint(32, 200)).hex().encode() for _ in range(count)]
        text = noise + b"".join(each + b"+" + noise[: rng.randint(1, 900)] for each in hexes)
        plain = [match.span() for match in re.finditer(rb"[0-9A-Fa-f]{64,}", text)]
        found = search.find(Split.of(text).blobs)
        if len(plain) > 64:
            assert found is None
        else:
            assert found is not None
            assert len(found) == len(plain)
            assert all(start + 64 == end for (start, _), end in zip(plain, found, strict=True))


def test_hex_in_a_blob_is_decoded_wherever_it_stands() -> None:
    rng = random.Random(5)
    secret = b"the parser reads the next token and then it stops here"
    decoder = next(each for each in derive.decoders() if each.name == "hex")
    for _ in range(20):
        left, right = rng.randbytes(rng.randint(600, 3000)).hex(), rng.randbytes(rng.randint(600, 3000)).hex()
        text = (left + secret.hex() + right).encode()
        split = Split.of(text)
        _, signs = shapes().search(split, partial(shapes().search_beside, split, rules=True))
        place = shapes().decoders.index(decoder)
        assert decoder.expand is not None
        parts = list(decoder.expand(text, signs[place], Allowance.of(len(text))))
        assert any(secret in part.data for part in parts)


def test_long_values_are_found_from_their_beginning_as_from_their_end() -> None:
    rng = random.Random(8)
    types = {each.id: each for each in all_types()}
    edges = [b"\\n", b"\\u2192", b"[1;31m", b"=3D", b"\\0", b"%41", b" ", b"-", b"_", b"a", b'"', b"\n", b""]
    wide = [(rule, rule.wide) for rule in credential_rules() if rule.wide is not None]
    compared = 0
    for rule, found in wide:
        own = [text.encode() for text in (*types[rule.kind].positives, *types[rule.kind].negatives)]
        for _ in range(12):
            parts = [rng.choice(own if rng.random() < 0.6 else edges) for _ in range(rng.randint(1, 5))]
            cut = [part[rng.choice((0, 0, 0, 1)) : len(part) - rng.choice((0, 0, 0, 1, 2))] for part in parts]
            text, at = b"".join(cut), 0
            while True:
                span = found.search(text, at, len(text))
                assert span == rule._search(text, at, len(text))
                if span is None:
                    break
                compared += 1
                at = span[1]
    assert compared > 300
    assert len(wide) > 30


def test_many_starts_of_nothing_end_the_search_for_gzip() -> None:
    with pytest.raises(derive.TooMuch):
        list(derive._compressed(b"\x1f\x8b\x08" * 40_000, None, Allowance.of(120_000)))
    packed = gzip.compress(b"the parser reads " * 9)
    assert [part.data for part in derive._compressed(b"\x1f\x8b\x08-" + packed, None, Allowance.of(200))] == [
        b"the parser reads " * 9
    ]


def test_a_long_text_is_projected_as_a_short_one() -> None:
    data = random.Random(6).randbytes(3 * needles._AT_ONCE + 7)
    assert needles.project(data) == bytes(byte for byte in data if byte < 128 and chr(byte).isalnum())


@MANY
@given(
    before=st.text("0123456789abcdefABCDEF", max_size=40),
    text=st.binary(min_size=24, max_size=40).map(lambda data: bytes(byte & 127 for byte in data).hex()),
    after=st.text("89abcdef", max_size=40),
)
def test_ascii_in_hex_is_never_overlooked(before: str, text: str, after: str) -> None:
    assert bits.hex_may_hold_ascii((before + text + after).encode())
    assert bits.hex_may_hold_ascii((before + text.upper() + after).encode())


@MANY
@given(
    parts=st.lists(
        st.one_of(
            st.integers(1, 700).map(lambda size: b"0aF9" * size),
            st.sampled_from(
                [b" ", b"\n", b":", b"0x", b"::::::::", b":::::::::", b"g", b"\\x", b" 0X", b"x", b"  q", b"7"]
            ),
        ),
        max_size=12,
    )
)
def test_a_long_run_of_hex_is_passed_over_as_it_is_read(parts: list[bytes]) -> None:
    text = b"".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(derive, "_STEP", 300)  # many edges
        for start in (0, len(text) // 3, len(text) // 2):
            plain = derive._HEX_LINES.search(text, start)
            assert derive._extent(text, start, derive._HEX_LINES, derive._IN_HEX) == (plain and plain.span())


@MANY
@given(
    st.lists(
        st.one_of(st.binary(max_size=9), st.sampled_from([*b"09aFxXzZ %,-\n", b"0x", b"41" * 12, b" " * 8])),
        max_size=60,
    )
)
def test_runs_of_hex_are_those_of_the_expression(parts: list[bytes | int]) -> None:
    text = b"".join(part if isinstance(part, bytes) else bytes([part]) for part in parts)
    plain = [match.span() for match in derive._HEX_LINES.finditer(text)]
    for least in (1, 24):
        assert list(bits.hex_runs(text, least)) == [(start, end) for start, end in plain if end - start >= least]


@MANY
@given(st.lists(st.sampled_from([b"a\0", b"7\0\0\0", b"\0", b"B", b" ", b"x\0" * 5, b"Y\0\0\0" * 4]), max_size=30))
def test_wide_characters_are_found_as_by_expressions(parts: list[bytes]) -> None:
    text = b"".join(parts)
    signs = rb"(?=(?:[A-Za-z0-9]\x00){4})", rb"(?=(?:[A-Za-z0-9]\x00{3}){4})"
    plain = [match.start() for sign in signs for match in re.finditer(sign, text)]
    found = escapes.wide_ends(text, 1000) or []
    assert bool(found) == bool(plain)
    assert all(any(0 <= end - start <= 16 for end in found) for start in plain)
    assert len(found) < 2 or escapes.wide_ends(text, len(found) - 1) is None


def test_hex_of_an_image_holds_no_ascii() -> None:
    digits = random.Random(4).randbytes(200_000).hex().encode()
    assert bits.hex_may_hold_ascii(digits) == bits._hex_holds_ascii(digits) is False


WORDS = st.lists(st.text("ab01", min_size=3, max_size=14).map(str.encode), min_size=1, max_size=30, unique=True)


@MANY
@given(words=WORDS, data=st.data())
def test_literals_are_found_by_their_cores_as_by_themselves(words: list[bytes], data: st.DataObject) -> None:
    once = [len(word) < 8 and data.draw(st.booleans()) for word in words]
    pieces = st.one_of(st.sampled_from(words), st.sampled_from([word[1:] or b"a" for word in words]), st.just(b"."))
    text = b"".join(data.draw(st.lists(pieces, max_size=60)))
    plain = hyperscan_matcher._literals(words, once)
    cores = Cores(words, once, hyperscan_matcher._literals)
    found = cores.scan(text, 10_000)
    assert not found.overflow
    assert sorted(found.pairs) == sorted(plain.scan(text, 10_000).pairs)
    assert [end for _, end in found.pairs] == sorted(end for _, end in found.pairs)
    if len(found.pairs) > 8:
        assert cores.scan(text, 8).overflow


def test_a_text_full_of_cores_holds_no_more_words_for_that() -> None:
    cores = Cores([b"123456789ab", b"x6789abcdef"], [False, False], hyperscan_matcher._literals)
    words = b"123456789ab." + b"x6789abcdef"
    assert [word for word, _ in cores.scan(b"456789ab " * 300 + words, 100).pairs] == [0, 1]
    assert not cores.scan(b"456789ab " * 300 + words, 100).overflow
    assert cores.scan(b"456789ab " * 1000 + words, 100).overflow


LITERAL = Spec("key_[0-9a-f]{8}", literals=(b"key_",))


def test_the_portable_search_counts_matches_not_literals() -> None:
    search = backend("portable").expressions(
        [LITERAL, Spec("(?:token).{0,9}[0-9]{4}", caseless=True, literals=(b"token",))]
    )
    text = b"key_value " * 300 + b"a Token: 1234 key_0123abcd. " + b"token " * 300
    found = search.scan(text, 100)
    assert not found.overflow
    near = {(index, text[end - 5 : end].lower()) for index, end in found.pairs}
    assert near == {(0, b" key_"), (1, b"token")}
    assert {end for index, end in found.pairs if index == 1} >= {text.index(b"Token") + 5}
    assert {end for index, end in found.pairs if index == 0} >= {text.index(b"key_0") + 4}
    assert search.scan(b"key_0123abcd " * 101, 100).overflow
    assert search.scan(b"key_value " * 2000, 100).overflow


@MANY
@given(text=st.text(st.sampled_from("aZ9-_é aaBB"), max_size=60))
def test_the_case_of_letters_is_counted_as_one_by_one(text: str) -> None:
    changes = sum(
        left.islower() != right.islower() for left, right in pairwise(text.encode("ascii", "replace").decode())
    )
    assert structure.irregular(text) == (5 * changes >= 2 * len(text))


def test_a_refused_text_that_says_the_same_again_and_again_is_not_read_to_its_end() -> None:
    """What else is in it is found once that is taken out: here by naming each place."""
    engine = Engine.compile(EngineConfig())
    bodies = ["".join(random.Random(seed).choices(string.ascii_letters, k=30)).encode() for seed in (1, 2)]
    tokens = [b"ghp_" + body + structure.base62_crc32(body).encode() for body in bodies]
    text = (tokens[0] + b"\n") * 400 + tokens[1]
    found = engine.scan(text, where=Location("body"))
    assert found.blocked
    assert {finding.value.reveal() for finding in found.findings if finding.value} == {tokens[0]}
    every = engine.scan(text, where=Location("body"), every=True)
    assert {finding.value.reveal() for finding in every.findings if finding.value} == set(tokens)
    rest = engine.scan(text, where=Location("body"), allowed=[Match(tokens[0])])
    assert {finding.value.reveal() for finding in rest.findings if finding.value} == {tokens[1]}


def test_noise_grows_by_no_folding() -> None:
    """It is examined once more for each layer: what is not UTF-8 was three bytes for each, and took twice as long."""
    noise = random.Random(1).randbytes(100_000)
    assert len(fold.fold(noise)) <= len(noise)
