"""Learning: refusals become the narrowest routes, names are shown for what they are, no file says more than that."""

import itertools
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.learning import bottle_file, joined, learn, stable
from app.core.lookalikes import in_letters, resembles
from app.core.manifest import parse_bottle
from app.core.risks import risks
from sidecar.contract import Policy, Route
from sidecar.egress.policy import CompiledPolicy, RequestFacts


def refused(host: str, path: str = "/", method: str = "GET", code: str = "host_not_allowed", **more: Any) -> Any:
    return 1.0, {"code": code, "host": host, "port": 443, "path": path, "method": method, **more}


def allows(route: dict[str, Any], host: str, path: str, method: str = "GET") -> bool:
    compiled = CompiledPolicy.compile(Policy(routes=(Route.model_validate(route),)))
    return compiled.decide(RequestFacts(host, 443, method, path)).allowed


def test_a_few_paths_are_taken_as_they_are() -> None:
    report = learn("dev", [refused("api.example.org", "/v1/numbers?a=*"), refused("api.example.org", "/v1/x", "POST")])
    (host,) = report.hosts
    assert host.times == 2
    assert allows(host.route, "api.example.org", "/v1/numbers")
    assert allows(host.route, "api.example.org", "/v1/x", "POST")
    for method, path in (("POST", "/v1/numbers"), ("GET", "/v1/numbers/1"), ("GET", "/"), ("GET", "/v1/x")):
        assert not allows(host.route, "api.example.org", path, method), (method, path)


def test_what_names_one_thing_is_a_prefix() -> None:
    assert stable("/repos/me/issues/4711/comments") == ("/repos/me/issues", True)
    assert stable("/blob/3f9a1c77d2e84b0c") == ("/blob", True)
    assert stable("/v1/messages") == ("/v1/messages", False)
    report = learn("dev", [refused("h.example.org", f"/items/{number}") for number in range(100, 150)])
    (asked,) = report.hosts[0].asked
    assert (asked.path, asked.prefix, asked.times) == ("/items", True, 50)
    assert not allows(report.hosts[0].route, "h.example.org", "/other")


def test_many_paths_are_joined_where_they_part() -> None:
    report = learn(
        "dev", [refused("pypi.example.org", f"/simple/{name}/") for name in map("package{}".format, "abcdefghijklmnop")]
    )
    (asked,) = report.hosts[0].asked
    assert (asked.path, asked.prefix) == ("/simple", True)


@pytest.mark.timeout(60)
def test_deep_paths_that_a_bottle_chose_are_joined_in_seconds() -> None:
    """From the deepest of 500 segments up, each path was cut anew for each: minutes of the controller."""
    deep = ["/" + "".join(letters) + "/a" * 500 for letters in itertools.product("abcdefghijklm", repeat=3)]
    report = learn("dev", [refused(f"h{number}.example", path) for number in range(20) for path in deep])
    assert [(host.times, len(host.asked), host.asked[0].path) for host in report.hosts] == [(13**3, 1, "/")] * 20
    assert joined(Counter({("/x/" + "y/" * 30 + letter, False): 1 for letter in "abcdefg"})) == {
        ("/x" + "/y" * 15, True): 7
    }


def test_made_up_methods_are_counted_and_not_proposed() -> None:
    words = ["GET", "POST", *map("".join, itertools.product("ABCDEFGH", repeat=4))]
    (host,) = learn("dev", [refused("a.example", "/x", method) for method in words]).hosts
    assert host.times == len(words)
    assert len(host.asked) == 16
    assert allows(host.route, "a.example", "/x", "POST")


def test_counted_floods_count() -> None:
    (host,) = learn("dev", [refused("a.example.org", detail={"count": 41})]).hosts
    assert host.times == 42


def test_a_fetch_asks_for_the_repository_alone() -> None:
    (host,) = learn("dev", [refused("git.example.org", "/me/x.git/info/refs?service=git-upload-pack")]).hosts
    assert host.route["git"] == {"fetch": True}
    assert allows(host.route, "git.example.org", "/me/x.git/info/refs?service=git-upload-pack")
    assert not allows(host.route, "git.example.org", "/me/y.git/info/refs?service=git-upload-pack")


def test_other_refusals_are_counted_and_never_learned() -> None:
    report = learn("dev", [refused("10.0.0.1", code="private_address"), refused("a.example.org", port=8443)])
    assert report.hosts == ()
    assert report.other == {"private_address": 1, "host_not_allowed": 1}


