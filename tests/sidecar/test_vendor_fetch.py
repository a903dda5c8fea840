"""A model's vendor reaches out for nobody whom the bottle file does not let: by HTTP, encoded or not, and WebSocket."""

import gzip
import json
from typing import Any

import pytest
import websockets

from sidecar.egress.vendor_fetch import Unreadable, fetches
from tests.sidecar.metering_kit import HOST, OTHER, intents, metered_bottle, usages
from tests.sidecar.test_metering_socket import codex, connect, create, turn

EVIL = "https://evil.example/?q=c2VjcmV0"
OPENAI = "api.openai.com"

REACH_OUT: dict[str, dict[str, Any]] = {
    "an agent of the vendor's": {"agent": "antigravity-preview", "input": "read it", "environment": "remote"},
    "an agent of one's own": {"agent": {"type": "agent", "id": "agent_1"}, "environment_id": "env_1"},
    "fetch": {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]},
    "later fetch": {"tools": [{"type": "web_fetch_20991231", "name": "web_fetch"}]},
    "connector": {"mcp_servers": [{"type": "url", "url": EVIL, "name": "x"}]},
    "image": {"messages": [{"content": [{"type": "image", "source": {"type": "url", "url": EVIL}}]}]},
    "image of a tool": {
        "messages": [
            {
                "content": [
                    {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": EVIL}}]}
                ]
            }
        ]
    },
    "batch": {"requests": [{"params": {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}}]},
    "remote mcp": {"tools": [{"type": "mcp", "server_url": EVIL}]},
    "connector of openai": {"tools": [{"type": "mcp", "connector_id": "connector_dropbox"}]},
    "live search": {"tools": [{"type": "web_search"}]},
    "preview search": {"tools": [{"type": "web_search_preview_2025_03_11"}]},
    "named search": {"tools": [{"type": "web_search", "name": "web_search"}]},
    "sandbox": {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]},
    "networked sandbox": {
        "tools": [{"type": "code_interpreter", "container": {"type": "auto", "network_policy": {"type": "allowlist"}}}]
    },
    "image_url": {"input": [{"content": [{"type": "input_image", "image_url": EVIL}]}]},
    "image_url of chat": {"messages": [{"content": [{"type": "image_url", "image_url": {"url": EVIL}}]}]},
    "an address without slashes": {"input": [{"content": [{"image_url": "https:evil.example"}]}]},
    "addresses": {"input": [{"content": [{"image_url": [EVIL]}]}]},
    "file_url": {"input": [{"content": [{"type": "input_file", "file_url": EVIL}]}]},
    "image of an output": {
        "input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": EVIL}]}]
    },
    "in a namespace": {"tools": [{"type": "namespace", "tools": [{"type": "mcp", "server_url": EVIL}]}]},
    "url_context": {"tools": [{"url_context": {}}]},
    "urlContext beside": {"tools": [{"googleSearch": {}, "urlContext": {}}]},
    "one tool, no list": {"tools": {"urlContext": {}}},
    "file_uri": {"contents": [{"parts": [{"file_data": {"file_uri": EVIL}}]}]},
    "fileUri of an answer": {
        "contents": [{"parts": [{"functionResponse": {"response": {}, "parts": [{"fileData": {"fileUri": EVIL}}]}}]}]
    },
    "interactions": {"tools": [{"type": "url_context"}], "input": "x"},
    "unknown": {"tools": [{"type": "brand_new_20300101"}]},
    "not described": {"tools": ["web_fetch"]},
    "list in a list": {"tools": [[{"type": "mcp"}]]},
    "later search of openai": {"tools": [{"type": "web_search_2025_08_26"}]},
    "preview, said not to be live": {"tools": [{"type": "web_search_preview", "external_web_access": False}]},
    "search, said to be live": {"tools": [{"type": "web_search", "external_web_access": True}]},
    "search, not quite false": {"tools": [{"type": "web_search", "external_web_access": 0}]},
    "search of chat": {"model": "gpt-5", "web_search_options": {}},
    "search of codex's own": {"commands": {"open": [{"ref_id": EVIL}]}, "settings": {"external_web_access": True}},
    "search of codex's own, unsaid": {"commands": {"open": [{"ref_id": EVIL}]}},
    "search of codex's own, in a list": {"commands": [{"open": [{"ref_id": EVIL}]}]},
    "live of the settings": {"settings": {"external_web_access": True}},
    "bucket": {"messages": [{"content": [{"image": {"source": {"s3Location": {"uri": "s3://evil/x"}}}}]}]},
    "grounding": {"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}},
    "sources of xai": {"search_parameters": {"mode": "on", "sources": [{"type": "rss", "links": [EVIL]}]}},
    "plugin": {"plugins": [{"id": "web"}]},
    "later plugin": {"plugins": [{"id": "file-parser"}, {"id": "brand-new"}]},
    "input of no tool's": {"type": "tool_use", "input": [{"content": [{"type": "input_image", "image_url": EVIL}]}]},
    "image in short": {"messages": [{"content": [{"type": "image", "image": EVIL}]}]},
    "images": {"images": [EVIL]},
    "another's upload": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc?key=another"},
    "file of requests": {"input_file_id": "file-abc", "endpoint": "/v1/responses", "completion_window": "24h"},
    "file of requests at google": {"batch": {"input_config": {"file_name": "files/abc"}}},
    "server tool of openrouter": {"tools": [{"type": "openrouter:web_search"}]},
    "search in the model": {"model": "openai/gpt-5:online"},
    "search in another model": {"models": ["openai/gpt-5", "groq/compound-mini"]},
    "function with a context": {"tools": [{"name": "f", "input_schema": {}, "url_context": {}}]},
    "image with a false type": {
        "messages": [{"content": [{"type": "image_url", "image_url": {"type": "search_result", "url": EVIL}}]}]
    },
    "parameters of a request": {"instances": [], "parameters": {"storageUri": "gs://evil"}},
    "list of addresses": {"input_config": {"gcs_source": {"uris": ["gs://evil/x"]}}},
    "address of the api": {"api_base": EVIL},
    "file by its address": {"messages": [{"content": [{"type": "file", "file": {"file_data": EVIL}}]}]},
    "tools in the input": {"input": [{"type": "additional_tools", "tools": [{"type": "web_search"}]}]},
    "in capitals": {"TOOLS": [{"type": "mcp"}]},
    "in odd letters": {"tool\u017f": [{"type": "mcp"}]},
    "type in capitals": {"tools": [{"name": "f", "input_schema": {}, "Type": "web_fetch_20250910"}]},
    "another type in capitals": {"tools": [{"type": "function", "Type": "mcp"}]},
    "environment": {"config": {"networking": {"type": "unrestricted"}}},
}
STAY: dict[str, dict[str, Any]] = {
    "the word agent": {"model": "m", "input": "x", "client": {"agent": "coder"}, "agent": None},
    "what a tool answered, at Bedrock": {
        "messages": [{"content": [{"toolResult": {"toolUseId": "x", "content": [{"json": {"url": EVIL}}]}}]}]
    },
    "claude": {
        "tools": [
            {"name": "WebFetch", "input_schema": {"properties": {"url": {"type": "string", "default": EVIL}}}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
            {"type": "advisor_20260301", "name": "advisor"},
            {"type": "code_execution_20250825", "name": "code_execution"},
            {"name": "g", "input_schema": {}, "input_examples": [{"url": EVIL}], "defer_loading": True},
            {"type": "custom", "name": "x", "input_schema": {}},
        ],
        "mcp_servers": [],
        "messages": [
            {"role": "user", "content": f"read {EVIL}"},
            {"content": [{"type": "tool_use", "name": "WebFetch", "input": {"url": EVIL, "tools": [{"type": "mcp"}]}}]},
            {"content": [{"type": "image", "source": {"type": "base64", "data": "AAAA"}}]},
            {"content": [{"type": "web_search_tool_result", "content": [{"type": "web_search_result", "url": EVIL}]}]},
            {"content": [{"type": "text", "text": "x", "citations": [{"url": EVIL}]}]},
        ],
    },
    "codex": {
        "tools": [
            {"type": "function", "name": "f", "parameters": {"properties": {"image_url": {"type": "string"}}}},
            {"type": "web_search", "external_web_access": False},
            {"type": "local_shell"},
            {"type": "shell", "environment": {"type": "local"}},
            {"type": "code_interpreter", "container": {"type": "auto"}},
        ],
        "client_metadata": {"workspaces": {"/x": {"associated_remote_urls": {"origin": EVIL}}}},
        "input": [
            {"type": "additional_tools", "tools": [{"type": "namespace", "tools": [{"type": "function"}]}]},
            {"type": "web_search_call", "action": {"type": "open_page", "url": EVIL}},
            {"content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
            {"content": [{"type": "output_text", "annotations": [{"type": "url_citation", "url": EVIL}]}]},
        ],
    },
    "gemini": {
        "tools": [
            {"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"properties": {}}}]},
            {"googleSearch": {}},
            {"functionDeclarations": [{"name": "g", "parameters": {}, "response": {"tools": {"type": "ARRAY"}}}]},
        ],
        "contents": [
            {"parts": [{"functionCall": {"name": "f", "args": {"url": EVIL}}}]},
            {"parts": [{"functionResponse": {"name": "f", "response": {"url": EVIL}}}]},
            {"parts": [{"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}}]},
        ],
    },
    "bedrock": {
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"url": EVIL}}}}, {"cachePoint": {}}]
        },
        "messages": [{"content": [{"toolUse": {"name": "f", "input": {"url": EVIL}}}]}],
    },
    "openrouter": {
        "plugins": [{"id": "file-parser", "pdf": {"engine": "native"}}],
        "messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}],
        "images": ["iVBORw0KGgo="],
    },
    "search of codex's own": {
        "model": "gpt-x",
        "commands": {"search_query": [{"q": "x"}]},
        "settings": {"external_web_access": False},
    },
}


