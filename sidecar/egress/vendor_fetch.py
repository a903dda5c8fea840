"""Does a request to a model's API have the vendor reach out for whoever sent it? Pure.

A vendor's servers can fetch a page, connect to an MCP server, or load an image by its address: then data in that
address leaves by an allowed host, to one that nobody allowed. A search whose words stay with the vendor is let be.

Tools are told by what is known not to fetch, so that a new kind is refused; addresses by the names of their members.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from sidecar.json_values import number

type Pairs = dict[str, Any]

STAY = frozenset(
    {"function", "custom", "namespace", "local_shell", "apply_patch", "file_search", "image_generation", "tool_search"}
    | {"computer", "computer_use", "computer_use_preview", "google_search", "google_maps"}
)
"""Tools by their whole type: run by the client, or by the vendor on what it was given."""
DATED = re.compile(
    r"(?:bash|text_editor|computer|memory|advisor|code_execution|web_search)_20\d{6}|tool_search_tool_[a-z0-9_]+"
)
"""Anthropic's. Its sandbox has no network, its search shows what was found and opens nothing else."""
KEYED_TOOLS = frozenset(
    {"functiondeclarations", "googlesearch", "googlesearchretrieval", "googlemaps", "enterprisewebsearch"}
    | {"codeexecution", "computeruse", "filesearch", "toolspec", "cachepoint"}
)
"""Gemini's tools have no type, but one key each; Bedrock's as well."""
SCHEMAS = frozenset({"inputschema", "outputschema", "parametersjsonschema", "responseschema", "responsejsonschema"})
OPAQUE = SCHEMAS | {"annotations", "citations", "action", "args", "arguments", "metadata", "schema", "inputexamples"}
"""What these hold is the model's, or describes what it may write: no address in it is fetched."""
DECLARES = frozenset({"tools", "function", "functions", "functiondeclarations"})
SHOWN = ("web_search", "web_fetch", "search_result")
"""Parts of a conversation that say where something came from."""
ADDRESSES = ("url", "urls", "uri", "uris", "uriprefix", "apibase")
"""Ends of names whose members are addresses."""
MEDIA = frozenset({"filedata", "image", "images", "audio", "video", "document", "file", "files", "links"})
"""Members that hold what is meant, or the address of it."""
SCHEME = re.compile(r"(?!data:)[a-z][a-z0-9+.-]+:")
NAMED = frozenset(
    {"mcpservers", "networkpolicy", "networking", "externalwebaccess", "plugins", "model", "models", "agent"}
    | {"urlcontext", "websearchoptions", "searchparameters", "inputfileid", "inputfiles"}
)
"""Members that are looked at by themselves, wherever they stand."""
PLUGINS = frozenset({"auto-router", "context-compression", "file-parser", "moderation", "response-healing"})
"""OpenRouter's that reach nothing."""
UPLOADED = re.compile(r"https://generativelanguage\.googleapis\.com/v1(?:alpha|beta)?/files/[a-z0-9-]+")
"""Where Gemini's own uploaded files are."""
SEARCHES = re.compile(r"(?:^|[/._-])(?:compound|sonar)|search-(?:preview|api)|deep-research|:online", re.IGNORECASE)
"""Models that open pages with no tool declared."""
OPENAI = ("openai.com", "chatgpt.com")
"""Where `external_web_access: false` is known to be heeded, and a `code_interpreter` to have no network."""
LIVE = "with live access (external_web_access is not false)"

