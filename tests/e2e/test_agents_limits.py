"""At a provider's limit, with each real agent: an overloaded provider is tried again until it answers, a used up limit
stops the bottle where its profile says so, Codex's limit is understood on its WebSocket as well, and none asks without
end for an answer that never comes.

All agents do so at the same time."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from app.demo.pretend import openai
from app.demo.pretend.seen import Seen
from tests.e2e.cast import CAST, Role
from tests.e2e.test_agents_held import together
from tests.e2e.test_agents_overnight import LIMIT_SECONDS, SLACK, Limited, actions, alone, night, reaches, set_out
from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.timeout(500)]
OVER = ("ended", "stopped", "failed", "lost")


class Overloaded(Limited):
    """As the real ones say it: Anthropic 529, OpenAI and Google 503."""

    def _refusal(self, now: float) -> web.Response:
        if self._role.host == openai.HOST:
            error: dict[str, Any] = {"code": "server_is_overloaded", "message": "Our servers are currently overloaded"}
            return web.json_response({"error": error}, status=503)
        if self._role.name == "gemini":
            error = {"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded. Try again later."}
            return web.json_response({"error": error}, status=503)
        error = {"type": "overloaded_error", "message": "Overloaded"}
        return web.json_response({"type": "error", "error": error}, status=529)


def faults(world: World) -> set[str]:
    """How the provider's refusals are classified, as `carboy usage` shows them: of all sessions, since it may go on."""
    found = json.loads(world.run("usage", "--json").stdout)
    return {item["fault"] for item in found["last"] if item["fault"]}


def outlives_it(role: Role, world: World) -> None:
    set_out(world, role)
    reaches(world, "ended", seconds=200)
    assert (world.project / "hello.txt").read_text() == "hello\n"
    assert any("overloaded" in fault for fault in faults(world)), faults(world)


def test_an_overloaded_provider_is_tried_again(worlds: Callable[..., World]) -> None:
    """By the agent itself; one that gives up is started again, since a limit is not its fault."""
    made = {name: alone(worlds, role, role.runs(), "on_limit: retry") for name, role in CAST.items()}
    for name, world in made.items():
        world.vendor.handlers[CAST[name].host] = Overloaded(world, CAST[name])
    together(outlives_it, made)


class Endless(Limited):
    """Its window ends tomorrow."""

    async def __call__(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        self.ends_at = time.time() + 86_400
        return await super().__call__(request, seen)


def is_stopped(role: Role, world: World) -> None:
    set_out(world, role)
    reaches(world, *OVER)
    deadline = time.monotonic() + 90
    while "limit-stop" not in actions(world):
        assert time.monotonic() < deadline, (night(world), actions(world), faults(world))
        time.sleep(1)
    asked = len(world.vendor.of(role.host))
    assert not {"parked", "resumed"} & set(actions(world))
    assert "is stopped at the provider's limit" in world.run("notices", "--json").stdout
    time.sleep(SLACK)
    assert (night(world)["state"] in OVER, len(world.vendor.of(role.host))) == (True, asked)


def test_a_used_up_limit_stops_it(worlds: Callable[..., World]) -> None:
    made = {
        name: alone(worlds, role, role.runs(), "on_limit: stop, on_exit: {resume: 2}") for name, role in CAST.items()
    }
    for name, world in made.items():
        world.vendor.handlers[CAST[name].host] = Endless(world, CAST[name])
    together(is_stopped, made)


class LimitedSocket(Limited):
    """Says it where Codex asks: before the connection is a WebSocket, or in it."""

    def __init__(self, world: World, role: Role, *, inside: bool) -> None:
        super().__init__(world, role)
        self._inside = inside

    async def __call__(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        now = time.time()
        if not request.path.endswith("/responses") or (self.ends_at and now >= self.ends_at):
            return await super().__call__(request, seen)
        if request.method != "GET":
            return await super().__call__(request, seen)
        self.ends_at = self.ends_at or now + LIMIT_SECONDS
        if not self._inside:
            self.asked.append(now)
            return self._refusal(now)
        socket = web.WebSocketResponse(max_msg_size=64 * 1024 * 1024)
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                self.asked.append(time.time())
                left = max(1, int(self.ends_at - time.time()) + 1)
                error = {"type": "usage_limit_reached", "message": "The usage limit has been reached"}
                told = {"type": "error", "status": 429, "error": error | {"resets_in_seconds": left}}
                await socket.send_str(json.dumps(told))
        return socket


@pytest.mark.parametrize("inside", [False, True], ids=["upgrade", "message"])
def test_codex_waits_out_its_limit_on_a_websocket(worlds: Callable[..., World], inside: bool) -> None:
    role = CAST["codex"]
    world = alone(worlds, role, role.runs(), "on_limit: wait_for_reset")
    (world.paths.bottles / "box.md").write_text(
        "---\nagent_provider: {template: codex}\nunattended: {on_limit: wait_for_reset}\n---\n"
    )
    limit = world.vendor.handlers[role.host] = LimitedSocket(world, role, inside=inside)
    set_out(world, role)
    reaches(world, "ended")
    assert (world.project / "hello.txt").read_text() == "hello\n"
    assert {"parked", "resumed"} & set(actions(world))
    assert "quota" in " ".join(faults(world)), faults(world)
    early = [at - limit.asked[0] for at in limit.asked if limit.asked[0] + SLACK < at < limit.ends_at]
    assert not early, f"it went on asking: {early}"
    assert any(one.method == "WS" for one in world.vendor.of(role.host)), "and then by WebSocket"


class Mute(Limited):
    """Its answers are none: 200, and nothing in them, as of a gateway that has lost its way."""

    async def __call__(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        if request.method != "POST":
            return await self._answer(request, seen)
        self.asked.append(time.time())
        return web.Response(content_type="text/event-stream")


def gives_up(mutes: dict[str, Mute]) -> Callable[[Role, World], None]:
    def night_of(role: Role, world: World) -> None:
        set_out(world, role)
        reaches(world, *OVER)
        asked = len(mutes[role.name].asked)
        assert asked <= 10, f"{role.name} asked {asked} times"
        assert "that was no answer of a model" in " ".join(faults(world)), faults(world)

    return night_of


def test_nobody_asks_without_end(worlds: Callable[..., World]) -> None:
    made = {name: alone(worlds, role, role.runs(), "on_exit: keep") for name, role in CAST.items()}
    mutes = {name: Mute(world, CAST[name]) for name, world in made.items()}
    for name, world in made.items():
        world.vendor.handlers[CAST[name].host] = mutes[name]
    together(gives_up(mutes), made)
