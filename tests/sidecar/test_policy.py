"""Decisions by table: hosts, ports, paths, methods, headers, git."""

import time
from collections.abc import Mapping
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import Policy, Route
from sidecar.egress import paths
from sidecar.egress.addresses import why_private
from sidecar.egress.names import canonical_host, split_authority
from sidecar.egress.paths import canonical
from sidecar.egress.policy import CompiledPolicy, RequestFacts, Verdict
from sidecar.patterns import Pattern


def decide(*routes: Mapping[str, object], host: str = "a.example.com", **facts: object) -> Verdict:
    policy = CompiledPolicy.compile(Policy(routes=tuple(Route.model_validate(route) for route in routes)))
    values: dict[str, object] = {"port": 443, "method": "GET", "target": "/", "headers": (), **facts}
    return policy.decide(RequestFacts(host=host, **values))  # type: ignore[arg-type]


def test_nothing_is_allowed_by_default():
    assert decide().code == "host_not_allowed"


@pytest.mark.parametrize(
    ("routes", "host", "code"),
    [
        (["a.example.com"], "a.example.com", "ok"),
        (["a.example.com"], "b.example.com", "host_not_allowed"),
        (["a.example.com"], "x.a.example.com", "host_not_allowed"),
        (["*.example.com"], "a.example.com", "ok"),
        (["*.example.com"], "x.a.example.com", "ok"),
        (["*.example.com"], "example.com", "host_not_allowed"),
        (["*.example.com"], "notexample.com", "host_not_allowed"),
        (["*.example.com"], "a.example.com.evil.org", "host_not_allowed"),
    ],
)
def test_hosts(routes: list[str], host: str, code: str):
    assert decide(*({"host": name} for name in routes), host=host).code == code


def test_exact_beats_wildcard_and_the_longest_wildcard_wins():
    wide, narrow = {"host": "*.example.com"}, {"host": "*.a.example.com", "matches": [{"methods": ["POST"]}]}
    exact = {"host": "a.example.com", "matches": [{"paths": [{"value": "/only"}]}]}
    assert decide(wide, exact).code == "path_not_allowed"
    assert decide(wide, narrow, host="x.a.example.com").code == "method_not_allowed"
    assert decide(wide, narrow, host="x.b.example.com").code == "ok"


def test_several_routes_for_a_host_are_tried_in_order():
    first = {"host": "a.example.com", "matches": [{"paths": [{"value": "/one"}]}]}
    second = {"host": "a.example.com", "matches": [{"paths": [{"value": "/two"}]}], "ports": [8443]}
    assert decide(first, second, target="/one").allowed
    assert decide(first, second, target="/two", port=8443).allowed
    assert decide(first, second, target="/two").code == "path_not_allowed"
    assert decide(first, second, port=9999).code == "port_not_allowed"


ONE = {"host": "a.example.com", "matches": [{"paths": [{"value": "/one"}], "methods": ["GET"]}]}
REST = {"host": "a.example.com", "auth": {"token_ref": "REST"}}


@pytest.mark.parametrize(
    "target",
    [
        *("//one/x", "/./one", "/two/../one/x", "/two/%2e%2e/one/x", "/two/..%2fone", "/two/..%252fone", "/\\one"),
        *("/one;v=1/x", "/one/;/x", "/two/..;/one", "/one%2fx", "/one%00.txt", "/one/#/../two", "/one//../one/x"),
        *("/a//../../one", "/a//../one", "/%2fone", "/two/../one/..%2fone", "/%25252fone", "/x" * 3000 + "/./y"),
        *("/two#/../one", "/two%00/../one", "/two/%c0%ae%C0%AE/one", "/%e0%80%afone"),
        *("/one%EF%BC%8Fx", "/one%ef%bc%bcx", "/two/%EF%BC%8E%EF%BC%8E/one", "/two/%E2%80%A5/one", "/%E2%88%95one"),
        *("/one%EF%BC%9Bv=1", "/two%EF%BC%852f..%EF%BC%852fone", "/%25EF%25BC%258Fone", "/two/.%EF%B9%92%E2%81%84one"),
    ],
)
def test_what_may_be_the_path_of_an_earlier_route_is_not_for_a_later_one(target: str):
    assert decide(ONE, REST, target=target).code == "path_ambiguous"
    assert decide(REST, ONE, target=target).route.auth is not None  # type: ignore[union-attr]


def test_what_is_no_path_of_an_earlier_route_is_for_a_later_one():
    for target in ("/@scope%2fone", "/two//x", "/two/;a=b", "/one/../two", "/onex%2fy", "/two/../onex", "/two/one//"):
        assert decide(ONE, REST, target=target).allowed, target
    assert decide(ONE, REST, target="//one", method="POST").allowed, "it is none of the earlier route's"
    for name in ("x-original-url", "X_Rewrite_URL".lower()):
        assert decide(ONE, REST, target="/two", headers=((name, "/one"),)).code == "path_ambiguous"
        assert decide(ONE, REST, target="/two", headers=((name, "/three"),)).allowed


