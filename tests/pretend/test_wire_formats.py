"""The other vendors' wire formats: the same script tells the same story, with the same tokens, in each of them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from app.demo.pretend import chat, gemini, openai
from app.demo.pretend.script import Call, Say, Turn, Usage, steps
from app.demo.pretend.server import PretendServer

USAGE = Usage(input=900, output=30, cache_read=100, reasoning=10)
FIRST = Turn((Say("I will look."), Call("shell", {"command": "echo héllo"})), USAGE)
SCRIPT = steps(FIRST, Turn((Say("All done."),)))
FUNCTION = {"type": "function", "name": "shell", "parameters": {}}


@pytest.fixture
async def server() -> AsyncIterator[PretendServer]:
    async with PretendServer(SCRIPT) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


def headers(host: str) -> dict[str, str]:
    name = "x-goog-api-key" if host == gemini.HOST else "authorization"
    return {"host": host, name: "Bearer k"}


async def post(
    server: PretendServer, session: aiohttp.ClientSession, host: str, path: str, body: dict[str, Any]
) -> list[dict[str, Any]]:
    """The answer's objects: of a stream all of its events, else the one."""
    url = f"http://127.0.0.1:{server.port}{path}"
    async with session.post(url, json=body, headers=headers(host)) as answer:
        assert answer.status == 200
        text = await answer.text()
    if answer.content_type == "application/json":
        return [json.loads(text)]
    data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(one) for one in data if one != "[DONE]"]


def responses(**more: Any) -> dict[str, Any]:
    said = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]}]
    return {"model": "m", "instructions": "sys", "input": said, "tools": [FUNCTION], **more}


class TestResponses:
    async def test_a_stream_ends_with_the_whole(self, server: PretendServer, session: aiohttp.ClientSession) -> None:
        events = await post(server, session, openai.HOST, "/v1/responses", responses(stream=True))
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed")
        said = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
        called = "".join(e["delta"] for e in events if e["type"] == "response.function_call_arguments.delta")
        assert (said, json.loads(called)) == ("I will look.", {"command": "echo héllo"})
        (whole,) = await post(server, session, openai.HOST, "/v1/responses", responses())
        assert events[-1]["response"] == whole
        assert whole["usage"]["input_tokens"] == 1000
        assert whole["usage"]["input_tokens_details"] == {"cached_tokens": 100}
        assert whole["usage"]["output_tokens_details"] == {"reasoning_tokens": 10}

    async def test_a_websocket_goes_on_where_it_was(
        self, server: PretendServer, session: aiohttp.ClientSession
    ) -> None:
        url = f"http://127.0.0.1:{server.port}/v1/responses"
        async with session.ws_connect(url, headers=headers(openai.HOST)) as socket:

            async def turn(body: dict[str, Any]) -> dict[str, Any]:
                await socket.send_str(json.dumps({"type": "response.create", **body}))
                while True:
                    event = json.loads((await socket.receive(timeout=10)).data)
                    if event["type"] == "response.completed":
                        return event["response"]

            warm = await turn(responses(generate=False, input=[]))
            assert warm["output"] == []
            first = await turn(responses(previous_response_id=warm["id"]))
            (call,) = [item for item in first["output"] if item["type"] == "function_call"]
            result = {"type": "function_call_output", "call_id": call["call_id"], "output": "héllo"}
            last = await turn(responses(previous_response_id=first["id"], input=[result]))
        assert last["output"][0]["content"][0]["text"] == "All done."
        assert [seen.method for seen in server.seen] == ["GET", "WS", "WS", "WS"]

    def test_tools_that_come_as_an_item_and_take_a_text(self) -> None:
        tools = {"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]}
        body = responses(tools=[])
        body["input"].append({"type": "additional_tools", "role": "developer", "tools": [tools]})
        assert openai.read(body).tools == {"functions", "exec"}
        whole = openai.response(body, Turn((Call("exec", {"input": "text(1)"}),)))
        assert (whole["output"][0]["type"], whole["output"][0]["input"]) == ("custom_tool_call", "text(1)")

    def test_a_round_is_counted_once_however_many_results_it_has(self) -> None:
        result = {"type": "function_call_output", "output": "r"}
        call = {"type": "function_call", "name": "shell"}
        body = responses()
        body["input"] += [call, call, result, result, call, result]
        talk = openai.read(body)
        assert (talk.step, talk.results, talk.user, talk.system) == (2, ("r", "r", "r"), "go", "sys")


class TestChat:
    BODY: dict[str, Any] = {  # noqa: RUF012
        "model": "m",
        "messages": [{"role": "system", "content": "sys"}, {"role": "user", "content": "go"}],
        "tools": [{"type": "function", "function": {"name": "shell"}}],
    }

    async def test_a_stream_tells_usage_only_where_it_is_asked(
        self, server: PretendServer, session: aiohttp.ClientSession
    ) -> None:
        path = "/any/v1/chat/completions"
        plain = await post(server, session, openai.HOST, path, {**self.BODY, "stream": True})
        assert not any(chunk.get("usage") for chunk in plain)
        asked = {**self.BODY, "stream": True, "stream_options": {"include_usage": True}}
        chunks = await post(server, session, openai.HOST, path, asked)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
        calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
        assert "".join(delta.get("content") or "" for delta in deltas) == "I will look."
        assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"command": "echo héllo"}
        (whole,) = await post(server, session, openai.HOST, path, self.BODY)
        assert chunks[-1]["usage"] == whole["usage"]
        assert (whole["usage"]["prompt_tokens"], whole["usage"]["total_tokens"]) == (1000, 1030)
        assert whole["choices"][0]["finish_reason"] == "tool_calls"

    def test_rounds(self) -> None:
        results = [{"role": "assistant"}, {"role": "tool", "content": "a"}, {"role": "tool", "content": "b"}]
        talk = chat.read({**self.BODY, "messages": [*self.BODY["messages"], *results]})
        assert (talk.step, talk.results, talk.system) == (1, ("a", "b"), "sys")


