"""The MCP server on a real sidecar's listener: both generations, every tool, every answer of the operator."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sidecar.contract import Route, routes_hash
from sidecar.tasks import spawn
from tests.sidecar.proxy_kit import Bottle, bottle
from tests.sidecar.supervise.mcp_kit import ROUTES, decide, proposal, proposals, set_policy, talk

GENERATIONS = ("legacy", "2026-07-28", "auto")
ASK = {"host": "new.example.org", "methods": ["get"], "paths": ["/a"], "justification": "to read a"}


@pytest.fixture
async def box() -> AsyncIterator[Bottle]:
    async with bottle(*ROUTES) as running:
        yield running


@pytest.mark.parametrize("mode", GENERATIONS)
async def test_tools_are_listed(box: Bottle, mode: str) -> None:
    async with talk(box, mode=mode) as agent:
        listed = await agent.client.list_tools()
        assert [tool.name for tool in listed.tools] == [
            "list-egress-routes",
            "egress-allow",
            "egress-block",
            "check-proposal",
        ]
        assert all(tool.input_schema["additionalProperties"] is False for tool in listed.tools)
        answer = await agent.call("list-egress-routes")
        assert answer.structured_content["base_hash"] == routes_hash(ROUTES)
        assert tuple(Route.model_validate(route) for route in answer.structured_content["routes"]) == ROUTES


async def test_negotiates_each_generation(box: Bottle) -> None:
    async with talk(box, mode="legacy") as agent:
        assert agent.client.protocol_version == "2025-11-25"
    async with talk(box, mode="auto") as agent:
        assert agent.client.protocol_version == "2026-07-28"


@pytest.mark.parametrize("proxy", [False, True])
async def test_found_by_name_through_the_proxy_and_on_the_listener(box: Bottle, proxy: bool) -> None:
    url = "http://mcp.carboy.internal/" if proxy else f"http://localhost:{box.port}/mcp"
    async with talk(box, url=url, proxy=proxy) as agent:
        assert len((await agent.client.list_tools()).tools) == 4
    assert box.events() == []


@pytest.mark.parametrize("mode", GENERATIONS)
@pytest.mark.parametrize(
    ("state", "expected"),
    [("approved", "Approved"), ("modified", "with changes"), ("rejected", "Rejected"), ("expired", "Nobody")],
)
async def test_each_decision_reaches_the_agent(box: Bottle, mode: str, state: str, expected: str) -> None:
    async with talk(box, mode=mode) as agent:
        waiting = spawn(agent.call("egress-block", **ASK), name="call")
        asked = await proposal(box)
        assert asked.type == "egress-block"
        assert asked.action == "open"
        assert asked.base_hash == routes_hash(ROUTES)
        assert asked.justification == "to read a"
        assert asked.routes is not None
        assert asked.routes[:2] == ROUTES
        assert asked.routes[2].model_dump(exclude_defaults=True) == {
            "host": "new.example.org",
            "matches": ({"paths": ({"value": "/a"},), "methods": ("GET",)},),
        }
        assert await decide(box, asked.proposal_id, state, reason="because", scope="15m")
        answer = await asyncio.wait_for(waiting, 10)
        assert expected in answer.content[0].text
        assert not answer.is_error
        assert answer.structured_content["state"] == state
        if state != "expired":
            assert "because" in answer.content[0].text
        again = await agent.call("check-proposal", proposal_id=asked.proposal_id)
        assert again.structured_content["state"] == state


async def test_pending_with_an_id_when_time_runs_out(box: Bottle) -> None:
    await set_policy(box, *ROUTES, hold_seconds=0.3)
    async with talk(box) as agent:
        answer = await agent.call("egress-allow", **ASK)
        assert answer.structured_content["state"] == "pending"
        (asked,) = proposals(box)
        assert asked.type == "egress-allow"
        assert answer.structured_content["proposal_id"] == asked.proposal_id
        checked = await agent.call("check-proposal", proposal_id=asked.proposal_id)
        assert checked.structured_content["state"] == "pending"
        await decide(box, asked.proposal_id, "approved")
        checked = await agent.call("check-proposal", proposal_id=asked.proposal_id, wait_seconds=5)
        assert checked.structured_content["state"] == "approved"


async def test_check_proposal_can_wait(box: Bottle) -> None:
    await set_policy(box, *ROUTES, hold_seconds=10)
    async with talk(box) as agent, talk(box) as other:
        first = spawn(agent.call("egress-allow", **ASK), name="call")
        asked = await proposal(box)
        waiting = spawn(other.call("check-proposal", proposal_id=asked.proposal_id, wait_seconds=9), name="call")
        await decide(box, asked.proposal_id, "rejected", reason="no")
        assert (await asyncio.wait_for(waiting, 5)).structured_content["state"] == "rejected"
        assert (await asyncio.wait_for(first, 5)).structured_content["state"] == "rejected"


async def test_the_same_question_is_one_proposal(box: Bottle) -> None:
    async with talk(box) as agent, talk(box, mode="legacy") as other:
        calls = [
            spawn(one.call(name, **ASK), name="call")
            for one in (agent, other)
            for name in ("egress-allow", "egress-block")
        ]
        asked = await proposal(box)
        for _ in range(3):
            await agent.call("list-egress-routes")
        await decide(box, asked.proposal_id, "rejected", reason="no")
        answers = await asyncio.wait_for(asyncio.gather(*calls), 10)
        assert {answer.structured_content["proposal_id"] for answer in answers} == {asked.proposal_id}
        # asked again at once: the same answer, and no new card
        again = await agent.call("egress-block", **ASK)
        assert again.structured_content["state"] == "rejected"
        assert len(proposals(box)) == 1


async def test_too_many_open_proposals(box: Bottle) -> None:
    await set_policy(box, *ROUTES, hold_seconds=0.05)
    async with talk(box) as agent:
        for number in range(20):
            await agent.call("egress-allow", host=f"h{number}.example.org", justification="x")
        answer = await agent.call("egress-allow", host="one-more.example.org", justification="x")
        assert answer.is_error
        assert "too many open proposals" in answer.content[0].text
        assert len(proposals(box)) == 20
        await decide(box, proposals(box)[0].proposal_id, "rejected")
        answer = await agent.call("egress-allow", host="one-more.example.org", justification="x")
        assert answer.structured_content["state"] == "pending"


async def test_no_proposal_tools_without_an_operator(box: Bottle) -> None:
    await set_policy(box, *ROUTES, supervise=False)
    async with talk(box) as agent:
        assert [tool.name for tool in (await agent.client.list_tools()).tools] == ["list-egress-routes"]
        with pytest.raises(Exception, match="unknown tool"):
            await agent.call("egress-allow", **ASK)
    assert proposals(box) == []


async def test_whole_routes(box: Bottle) -> None:
    await set_policy(box, *ROUTES, hold_seconds=0.05)
    async with talk(box) as agent:
        listed = (await agent.call("list-egress-routes")).structured_content
        routes = [*listed["routes"], {"host": "git.example.org", "git": {"fetch": True}}]
        answer = await agent.call("egress-allow", routes=routes, base_hash=listed["base_hash"], justification="clone")
        assert answer.structured_content["state"] == "pending"
        (asked,) = proposals(box)
        assert asked.routes == (*ROUTES, Route.model_validate(routes[-1]))
        stale = await agent.call("egress-allow", routes=routes, base_hash="0" * 16, justification="clone")
        assert stale.is_error
        assert "have changed" in stale.content[0].text


async def test_what_is_allowed_already_asks_nobody(box: Bottle) -> None:
    async with talk(box) as agent:
        answer = await agent.call("egress-allow", host="x.wild.example", methods=["POST"], justification="x")
        assert answer.structured_content["state"] == "allowed"
        answer = await agent.call("egress-allow", host="api.example.com", methods=["GET"], justification="x")
        assert answer.structured_content["state"] == "allowed"
    assert proposals(box) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"host": "a.example", "justification": ""}, "justification"),
        ({"host": "a.example"}, "justification"),
        ({"host": "*", "justification": "x"}, "full host name"),
        ({"host": "https://a.example/", "justification": "x"}, "host"),
        ({"justification": "x"}, "either"),
        ({"host": "a.example", "routes": [], "justification": "x"}, "either"),
        ({"routes": [], "justification": "x"}, "base_hash"),
        ({"host": "a.example", "justification": "x", "ports": [22]}, "ports"),
        ({"host": "a.example", "justification": "x", "paths": ["a"]}, "starts with /"),
        ({"host": "a.example", "justification": "x", "methods": ["G T"]}, "method"),
        ({"host": "a.example", "justification": "x", "paths": ["/a"] * 33}, "paths"),
        ({"host": 5, "justification": "x"}, "host"),
        ({"host": "a.example", "justification": "x", "paths": ["/a\r\nHost: b"]}, "control or invisible"),
        ({"host": "a.example", "justification": "x", "paths": ["/a\u202eb"]}, "control or invisible"),
        ({"host": "a.example\r\nx: y", "justification": "x"}, "host"),
        ({"host": "a.example", "justification": "x", "methods": ["GET\r\nX: y"]}, "method"),
        (
            {
                "justification": "x",
                "base_hash": "x",
                "routes": [{"host": "a.example", "matches": [{"paths": [{"type": "regex", "value": "/a"}] * 33}]}],
            },
            "regular expressions",
        ),
        ({"host": "mcp.carboy.internal", "justification": "x"}, "own name"),
        ({"host": "*.carboy.internal", "justification": "x"}, "own name"),
        ({"host": "api.example.com", "justification": "x"}, "which `methods` and `paths`"),
    ],
)
async def test_the_callers_faults(box: Bottle, arguments: dict[str, object], says: str) -> None:
    async with talk(box) as agent:
        answer = await agent.call("egress-allow", **arguments)
    assert answer.is_error
    assert says in answer.content[0].text
    assert "Value error" not in answer.content[0].text, "that is Python's word"
    assert answer.structured_content["error"] == "invalid_call"
    assert proposals(box) == []


CREDENTIAL = "Zk3v-correct-horse-battery-91-staple"
OWN = "Qd7w-another-value-of-the-bottle-44"
DISGUISED = base64.b64encode(b"x" + CREDENTIAL.encode()).decode().rstrip("=")


async def test_a_known_secret_is_not_written_down_with_a_proposal() -> None:
    wishes: list[dict[str, Any]] = [
        {"host": "a.example", "paths": [f"/bot{CREDENTIAL}/send"]},
        {"host": "a.example", "paths": [{"type": "exact", "value": "/" + CREDENTIAL.replace("-", "%2D")}]},
        {"host": "a.example", "paths": [f"/{DISGUISED}"]},
        {"host": "a.example", "paths": [f"/{OWN}"]},
        {"host": f"{CREDENTIAL}.example.com"},
        {"host": "a.example", "justification": f"with {DISGUISED}"},
        {"routes": [{"host": "a.example", "matches": [{"headers": [{"name": "x-key", "value": CREDENTIAL}]}]}]},
        {"routes": [{"host": "a.example", "matches": [{"headers": [{"name": CREDENTIAL, "value": "a"}]}]}]},
    ]
    async with bottle(*ROUTES, secrets={"KEY": CREDENTIAL}, sensitive={"OWN": OWN}) as box, talk(box) as agent:
        await set_policy(box, *ROUTES, hold_seconds=0.05)
        listed = (await agent.call("list-egress-routes")).structured_content
        for wish in wishes:
            if "routes" in wish:
                wish |= {"routes": [*listed["routes"], *wish["routes"]], "base_hash": listed["base_hash"]}
            answer = await agent.call("egress-allow", **{"justification": "x", **wish})
            assert (answer.is_error, "known secret" in answer.content[0].text) == (True, True), (wish, answer)
            assert CREDENTIAL not in str(answer)
        # the operator reads the reason without it
        answer = await agent.call("egress-allow", host="b.example", justification=f"because of {CREDENTIAL}")
        assert answer.structured_content["state"] == "pending"
        (asked,) = proposals(box)
        assert (asked.routes or ())[-1].host == "b.example"
        assert asked.justification == "because of [secret]"


@pytest.mark.parametrize(
    "route",
    [
        {"host": "b.example", "auth": {"token_ref": "KEY"}},
        {"host": "b.example", "dlp": {"outbound_detectors": False}},
        {"host": "b.example", "allow_private": True},
        {"host": "b.example", "ports": [22]},
        {"host": "*.github.io", "shared": True},
        {"host": "b.example", "max_body": 10**12},
    ],
)
async def test_what_only_the_operator_may_set(box: Bottle, route: dict[str, object]) -> None:
    async with talk(box) as agent:
        listed = (await agent.call("list-egress-routes")).structured_content
        answer = await agent.call(
            "egress-allow", routes=[*listed["routes"], route], base_hash=listed["base_hash"], justification="x"
        )
    assert answer.is_error
    assert "only the operator may" in answer.content[0].text
    assert proposals(box) == []


async def test_a_proposal_takes_nothing_away(box: Bottle) -> None:
    async with talk(box) as agent:
        listed = (await agent.call("list-egress-routes")).structured_content
        for routes in ([], listed["routes"][:1], [{"host": "api.example.com"}, listed["routes"][1]]):
            answer = await agent.call("egress-block", routes=routes, base_hash=listed["base_hash"], justification="x")
            assert answer.is_error
            assert "missing or narrower" in answer.content[0].text
    assert proposals(box) == []


async def test_decisions_for_unknown_proposals_are_ignored(box: Bottle) -> None:
    assert not await decide(box, "p0123456789ab", "approved")
    async with talk(box) as agent:
        answer = await agent.call("check-proposal", proposal_id="p0123456789ab")
        assert answer.is_error
        waiting = spawn(agent.call("egress-block", **ASK), name="call")
        asked = await proposal(box)
        assert await decide(box, asked.proposal_id, "rejected")
        assert not await decide(box, asked.proposal_id, "approved")
        assert (await waiting).structured_content["state"] == "rejected"