@pytest.mark.parametrize(
    ("rule", "target", "code"),
    [
        ({"value": "/repos/me"}, "/repos/me", "ok"),
        ({"value": "/repos/me"}, "/repos/me/x?y=1", "ok"),
        ({"value": "/repos/me"}, "/repos/me2", "path_not_allowed"),
        ({"value": "/repos/me/"}, "/repos/me/x", "ok"),
        ({"value": "/repos/me/"}, "/repos/me2", "path_not_allowed"),
        ({"value": "/"}, "/anything", "ok"),
        ({"value": "/a", "type": "exact"}, "/a/b", "path_not_allowed"),
        ({"value": "/a", "type": "exact"}, "/%61", "ok"),
        ({"value": "/v[12]/.*", "type": "regex"}, "/v1/x", "ok"),
        ({"value": "/v[12]/.*", "type": "regex"}, "/v3/x", "path_not_allowed"),
        ({"value": "/v1", "type": "regex"}, "/v1/x", "path_not_allowed"),
        ({"value": "/repos/me"}, "/repos/me/../you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/%2e%2e/you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/%2E./you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/..%2fyou", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/..%5cyou", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/..\\you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/..;x/you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/%252e%252e/you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me//you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/%00", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/%zz", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/%ff", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me#/x", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/%EF%BC%8F", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/..%EF%BC%BCyou", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/%EF%BC%8E%EF%BC%8E/you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/.%E2%80%A4/you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/%E2%80%A5/you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/..%E2%81%84you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/..%EF%B9%A8you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/..%EF%BC%9B/you", "path_ambiguous"),
        ({"value": "/repos/me"}, "/repos/me/%EF%BC%852e%EF%BC%852e/you", "path_ambiguous"),
    ],
)
def test_paths(rule: dict[str, str], target: str, code: str):
    assert decide({"host": "a.example.com", "matches": [{"paths": [rule]}]}, target=target).code == code


ORDINARY = (
    *("日本語（１）．ｔｘｔ", "ＡＢＣ＿ｖ１．０！？＃＆＝＋", "そして…", "半角ｶﾅ", "a‥b"),
    *("½ l", "naïve – café", "№ 5", "한국어 문서.pdf"),
)


@pytest.mark.parametrize("name", ORDINARY)
def test_file_names_in_any_script_are_plain_paths(name: str):
    route = {"host": "a.example.com", "matches": [{"paths": [{"value": "/files"}]}]}
    assert decide(route, target=f"/files/{quote(name)}").code == "ok"


def test_a_reason_says_what_is_wrong_before_it_names_the_host():
    match = {"paths": [{"value": "/v1"}], "methods": ["GET"]}
    route: dict[str, object] = {"host": "a.example.com", "matches": [match]}
    beginnings = [decide(route, target=target, method="POST").reason[:18] for target in ("/v1", "/v2")]
    assert beginnings == ["POST is not allowe", "this path is not a"]


def test_methods_and_headers_of_one_entry_must_all_match():
    match = {"methods": ["post"], "headers": [{"name": "Accept", "value": "application/.*", "type": "regex"}]}
    route = {"host": "a.example.com", "matches": [match]}
    good = (("accept", "application/json"),)
    assert decide(route, method="POST", headers=good).allowed
    assert decide(route, method="GET", headers=good).code == "method_not_allowed"
    assert decide(route, method="post", headers=good).code == "method_not_allowed"
    assert decide(route, method="POST").code == "header_not_allowed"
    assert decide(route, method="POST", headers=(*good, ("accept", "text/html"))).code == "header_not_allowed"


PUSHES = [
    ("/me/r.git/info/refs?service=git-receive-pack", ()),
    ("/me/r.git/info/refs?x=1&service=git-receive-pack", ()),
    ("/me/r.git/info/refs?service=git%2Dreceive%2dpack", ()),
    ("/me/r.git/info/refs?service=git%252dreceive%252dpack", ()),
    ("/me/r.git/info/refs?a=b;service=git-receive-pack", ()),
    ("/me/r.git/git-receive-pack", ()),
    ("/me/r.git/git%2dreceive-pack", ()),
    ("/me/r.git/Git-Receive-Pack", ()),
    ("/me/r.git/git-receive-pack;x=1", ()),
    ("/me/r.git/git-receive-pack/", ()),
    ("/me/r.git%EF%BC%8Fgit-receive-pack", ()),
    ("/me/r.git\xef\xbc\x8fgit-receive-pack", ()),
    ("/me/r.git/%EF%BD%87it-receive-pack", ()),
    ("/me/r.git%25EF%25BC%258Fgit-receive-pack", ()),
    ("/me/r.git/info/refs?service=git-receive%EF%BC%8Dpack", ()),
    ("/anything", (("content-type", "application/x-git-receive-pack-request"),)),
]


@pytest.mark.parametrize(("target", "headers"), PUSHES)
def test_git_push_is_always_refused(target: str, headers: tuple[tuple[str, str], ...]):
    for git in ({}, {"git": {"fetch": True}}):
        assert decide({"host": "a.example.com", **git}, target=target, headers=headers).code == "git_push_refused"


@pytest.mark.parametrize("target", ["/me/r/info/refs?service=git-upload-pack", "/me/r/git-upload-pack"])
def test_git_fetch_needs_the_routes_permission(target: str):
    assert decide({"host": "a.example.com"}, target=target).code == "git_fetch_not_allowed"
    assert decide({"host": "a.example.com", "git": {"fetch": True}}, target=target).allowed


def test_a_documentation_page_about_git_is_no_push():
    assert decide({"host": "a.example.com"}, target="/docs/git-receive-pack-explained?q=git").allowed


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "169.254.169.254"),
        *("100.64.0.1", "100.100.100.200", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.0.192"),
        *("192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "168.63.129.16"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
        *("2002:7f00:1::", "2002:a00:1::1", "2001:0:1234::", "::127.0.0.1", "64:ff9b:1::1", "100::1", "3fff::1"),
        *("2600:1::5efe:127.0.0.1", "4000::1", "::ffff:0:127.0.0.1", "nonsense", ""),
    ],
)
def test_addresses_that_are_not_public(address: str):
    assert why_private(address) is not None


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::101:101", "2002:101:101::1"],
)
def test_public_addresses(address: str):
    assert why_private(address) is None


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Example.COM", "example.com"),
        ("[::1]", "::1"),
        ("[0:0::1]", "::1"),
        ("exämple.com", "xn--exmple-cua.com"),
        ("example.com.", None),
        ("exa mple.com", None),
        ("a@b.com", None),
        ("a/b", None),
        ("a%2eb", None),
        ("", None),
        ("[fe80::1%eth0]", None),
        ("a..b", None),
    ],
)
def test_canonical_hosts(text: str, host: str | None):
    assert canonical_host(text) == host