READ_AS_JSON = re.compile(
    r"(?:application/(?:[\w.-]+\+)?json|text/plain)\s*(?:;\s*charset\s*=\s*\"?utf-?8\"?\s*)?", re.ASCII | re.IGNORECASE
)
MOST_VALUES = 1_000_000
"""In one body: up to 300 MB of memory. A conversation of a million tokens has a tenth of them."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)

MOST_TOLD = 3
LONGEST = 200
_NAME = re.compile(r"[A-Za-z0-9_:-]{1,60}")
"""Names that a refusal repeats: others may hold anything."""


class Unreadable(Exception):
    """Nobody can say what a server would read in it."""


def fetches(body: bytes, *, host: str, kinds: Sequence[str] = (), file: bool = False) -> str | None:
    """What in a request to `host` would have the vendor reach out, and where it stands; None where nothing does.
    Raises Unreadable.

    `kinds` are its content types. `file`: it may be an uploaded file of any kind.
    """
    if not body.strip():
        return None
    if not file and not (len(kinds) < 2 and all(READ_AS_JSON.fullmatch(kind.strip()) for kind in kinds)):
        raise Unreadable(f"its content-type is {' and '.join(kinds)[:100]!r}, not application/json")
    if _too_many(body):
        raise Unreadable(f"it has more than {MOST_VALUES} values")
    try:
        document = json.loads(body.decode(), object_pairs_hook=_once, parse_int=number)
    except _Twice as error:
        raise Unreadable(f"two members of one object have the same name{error}") from None
    except (ValueError, RecursionError) as error:
        if file and isinstance(error, ValueError):
            return None
        raise Unreadable("it is not JSON in UTF-8" if isinstance(error, ValueError) else "it is too deep") from None
    openai = any(host == known or host.endswith(f".{known}") for known in OPENAI)
    try:
        return "; ".join(islice(_found(document, openai), MOST_TOLD)) or None
    except RecursionError:
        raise Unreadable("it is too deep") from None


def _too_many(body: bytes) -> bool:
    if _values(body) <= MOST_VALUES:
        return False
    return body.count(b'"') > 4 * MOST_VALUES or _values(_STRING.sub(b"", body)) > MOST_VALUES


def _values(body: bytes) -> int:
    """No fewer than it has, if what stands in its strings is none."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


class _Twice(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> Pairs:
    """Of two members of one name some servers take the first, others the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        before = set[str]()
        for name, _ in pairs:
            if name in before:
                raise _Twice(f" ({name})" if _NAME.fullmatch(name) else "")
            before.add(name)
    return found


@dataclass(slots=True)
class _Place:
    """An object in the request: `above` is the name of the member that it stands in, or that its list does."""

    above: str
    kind: str
    openai: bool


type _Step = tuple[str | int, str | None, str, Any]
"""A member or item: its name or number, what is wrong with it, and what is looked into next with the name it is under.
"""


def _found(document: Any, openai: bool) -> Iterator[str]:
    levels, trail = [_steps("", document, openai)], list[str | int]()
    while levels:
        step = next(levels[-1], None)
        if step is None:
            levels.pop()
            del trail[-1:]
            continue
        name, reason, key, inner = step
        if reason is not None:
            yield f"{reason}, at {_where([*trail, name])}"
        if isinstance(inner, dict | list) or (key == "tools" and inner is not None):
            levels.append(_steps(key, inner, openai))
            trail.append(name)


def _steps(above: str, value: Any, openai: bool) -> Iterator[_Step]:
    if isinstance(value, list):
        for number, one in enumerate(cast(list[Any], value)):
            yield number, None, above, one
    elif isinstance(value, dict):
        found = cast(Pairs, value)
        place = _Place(above, _kind(found), openai)
        if above == "tools":
            yield "type", _tool(found, place), "", None
        if isinstance(found.get("commands"), dict | list):  # Codex's own search: it opens pages, too
            settings = found.get("settings")
            inside = isinstance(settings, dict) and _inside(cast(Pairs, settings), place)
            yield "commands", None if inside else f"a search {LIVE}", "", None
        for name, inner in found.items():
            key = _plain(name)
            yield name, _member(key, inner, place), key, None if _opaque(key, place) else inner
    else:
        yield "", "a tool that is not described", "", None


def _where(trail: list[str | int]) -> str:
    """`messages[3].content[0].source.url`: the place to mend."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step if _NAME.fullmatch(step) else '…'}" for step in trail)
    path = "".join(steps).strip(".")
    return path if len(path) <= LONGEST else f"…{path[-LONGEST:]}"


