"""What else a request says that it is: servers let a header or a field of its form stand for its method, and a header
for its path. Pure: finds those sayings, decides nothing.

They are read as the most careless server might: under names that CGI and PHP make the same, and in every way that the
content type leaves open.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from sidecar.egress import paths
from sidecar.json_values import number

METHOD_HEADERS = frozenset({"x-http-method-override", "x-method-override", "x-http-method"})
TARGET_HEADERS = frozenset({"x-original-url", "x-rewrite-url"})
FIELD = "_method"
IN_QUERIES = frozenset({FIELD, "_httpmethod", "_httpheaders"})
"""`$httpMethod` is that of Google's APIs, and in `$httpHeaders` any header may stand: its colon makes it no method."""
TYPES = frozenset({"$ct", "$httpheaders"})
"""Stand for the content type of a request to them (cloud.google.com/apis/docs/system-parameters)."""
UNKNOWN = "?"
"""Stands for what nobody can read: no rule names it."""
MAX_SAYINGS = 8
MAX_NAME = 128
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]")
_METHOD = re.compile(r"[A-Z]{1,32}")
_IN_FORM = re.compile(rb"(?:^|[&;])([^=&;]*)(?:=([^&;]{0,64})|(?=[&;])|$)")
_NAMED = rb"""(?<![a-z])name\*?\s{0,8}=\s{0,8}(?:utf-8'[^'\r\n]{0,16}')?["']?[_. \[]method(?=["';\s\[])"""
_NAMED_IN_PARTS = re.compile(_NAMED, re.IGNORECASE)
_IN_PARTS = re.compile(
    _NAMED + rb"""[^\r\n]{0,512}(?:\r?\n[^\r\n]{1,512}){0,8}\r?\n\r?\n([^\r\n]{0,64})""", re.IGNORECASE
)
_IN_JSON = re.compile(rb"_method|\\u00", re.IGNORECASE)
_ESCAPE = re.compile(rb"\\u00([0-9a-f]{2})", re.IGNORECASE)
_FIELD_ALONE = re.compile(rb"(?<![0-9A-Za-z])_method(?![0-9A-Za-z_])", re.IGNORECASE)


def methods(headers: Iterable[tuple[str, str]], targets: Iterable[str]) -> tuple[str, ...]:
    """Methods that headers (names in lower case) and the queries of `targets` name."""
    said = [word for name, value in headers if _plain(name) in METHOD_HEADERS for word in value.split(",")]
    for target in targets:
        said += _in_form(paths.split(target)[1].encode("latin-1", "replace"))
    return _bounded(said)


def targets(headers: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Targets that headers name. One that is no path stays as it is: no path rule can hold for it."""
    found = tuple(dict.fromkeys(value.strip() for name, value in headers if _plain(name) in TARGET_HEADERS))
    return found if len(found) <= MAX_SAYINGS else (UNKNOWN,)


def content_types(target: str) -> list[str]:
    """Content types that the query of `target` names."""
    fields = parse_qsl(paths.split(target)[1], keep_blank_values=True)
    return [value for name, value in fields if name.lower() in TYPES]


def in_body(body: bytes, content_types: Iterable[str]) -> tuple[str, ...]:
    """Methods that a body names: of a form, in either encoding, or of a JSON object."""
    if b"\0" in body:  # characters of two or four bytes, which some servers tell by themselves (RFC 4627 3)
        narrow = body.removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").replace(b"\0", b"")
        content_types = list(content_types)
        return tuple(dict.fromkeys((*_in_text(body, content_types), *_in_text(narrow, content_types))))
    return _in_text(body, content_types)


def _in_text(body: bytes, content_types: Iterable[str]) -> tuple[str, ...]:
    kinds = {value.partition(";")[0].strip().lower() for value in content_types}
    kind = kinds.pop() if len(kinds) == 1 else ""
    if kind == "application/x-www-form-urlencoded":
        said = _in_form(body)
    elif kind == "multipart/form-data":
        said = _in_parts(body)
    elif kind == "application/json" or kind.endswith("+json"):
        said = _in_json(body)
    else:
        said = [*_in_form(body), *_in_parts(body), *_in_json(body)]
    return _bounded(said)


def _plain(name: str) -> str:
    return _NOT_IN_NAMES.sub("-", name)


def _bounded(said: Iterable[str]) -> tuple[str, ...]:
    words = [word.strip().upper() for word in said]
    found = tuple(dict.fromkeys(word if _METHOD.fullmatch(word) else UNKNOWN for word in words))
    return found if len(found) <= MAX_SAYINGS else (UNKNOWN,)


def _in_form(text: bytes) -> Iterator[str]:
    if b"method" not in text.lower() and b"%" not in text:
        return
    for found in _IN_FORM.finditer(text):
        name = unquote_plus(found[1][-MAX_NAME:].decode("latin-1")).partition("\0")[0].strip().lower()
        # PHP's way with names: what is no name's character becomes _, an array is its first part
        if _NOT_IN_NAMES.sub("_", name) in IN_QUERIES or name.partition("[")[0] == FIELD:
            yield unquote_plus((found[2] or b"").decode("latin-1"))


def _in_parts(body: bytes) -> Iterator[str]:
    named = len(_NAMED_IN_PARTS.findall(body))
    values = [found[1].decode("latin-1") for found in _IN_PARTS.finditer(body)] if named else []
    yield from values
    if len(values) < named:
        yield UNKNOWN


class _Object(list[tuple[str, Any]]):
    """A JSON object with every pair that it has: servers differ in which of two alike counts."""


def _in_json(body: bytes) -> Iterator[str]:
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") or not _IN_JSON.search(body):
        return
    try:
        text = body.decode("utf-8-sig", "replace")
        found = json.loads(text, object_pairs_hook=_Object, strict=False, parse_int=number)
    except ValueError:
        # not JSON to us: others take comments, single quotes, a comma too many
        if _FIELD_ALONE.search(_ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), body)):
            yield UNKNOWN
        return
    except RecursionError:
        yield UNKNOWN
        return
    if isinstance(found, _Object):
        yield from (str(value) for name, value in found if name.lower() == FIELD)
