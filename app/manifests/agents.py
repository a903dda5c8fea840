"""`carboy init`, its second half: which agent CLIs are here, an agent and a bottle file for each, and which secrets
they still want. It never overwrites a file and stores no secret; asking is the faces'."""

import os
from collections.abc import Collection
from pathlib import Path

from app import keyrings
from app.core.model import Ready, SetUp
from app.core.schema import AgentProvider, Bottle, Manifest
from app.errors import CarboyError
from app.files import create
from app.manifests.starters import init, library
from app.paths import Paths, private_folder
from app.providers.base import Provider

PLAIN = frozenset({"shell"})
"""Always here, and served by the starter library."""


def look() -> list[Ready]:
    """Every provider but the shell: whether its CLI is on this host, and which of its secrets is there. Blocks: each is
    asked for its version, and the keyring for its secrets."""
    from app.providers.registry import names
    from app.secrets import locate

    found = [_one(name) for name in names() if name not in PLAIN]
    wanted = sorted({secret for one in found for secret in one.secrets})
    located = locate(wanted)
    there = {name for name in wanted if located[name].source != "missing" or os.environ.get(name)}
    return [
        one.model_copy(update={"available": next((name for name in one.secrets if name in there), one.login)})
        for one in found
    ]


def _one(name: str) -> Ready:
    from app.providers.registry import provider

    try:
        chosen = provider(name)
    except CarboyError as error:
        return Ready(provider=name, title=name, found=False, hint=error.hint or error.message)
    agent = "developer" if name == "claude" else f"{name}-developer"
    made = Ready(provider=name, title=chosen.title, found=False, agent=agent)
    try:
        cli = chosen.find(dict(os.environ))
        wanted = tuple(dict.fromkeys(one.token_ref for one in chosen.credentials(Manifest())))
    except CarboyError as error:
        return made.model_copy(update={"hint": error.hint or error.message})
    there = {"found": True, "version": cli.version, "secrets": wanted, "login": _login(chosen)}
    return made.model_copy(update=there)


def _login(chosen: Provider) -> str:
    """The name of its own login on this host; empty where there is none, or it has no such thing."""
    forwards = AgentProvider(template=chosen.name, forward_host_credentials=True)
    try:
        login = chosen.host_login(Manifest(bottle=Bottle(agent_provider=forwards)), os.environ)
    except CarboyError:
        return ""
    return login.token_ref if login is not None else ""


def found() -> SetUp:
    """What there is to set up, and where a key would go."""
    keyring = keyrings.choose()
    here = keyring.backend is not None
    return SetUp(
        agents=tuple(look()),
        keyring=(keyring.name or "the keyring") if here else "",
        hint="" if here else f"{keyring.why}. {keyrings.WAYS}",
    )


def begin(paths: Paths, providers: Collection[str]) -> SetUp:
    """The starter library, and an agent for each of these that is here."""
    report = init(paths)
    made = set_up(paths, [one for one in look() if one.found and one.provider in providers])
    written = len(report.written) + sum(len(one.written) for one in made)
    return SetUp(agents=tuple(made), written=written, warnings=tuple(report.warnings))


def set_up(paths: Paths, chosen: Collection[Ready]) -> list[Ready]:
    """Files for each of these; what was written."""
    return [ready.model_copy(update={"written": _files(paths, ready)}) for ready in chosen]


def _files(paths: Paths, ready: Ready) -> tuple[str, ...]:
    if ready.provider == "claude":
        return ()  # the starter library's own developer
    private_folder(paths.agents)
    private_folder(paths.bottles)
    written: list[Path] = []
    login = "agent_provider: {auth_token: null, forward_host_credentials: true}\n" if ready.forwards else ""
    head = f"extends: [{ready.provider}, net-read, github-read]\n{login}"
    bottle = f"---\n{head}---\nEveryday development with {ready.title}.\n"
    for file, text in (
        (paths.bottles / f"{ready.provider}-dev.md", bottle),
        (paths.agents / f"{ready.agent}.md", _agent(ready)),
    ):
        if create(file, text.encode()):
            written.append(file)
    return tuple(map(str, written))


def _agent(ready: Ready) -> str:
    """The starter library's developer, in this provider's bottle."""
    text = (library() / "agents" / "developer.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("---\n")
    _, _, body = rest.partition("---\n")
    return f"---\ndescription: Implements a change with {ready.title}\nbottle: {ready.provider}-dev\n---\n{body}"
