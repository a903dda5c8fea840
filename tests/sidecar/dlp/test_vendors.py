"""Every credential type against its own strings, found by a matcher of the tests' own: `re` and the type's fields."""

import re
from collections import Counter
from typing import Any

import pytest

from sidecar.dlp.patterns.model import KEYWORD_REACH, CredentialType, all_types
from sidecar.dlp.patterns.vendors.define import ALPHABETS, constant_prefix, reads_like_words, sample

parser: Any = re._parser  # type: ignore[attr-defined]
TYPES = all_types()
BY_ID = [pytest.param(each, id=each.id) for each in TYPES]
LEFT = {"both", "left"}
RIGHT = {"both", "right"}
WORD = "[0-9A-Za-z_]"


def found(each: CredentialType, text: str) -> list[str]:
    """The values of this type in `text`, by the rules of `CredentialType` and nothing else."""
    flags = re.IGNORECASE if each.regex.startswith("(?i)") else 0
    source = each.regex.removeprefix("(?i)")
    left = f"(?:(?<!{WORD})|(?<=\\\\[nrtbf]))" if each.boundary in LEFT else ""
    right = f"(?!{WORD})" if each.boundary in RIGHT else ""
    values: list[str] = []
    for match in re.finditer(f"{left}(?:{source}){right}", text, flags):
        before = text[max(0, match.start() - KEYWORD_REACH) : match.start()].lower()
        if each.keywords and not any(word in before for word in each.keywords):
            continue
        if match.group() in each.documented or each.check is None or each.check(match.group()):
            values.append(match.group())
    return values


def test_there_are_enough_types_with_ids_of_their_own() -> None:
    assert len(TYPES) >= 180
    assert [name for name, count in Counter(each.id for each in TYPES).items() if count > 1] == []
    assert len({each.vendor for each in TYPES}) >= 120


@pytest.mark.parametrize("each", BY_ID)
def test_positives_match_and_negatives_do_not(each: CredentialType) -> None:
    assert each.positives
    assert len(each.negatives) >= 2
    for text in each.positives:
        assert found(each, text), text
    for text in each.negatives:
        assert not found(each, text), (text, found(each, text))


@pytest.mark.parametrize("each", BY_ID)
def test_the_value_is_found_wherever_it_stands(each: CredentialType) -> None:
    """In quotes, JSON text with an escaped newline before it, a URL's query, at both ends of a text."""
    for text in each.positives:
        for around in (
            f"\n{text}\n",
            f'{{"output": "line\\n{text}\\n"}}',
            f"'{text}'",
            f"see {text}, thanks",
            f"({text})",
        ):
            assert found(each, around), around


@pytest.mark.parametrize("each", BY_ID)
def test_a_value_inside_a_longer_word_is_none(each: CredentialType) -> None:
    for text in each.positives:
        for value in found(each, text):
            if each.boundary in LEFT and re.match(WORD, value):
                assert value not in found(each, text.replace(value, "Zz9" + value))
            if each.boundary == "both" and re.search(WORD + r"\Z", value):
                # the rest of the word may belong to a longer value, never be cut off from a shorter one
                assert value not in found(each, text.replace(value, value + "Zz9" * 100))


@pytest.mark.parametrize("each", [pytest.param(each, id=each.id) for each in TYPES if each.keywords])
def test_with_keywords_the_value_alone_is_nothing(each: CredentialType) -> None:
    assert all(re.fullmatch(r"[a-z0-9_.-]{3,}", word) for word in each.keywords)
    for text in each.positives:
        value = found(each, text)[0]
        assert not found(each, f"value = {value}")
        assert not found(each, f"{each.keywords[0]} {' ' * KEYWORD_REACH}{value}")
        assert found(each, f"{each.keywords[0].upper()}={value}")


@pytest.mark.parametrize("each", [pytest.param(each, id=each.id) for each in TYPES if each.documented])
def test_documented_examples_match(each: CredentialType) -> None:
    for value in each.documented:
        lead = f"{each.keywords[0]}=" if each.keywords else ""
        assert value in found(each, lead + value)


@pytest.mark.parametrize("each", BY_ID)
def test_the_expression_is_plain_ascii_and_bounded(each: CredentialType) -> None:
    """Without timing: every quantifier has an upper bound that RE2 takes, none is lazy, nothing looks around, and no
    choice of length lies within another one, so that the ways to match a place grow with its length at most squared."""
    assert each.regex.isascii()
    assert "(?i)" not in each.regex[1:]
    tree = parser.parse(each.regex)
    assert int(tree.getwidth()[1]) <= 5000
    assert int(tree.getwidth()[0]) >= 12
    assert shape_faults(tree, inside=False) == []
    assert 0 <= each.prefix <= int(tree.getwidth()[0])


def shape_faults(nodes: Any, *, inside: bool) -> list[str]:
    faults: list[str] = []
    for op, argument in nodes:
        match str(op):
            case "LITERAL" | "NOT_LITERAL" | "IN":
                pass
            case "BRANCH":
                for branch in argument[1]:
                    faults += shape_faults(branch, inside=inside)
            case "SUBPATTERN":
                if argument[0] is not None:
                    faults.append("a capturing group")
                faults += shape_faults(argument[3], inside=inside)
            case "MAX_REPEAT":
                low, high, repeated = argument
                if str(high) == "MAXREPEAT" or int(high) > 1000:
                    faults.append(f"repeated up to {high}")
                varies = int(low) != int(high)
                if inside and varies and int(high) > 1:
                    faults.append("a choice of length within another one")
                faults += shape_faults(repeated, inside=inside or (varies and int(high) > 1))
            case other:
                faults.append(other)
    return faults


def test_the_shape_check_can_fail() -> None:
    for source in (r"a+", r"a*?", r"(a)", r"(?:a{1,9}){1,9}", r"a{1,1001}", r"\ba", r"(?=a)", r"a.", r"^a"):
        assert shape_faults(parser.parse(source), inside=False), source


@pytest.mark.parametrize("each", BY_ID)
def test_the_prefix_is_the_vendors_and_not_the_secrets(each: CredentialType) -> None:
    """All values of a type share the characters that may be shown, but for the vendor's own variants of them."""
    values = [found(each, text)[0] for text in each.positives]
    for value in values:
        assert len(value) - each.prefix >= 8
    shared = constant_prefix(each.regex)
    assert len({value[:shared] for value in values}) == 1


def test_samples_are_the_same_every_time_and_stay_in_their_alphabet() -> None:
    assert sample("a<b62:30>") == sample("a<b62:30>")
    assert sample("a<b62:30>") != sample("b<b62:30>")
    assert sample("AK<>IA <your-key>") == "AKIA <your-key>"
    for name, alphabet in ALPHABETS.items():
        text = sample(f"<{name}:400>")
        assert len(text) == 400
        assert set(text) <= set(alphabet)
        assert len(set(text)) > len(alphabet) // 2


def test_names_are_told_from_values() -> None:
    for name in ("my-service-key", "some_identifier_2", "YOUR-API-KEY-HERE", "fading-circle-12", "a.b.c"):
        assert reads_like_words(name), name
    for value in (
        "a8Jk20sLq1",
        sample("<b62:20>"),
        sample("<hex:32>"),
        sample("<uuid>"),
        sample("<b62:20>") + "-words-here",
    ):
        assert not reads_like_words(value), value