@pytest.mark.parametrize("name", REACH_OUT)
def test_what_reaches_out_is_seen(name: str) -> None:
    for host in (OPENAI, "llm.company.example"):
        assert fetches(json.dumps(REACH_OUT[name]).encode(), host=host)
    assert fetches(json.dumps(REACH_OUT[name]).encode(), host=OPENAI, file=True)
    assert fetches(json.dumps({"type": "response.create", "response": REACH_OUT[name]}).encode(), host=OPENAI)


@pytest.mark.parametrize("name", STAY)
def test_ordinary_work_does_not(name: str) -> None:
    assert fetches(json.dumps(STAY[name]).encode(), host=OPENAI) is None


@pytest.mark.parametrize("name", ["codex", "search of codex's own"])
def test_what_openai_keeps_inside_others_may_not(name: str) -> None:
    for host in ("api.x.ai", "notopenai.com", "openai.com.evil.example"):
        assert fetches(json.dumps(STAY[name]).encode(), host=host)
    assert fetches(json.dumps(STAY[name]).encode(), host="chatgpt.com") is None
    assert fetches(json.dumps(STAY[name]).encode(), host="eu.api.openai.com") is None


FORM = f'--x\r\ncontent-disposition: form-data; name="url"\r\n\r\n{EVIL}\r\n--x--\r\n'.encode()
TWICE = b'{"tools": [], "tools": []}'


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{'tools': []}", "not JSON"),
        (b"not json", "not JSON"),
        (b'{"tools": []} {}', "not JSON"),
        (TWICE, r"the same name \(tools\)"),
        (rb'{"tools": [], "\u0074ools": []}', r"the same name \(tools\)"),
        (b'{"a' + b'\xff": 1}', "UTF-8"),
        (b"\xef\xbb\xbf{}", "UTF-8"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b'{"a": "\x00"}', "not JSON"),
        (b"[" * 200_000, "too deep"),
        (b'{"a":' * 200_000, "too deep"),
        (b'{"image":' + b"[" * 900 + b"]" * 900 + b"}", "too deep"),
        (b"[" + b"[]," * 3_000_000 + b"[]]", "values"),
    ],
    ids=[
        "lenient",
        "text",
        "two",
        "twice",
        "twice, escaped",
        "bytes",
        "mark",
        "wide",
        "nul",
        "deep",
        "deep too",
        "deep address",
        "many",
    ],
)
def test_what_cannot_be_read_is_not_let_through(body: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        fetches(body, host=OPENAI)


def test_a_long_text_is_no_multitude() -> None:
    said = 'a, b, "[c]", {d} ' * 1_000_000
    assert fetches(json.dumps({"messages": [{"content": said}]}).encode(), host=OPENAI) is None


@pytest.mark.parametrize(
    "kinds",
    [
        ["multipart/form-data; boundary=x"],
        ["application/x-www-form-urlencoded"],
        ["application/x-protobuf"],
        ["application/json; charset=utf-7"],
        ["application/json; charset=utf-8; charset=utf-7"],
        ["application/json", "application/x-protobuf"],
        ["application/json, application/x-protobuf"],
        [""],
    ],
)
def test_what_is_said_to_be_something_else_is_not_read_as_json(kinds: list[str]) -> None:
    with pytest.raises(Unreadable, match="content-type"):
        fetches(b"{}", host=OPENAI, kinds=kinds)


@pytest.mark.parametrize(
    "kind", ["application/json", 'Application/JSON ; charset="UTF-8"', "text/plain;charset=UTF-8", "application/a+json"]
)
def test_what_agents_say_of_their_json_is_heard(kind: str) -> None:
    assert fetches(b"{}", host=OPENAI, kinds=[kind]) is None


def test_a_refusal_names_the_places() -> None:
    parts = [{"type": "text", "text": "x"}, {"type": "image", "source": {"type": "url", "url": EVIL}}]
    body = {
        "messages": [{"content": "x"}, {"content": parts}],
        "tools": [{"name": "f", "input_schema": {}}, {"type": "mcp"}],
    }
    assert fetches(json.dumps(body).encode(), host=HOST) == (
        "an address for the vendor to load, at messages[1].content[1].source.url; the tool mcp, at tools[1].type"
    )
    many = json.dumps({"messages": [{"image_url": EVIL}] * 50}).encode()
    assert str(fetches(many, host=HOST)).count("image_url") == 3


def test_a_refusal_repeats_nothing_that_may_hold_something() -> None:
    told = fetches(json.dumps({f"k {EVIL}": {"url": EVIL}, "tools": [{"type": f"x {EVIL}"}]}).encode(), host=HOST)
    assert told is not None
    assert "evil" not in told
    deep: Any = {"url": EVIL}
    for _ in range(400):
        deep = {"name": deep}
    assert len(str(fetches(json.dumps(deep).encode(), host=HOST))) < 300


def test_a_file_is_no_call_with_tools() -> None:
    assert fetches(b"\x89PNG\r\n\x00", host=OPENAI, kinds=["image/png"], file=True) is None
    with pytest.raises(Unreadable):
        fetches(TWICE, host=OPENAI, file=True)
    assert fetches(b"", host=OPENAI) is None


async def answered(seen: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
async def test_on_the_wire_it_does_not_leave(http2: bool) -> None:
    bad = json.dumps(REACH_OUT["fetch"]).encode()
    padded = json.dumps(REACH_OUT["fetch"] | {"pad": "the words of a page " * 40_000}).encode()
    async with metered_bottle(answered) as (box, upstream), box.client(http2=http2) as client:
        url = f"https://{HOST}/v1/messages"
        for body, headers in (
            (bad, {}),
            (gzip.compress(bad), {"content-encoding": "gzip"}),
            (padded, {}),
            (b"no json", {}),
            (FORM, {"content-type": "multipart/form-data; boundary=x"}),
        ):
            told = await client.post(url, content=body, headers=headers)
            assert (told.status_code, told.json()["code"]) == (400, "vendor_fetch"), told.text
            assert "vendor_fetch: true" in told.json()["what_to_do"]
        for named in ("%24ct=multipart/form-data", "$ct=text/plain;charset=utf-7", "$httpHeaders=content-type:x/y"):
            told = await client.post(f"{url}?{named}", json=STAY["claude"])
            assert told.json()["code"] == "vendor_fetch", named
        for path in ("/v1/messages/count_tokens", "/v1/files", "/v1/brand-new"):
            assert (await client.post(f"https://{HOST}{path}", content=bad)).status_code == 400
        assert (await client.request("GET", f"https://{HOST}/v1/models", content=bad)).status_code == 400
        assert not upstream.seen
        file = await client.post(f"https://{HOST}/v1/files", content=b"\x89PNG")
        assert file.status_code == 200, file.text
        assert (await client.post(url, json=STAY["claude"])).status_code == 200
        assert (await client.post(f"https://{OTHER}/v1", content=bad)).status_code == 200, "that is no model's"


async def test_a_bottle_file_may_allow_it() -> None:
    async with metered_bottle(answered) as (box, upstream), box.client() as client:
        await box.set_policy(box.config.policy.model_copy(update={"vendor_fetch": True}))
        assert (await client.post(f"https://{HOST}/v1/messages", json=REACH_OUT["fetch"])).status_code == 200
        assert len(upstream.seen) == 1


async def test_on_a_websocket_it_does_not_leave_and_costs_nothing() -> None:
    async with codex() as box:
        async with connect(box) as socket:
            assert (await turn(socket, "one", tools=STAY["codex"]["tools"]))["type"] == "response.completed"
            await socket.send(create("two", tools=REACH_OUT["remote mcp"]["tools"]))
            told = json.loads(await socket.recv())
            assert (told["error"]["code"], told["status"]) == ("vendor_fetch", 400)
        event = await box.event(phase="closed")
        assert (event.decision, event.code) == ("deny", "vendor_fetch")
        assert len(intents(box)) == len(usages(box)) == 1


@pytest.mark.parametrize("member", ["", '"type": "response.cancel", '], ids=["no json", "twice"])
async def test_a_message_that_cannot_be_read_does_not_leave(member: str) -> None:
    async with codex() as box, connect(box) as socket:
        await socket.send("{" + member + create("x")[1:] if member else create("x")[:10])
        assert json.loads(await socket.recv())["error"]["code"] == "vendor_fetch"
        assert intents(box) == []


@pytest.mark.parametrize("hook", ["request", "agent_message"])
async def test_a_fault_of_the_check_lets_nothing_out(hook: str) -> None:
    fault = f"sidecar.egress.addons.vendor_fetch:VendorFetch.{hook}:raise"
    if hook == "request":
        async with metered_bottle(answered, fault=fault) as (box, upstream), box.client() as client:
            told = await client.post(f"https://{HOST}/v1/messages", json=STAY["claude"])
            assert (told.status_code, told.json()["code"]) == (403, "internal_error")
            assert not upstream.seen
        return
    async with codex(fault=fault) as box:
        async with connect(box) as socket:
            with pytest.raises(websockets.ConnectionClosed):
                await turn(socket, "one")
        assert intents(box) == []
