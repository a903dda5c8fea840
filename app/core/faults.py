"""A file's values against the schema: the first fault as a ConfigError with file, line, key and how to mend it. Pure.

It must never repeat a value that may be a secret: pydantic's `input` is not read for text.
"""

import difflib
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from app.core.schema import kind_of
from app.core.yamltree import Document, Path
from app.errors import ConfigError

_WRONG_TYPE = {
    "bool_type": ("true or false", "Write true or false"),
    "string_type": ("text", "Put numbers and words like true in quotes if they are meant as text"),
    "int_type": ("a whole number", "Write a whole number, without quotes"),
    "float_type": ("a number", "Write a number, without quotes"),
    "tuple_type": ("a list", "Write it as a list: [a, b]"),
    "dict_type": ("a mapping", "Write it as indented `key: value` lines"),
    "model_type": ("a mapping", "Write it as indented `key: value` lines"),
    "model_attributes_type": ("a mapping", "Write it as indented `key: value` lines"),
}
_HINTS = {
    "on_exit": "Write keep, or {resume: 3}",
    "log": "Write 0 (nothing on disk), 1 (refusals and warnings) or 2 (everything, redacted)",
    "host": "Write a full host name such as api.example.com, or *.example.com for its subdomains",
    "ports": "Write a list of port numbers from 1 to 65535: [443]",
    "methods": "Write HTTP methods: [GET, POST]",
    "extends": "Write one name, or a list: [base, net-read]",
    "bottle": "Write a bottle's name: lower case letters, digits and hyphens",
    "skills": "Write a list of skill names: lower case letters, digits and hyphens",
    "token_ref": "Write the secret's name (letters, digits, _ . -), never the secret itself",
    "secret": "Write the secret's name (letters, digits, _ . -), never the secret itself",
    "auth_token": "Write the secret's name (letters, digits, _ . -), never the secret itself",
    "env": "A variable's name has letters, digits and _, and does not begin with a digit",
    "limits": "Write sizes like 4GiB, times like 90m, and whole numbers above 0",
    "budget": "Write tokens (5000000, 500k) or money ({usd: 20}) for each provider",
    "masks": "Write project-relative paths, or {path: P, mode: hide | read-only | allow}",
    "git-gate": "Write it on one line, without control characters and not beginning with -",
    "paths": "Write {type: prefix | exact | regex, value: /path}",
    "connect_to": 'Write "api.example.com:443": "127.0.0.1:8443"',
    "upstream_proxy": "Write http://proxy.example.com:3128",
    "role": "Remove it: `role` is reserved",
}
_ANY_HINT = "Correct this value; docs/manifests.md describes every key"


def check[M: BaseModel](model: type[M], document: Document, file: str) -> M:
    """`document` as a `model`. Raises ConfigError for the first fault in the file's order."""
    try:
        return model.model_validate(document.value, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise _first(model, faults, document, file) from None


def _first(model: type[BaseModel], faults: list[Any], document: Document, file: str) -> ConfigError:
    """Unknown keys come first: they are the cause where something else seems to be missing."""

    def order(fault: Any) -> tuple[bool, int]:
        return (fault["type"] != "extra_forbidden", document.line(_in_file(fault["loc"], document.value)))

    fault = min(faults, key=order)
    path = _in_file(fault["loc"], document.value)
    message, hint = _words(model, fault, path, document.value)
    return ConfigError(message, hint, file=file, line=document.line(path), key=show(path, document.value))


def _words(model: type[BaseModel], fault: Any, path: Path, value: Any) -> tuple[str, str]:
    kind: str = fault["type"]
    if kind == "extra_forbidden":
        return _unknown(model, fault["loc"], path)
    if kind == "missing":
        return f"{fault['loc'][-1]} is missing", "Add it"
    if kind in _WRONG_TYPE:
        wanted, hint = _WRONG_TYPE[kind]
        return f"{wanted} is expected here, not {kind_of(_at(value, path))}", hint
    if kind == "string_pattern_mismatch":
        return "contains characters that are not allowed here", _hint_for(path)
    message = str(fault["msg"]).removeprefix("Value error, ")
    message = message.replace("Input should be", "must be").replace("String should", "must")
    if kind == "literal_error":
        return message, _HINTS.get(str(path[-1]), "Write one of these")
    return message[:1].lower() + message[1:], _hint_for(path)


def _unknown(model: type[BaseModel], loc: Path, path: Path) -> tuple[str, str]:
    name, allowed = str(path[-1]), allowed_keys(model, loc[:-1])
    if name == "role" and path[:2] == ("egress", "routes"):
        return "`role` is reserved: no value is accepted", "Remove it"
    if path == ("git-gate", "repos"):
        return "an agent may not name repositories", "Move git-gate.repos to a bottle file"
    near = difflib.get_close_matches(name, allowed, 1)
    guess = f"Did you mean {near[0]}? " if near else ""
    return f"unknown key {name[:80]!r}", f"{guess}Keys allowed here: {', '.join(allowed)}"


def _hint_for(path: Path) -> str:
    return next((_HINTS[str(part)] for part in reversed(path) if str(part) in _HINTS), _ANY_HINT)


def allowed_keys(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the schema knows at `path` below `model`."""
    kinds: list[Any] = [model]
    for part in path:
        kinds = [inner for kind in kinds for inner in _step(kind, part)] or kinds
    return [key for kind in kinds if _is_model(kind) for key in _keys(kind)]


def _step(kind: Any, part: str | int) -> list[Any]:
    """The types one step further down. A union's tag or class name in pydantic's path is no step."""
    if _is_model(kind):
        if part == kind.__name__ or part in ("text", "secret", "prompt"):
            return [kind]
        fields = kind.model_fields
        found = next((field for name, field in fields.items() if part in (name, field.alias)), None)
        return _open(found.annotation) if found is not None else []
    args = get_args(kind)
    return _open(args[-1] if get_origin(kind) is dict else args[0]) if args else []


def _open(kind: Any) -> list[Any]:
    """The members of a union, without Annotated."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _open(get_args(kind)[0])
    if origin in (Union, UnionType):
        return [inner for arg in get_args(kind) for inner in _open(arg)]
    return [kind] if _is_model(kind) or origin in (tuple, dict) else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _in_file(loc: Path, value: Any) -> Path:
    """Pydantic's location without what the file does not have (names of union members, a missing key)."""
    path: list[str | int] = []
    for part in loc:
        inner = _child(value, part)
        if inner is not _NOTHING:
            path.append(part)
            value = inner
    return tuple(path)


_NOTHING = object()


def _child(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return cast(dict[Any, Any], value).get(part, _NOTHING)
    if isinstance(value, tuple) and isinstance(part, int) and part < len(cast(tuple[Any, ...], value)):
        return cast(tuple[Any, ...], value)[part]
    return _NOTHING


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = _child(value, part)
    return value


def show(path: Path, value: Any) -> str:
    """A path as a reader writes it: `egress.routes[1] (api.github.com).matches[0].methods`."""
    text = ""
    for index, part in enumerate(path):
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
        if index == 2 and path[:2] == ("egress", "routes"):
            host = _child(_at(value, path[:3]), "host")
            text += f" ({host[:260]})" if isinstance(host, str) else ""
    return "".join(char if char.isprintable() else "?" for char in text)
