"""The main path: allowed requests pass, others are refused inside TLS, and the upstream sees exactly what it should."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from sidecar.contract import Policy, Route
from tests.sidecar.proxy_kit import Bottle, Upstream, authority, bottle, pem

HOST = "api.example.com"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream((HOST, "*.example.com"), authority()).run() as running:
        yield running


@pytest.fixture
async def box(upstream: Upstream) -> AsyncIterator[Bottle]:
    async with bottle(
        Route(host=HOST),
        Route(host="*.example.com"),
        extra_ca=(pem(upstream.ca),),
        connect_to={f"{HOST}:443": f"127.0.0.1:{upstream.port}"},
    ) as running:
        yield running


@pytest.mark.parametrize("http2", [False, True])
async def test_an_allowed_request_passes(box: Bottle, upstream: Upstream, http2: bool):
    async with box.client(http2=http2) as client:
        for number in range(3):
            response = await client.post(f"https://{HOST}/v1/x?a={number}", content=b"body" * 1000)
            assert (response.status_code, response.text) == (200, "hello")
            assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert [seen.path for seen in upstream.seen] == ["/v1/x?a=0", "/v1/x?a=1", "/v1/x?a=2"]
    assert upstream.seen[0].body == b"body" * 1000
    event = await box.event(code="ok")
    assert (event.decision, event.host, event.port, event.path) == ("allow", HOST, 443, "/v1/x?a=*")
    assert (event.status, event.bytes_up, event.bytes_down, event.address) == (200, 4000, 5, "127.0.0.1")


@pytest.mark.parametrize("http2", [False, True])
async def test_a_host_not_on_the_list_is_refused_inside_tls(box: Bottle, upstream: Upstream, http2: bool):
    async with box.client(http2=http2) as client:
        response = await client.get("https://evil.example.org/x")
    assert response.status_code == 403
    body = response.json()
    assert body["code"] == body["error"]["code"] == "host_not_allowed"
    assert body["error"]["type"] == "carboy_policy"
    assert "evil.example.org" in body["error"]["message"]
    assert upstream.seen == []
    assert (await box.event(code="host_not_allowed")).decision == "deny"


async def test_a_port_that_no_route_has_is_refused_at_once(box: Bottle):
    async with box.client() as client:
        with pytest.raises(httpx.ProxyError, match="403"):
            await client.get(f"https://{HOST}:8443/")
    assert (await box.event(code="port_not_allowed")).port == 8443


async def test_introspection(box: Bottle):
    async with httpx.AsyncClient(proxy=box.proxy, trust_env=False) as client:
        proxied = await client.get("http://carboy.internal/allowlist")
    async with httpx.AsyncClient(trust_env=False) as client:
        direct = await client.get(f"{box.proxy}/allowlist")
        health = await client.get(f"{box.proxy}/health", headers={"host": "carboy.internal"})
        other = await client.get(f"{box.proxy}/x")
    assert proxied.json() == direct.json()
    assert [route["host"] for route in proxied.json()["egress"]["routes"]] == [HOST, "*.example.com"]
    assert health.json()["ok"] is True
    assert other.status_code == 404
    await asyncio.sleep(0.05)
    assert box.events() == []


async def test_reload_keeps_the_last_good_policy_and_closes_what_went(box: Bottle, upstream: Upstream):
    async with box.client() as client:
        assert (await client.get(f"https://{HOST}/")).status_code == 200
        with pytest.raises(Exception, match=r"regular expression|not supported"):
            await box.channel.call(
                "policy",
                {
                    "policy": {
                        "routes": [{"host": HOST, "matches": [{"paths": [{"type": "regex", "value": "(a)\\1"}]}]}]
                    }
                },
            )
        assert (await client.get(f"https://{HOST}/")).status_code == 200
        assert any(notice["code"] == "policy_rejected" for notice in box.notices())
        await box.set_policy(Policy(version=2, routes=(Route(host="other.example.org"),)))
        try:
            response = await client.get(f"https://{HOST}/")
        except (httpx.RemoteProtocolError, httpx.ReadError):  # its connection was closed, and it had not noticed yet
            response = await client.get(f"https://{HOST}/")
        assert response.json()["code"] == "host_not_allowed"
    assert len(upstream.seen) == 2


async def test_confinement_is_reported(box: Bottle):
    health, _ = await box.channel.call("health")
    assert health["listening"] is True
    assert isinstance(box.ready["missing"], list)
    print(box.ready["missing"])