@pytest.mark.parametrize(
    "text", ["a.com:0", "a.com:65536", "a.com:x", "a.com:", "u@a.com", "a.com/", "a.com,b.com", "[::1", ""]
)
def test_bad_authorities(text: str):
    assert split_authority(text, 443) is None


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("(a+)+$", "a" * 4000 + "!"), ("(a|a)*b", "a" * 4000), ("(.*)*x", "y" * 4000), (".*.*.*.*.*z", "a" * 4000)],
)
def test_pathological_patterns_take_linear_time(pattern: str, text: str):
    started = time.process_time()
    assert not Pattern(pattern).fullmatch(text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "source",
    [r"(a)\1", "(?=a)b", "(?<!a)b", r"\bword", "(", "a{3000}", "(?>a)", "(?i:a)b", "a*+",
     "(){3000000}", "((a{0}){2000}){2000}", "((|b){2000}|a{0}){3000000}"],
)  # fmt: skip
def test_patterns_that_are_refused(source: str):
    with pytest.raises(ValueError):
        Pattern(source)


@given(
    st.text(alphabet="ab.|*+?()[]^$\\d{}1,-", max_size=12),
    st.lists(st.text(alphabet="ab1.-\n", max_size=8), max_size=8),
)
def test_patterns_mean_what_python_means(source: str, texts: list[str]):
    import re
    import warnings

    try:
        ours = Pattern(source)
    except ValueError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = re.compile(source.replace("\\d", "[0-9]") if "[" not in source else source, re.ASCII)
    for text in texts:
        # at the very end only, where Python's $ also matches before a last newline
        expected = theirs.fullmatch(text) is not None
        if ours.fullmatch(text) != expected:
            assert "$" in source
            assert "\n" in text


@given(st.text(max_size=40))
def test_a_canonical_path_has_one_reading(tail: str):
    path = canonical("/" + tail)
    if path is not None:
        assert ".." not in path.split("/")
        assert "//" not in path
        assert "\\" not in path


@given(st.text(st.sampled_from("a/.;%\u0338\u0301\u0323／．‥…％；⁄∕﹨é한ᄀ") | st.characters(), max_size=30))
def test_characters_fold_to_separators_each_by_itself(plain: str):
    whole = paths._folded(plain)
    more = any(whole.count(mark) > plain.count(mark) for mark in "/\\;%")
    dots = any(segment in (".", "..") for segment in whole.split("/"))
    assert paths._folds(plain) == (more or dots)
