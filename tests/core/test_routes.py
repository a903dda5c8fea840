"""Route arithmetic: proposals only widen, by exactly what they ask, and never over a later decision."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.risks import risks
from app.core.routes import (
    Grant,
    additions,
    changed_hosts,
    effective,
    lasting_after_edit,
    widen,
    wish,
)
from app.core.routetext import diff, read_routes, write_routes
from app.errors import ConfigError
from sidecar.contract import Policy, Route
from sidecar.egress.policy import CompiledPolicy, RequestFacts


def route(host: str, *paths: str, **more: Any) -> Route:
    matches = [{"paths": [{"value": path}], "methods": ["GET"]} for path in paths]
    return Route.model_validate({"host": host, "matches": matches, **more})


HOSTS = ("a.example", "b.example", "x.a.example", "*.a.example", "*.x.a.example")
PATHS = ("/one", "/two", "/three")
routes = st.lists(
    st.builds(lambda host, paths, git: route(host, *sorted(paths), git={"fetch": git}),
              st.sampled_from(HOSTS), st.sets(st.sampled_from(PATHS)), st.booleans()),
    max_size=4, unique_by=lambda item: item.host,
).map(tuple)  # fmt: skip
REQUESTS = [
    RequestFacts(host, 443, method, path)
    for host in ("a.example", "b.example", "x.a.example", "y.a.example", "c.example")
    for path in (*PATHS, "/four", "/r.git/info/refs?service=git-upload-pack")
    for method in ("GET", "POST")
]


def allowed(given_routes: tuple[Route, ...]) -> set[int]:
    policy = CompiledPolicy.compile(Policy(routes=given_routes))
    return {index for index, facts in enumerate(REQUESTS) if policy.decide(facts).allowed}


@given(routes, routes)
def test_widening_never_takes_away(present: tuple[Route, ...], asked: tuple[Route, ...]) -> None:
    after = widen(present, asked)
    assert allowed(present) <= allowed(after)
    assert widen(after, asked) == after


@given(routes, routes)
def test_a_proposal_from_the_present_routes_gives_what_it_asks(
    present: tuple[Route, ...], wanted: tuple[Route, ...]
) -> None:
    found = wish(wanted, present, present)
    assert not found.stale
    after = widen(present, found.asked)
    assert allowed(present) <= allowed(after)
    assert {item.host for item in found.asked} <= {item.host for item in wanted}
    for item in wanted:
        if not item.wildcard:
            assert allowed((item,)) <= allowed(after)


@given(routes, routes, routes)
def test_a_stale_proposal_leaves_alone_what_it_does_not_ask_for(
    base: tuple[Route, ...], extra: tuple[Route, ...], present: tuple[Route, ...]
) -> None:
    wanted = widen(base, extra)
    found = wish(wanted, base, present)
    asked = {item.host for item in found.asked}
    assert set(changed_hosts(present, widen(present, found.asked))) <= asked
    taken = {item.host for item in base} - {item.host for item in present}
    assert not asked & taken


def test_the_later_decision_stays() -> None:
    base = (route("a.example", "/one", "/two"), route("b.example", "/one"))
    present = (route("a.example", "/one"),)
    wanted = (route("a.example", "/one", "/two", "/three"), route("b.example", "/one", "/two"), route("c.example"))
    found = wish(wanted, base, present)
    assert found.stale
    assert widen(present, found.asked) == (route("a.example", "/one", "/three"), route("c.example"))
    assert "taken away" in found.notes[0]


def test_without_its_base_a_proposal_adds_hosts_only() -> None:
    present = (route("a.example", "/one"),)
    found = wish((route("a.example"), route("c.example", "/x")), None, present)
    assert found.asked == (route("c.example", "/x"),)
    assert found.stale


def test_what_only_the_operator_may_say_is_left_out() -> None:
    bold = route(
        "c.example", auth={"token_ref": "T"}, ports=[22], allow_private=True, dlp={"outbound_detectors": False}
    )
    found = wish((bold,), (), ())
    assert found.asked == (Route(host="c.example"),)
    assert "auth" in found.notes[0]


def test_a_wider_route_keeps_credential_ports_and_inspection() -> None:
    held = route("a.example", "/one", auth={"token_ref": "T"}, ports=[443], dlp={"outbound_on_match": "block"})
    after = widen((held,), wish((held, route("a.example", "/two")), (held,), (held,)).asked)
    assert after[0].auth == held.auth
    assert after[0].dlp == held.dlp
    assert [match.paths[0].value for match in after[0].matches] == ["/one", "/two"]
    assert {note.code for note in risks((held,), after)} == {"widening", "credential"}


def test_below_a_wildcard_nothing_is_shadowed() -> None:
    wild = route("*.a.example", "/one", auth={"token_ref": "T"})
    after = widen((wild,), (route("x.a.example", "/two"),))
    assert [match.paths[0].value for match in after[1].matches] == ["/one", "/two"]
    assert after[1].auth == wild.auth
    assert widen((route("*.a.example"),), (route("x.a.example", "/two"),)) == (route("*.a.example"),)


def grant(identity: str, *asked: Route) -> Grant:
    return Grant(proposal_id=identity, asked=asked, until=1.0)


@given(routes, routes, routes)
def test_a_grant_that_ends_leaves_nothing_behind(
    lasting: tuple[Route, ...], first: tuple[Route, ...], second: tuple[Route, ...]
) -> None:
    grants = [grant("p1", *first), grant("p2", *second)]
    both = effective(lasting, grants)
    assert allowed(lasting) <= allowed(both)
    assert effective(lasting, grants[1:]) == widen(lasting, second)
    assert effective(lasting, []) == lasting


@given(routes, routes, routes)
def test_an_edit_is_in_force_as_it_was_written(
    lasting: tuple[Route, ...], asked: tuple[Route, ...], edited: tuple[Route, ...]
) -> None:
    grants = (grant("p1", *asked),)
    new, rest = lasting_after_edit(edited, lasting, grants)
    assert {item.host: item for item in effective(new, rest)} == {item.host: item for item in edited}
    same, _ = lasting_after_edit(effective(lasting, grants), lasting, grants)
    assert {item.host for item in same} == {item.host for item in lasting}


def test_only_what_adds_can_be_for_a_while() -> None:
    present = (route("a.example", "/one"),)
    assert additions(present, (*present, route("b.example"))) == (route("b.example"),)
    assert additions(present, (route("a.example", "/two"),)) is None
    assert additions(present, ()) is None


@given(routes)
def test_text_and_back(given_routes: tuple[Route, ...]) -> None:
    assert read_routes(write_routes(given_routes)) == given_routes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "routes: 3",
        "routes: [{host: '*'}]",
        "routes: []\nlog: 2",
        "routes: [{host: a.b, hosts: 1}]",
        "routes: [{host: a.b}, {host: a.b}]",
        "routes: !!python/object:x []",
        "\0",
    ],
)
def test_bad_text_says_where(text: str) -> None:
    with pytest.raises(ConfigError):
        read_routes(text)


def test_the_difference_shows_only_what_differs() -> None:
    before = (route("a.example"), route("b.example", "/one"))
    after = (route("a.example"), route("b.example", "/one", "/two"), route("c.example"))
    shown = diff(before, after)
    assert "a.example" not in "\n".join(shown)
    assert "+- host: c.example" in shown
    assert any(line.startswith("+") and "/two" in line for line in shown)
    assert diff(before, before) == ()


@pytest.mark.timeout(60)
def test_the_difference_of_long_lists_that_are_alike_ends() -> None:
    """Looking for the likest of 1,500 lines to each of 1,500 took the controller minutes."""

    def listing(prefix: str) -> tuple[Route, ...]:
        paths = [{"value": f"/{prefix}{number:04}"} for number in range(1500)]
        return (Route.model_validate({"host": "a.example", "matches": [{"paths": paths}]}),)

    shown = diff(listing("old"), listing("new"))
    assert [sum(line[0] == mark for line in shown) for mark in "-+"] == [1500, 1500]


def codes(before: tuple[Route, ...], after: tuple[Route, ...]) -> set[str]:
    return {note.code for note in risks(before, after, lambda domain: "shared" if domain == "host.example" else None)}


def test_risks() -> None:
    assert codes((), (route("a.example", "/one"),)) == {"new_host"}
    assert codes((), (route("a.example"),)) == {"new_host", "post_capable"}
    assert codes((), (route("*.host.example", "/x"),)) == {"new_host", "wildcard", "shared_domain"}
    assert "punycode" in codes((), (route("xn--e1afmkfd.example", "/x"),))
    assert "private" in codes((), (route("10.0.0.1", "/x"),))
    assert "private" in codes((), (route("db.internal", "/x"),))
    assert "private" in codes((), (route("a.example", "/x", allow_private=True),))
    assert "ports" in codes((), (route("a.example", "/x", ports=[22]),))
    held = route("a.example", "/one")
    for weaker in (
        {"dlp": {"outbound_detectors": False}},
        {"dlp": {"outbound_detectors": ["entropy"]}},
        {"max_body": 0},
    ):
        assert codes((held,), (route("a.example", "/one", **weaker),)) == {"weaker_dlp"}
    assert codes((held,), (held,)) == set()
    assert codes((held,), ()) == set()


def rules(*matches: dict[str, Any]) -> tuple[Route, ...]:
    return (Route.model_validate({"host": "a.example", "matches": list(matches), "auth": {"token_ref": "T"}}),)


def test_what_an_edit_narrows_is_not_called_wider() -> None:
    held = rules({"methods": ["GET", "POST"], "paths": [{"value": "/one"}]})
    for narrower in (
        {"methods": ["GET"], "paths": [{"value": "/one"}]},
        {"methods": ["POST"], "paths": [{"value": "/one/two"}, {"type": "exact", "value": "/one"}]},
        {"methods": ["GET"], "paths": [{"value": "/one"}], "headers": [{"name": "x", "value": "y"}]},
    ):
        assert codes(held, rules(narrower)) == set()
    for wider in (
        {"methods": ["GET"], "paths": [{"value": "/one"}, {"value": "/onetwo"}]},
        {"methods": ["GET"], "paths": [{"value": "/"}]},
        {"methods": ["GET"]},
        {"methods": ["GET"], "paths": [{"type": "regex", "value": "/one/.*"}]},
        {"methods": ["GET"], "paths": [{"value": "/one/../two"}]},
        {"methods": ["GET"], "paths": [{"value": "/one/%2e%2e/two"}]},
        {"methods": ["GET", "PUT"], "paths": [{"value": "/one"}]},
    ):
        assert "widening" in codes(held, rules(wider)), wider
    limited = rules({"methods": ["GET"], "headers": [{"name": "x", "value": "y"}]})
    assert "widening" in codes(limited, rules({"methods": ["GET"]}))
    assert "post_capable" in codes(limited, rules({"paths": [{"value": "/one"}]}))


paths = st.builds(
    lambda kind, value: {"type": kind, "value": value},
    st.sampled_from(["prefix", "exact"]), st.sampled_from(["/", "/one", "/one/", "/one/two", "/onetwo", "/one/../two"]),
)  # fmt: skip
matches = st.builds(
    lambda where, methods: {"paths": where, "methods": methods},
    st.lists(paths, max_size=2), st.lists(st.sampled_from(["GET", "POST"]), max_size=2, unique=True),
)  # fmt: skip
ASKED = [
    RequestFacts("a.example", 443, method, path)
    for path in ("/", "/one", "/one/", "/one/two", "/one/two/x", "/onetwo", "/two", "/one/../two")
    for method in ("GET", "POST", "PUT")
]


@given(st.lists(matches, min_size=1, max_size=2), st.lists(matches, min_size=1, max_size=2))
def test_what_is_not_called_wider_allows_nothing_more(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    def reach(given_routes: tuple[Route, ...]) -> set[int]:
        policy = CompiledPolicy.compile(Policy(routes=given_routes))
        return {index for index, facts in enumerate(ASKED) if policy.decide(facts).allowed}

    if "widening" not in codes(rules(*before), rules(*after)):
        assert reach(rules(*after)) <= reach(rules(*before))
