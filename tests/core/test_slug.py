"""Names of running bottles."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.model import SLUG_PATTERN
from app.core.slug import legal, numbered, slugify, with_suffix


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Fix the bug", "fix-the-bug"),
        ("  Ünïcode — ok ", "unicode-ok"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\x1b[31mb\n", "a-31mb"),
        ("---", ""),
        ("日本", ""),
        ("x" * 80, "x" * 63),
    ],
)
def test_slugify(text: str, slug: str) -> None:
    assert slugify(text) == slug


@given(st.text(max_size=200))
def test_whatever_is_typed_the_slug_is_legal(text: str) -> None:
    slug = slugify(text)
    assert slug == "" or (legal(slug) and re.fullmatch(SLUG_PATTERN, slug))


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True), st.integers(0, 30))
def test_numbers_find_a_free_legal_name(base: str, used: int) -> None:
    taken: set[str] = set()
    for _ in range(used):
        taken.add(numbered(base, taken.__contains__))
    found = numbered(base, taken.__contains__)
    assert found not in taken
    assert legal(found)


def test_suffixes_fit() -> None:
    assert with_suffix("developer", "1f3a") == "developer-1f3a"
    assert len(with_suffix("x" * 63, "1f3a")) == 63
