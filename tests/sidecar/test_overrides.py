"""Headers and fields that servers take for a request's method or path: by table, and through a real sidecar."""

import gzip
import json
from collections.abc import AsyncIterator

import pytest

from sidecar.contract import Policy, Route
from sidecar.egress.overrides import UNKNOWN, in_body
from sidecar.egress.policy import CompiledPolicy, RequestFacts, Verdict
from tests.sidecar.proxy_kit import Bottle, Upstream, authority, bottle, pem

HOST = "api.example.com"
READ = {"host": HOST, "matches": [{"methods": ["GET", "POST"], "paths": [{"value": "/issues"}]}]}
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"


def decide(
    *routes: dict[str, object],
    method: str = "POST",
    target: str = "/issues",
    headers: tuple[tuple[str, str], ...] = (),
    body: tuple[str, ...] = (),
) -> Verdict:
    policy = CompiledPolicy.compile(Policy(routes=tuple(Route.model_validate(route) for route in routes)))
    return policy.decide(RequestFacts(HOST, 443, method, target, headers, body))


@pytest.mark.parametrize("name", ["x-http-method-override", "x-method-override", "x-http-method", "x_http_method"])
@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("GET", "ok"), ("get", "ok"), (" POST ", "ok"), ("GET, POST", "ok"), ("DELETE", "method_not_allowed"),
        ("delete", "method_not_allowed"), ("GET, DELETE", "method_not_allowed"), ("", "method_not_allowed"),
        ("NO-SUCH", "method_not_allowed"), ("G\u00c9T", "method_not_allowed"),
    ],
)  # fmt: skip
def test_methods_in_headers(name: str, value: str, code: str):
    assert decide(READ, headers=((name, value),)).code == code
    assert decide({"host": HOST}, headers=((name, value),)).allowed  # nothing is limited there


def test_every_one_counts():
    given = ("x-method-override", "GET"), ("x-http-method", "GET"), ("x-method-override", "PUT")
    assert decide(READ, headers=given[:2]).allowed
    refused = decide(READ, headers=given)
    assert refused.code == "method_not_allowed"
    assert "header or a field" in refused.reason
    assert refused.reading is not None
    assert refused.reading.method == "PUT"
    many = tuple(("x-method-override", f"{'A' * n}") for n in range(1, 10))
    every = {"host": HOST, "matches": [{"methods": ["POST", *(value for _, value in many)]}]}
    assert not decide(every, headers=many).allowed


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("_method=GET", "ok"), ("a=_method", "ok"), ("_methods=DELETE", "ok"), ("x_method=DELETE", "ok"),
        ("_method=delete", "method_not_allowed"), ("a=1&_method=DELETE", "method_not_allowed"),
        ("a=1;_method=DELETE", "method_not_allowed"), ("%5fmethod=DELETE", "method_not_allowed"),
        ("_%6Dethod=DEL%45TE", "method_not_allowed"), ("_method[]=DELETE", "method_not_allowed"),
        ("+_method=DELETE", "method_not_allowed"), (".method=DELETE", "method_not_allowed"),
        ("_method=GET&_method=DELETE", "method_not_allowed"), ("_method", "method_not_allowed"),
        ("$httpMethod=DELETE", "method_not_allowed"), ("httpHeaders=a:b", "ok"),
        ("$httpHeaders=X-HTTP-Method-Override:DELETE", "method_not_allowed"),
        ("a=1&%24httpHeaders=x:y%0Ax-http-m%45thod-override:DELETE", "method_not_allowed"),
    ],
)  # fmt: skip
def test_methods_in_queries(query: str, code: str):
    assert decide(READ, target=f"/issues?{query}").code == code


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("/issues", "ok"), ("/issues/7?a=b", "ok"), ("/admin", "path_not_allowed"), ("/issues2", "path_not_allowed"),
        ("/issues/../admin", "path_ambiguous"), ("https://api.example.com/issues", "path_ambiguous"),
        ("", "path_ambiguous"), ("/issues?_method=DELETE", "method_not_allowed"),
        ("/r.git/git-receive-pack", "git_push_refused"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["x-original-url", "x-rewrite-url", "x_rewrite_url"])
def test_paths_in_headers(name: str, value: str, code: str):
    assert decide(READ, headers=((name, value),)).code == code


def test_both_together_must_be_one_that_is_allowed():
    route = {
        "host": HOST,
        "matches": [
            {"methods": ["GET"], "paths": [{"value": "/read"}]},
            {"methods": ["POST"], "paths": [{"value": "/write"}]},
        ],
    }
    assert decide(route, method="GET", target="/read").allowed
    assert not decide(route, method="GET", target="/read", headers=(("x-http-method", "POST"),)).allowed
    assert not decide(route, method="GET", target="/read", headers=(("x-original-url", "/write"),)).allowed


