"""How the pretended vendors answer requests: their paths and status codes, around the pure wire formats.

A handler serves whatever host it is put under, so that a vendor of the operator's own is one more name for `openai`.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import WSMsgType, web

from app.demo.pretend import anthropic, chat, gemini, openai
from app.demo.pretend.script import Script
from app.demo.pretend.seen import Handler, Seen

_GEMINI = re.compile(r"/v1(?:beta|alpha)?/models/([\w.-]+):(\w+)")
_BAD_BODY = (ValueError, AttributeError, TypeError, KeyError)


class Vendors:
    """The handlers, all telling the same script. `seen` is told of every message of a WebSocket."""

    def __init__(self, script: Script, *, compress: bool, seen: Callable[[Seen], None]) -> None:
        self._script = script
        self._compress = compress
        self._seen = seen

    @property
    def handlers(self) -> dict[str, Handler]:
        return {anthropic.HOST: self.anthropic, openai.HOST: self.openai, gemini.HOST: self.gemini}

    async def anthropic(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        if not ("x-api-key" in seen.headers or "authorization" in seen.headers):
            return web.json_response(anthropic.error("authentication_error", "no credential"), status=401)
        if (seen.method, seen.path) == ("POST", "/v1/messages"):
            return await self._messages(request, seen)
        if (seen.method, seen.path) == ("POST", "/v1/messages/count_tokens"):
            return web.json_response(anthropic.count(seen.json()))
        if (seen.method, seen.path) == ("GET", "/v1/models"):
            return web.json_response(anthropic.models())
        return web.json_response(anthropic.error("not_found_error", "no such path"), status=404)

    async def _messages(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        try:
            talk = anthropic.read(seen.json())
        except _BAD_BODY:
            return web.json_response(anthropic.error("invalid_request_error", "not a conversation"), status=400)
        turn = self._script(talk)
        if not talk.stream:
            return web.json_response(anthropic.message(talk, turn))
        return await self._stream(request, anthropic.events(talk, turn), turn.delay, turn.headers)

    async def openai(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        """Paths are told by their end: others put the same API below a prefix of their own."""
        if "authorization" not in seen.headers:
            return web.json_response(openai.error("invalid_api_key", "no credential"), status=401)
        last = seen.path.rsplit("/", 1)[-1]
        if (seen.method, last) == ("GET", "responses"):
            return await self._socket(request, seen)
        if (seen.method, last) == ("POST", "responses"):
            return await self._responses(request, seen)
        if (seen.method, last) == ("POST", "completions"):
            return await self._chat(request, seen)
        if (seen.method, last) == ("GET", "models"):
            return web.json_response(openai.models())
        return web.json_response(openai.error("not_found", "no such path"), status=404)

    async def _responses(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        body = seen.json()
        try:
            turn = self._script(openai.read(body))
        except _BAD_BODY:
            return web.json_response(openai.error("invalid_request_error", "not a conversation"), status=400)
        if not body.get("stream"):
            return web.json_response(openai.response(body, turn))
        return await self._stream(request, map(openai.sse, openai.events(body, turn)), turn.delay)

    async def _socket(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        """One request a message; a later one holds only what is new since `previous_response_id`."""
        socket = web.WebSocketResponse(max_msg_size=64 * 1024 * 1024)
        await socket.prepare(request)
        held = dict[str, list[Any]]()
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            self._seen(Seen(seen.host, "WS", seen.path, "", {}, message.data.encode()))
            body: dict[str, Any] = json.loads(message.data)
            before = held.get(body.get("previous_response_id") or "", [])
            body["input"] = [*before, *(body.get("input") or [])]
            if body.get("generate") is False:  # it warms the connection up: an answer without content
                answer = openai.warmed(body)
            else:
                turn = self._script(openai.read(body))
                answer = list(openai.events(body, turn))
            for event in answer:
                await socket.send_str(json.dumps(event))
            final = answer[-1]["response"]
            held[final["id"]] = [*body["input"], *final["output"]]
        return socket

    async def _chat(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        body = seen.json()
        try:
            turn = self._script(chat.read(body))
        except _BAD_BODY:
            return web.json_response(openai.error("invalid_request_error", "not a conversation"), status=400)
        if not body.get("stream"):
            return web.json_response(chat.completion(body, turn))
        return await self._stream(request, chat.chunks(body, turn), turn.delay)

    async def gemini(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        if "x-goog-api-key" not in seen.headers:
            return web.json_response(gemini.error(401, "UNAUTHENTICATED", "no credential"), status=401)
        if (seen.method, seen.path) == ("GET", "/v1beta/models"):
            return web.json_response(gemini.models())
        match = _GEMINI.fullmatch(seen.path)
        if match is None or seen.method != "POST":
            return web.json_response(gemini.error(404, "NOT_FOUND", "no such path"), status=404)
        model, verb = match.groups()
        body = seen.json()
        if verb == "countTokens":
            return web.json_response(gemini.count(body))
        talk = gemini.read(body, model, stream=verb == "streamGenerateContent")
        turn = self._script(talk)
        if not talk.stream:
            return web.json_response(gemini.answer(talk, turn))
        return await self._stream(request, gemini.chunks(talk, turn), turn.delay)

    async def _stream(
        self, request: web.Request, events: Iterable[bytes], delay: float, more: Iterable[tuple[str, str]] = ()
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8", **dict(more)})
        if self._compress:
            response.enable_compression()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # who asked may hang up amid an answer; aiohttp would log it as ours
            for event in events:
                await response.write(event)
                if delay:
                    await asyncio.sleep(delay)
            await response.write_eof()
        return response
