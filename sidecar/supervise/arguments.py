"""What the tools take, as strict types: an unknown key, a wrong type or a value out of bounds is the caller's fault.
Pure. The texts here are read by models: they say how to mend it."""

import unicodedata
from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sidecar.contract import PathMatch, Route, RouteMatch, host_pattern

MAX_ROUTES = 500
MAX_REGEXES = 32
"""Regular expressions in one call: each takes milliseconds to read. Prefixes and exact values are not counted."""


class CallerFault(Exception):
    """The call cannot be carried out as it was made. The text says why, to whoever made it."""


class Arguments(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ListArguments(Arguments):
    """None."""


class AskArguments(Arguments):
    """Either `host` with `methods` and `paths`, or `routes` in all with the `base_hash` they were made from."""

    justification: str = Field(
        min_length=1, max_length=2000, description="What this is needed for, in a sentence or two, for the operator."
    )
    host: str | None = Field(
        default=None, max_length=260, description="The host to reach: a full name, or *.example.com for subdomains."
    )
    methods: tuple[Annotated[str, Field(max_length=32)], ...] = Field(
        default=(), max_length=16, description="HTTP methods needed there, such as GET. Fewer are approved sooner."
    )
    paths: tuple[Annotated[str, Field(max_length=2048)] | PathMatch, ...] = Field(
        default=(),
        max_length=32,
        description="Paths needed there: prefixes such as /repos/me, or {type: exact, value: /}. None means all.",
    )
    git_fetch: bool = Field(default=False, description="Also allow git to clone and fetch there, over HTTPS.")
    routes: tuple[Route, ...] | None = Field(
        default=None,
        max_length=MAX_ROUTES,
        description="Instead of `host`: all routes as they should become, in the schema of list-egress-routes.",
    )
    base_hash: str | None = Field(
        default=None, max_length=64, description="With `routes`: the `base_hash` that list-egress-routes gave."
    )

    @field_validator("justification")
    @classmethod
    def _readable(cls, value: str) -> str:
        text = readable(value).strip()
        if not text:
            raise ValueError("say what it is needed for")
        return text

    @field_validator("host")
    @classmethod
    def _host(cls, value: str | None) -> str | None:
        return host_pattern(value) if value is not None else None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.host is None) == (self.routes is None):
            raise ValueError("give either `host` (with `methods`, `paths`) or `routes` (with `base_hash`)")
        if self.routes is not None and (self.methods or self.paths or self.git_fetch):
            raise ValueError("`methods`, `paths` and `git_fetch` belong to `host`, not to `routes`")
        if self.routes is not None and self.base_hash is None:
            raise ValueError("`routes` need the `base_hash` that list-egress-routes gave")
        RouteMatch(methods=self.methods, paths=self.path_matches)
        return self

    @property
    def path_matches(self) -> tuple[PathMatch, ...]:
        return tuple(PathMatch(value=path) if isinstance(path, str) else path for path in self.paths)


class CheckArguments(Arguments):
    proposal_id: str = Field(pattern=r"^[A-Za-z0-9_-]{8,64}$", description="The id that the asking tool returned.")
    wait_seconds: float = Field(
        default=0, ge=0, le=3600, description="How long to wait for the decision if there is none yet."
    )


def parse[T: Arguments](kind: type[T], given: dict[str, Any]) -> T:
    """`given` as `kind`. Raises CallerFault that names each problem."""
    if _regexes(given) > MAX_REGEXES:
        raise CallerFault(f"more than {MAX_REGEXES} regular expressions: name paths and hosts instead")
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_input=False, include_url=False)[:8]
        ]
        raise CallerFault(("; ".join(problems))[:1500]) from None


def _regexes(value: Any) -> int:
    """Before anything of it is read. The protocol's parser bounds how deep it goes."""
    if isinstance(value, dict):
        held = cast("dict[str, Any]", value)
        return (held.get("type") == "regex") + sum(map(_regexes, held.values()))
    return sum(map(_regexes, cast("list[Any]", value))) if isinstance(value, list) else 0


def schema(kind: type[Arguments]) -> dict[str, Any]:
    return kind.model_json_schema()


def readable(text: str) -> str:
    """`text` without what could make the operator read something else than stands there: controls, direction marks,
    what has no glyph. Line breaks stay."""
    return "".join(
        char
        if char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        else "\ufffd"
        for char in text.replace("\r\n", "\n").replace("\t", " ")
    )
