"""Alone through the night: each agent waits out its provider's limit and ends its task, and goes on with its own
conversation after its CLI was killed.

All agents do so at the same time."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from app.demo.pretend import openai
from app.demo.pretend.script import Conversation, Say, Script, Turn
from app.demo.pretend.seen import Handler, Seen
from tests.e2e.cast import CAST, DONE, Role
from tests.e2e.judge import a_world, agents_processes
from tests.e2e.test_agents_held import together
from tests.e2e.world import Agent, World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(500)]
TASK = "Write the file of the night"
LIMIT_SECONDS = 12.0
SLACK = 3.0
"""Seconds after the first refusal in which an agent may still ask: it is frozen as soon as that is brought in."""


def alone(worlds: Callable[..., World], role: Role, script: Callable[[str], Script], unattended: str) -> World:
    """A world whose bottle is unattended."""
    agent = role.agent
    if role.name == "codex":
        agent = Agent(agent.packages, "template: codex, settings: {transport: sse}", agent.hosts)
    world = a_world(worlds, agent, script)
    (world.paths.bottles / "box.md").write_text(
        f"---\nagent_provider: {{{agent.provider}}}\nunattended: {{{unattended}}}\n"
        'env: {CLAUDE_CODE_MAX_RETRIES: "2"}\n---\n'
    )
    return world


def set_out(world: World, role: Role) -> None:
    ran = world.run(
        "start", "dev", "--headless", "--detach", "--label", "night", "--prompt", TASK, "--cwd", str(world.project),
        env=role.secrets,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def night(world: World) -> dict[str, Any]:
    return world.asked(lambda client: client.bottle("night")).model_dump(mode="json")


def reaches(world: World, *states: str, seconds: float = 200) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (view := night(world))["state"] not in states:
        assert time.monotonic() < deadline, (view, states, world.run("notices", "--json").stdout[-2000:])
        time.sleep(1)
    return view


def actions(world: World) -> list[str]:
    return [row["action"] for row in world.asked(lambda client: client.audit())["rows"]]


# --- a limit --------------------------------------------------------------------------------------------------------


class Limited:
    """A vendor whose limit is used up until some seconds after it was first asked. It answers as the real ones do."""

    def __init__(self, world: World, role: Role) -> None:
        self._role = role
        self._answer: Handler = world.vendor.handlers[role.host]
        self.ends_at = 0.0
        self.asked: list[float] = []

    async def __call__(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        if request.method != "POST":
            return await self._answer(request, seen)
        now = time.time()
        self.asked.append(now)
        self.ends_at = self.ends_at or now + LIMIT_SECONDS
        return self._refusal(now) if now < self.ends_at else await self._answer(request, seen)

    def _refusal(self, now: float) -> web.Response:
        left = self.ends_at - now
        if self._role.host == openai.HOST:
            error: dict[str, Any] = {"type": "usage_limit_reached", "message": "The usage limit has been reached"}
            return web.json_response({"error": error | {"resets_in_seconds": int(left) + 1}}, status=429)
        if self._role.name == "gemini":
            quota = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaMetric": "generate_requests"}
            details: list[dict[str, Any]] = [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{int(left) + 1}s"},
            ]
            error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota"}
            return web.json_response({"error": error | {"details": details}}, status=429)
        error = {"type": "rate_limit_error", "message": "This request would exceed your account's rate limit."}
        unified = "anthropic-ratelimit-unified"
        headers = {f"{unified}-status": "rejected", f"{unified}-reset": str(int(self.ends_at))}
        headers |= {f"{unified}-5h-{name}": value for name, value in
                    (("utilization", "1.0"), ("status", "rejected"), ("reset", str(int(self.ends_at))))}  # fmt: skip
        return web.json_response({"type": "error", "error": error}, status=429, headers=headers)


def waits_it_out(limits: dict[str, Limited]) -> Callable[[Role, World], None]:
    def night_of(role: Role, world: World) -> None:
        set_out(world, role)
        reaches(world, "ended")
        limit = limits[role.name]
        early = [at - limit.asked[0] for at in limit.asked if limit.asked[0] + SLACK < at < limit.ends_at]
        assert not early, f"it went on asking: {early}"
        assert (world.project / "hello.txt").read_text() == "hello\n"
        assert "parked" in actions(world) or "resumed" in actions(world)

    return night_of


def test_a_limit_is_waited_out(worlds: Callable[..., World]) -> None:
    made = {name: alone(worlds, role, role.runs(), "on_limit: wait_for_reset") for name, role in CAST.items()}
    limits = {name: Limited(world, CAST[name]) for name, world in made.items()}
    for name, world in made.items():
        world.vendor.handlers[CAST[name].host] = limits[name]
    together(waits_it_out(limits), made)


# --- a crash --------------------------------------------------------------------------------------------------------


def breaks_off(role: Role) -> Callable[[str], Script]:
    """The first time it is at a long command when it is killed; told that it was interrupted, it writes the file."""

    def script(talk: Conversation) -> Turn:
        aside = role.aside(talk)
        if aside is not None:
            return aside
        if "interrupted" not in talk.user.lower():
            return Turn((Say("I begin."), role.run("touch begun; sleep 300", talk.tools)))
        if not talk.step:
            return Turn((Say("I go on."), role.run("echo hello > hello.txt", talk.tools)))
        return Turn((Say(DONE),))

    return lambda folder: script


def goes_on_after_a_crash(role: Role, world: World) -> None:
    set_out(world, role)
    deadline = time.monotonic() + 200
    while not (world.project / "begun").exists():
        assert time.monotonic() < deadline, night(world)
        time.sleep(0.2)
    for pid in agents_processes(world):
        os.kill(pid, signal.SIGKILL)
    reaches(world, "ended")
    assert (world.project / "hello.txt").read_text() == "hello\n"
    assert actions(world).count("resumed") == 1
    said = [one.body for one in world.vendor.of(role.host) if b"You were interrupted" in one.body]
    assert said
    assert b"I begin." in said[-1], "the conversation before is there"


def test_a_killed_agent_goes_on(worlds: Callable[..., World]) -> None:
    made = {name: alone(worlds, role, breaks_off(role), "on_exit: {resume: 2}") for name, role in CAST.items()}
    together(goes_on_after_a_crash, made)


def test_it_is_left_alone_after_so_many_crashes(worlds: Callable[..., World]) -> None:
    role = CAST["claude"]
    world = alone(worlds, role, role.runs("true"), "on_exit: {resume: 1}")
    world.vendor.handlers[role.host] = world.vendor.refuse
    set_out(world, role)
    deadline = time.monotonic() + 200
    while actions(world).count("resumed") < 1 or night(world)["state"] != "failed":
        assert time.monotonic() < deadline, night(world)
        time.sleep(1)
    told = world.run("notices", "--json").stdout
    assert "was started again 1 times" in told
    assert actions(world).count("resumed") == 1
