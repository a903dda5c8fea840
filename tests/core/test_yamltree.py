"""Bounded YAML: what becomes of values, and that nothing hostile gets past the bounds or raises anything else."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.yamltree import MAX_DEPTH, YamlFault, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: -7", {"a": -7}),
        ("a: 0x1F", {"a": 31}),
        ("a: 0o17", {"a": 15}),
        ("a: 017", {"a": 17}),
        ("a: 1.5", {"a": 1.5}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: true", {"a": True}),
        ("a: False", {"a": False}),
        ("a: yes", {"a": "yes"}),
        ("a: off", {"a": "off"}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: ''", {"a": ""}),
        ("a: '1'", {"a": "1"}),
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: 12:30:45", {"a": "12:30:45"}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: .nan", {"a": ".nan"}),
        ("a: [1, [b]]", {"a": (1, ("b",))}),
        ("1: b", {"1": "b"}),
        ("true: b", {"true": "b"}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("a: &x [1]\nb: *x", {"a": (1,), "b": (1,)}),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", {"a": {"p": 1, "q": 2}, "b": {"q": 3, "p": 1}}),
        ("b: {<<: [{p: 1}, {p: 2, q: 2}]}", {"b": {"p": 1, "q": 2}}),
        ("'<<': 1", {"<<": 1}),
        ("", None),
        ("# nothing", None),
    ],
)
def test_values(text: str, value: object) -> None:
    assert parse(text).value == value


def test_numbers_stay_text_where_asked() -> None:
    found = parse("env: {PORT: 0080, ON: true, D: {x: 1}}\nother: {PORT: 80}", text_under=frozenset({"env"})).value
    assert found == {"env": {"PORT": "0080", "ON": True, "D": {"x": 1}}, "other": {"PORT": 80}}


def test_lines() -> None:
    document = parse("a: 1\nb:\n  - x\n  - y: 2\n    z: 3\n")
    assert document.line(("b", 1, "z")) == 5
    assert document.line(("b", 0)) == 3
    assert document.line(("b", 1, "missing")) == 4
    assert document.line(("nothing",)) == 1


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a: 1\nb: 2\na: 3", "there twice (first in line 1)", 3),
        ("a: {x: 1, x: 2}", "there twice", 1),
        ("a: !!python/object:os.system x", "tag", 1),
        ("a: !foo x", "tag", 1),
        ("a: *nothing", "names no anchor", 1),
        ("a: &x [*x]", "contains itself", 1),
        ("a: &x {b: *x}", "contains itself", 1),
        ("[a]: 1", "a key must be a word", 1),
        ("? \n: 1", "a key must be a word", 1),
        ("a:\n\tb: 1", "tab", 2),
        ("a: b: c", "mapping values", 1),
        ("a: [1", "not valid YAML", 2),
        ("a: 'x", "not valid YAML", 1),
        ("[x]\n- b\n", "but found '<block sequence start>'", 2),
        ("a: 1\n---\nb: 2", "more than one YAML document", 2),
        ("%YAML 1.1\n---\na: 1", "directive", 2),
        ("a: " + "9" * 50, "digits", 1),
        ("a: 1e999", "too large", 1),
        ("a: {<<: 3}", "<< takes", 1),
        ("a: {<<: *b}", "names no anchor", 1),
        ("a: \x07", "does not allow", 0),
    ],
)
def test_faults(text: str, message: str, line: int) -> None:
    with pytest.raises(YamlFault) as caught:
        parse(text)
    assert message in caught.value.message
    assert caught.value.hint
    assert caught.value.line in (line, line - 1) if line > 1 else caught.value.line == line


def _bomb(entry: str) -> str:
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {entry.format(*([f'*a{n - 1}'] * 9))}" for n in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        _bomb("[{}, {}, {}, {}, {}, {}, {}, {}, {}]"),
        _bomb("{{<<: [{}, {}, {}, {}, {}, {}, {}, {}, {}]}}"),
        "[" * 5000,
        "{a: " * 5000,
        "\n".join("  " * depth + "a:" for depth in range(400)),
        "- " * 3000 + "x",
        "a: [" + "1, " * 20000 + "]",
        "? " * 3000,
        "a: " + "*x " * 1000,
    ],
    ids=["aliases", "merges", "brackets", "braces", "indentation", "dashes", "long list", "keys", "bad aliases"],
)
def test_bombs_end_quickly(text: str) -> None:
    started = time.thread_time()
    with pytest.raises(YamlFault):
        parse(text)
    assert time.thread_time() - started < 5


def test_depth_is_bounded_but_enough() -> None:
    assert parse("a: " + "[" * 10 + "]" * 10).value
    with pytest.raises(YamlFault, match="deeply"):
        parse("a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


@settings(deadline=None, max_examples=400)
@given(st.text(alphabet=st.sampled_from("ab:-?&*!|>'\"[]{},#%@ \n\t<~0.eé\x00\x85\ufeff"), max_size=60))
def test_nothing_but_faults_is_raised(text: str) -> None:
    found: YamlFault | None = None
    try:
        parse(text)
    except YamlFault as fault:
        found = fault
    assert found is None or (found.hint and found.message.isprintable())
