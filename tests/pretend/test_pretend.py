"""The pretend API speaks the wire format that clients of the real one read."""

import json
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest

from app.demo.pretend import anthropic
from app.demo.pretend.certificate import pretended
from app.demo.pretend.script import Call, Say, Turn, Usage, steps
from app.demo.pretend.server import PretendServer, in_thread

FIRST = Turn((Say("I will look."), Call("Bash", {"command": "echo héllo"})), Usage(900, 30, 100, 5))
SECOND = Turn((Say("All done."),))
SCRIPT = steps(FIRST, SECOND)
TOOLS = [{"name": "Bash", "input_schema": {"type": "object"}}]


def body(*messages: dict[str, object], **more: object) -> dict[str, object]:
    return {"model": "m", "max_tokens": 10, "messages": list(messages), "tools": TOOLS, **more}


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def result(text: str) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": "toolu_x", "content": text}


class TestConversation:
    def test_counts_tool_rounds_since_the_last_human_message(self) -> None:
        talk = anthropic.read(
            body(user("one"), user([result("a")]), user("two"), user([result("b")]), user([result("c")]))
        )
        assert (talk.user, talk.step, talk.results) == ("two", 2, ("b", "c"))

    def test_an_errand_without_tools_does_not_shift_the_story(self) -> None:
        talk = anthropic.read({"messages": [user("title?")]})
        assert SCRIPT(talk) not in (FIRST, SECOND)

    def test_the_last_turn_stays(self) -> None:
        talk = anthropic.read(body(user("x"), *(user([result("r")]) for _ in range(9))))
        assert SCRIPT(talk) == SECOND

    def test_system_blocks_are_joined(self) -> None:
        talk = anthropic.read(body(user("x"), system=[{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]))
        assert talk.system == "A\nB"


@pytest.fixture
async def server() -> AsyncIterator[tuple[PretendServer, aiohttp.ClientSession]]:
    made = pretended((anthropic.HOST, "other.example"))
    trust = ssl.create_default_context(cadata=made.ca_pem)
    async with PretendServer(SCRIPT, tls=made.tls) as running:
        resolver = _Loopback()
        connector = aiohttp.TCPConnector(ssl=trust, resolver=resolver)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield running, session


class _Loopback(aiohttp.abc.AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None: ...


def url(server: PretendServer, path: str, host: str = anthropic.HOST) -> str:
    return f"https://{host}:{server.port}{path}"


async def test_a_streamed_turn_has_every_event_in_order(
    server: tuple[PretendServer, aiohttp.ClientSession],
) -> None:
    pretend, session = server
    sent = body(user("go"), stream=True)
    async with session.post(url(pretend, "/v1/messages"), json=sent, headers={"x-api-key": "k"}) as answer:
        assert answer.content_type == "text/event-stream"
        events = [json.loads(line[6:]) for line in (await answer.text()).splitlines() if line.startswith("data: ")]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    text = "".join(e["delta"]["text"] for e in events if e.get("delta", {}).get("type") == "text_delta")
    parts = "".join(e["delta"]["partial_json"] for e in events if e.get("delta", {}).get("type") == "input_json_delta")
    assert text == "I will look."
    assert json.loads(parts) == {"command": "echo héllo"}
    assert events[0]["message"]["usage"]["cache_read_input_tokens"] == 100
    assert events[-2]["usage"]["output_tokens"] == 30
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


async def test_the_same_turn_without_a_stream(server: tuple[PretendServer, aiohttp.ClientSession]) -> None:
    pretend, session = server
    sent = body(user("go"), user([result("r")]))
    async with session.post(url(pretend, "/v1/messages"), json=sent, headers={"x-api-key": "k"}) as answer:
        message = await answer.json()
    assert message["content"] == [{"type": "text", "text": "All done."}]
    assert message["stop_reason"] == "end_turn"
    assert pretend.of(anthropic.HOST, "/v1/messages")[0].headers["x-api-key"] == "k"


async def test_side_paths_and_refusals(server: tuple[PretendServer, aiohttp.ClientSession]) -> None:
    pretend, session = server
    key = {"x-api-key": "k"}
    async with session.post(url(pretend, "/v1/messages/count_tokens"), json=body(), headers=key) as answer:
        assert (await answer.json())["input_tokens"] > 0
    async with session.get(url(pretend, "/v1/models"), headers=key) as answer:
        assert (await answer.json())["data"]
    async with session.post(url(pretend, "/v1/messages"), json=body()) as answer:
        assert answer.status == 401
    async with session.post(url(pretend, "/v1/messages"), data=b"[1]", headers=key) as answer:
        assert answer.status == 400
    async with session.get(url(pretend, "/api/event_logging"), headers=key) as answer:
        assert answer.status == 404


async def test_other_hosts_echo_without_header_values(server: tuple[PretendServer, aiohttp.ClientSession]) -> None:
    pretend, session = server
    address = url(pretend, "/a?b=c", "other.example")
    async with session.post(address, data=b"xyz", headers={"authorization": "Bearer s3cret"}) as answer:
        text = await answer.text()
    assert "s3cret" not in text
    assert json.loads(text)["bytes"] == 3
    assert pretend.of("other.example")[0].query == "b=c"


def test_in_thread_starts_and_stops() -> None:
    made = pretended((anthropic.HOST,))
    with in_thread(PretendServer(SCRIPT, tls=made.tls)) as running:
        assert running.port > 0
        first = running.port
    with in_thread(PretendServer(SCRIPT, tls=made.tls)) as running:
        assert running.port > 0
    assert first > 0
