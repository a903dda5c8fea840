"""From what an agent asks for to what it proposes: by table, and by property."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import HeaderMatch, PathMatch, Policy, ProposalEvent, Route, RouteMatch
from sidecar.egress.policy import CompiledPolicy, RequestFacts
from sidecar.egress.refusal import ASKABLE, CODES, Refusal, call_to_ask
from sidecar.supervise import routes
from sidecar.supervise.arguments import AskArguments, CallerFault, CheckArguments, parse, readable
from sidecar.supervise.limits import Bucket

HOSTS = ("a.example", "b.example", "x.wild.example", "*.wild.example", "api.example")


def route(**fields: Any) -> Route:
    return Route.model_validate(fields)


PRESENT = (
    route(host="a.example"),
    route(
        host="api.example",
        auth={"token_ref": "KEY"},
        matches=[{"methods": ["GET"]}],
        dlp={"outbound_on_match": "block"},
    ),
    route(host="*.wild.example", matches=[{"paths": [{"value": "/open"}]}]),
)


def allows(given_routes: tuple[Route, ...], host: str, method: str, target: str) -> bool:
    policy = CompiledPolicy.compile(Policy(routes=given_routes))
    return policy.decide(RequestFacts(host, 443, method, target)).allowed


def test_a_new_host_is_a_route_of_its_own() -> None:
    wanted = routes.with_access(PRESENT, "New.Example.", RouteMatch(methods=("GET",), paths=(PathMatch(value="/a"),)))
    assert wanted[:3] == PRESENT
    assert wanted[3] == route(host="new.example", matches=[{"methods": ["GET"], "paths": [{"value": "/a"}]}])


def test_a_known_host_is_widened_and_keeps_what_is_the_operators() -> None:
    wanted = routes.with_access(PRESENT, "api.example", RouteMatch(methods=("POST",)))
    assert wanted[1].auth == PRESENT[1].auth
    assert wanted[1].dlp == PRESENT[1].dlp
    assert wanted[1].matches == (RouteMatch(methods=("GET",)), RouteMatch(methods=("POST",)))
    routes.check(PRESENT, wanted)


READS = (route(host="r.example", matches=[{"methods": ["GET", "HEAD"]}]),)
BELOW = (route(host="r.example", matches=[{"methods": ["GET"], "paths": [{"value": "/a"}]}]),)


@pytest.mark.parametrize(
    ("present", "match", "held"),
    [
        (READS, RouteMatch(methods=("GET",), paths=(PathMatch(value="/simple/"),)), True),
        (READS, RouteMatch(methods=("GET", "POST")), False),
        (READS, RouteMatch(paths=(PathMatch(value="/simple/"),)), False),
        (BELOW, RouteMatch(methods=("GET",), paths=(PathMatch(value="/a/b"),)), True),
        (BELOW, RouteMatch(methods=("GET",), paths=(PathMatch(value="/ab"),)), False),
        (BELOW, RouteMatch(methods=("GET",), paths=(PathMatch(type="exact", value="/a/b"),)), True),
        (BELOW, RouteMatch(methods=("GET",), paths=(PathMatch(type="regex", value="/a/.*"),)), False),
        (BELOW, RouteMatch(methods=("GET",)), False),
    ],
)
def test_what_a_wider_rule_holds_is_not_asked_again(present: tuple[Route, ...], match: RouteMatch, held: bool) -> None:
    assert (routes.with_access(present, "r.example", match) == present) is held
    assert routes.with_access(present, "r.example", match, git_fetch=True) != present


def test_git_is_added_to_a_route_that_allows_all() -> None:
    wanted = routes.with_access(PRESENT, "a.example", RouteMatch(paths=(PathMatch(value="/r"),)), git_fetch=True)
    assert wanted[0] == route(host="a.example", git={"fetch": True})
    routes.check(PRESENT, wanted)


def test_a_wildcards_rules_are_not_lost_by_accident() -> None:
    with pytest.raises(routes.Refused, match=r"covered by \*.wild.example"):
        routes.with_access(PRESENT, "x.wild.example", RouteMatch(methods=("GET",)))
    opened = (route(host="*.wild.example"),)
    assert routes.with_access(opened, "x.wild.example", RouteMatch(methods=("GET",))) == opened


METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE"])
PATHS = st.sampled_from(["/", "/a", "/a/b", "/open", "/open/x", "/repos/me"])
MATCHES = st.builds(
    RouteMatch,
    methods=st.lists(METHODS, max_size=2).map(tuple),
    paths=st.lists(PATHS.map(lambda value: PathMatch(value=value)), max_size=2).map(tuple),
)
ROUTES = st.builds(
    Route,
    host=st.sampled_from(HOSTS),
    matches=st.lists(MATCHES, max_size=2).map(tuple),
    max_body=st.sampled_from([1000, 64 * 1024 * 1024]),
    allow_private=st.booleans(),
)


@given(st.lists(ROUTES, max_size=4).map(tuple), st.sampled_from(HOSTS), METHODS, PATHS)
def test_what_was_asked_for_is_what_an_approval_allows(
    present: tuple[Route, ...], host: str, method: str, path: str
) -> None:
    match = RouteMatch(methods=(method,), paths=(PathMatch(value=path),))
    try:
        wanted = routes.with_access(present, host, match)
    except routes.Refused:
        return
    routes.check(present, wanted)
    name = host.replace("*", "sub")
    assert allows(wanted, name, method, path) or wanted == present
    for other in ("a.example", "b.example", "y.wild.example", "api.example", "evil.example"):
        for verb in ("GET", "POST"):
            before, after = allows(present, other, verb, "/open"), allows(wanted, other, verb, "/open")
            assert after or not before, "nothing is taken away"
            assert before or not after or other == name or host.startswith("*"), "nothing else is opened"


@given(st.lists(ROUTES, max_size=4).map(tuple), st.lists(ROUTES, max_size=4).map(tuple))
def test_no_proposal_brings_in_what_only_the_operator_may_set(
    present: tuple[Route, ...], proposed: tuple[Route, ...]
) -> None:
    try:
        routes.check(present, proposed)
    except routes.Refused:
        return
    for one in proposed:
        known = {(other.host, other.max_body, other.allow_private) for other in present}
        plain = one.max_body == 64 * 1024 * 1024 and not one.allow_private
        assert plain or (one.host, one.max_body, one.allow_private) in known
    for one in present:
        assert any(other.host == one.host for other in proposed)


@given(st.lists(ROUTES, min_size=1, max_size=4).map(tuple), ROUTES)
def test_the_same_wish_has_the_same_key(present: tuple[Route, ...], extra: Route) -> None:
    later = (*present, Route(host="later.example"))
    assert routes.content_key(present, (*present, extra)) == routes.content_key(later, (*later, extra)) or (
        extra in present
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
KEYS = st.sampled_from(["host", "methods", "paths", "routes", "base_hash", "justification", "git_fetch", "auth", "x"])


@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_any_arguments_are_taken_or_the_callers_fault(arguments: dict[str, Any]) -> None:
    try:
        parsed = parse(AskArguments, arguments)
    except CallerFault:
        return
    assert set(arguments) <= set(AskArguments.model_fields)
    assert parsed.justification == readable(parsed.justification).strip() != ""


@given(st.dictionaries(st.sampled_from(["proposal_id", "wait_seconds", "y"]), JSON))
def test_any_check_is_taken_or_the_callers_fault(arguments: dict[str, Any]) -> None:
    try:
        parsed = parse(CheckArguments, arguments)
    except CallerFault:
        return
    assert 0 <= parsed.wait_seconds <= 3600


def test_a_justification_cannot_hide_or_turn_around_text() -> None:
    assert readable("a\u202eb\u200bc\x1b[31m\td\r\ne") == "a\ufffdb\ufffdc\ufffd[31m d\ne"
    assert readable("größer 日本 🙂") == "größer 日本 🙂"


# --- the call that a refusal names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "method", "target", "expected"),
    [
        ("host_not_allowed", "GET", "/a/b?q=secret", {"methods": ["GET"], "paths": ["/a/b"]}),
        ("method_not_allowed", "POST", "/", {"methods": ["POST"], "paths": [{"type": "exact", "value": "/"}]}),
        ("path_not_allowed", "GET", "/a/../b", {"methods": ["GET"]}),
        ("path_not_allowed", "GET", "/" + "ab/" * 100, {"methods": ["GET"], "paths": ["/" + "ab/" * 65 + "ab"]}),
        (
            "git_fetch_not_allowed",
            "GET",
            "/me/repo.git/info/refs?service=git-upload-pack",
            {"git_fetch": True, "paths": ["/me/repo.git"]},
        ),
    ],
)
def test_the_refusal_names_a_call_that_is_valid_and_asks_for_that(
    code: str, method: str, target: str, expected: dict[str, Any]
) -> None:
    arguments = call_to_ask(code, "h.example", method, target)
    assert arguments is not None
    assert {name: arguments[name] for name in expected} == expected
    asked = parse(AskArguments, json.loads(json.dumps(arguments)))
    match = RouteMatch(methods=asked.methods, paths=asked.path_matches)
    wanted = routes.with_access((), "h.example", match, git_fetch=asked.git_fetch)
    if ".." not in target:
        assert allows(wanted, "h.example", method, target)
    document = json.loads(Refusal(code, "why", "h.example", arguments).body())
    assert document["ask"]["arguments"] == arguments
    assert "egress-block" in document["error"]["message"]
    assert "closed as well" in document["error"]["message"]


def test_what_is_the_operators_names_no_call() -> None:
    for code in CODES - ASKABLE:
        assert call_to_ask(code, "h.example", "GET", "/") is None


def test_bucket() -> None:
    bucket = Bucket(rate=2, burst=3)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(0.5)
    assert not bucket.take(0.5)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("value", ["/a\r\nHost: b", "/a\x00", "/a\u202eb", "/a\u200bb", "/a\u2028b", "/a\x85b"])
def test_no_route_holds_what_cannot_be_seen(value: str) -> None:
    for build in (
        lambda: PathMatch(value=value),
        lambda: PathMatch(type="exact", value=value),
        lambda: HeaderMatch(name="accept", value=value),
    ):
        with pytest.raises(ValueError, match="control or invisible"):
            build()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_time_is_a_number(number: float) -> None:
    """The controller sets its clock by these: one that is none would stop it for all bottles."""
    good = {"id": "e-1", "at": 1.0, "proposal_id": "p-000001", "type": "egress-allow", "routes": ()}
    ProposalEvent.model_validate(good)
    for name in ("at", "expires_at"):
        with pytest.raises(ValueError, match="finite"):
            ProposalEvent.model_validate({**good, name: number})
