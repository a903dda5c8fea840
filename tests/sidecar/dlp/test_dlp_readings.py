"""How a text is read (entities, folding, invisible characters) and searched without rules: shortcuts against the plain
way of doing the same."""

import html
import re
from functools import partial
from html.entities import html5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.dlp import escapes, fold, injection
from sidecar.dlp.engine import Engine, EngineConfig
from sidecar.dlp.finding import Location
from sidecar.dlp.needles import Known
from sidecar.dlp.runs import Split
from sidecar.dlp.searches import shapes
from sidecar.secret import Secret
from tests.sidecar.dlp.dlp_kit import make_secrets

SECRET = make_secrets(1)[0]
MANY = settings(max_examples=150, deadline=None)
_CHARS = "ab →ïéﬁ㎡Ａ１ао\u200b\u0301⒜℃¼𝐀\U000e0041€\nx"
_UNSEEN = "\U000e0041", "\U000e0020", "\ufe0f", "\ufe00", "\U000e0100", "\U000e01ef", "a", "é"

NAMED = st.tuples(st.sampled_from(sorted(html5)), st.sampled_from(["", "x", ";", "é", "-"]))
ENTITIES = st.one_of(
    NAMED.map(lambda each: f"&{each[0]}{each[1]}".encode()),
    st.text("ampltZ09é;&# x", max_size=40).map(lambda text: f"&{text}".encode()),
    st.integers(0, 1 << 24).map(lambda code: b"&#%d" % code),
    st.binary(max_size=4),
)
SIGNS = [b"\\u", b"\\x", b"&#", b"&", b"am", b"p;", b"lt;", b"</", b"<", b"!--", b"\xc3", b"\xff"]
HIDDEN = st.one_of(
    st.tuples(st.sampled_from(_UNSEEN), st.integers(1, 6)).map(lambda each: each[0].encode() * each[1]),
    st.binary(max_size=2),
    st.sampled_from([b"\xef\xb8", b"\xf3\xa0", b"\xf3\xa0\x81"]),
)


@MANY
@given(data=st.lists(ENTITIES, max_size=12).map(b"".join))
def test_entities_are_those_of_html(data: bytes) -> None:
    plain = html.unescape(data.decode("utf-8", "replace")).encode("utf-8", "replace")
    assert escapes.entities(data) == (plain if b"&" in data else data)


@MANY
@given(data=st.lists(st.sampled_from(SIGNS), max_size=6).map(b"".join))
def test_disguises_are_told_sign_by_sign_as_by_one_expression(data: bytes) -> None:
    plain = re.search(rb"\\u|\\x|&#|&[a-z]{2,6};|</|<!--|[\xc2-\xf4]", data)
    assert injection._disguised(data) == (plain is not None)


@MANY
@given(
    parts=st.lists(st.text(max_size=20) | st.sampled_from(_CHARS), min_size=1, max_size=9), times=st.integers(1, 300)
)
def test_long_texts_are_folded_by_arrays_as_by_table(parts: list[str], times: int) -> None:
    text = "".join(parts).encode("utf-8", "replace").decode() * times
    plain = text.translate({code: each for code, each in fold._table().items() if code > 127})
    assert fold._translation().apply(text) == plain == fold.fold_text(text)
    assert fold.fold(text.encode()) == plain.encode()
    assert fold.fold(b"\xff" + text.encode() + b"a\xff") == f"\x1a{plain}a\x1a".encode()


def test_every_character_there_is_folds_by_arrays_as_by_table() -> None:
    every = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    assert fold._translation().apply(every) == every.translate(fold._table())


@MANY
@given(data=st.lists(HIDDEN, max_size=12).map(b"".join))
def test_hidden_text_is_told_from_its_bytes(data: bytes) -> None:
    runs = fold._HIDDEN.finditer(data.decode("utf-8", "replace"))
    assert fold.hidden(data) == b"\n".join(bytes(fold._hidden_byte(ord(char)) for char in run.group()) for run in runs)


@pytest.mark.parametrize("backend", ["hyperscan", "portable"])
def test_without_rules_the_same_encodings_are_seen(backend: str) -> None:
    """For known secrets alone, as in answers: no rule is searched for, and every decoder has the same work."""
    compiled = shapes(backend)  # pyright: ignore[reportArgumentType]
    near = b" ghp_ password=aB3xY9kLm 4111 1111 1111 1111 AKIA "
    written = b"%41%42 &#65;&#66; \\u0041 QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo= " + b"ABCDEF".hex().encode() * 9
    for text in (near, written, near + written, (near + written) * 2, "Аа é ＡＢ".encode() + written):
        split = Split.of(text)
        all_hits, all_signs = compiled.search(split, partial(compiled.search_beside, split, rules=True))
        hits, signs = compiled.search(split, partial(compiled.search_beside, split, rules=False), rules=False)
        assert not hits.pairs
        assert {place: ends and sorted(ends) for place, ends in signs.items()} == {
            place: ends and sorted(ends) for place, ends in all_signs.items()
        }
        assert all_hits.pairs or near not in text


def test_many_strings_like_credentials_hide_no_known_secret() -> None:
    """A page full of them ends no answer: rules are not looked for in it."""
    engine = Engine.compile(EngineConfig((Known("OWN", Secret(SECRET)),)))
    text = b"aws_secret_access_key ghp_ 4111 1111 1111 1112 " * 4000 + SECRET.encode()
    scan = engine.scan(text, where=Location("response"), detectors=frozenset({"known_secrets"}), every=True)
    assert [finding.detector for finding in scan.findings] == ["known_secrets"]


def test_entities_with_more_digits_than_python_reads_mean_what_they_mean_to_a_browser() -> None:
    zeros, nines = b"0" * 5000, b"9" * 5000
    assert escapes.entities(b"a&#" + zeros + b"65;b") == b"aAb"
    assert escapes.entities(b"&#" + zeros + b"65 &#x" + zeros + b"41;") == b"A A"
    assert escapes.entities(b"&#" + nines + b";&#" + nines) == "\ufffd\ufffd".encode()
