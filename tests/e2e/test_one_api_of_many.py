"""OpenCode and Pi from npm, unmodified, each with the APIs of several vendors and one of the operator's own; Claude
Code and Codex with the operator's own, on which their budget holds."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from app.demo.pretend import anthropic, gemini, openai
from tests.e2e.cast import CAST, REFUSED
from tests.e2e.judge import a_world, egress, start, whole_turn
from tests.e2e.world import Agent, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(300)]
COMPANY = "llm.company.example"
KEY = "REALVENDORKEY-1a2b3c4d5e6f70819203a4b5c6d7e8f9"
EXTRA = {"opencode": {"registry.npmjs.org"}, "pi": set[str]()}
"""Hosts that it asks besides, and is refused."""


@dataclass(frozen=True)
class Vendor:
    """What is said of it in the bottle file, its credential, and where the model answers."""

    keys: str
    host: str
    variable: str
    header: str
    scheme: str
    path: str


VENDORS = {
    "anthropic": Vendor("", anthropic.HOST, "ANTHROPIC_API_KEY", "x-api-key", "", "/v1/messages"),
    "openai": Vendor(
        ", settings: {provider: openai, model: gpt-5.2}",
        openai.HOST, "OPENAI_API_KEY", "authorization", "Bearer ", "/v1/responses",
    ),
    "google": Vendor(
        ", settings: {model: google/gemini-2.5-flash}",
        gemini.HOST, "GEMINI_API_KEY", "x-goog-api-key", "", "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
    ),
    "own": Vendor(
        ", auth_token: LLM_KEY, settings: {provider: company, "
        f"base_url: 'https://{COMPANY}/v1', models: [company-large], context_window: 200000}}",
        COMPANY, "LLM_KEY", "authorization", "Bearer ", "/v1/chat/completions",
    ),
}  # fmt: skip


@pytest.mark.parametrize("vendor", list(VENDORS))
@pytest.mark.parametrize("name", list(EXTRA))
def test_a_headless_turn_with_a_tool_call(worlds: Callable[..., World], name: str, vendor: str) -> None:
    role, chosen = CAST[name], VENDORS[vendor]
    agent = Agent(role.agent.packages, role.agent.provider + chosen.keys, (chosen.host,))
    world = a_world(worlds, agent, role.runs())
    world.vendor.handlers[COMPANY] = world.vendor.vendors.openai  # it speaks as OpenAI does
    whole_turn(world, chosen.variable, KEY, header=chosen.header, scheme=chosen.scheme)
    asked = egress(world, "turn")
    allowed = {(host, path) for decided, host, path in asked if decided == "allow"}
    assert (chosen.host, chosen.path) in allowed
    assert {host for host, _ in allowed} == {chosen.host}  # a smaller model of the same vendor may name the session
    assert {host for decided, host, _ in asked if decided == "deny"} == {REFUSED} | EXTRA[name]


GATEWAYS = {
    "claude": Vendor("", COMPANY, "LLM_KEY", "x-api-key", "", "/v1/messages"),
    "claude bearer": Vendor(", auth: bearer", COMPANY, "LLM_KEY", "authorization", "Bearer ", "/v1/messages"),
    "codex": Vendor("", COMPANY, "LLM_KEY", "authorization", "Bearer ", "/v1/responses"),
}


@pytest.mark.parametrize("which", list(GATEWAYS))
def test_a_gateway_of_the_operators_own(worlds: Callable[..., World], which: str) -> None:
    role, chosen = CAST[which.split()[0]], GATEWAYS[which]
    own = f", auth_token: LLM_KEY, settings: {{base_url: 'https://{COMPANY}/v1'{chosen.keys}}}"
    world = a_world(worlds, Agent(role.agent.packages, role.agent.provider + own, (COMPANY, role.host)), role.runs())
    vendors = world.vendor.vendors
    world.vendor.handlers[COMPANY] = vendors.openai if role.name == "codex" else vendors.anthropic
    whole_turn(world, chosen.variable, KEY, header=chosen.header, scheme=chosen.scheme)
    assert (COMPANY, chosen.path) in {
        (host, path) for decided, host, path in egress(world, "turn") if decided == "allow"
    }
    assert not world.vendor.of(role.host), "nothing of it goes to the vendor"
    ran = start(world, {chosen.variable: KEY}, "--budget", f"{role.name}=1")
    assert ran.returncode != 0
    assert "budget_exhausted" in ran.stdout + ran.stderr