def test_what_leads_into_a_private_network_is_never_written() -> None:
    events = [refused(host) for host in ("10.0.0.1", "192.168.3.4", "::1", "nas.lan", "localhost", "a.example.org")]
    report = learn("dev", events)
    assert [host.host for host in report.hosts] == ["a.example.org"]
    assert report.other == {"private_address": 5}
    own = Route(host="nas.lan", allow_private=True)
    assert [host.known for host in learn("dev", [refused("nas.lan", code="path_not_allowed")], (own,)).hosts] == [True]


def test_the_file_is_a_bottle_without_credentials_and_skips_what_has_a_route() -> None:
    present = (Route(host="api.example.org", matches=()),)
    events = [refused("api.example.org", "/x", "DELETE", "method_not_allowed"), refused("new.example.org", "/y")]
    report = learn("dev", events, present, ("base", "net"))
    assert {item.host: item.known for item in report.hosts} == {"api.example.org": True, "new.example.org": False}
    parsed = parse_bottle(report.text.encode(), "learned-dev", "x.md", lambda _: None)
    assert parsed.bottle.extends == ("base", "net")
    assert [route.host for route in parsed.bottle.egress.routes] == ["new.example.org"]
    assert "api.example.org has a route already" in report.text
    only = bottle_file(report, [], ())
    assert parse_bottle(only.encode(), "learned-dev", "x.md", lambda _: None).bottle.egress.routes == ()


def test_hosts_beyond_what_one_can_look_at_are_counted() -> None:
    report = learn("dev", [refused(f"h{number}.example.org") for number in range(500)])
    assert (len(report.hosts), report.left_out) == (200, 300)


@pytest.mark.parametrize(
    ("host", "other"),
    [
        ("githüb.com".encode("idna").decode(), "github.com"),
        ("g\u0456thub.com".encode("idna").decode(), "github.com"),
        ("g1thub.com", "github.com"),
        ("githib.com", "github.com"),
        ("gihtub.com", "github.com"),
        ("registry.npmjs.org", ""),
        ("api.github.com", ""),
        ("gitlab.com", ""),
        ("crates.io", ""),
        ("example.org", ""),
        ("rnicrosoft.com", "microsoft.com"),
    ],
)
def test_look_alikes(host: str, other: str) -> None:
    assert resembles(host) == other


def test_other_letters_are_shown() -> None:
    assert in_letters("g\u0456thub.com".encode("idna").decode()) == "g\u0456thub.com"
    assert in_letters("github.com") == ""


def test_the_operators_own_hosts_are_compared_with_too() -> None:
    assert resembles("g1tea.mycompany.example", ["gitea.mycompany.example"]) == "gitea.mycompany.example"


def test_a_card_says_so_as_well() -> None:
    codes = {risk.code for risk in risks((), (Route(host="g1thub.com"),))}
    assert "lookalike" in codes
    assert "lookalike" not in {risk.code for risk in risks((), (Route(host="github.com"),))}


SEGMENT = st.text("abc019~.-_%=;\\ é\x00…*", max_size=12)
PATH = st.lists(SEGMENT, max_size=6).map(lambda parts: "/" + "/".join(parts))
HOST = st.one_of(st.just("api.example.org"), st.text("ab.-*x\u0430:/ ", max_size=20))
EVENT = st.builds(
    refused, HOST, PATH, st.sampled_from(["GET", "POST", "G T", "", "x" * 50]),
    st.sampled_from(["host_not_allowed", "git_fetch_not_allowed", "internal_error", ""]),
)  # fmt: skip


def canonical(hosts: set[str]) -> set[str]:
    """The hosts that are some, as a route writes them."""
    found: set[str] = set()
    for host in hosts:
        with suppress(ValueError):
            found.add(Route(host=host).host)
    return found


@given(st.lists(EVENT, max_size=40))
@example([refused("x"), refused(" x"), refused("X.")])
def test_whatever_was_refused_the_file_is_a_bottle_and_gives_little(events: list[Any]) -> None:
    report = learn("dev", events, (), ("base",))
    parsed = parse_bottle(report.text.encode(), "learned-dev", "x.md", lambda _: None)
    hosts = {data["host"] for _, data in events}
    for route in parsed.bottle.egress.routes:
        assert route.host in canonical(hosts)
        assert route.auth is None
        assert route.matches
        assert not route.wildcard
        assert (route.allow_private, route.shared) == (False, False)
        assert route.ports == (443, 80)


@given(st.dictionaries(PATH, st.integers(1, 9), min_size=1, max_size=60))
def test_joining_loses_no_request_and_stays_small(found: dict[str, int]) -> None:
    from collections import Counter

    counted = Counter({(path, False): times for path, times in found.items()})
    made = joined(counted)
    assert made.total() == counted.total()
    assert len(made) <= max(12, 4)