def _plain(name: str) -> str:
    """Gemini takes `url_context` and `urlContext` alike; gateways in Go any case, and ſ for s."""
    return name.replace("_", "").replace("-", "").casefold()


def _kind(value: Any) -> str:
    kind = cast(Pairs, value).get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else ""


def _opaque(key: str, place: _Place) -> bool:
    if key == "input":
        return place.above == "tooluse" or (place.above == "content" and place.kind.endswith("tool_use"))
    if key == "json":  # Bedrock's, of a tool's answer
        return place.above == "content"
    if key == "response":
        return place.above in ("functionresponse", "functiondeclarations")
    return key in OPAQUE or (key == "parameters" and place.above in DECLARES)


def _member(key: str, value: Any, place: _Place) -> str | None:
    if key == "agent" and value and place.above in ("", "response"):  # Gemini's have a network by themselves
        return "an agent that the vendor runs"
    if key in NAMED:
        return _named(key, value)
    if key == "filename" and place.above == "inputconfig":
        return _named("inputfiles", value)
    if not (key.endswith(ADDRESSES) or key in MEDIA) or not _address(key, value):
        return None
    shown = key == "url" and place.above == "content" and place.kind.startswith(SHOWN)
    return None if shown else "an address for the vendor to load"


def _named(key: str, value: Any) -> str | None:
    if key == "mcpservers":
        return "an MCP server that the vendor connects to" if value else None
    if key in ("networkpolicy", "networking"):
        return "a sandbox of the vendor's with a network" if value and _kind(value) != "disabled" else None
    if key == "externalwebaccess":
        return None if value is False else f"a search {LIVE}"
    if key == "plugins":
        return None if not value or PLUGINS.issuperset(map(str, _ids(value))) else "a plugin that may reach out"
    if key in ("model", "models", "agent"):
        return "a model that opens pages by itself" if any(map(SEARCHES.search, _texts(value))) else None
    if value is None:
        return None
    if key.startswith("inputfile"):
        return "a file of requests, which is not looked into"
    return "the tool url_context" if key == "urlcontext" else "a search that may open pages"


def _tool(found: Pairs, place: _Place) -> str | None:
    """The tool, where it reaches out or may."""
    kind = place.kind
    if any(name != "type" and _plain(name) == "type" for name in found):
        return "a tool whose type is read in two ways"
    if kind in STAY or DATED.fullmatch(kind) or (kind == "code_interpreter" and place.openai):
        return None
    if kind == "shell":
        where = found.get("environment")
        return None if not where or _kind(where) == "local" else "the tool shell in a sandbox of the vendor's"
    if kind.startswith("web_search") and not kind.startswith("web_search_preview"):  # which is always live
        return None if _inside(found, place) else f"{_called(kind)} {LIVE}"
    if kind or "type" in found:
        return _called(kind)
    if "name" in found and "input_schema" in found:
        return None
    other = next((name for name in found if _plain(name) not in KEYED_TOOLS), None)
    return None if other is None else _called(other)


def _called(tool: str) -> str:
    return f"the tool {tool}" if _NAME.fullmatch(tool) else "a tool of an unknown type"


def _inside(found: Pairs, place: _Place) -> bool:
    """It searches in what the vendor has read before."""
    return place.openai and found.get("external_web_access") is False


def _ids(value: Any) -> list[Any]:
    items = cast(list[Any], value) if isinstance(value, list) else [value]
    return [cast(Pairs, one).get("id") if isinstance(one, dict) else one for one in items]


def _texts(value: Any) -> list[str]:
    items = cast(list[Any], value) if isinstance(value, list) else [value]
    return [one for one in items if isinstance(one, str)]


def _address(key: str, value: Any) -> bool:
    """Something to load in a member that is named as an address. What is in the request itself (`data:`) is none."""
    if isinstance(value, list):
        return any(_address(key, one) for one in cast(list[Any], value))
    text = value.strip().lower() if isinstance(value, str) else ""
    if not text or text.startswith("data:") or UPLOADED.fullmatch(text):
        return False
    return key not in MEDIA or SCHEME.match(text) is not None