def part(head: str, value: str) -> bytes:
    return f"--b\r\n{head}\r\n\r\n{value}\r\n--b--\r\n".encode()


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b"a=1&_method=delete", FORM, ("DELETE",)),
        (b"%5F%6d%65%74%68%6f%64=PUT&b=2", FORM, ("PUT",)),
        (b"text=about+_method", FORM, ()),
        (b"_method=" + b" " * 90 + b"GET", FORM, (UNKNOWN,)),
        (part('Content-Disposition: form-data; name="_method"', "PATCH"), MULTIPART, ("PATCH",)),
        (part("content-disposition: form-data; NAME=_method\r\nX: y", "PATCH"), MULTIPART, ("PATCH",)),
        (part("Content-Disposition: form-data; name='_method'", "x y"), MULTIPART, (UNKNOWN,)),
        (part('Content-Disposition: form-data; name="a"; filename="_method.txt"', "x"), MULTIPART, ()),
        (b'--b\r\nContent-Disposition: form-data; name="_method"\r\n', MULTIPART, (UNKNOWN,)),
        (b'{"_method": "delete", "a": 1}', "application/json", ("DELETE",)),
        (b'{"\\u005fmethod": "DELETE"}', "application/json; charset=utf-8", ("DELETE",)),
        ('{"_method": "DELETE"}'.encode("utf-16"), "application/json", ("DELETE",)),
        ('{"_method": "DELETE"}'.encode("utf-16-be"), "application/json", ("DELETE",)),
        ('{"_method": "DELETE"}'.encode("utf-32"), "application/json", ("DELETE",)),
        (b'{"_method": "DELETE", "_method": "GET"}', "application/json", ("DELETE", "GET")),
        (b'{"_method": {"a": 1}}', "application/vnd.api+json", (UNKNOWN,)),
        (b'{"text": "curl -d a&_method=DELETE", "a": {"_method": "DELETE"}}', "application/json", ()),
        (b'{"a": ' + b"[" * 100_000, "application/json", ()),
        (b'{"_method": ' + b"[" * 100_000, "application/json", (UNKNOWN,)),
        (b'{"_method": "DELETE", "a": ' + b"1" * 5000 + b"}", "application/json", ("DELETE",)),
        (b'{"a": -' + b"1" * 5000 + b', "\\u005fmethod": "DELETE"}', "", ("DELETE",)),
        (b'{"_method": "DELETE",}', "application/json", (UNKNOWN,)),
        (b"{'_Method': 'DELETE'}", "application/json", (UNKNOWN,)),
        (b'{/**/"\\u005Fmethod": "DELETE"}', "", (UNKNOWN,)),
        (b'{"http_method": "GET", "a": "\\u00e9"}\n{"http_method": "PUT"}', "application/x-ndjson", ()),
        (b"_method=DELETE", "", ("DELETE",)),
        (b"_method=DELETE", "text/plain", ("DELETE",)),
        (b'{"_method": "DELETE"}', "", ("DELETE",)),
    ],
)
def test_methods_in_bodies(body: bytes, content_type: str, said: tuple[str, ...]):
    assert in_body(body, [content_type] if content_type else []) == said


def test_two_content_types_are_read_in_every_way():
    assert in_body(b"_method=DELETE", ["application/json", FORM]) == ("DELETE",)


def test_large_bodies_cost_what_they_weigh():
    for text in (b'name="_method"\r\n', b"name    =", b"&", b"_method", b"name*=utf-8'", b'{"a":', b"{\\u00"):
        in_body(text * (2_000_000 // len(text)), [])


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream((HOST,), authority()).run() as running:
        yield running


@pytest.fixture
async def box(upstream: Upstream) -> AsyncIterator[Bottle]:
    address = f"127.0.0.1:{upstream.port}"
    async with bottle(
        Route.model_validate(READ), extra_ca=(pem(upstream.ca),), connect_to={f"{HOST}:443": address}
    ) as running:
        yield running


async def test_through_the_proxy(box: Bottle, upstream: Upstream):
    async with box.client() as client:

        async def sent(content: bytes = b"", **headers: str) -> tuple[int, str]:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            got = await client.post(f"https://{HOST}/issues", content=content, headers=names)
            return got.status_code, got.headers.get("x-carboy-code", "")

        assert (await sent())[0] == 200
        assert (await sent(x_http_method_override="GET"))[0] == 200
        assert (await sent(b"_method=GET", content_type=FORM))[0] == 200
        passed = len(upstream.seen)
        zipped = gzip.compress(json.dumps({"text": "x" * 50_000, "_method": "DELETE"}).encode())
        for content, headers in (
            (b"", {"x_http_method_override": "DELETE"}),
            (b"", {"x_original_url": "/admin"}),
            (b"a=b&_method=DELETE", {"content_type": FORM}),
            (zipped, {"content_type": "application/json", "content_encoding": "gzip"}),
            ('{"_method": "DELETE"}'.encode("utf-7"), {"content_type": "application/json; charset=utf-7"}),
            (b'{"+AF8-method": "DELETE"}', {"content_type": "application/json; charset=UTF-7"}),
        ):
            status, _ = await sent(content, **headers)
            assert status == 403, headers
        assert len(upstream.seen) == passed
    codes = [event.code for event in box.events() if event.decision == "deny"]
    assert set(codes) == {"method_not_allowed", "path_not_allowed"}
