"""Journal entries from hostile or broken events, and the filter's language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.journal import VERDICTS, Filter, entry, parse_filter

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    ["decision", "host", "path", "status", "port", "ms", "bytes_up", "reason", "phase", "level", "text"]
)


@given(st.dictionaries(NAMES, JSON), st.sampled_from(["egress", "notice"]))
def test_no_event_breaks_it(data: dict[str, object], kind: str) -> None:
    item = entry(1, 0.0, "x", kind, data)
    assert isinstance(item.target, str)
    assert item.verdict.glyph
    assert isinstance(Filter(text="x").passes(item), bool)


def test_verdicts_differ_without_colour() -> None:
    assert len({verdict.glyph for verdict in VERDICTS.values()}) == len(VERDICTS)
    assert len({verdict.word for verdict in VERDICTS.values()}) == len(VERDICTS)


def test_a_port_is_named_only_where_it_is_unusual() -> None:
    usual = entry(1, 0, "x", "egress", {"host": "a.example", "port": 443, "path": "/x"})
    odd = entry(1, 0, "x", "egress", {"host": "a.example", "port": 8443, "path": "/x"})
    assert (usual.target, odd.target) == ("a.example/x", "a.example:8443/x")


def test_a_reason_beside_its_host_does_not_name_it_again() -> None:
    def why(**data: str) -> str:
        return entry(1, 0, "x", "egress", {"decision": "deny", "code": "some_code"} | data).why

    assert why(host="a.example", reason="a.example is not on this bottle's list") == "not on this bottle's list"
    assert why(host="a.example", reason="the name a.example is unknown") == "the name a.example is unknown"
    assert why(reason=" is it") == " is it"
    assert why(host="a.example") == "some code"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("", Filter()),
        ("refused", Filter(frozenset({"deny"}))),
        ("refused held", Filter(frozenset({"deny", "hold"}))),
        ("blocked", Filter(frozenset({"deny"}))),
        ("decision:deny", Filter(frozenset({"deny"}))),
        ("host:Example.com POST", Filter(host="example.com", text="post")),
        ("some words", Filter(text="some words")),
        ("host:", Filter(text="host:")),
    ],
)
def test_the_filter_language(line: str, wanted: Filter) -> None:
    assert parse_filter(line) == wanted


def test_filters_look_at_host_text_decision_and_bottle() -> None:
    item = entry(
        1, 0, "b", "egress", {"decision": "deny", "host": "A.example", "path": "/x", "reason": "not on the list"}
    )
    assert parse_filter("host:a.ex refused not on", "b").passes(item)
    assert not parse_filter("", "other").passes(item)
    assert not parse_filter("host:b.ex").passes(item)
    assert not parse_filter("allowed").passes(item)