class TestGemini:
    BODY: dict[str, Any] = {  # noqa: RUF012
        "contents": [{"role": "user", "parts": [{"text": "go"}]}],
        "tools": [{"functionDeclarations": [{"name": "shell"}]}],
        "systemInstruction": {"parts": [{"text": "sys"}]},
    }

    async def test_the_last_usage_of_a_stream_counts(
        self, server: PretendServer, session: aiohttp.ClientSession
    ) -> None:
        path = "/v1beta/models/gemini-2.5-pro"
        chunks = await post(server, session, gemini.HOST, f"{path}:streamGenerateContent?alt=sse", self.BODY)
        parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
        assert "".join(part.get("text", "") for part in parts) == "I will look."
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        assert calls == [{"name": "shell", "args": {"command": "echo héllo"}}]
        (whole,) = await post(server, session, gemini.HOST, f"{path}:generateContent", self.BODY)
        assert chunks[-1]["usageMetadata"] == whole["usageMetadata"]
        told = whole["usageMetadata"]
        assert (told["promptTokenCount"], told["candidatesTokenCount"], told["thoughtsTokenCount"]) == (1000, 20, 10)
        assert told["totalTokenCount"] == 1030
        assert chunks[0]["usageMetadata"]["candidatesTokenCount"] == 0

    def test_rounds(self) -> None:
        result = {"role": "user", "parts": [{"functionResponse": {"name": "shell", "response": {"output": "r"}}}]}
        contents = [*self.BODY["contents"], {"role": "model", "parts": []}, result]
        talk = gemini.read({**self.BODY, "contents": contents}, "m", stream=True)
        assert (talk.step, talk.user, talk.results, talk.system) == (1, "go", ('{"output": "r"}',), "sys")


@pytest.mark.parametrize("host", [openai.HOST, gemini.HOST])
async def test_without_a_credential_nobody_answers(
    server: PretendServer, session: aiohttp.ClientSession, host: str
) -> None:
    async with session.get(f"http://127.0.0.1:{server.port}/v1/models", headers={"host": host}) as answer:
        assert answer.status == 401
    async with session.get(f"http://127.0.0.1:{server.port}/v1/files", headers=headers(host)) as answer:
        assert answer.status == 404
