"""One agent or bottle file: bytes to a checked value that remembers its lines. Pure; files are read elsewhere.

Every fault is a ConfigError with file, line and key; nothing else is ever raised, whatever the bytes are.
"""

from collections.abc import Callable
from dataclasses import dataclass

from app.core.credentials import credential_kind
from app.core.faults import check, show
from app.core.frontmatter import MAX_FRONTMATTER, MAX_STRANGERS, split
from app.core.schema import HOST_VARIABLE, Agent, Bottle
from app.core.yamltree import Document, Path
from app.errors import ConfigError

SharedDomain = Callable[[str], str | None]
"""Says why subdomains of a domain belong to many owners (`a public suffix`), or None where they have one owner."""


@dataclass(frozen=True)
class BottleFile:
    """A bottle as its file has it: nothing inherited, unset fields unset."""

    name: str
    file: str
    bottle: Bottle
    notes: str
    document: Document

    def fault(self, message: str, hint: str, path: Path = ()) -> ConfigError:
        """A ConfigError at `path` of this file."""
        key = show(path, self.document.value)
        return ConfigError(message, hint, file=self.file, line=self.document.line(path), key=key)


@dataclass(frozen=True)
class AgentFile:
    """An agent as its file has it. `digest` is set for a project's agent only."""

    name: str
    file: str
    agent: Agent
    prompt: str
    document: Document
    origin: str = "home"
    digest: str | None = None

    def fault(self, message: str, hint: str, path: Path = ()) -> ConfigError:
        key = show(path, self.document.value)
        return ConfigError(message, hint, file=self.file, line=self.document.line(path), key=key)


def nobody(domain: str) -> None:
    """A SharedDomain that knows none, for callers that have no list."""


def parse_bottle(data: bytes, name: str, file: str, shared: SharedDomain = nobody) -> BottleFile:
    """The bottle in `data`. `shared` guards wildcard routes (egress.md)."""
    source = split(data, file, text_under=frozenset({"env"}))
    if not source.found:
        hint = "Begin the file with a line ---, the keys, and another line ---; notes follow below"
        raise ConfigError("a bottle needs frontmatter", hint, file=file, line=1)
    bottle = check(Bottle, source.document, file)
    parsed = BottleFile(name, file, bottle, source.body, source.document)
    _check_env(parsed)
    _check_routes(parsed, shared)
    return parsed


def parse_agent(data: bytes, name: str, file: str, *, origin: str = "home", digest: str | None = None) -> AgentFile:
    """The agent in `data`. A file without frontmatter is a prompt and nothing else."""
    source = split(data, file, limit=MAX_STRANGERS if origin == "project" else MAX_FRONTMATTER)
    agent = check(Agent, source.document, file)
    return AgentFile(name, file, agent, source.body, source.document, origin, digest)


def _check_env(parsed: BottleFile) -> None:
    for name, value in parsed.bottle.env.items():
        if not isinstance(value, str):
            continue
        path: Path = ("env", name)
        if "\0" in value:
            raise parsed.fault("contains a NUL character", "Remove it", path)
        if "${" in value and not HOST_VARIABLE.fullmatch(value):
            hint = "Write the whole value as ${NAME}, which is read from the host at launch"
            raise parsed.fault("${…} stands only for a whole value", hint, path)
        kind = credential_kind(value)
        if kind is not None:
            raise parsed.fault(f"the value looks like {kind}", secret_hint(name), path)


def secret_hint(name: str) -> str:
    """How to give a bottle the use of a credential without the credential."""
    return f"Run `carboy secret set {name}` and write `{name}: {{secret: {name}}}`: the bottle gets a placeholder"


def _check_routes(parsed: BottleFile, shared: SharedDomain) -> None:
    seen: dict[str, int] = {}
    for index, route in enumerate(parsed.bottle.egress.routes):
        path: Path = ("egress", "routes", index)
        if route.host in seen:
            first = parsed.document.line(("egress", "routes", seen[route.host]))
            hint = "Join the two entries: `matches` and `ports` take lists"
            raise parsed.fault(f"{route.host} has a route already (line {first})", hint, path)
        seen[route.host] = index
        if not route.wildcard or route.shared:
            continue
        why = shared(route.host.removeprefix("*."))
        if why is not None:
            hint = "Name the hosts you need one by one, or write `shared: true` if all of them are meant"
            raise parsed.fault(f"{route.host} covers names of many owners: {why}", hint, (*path, "host"))
