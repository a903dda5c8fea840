"""`carboy init`, its second half: which agent CLIs are here, an agent and a bottle file for each, and which secrets
they still want. It never overwrites a file and stores nothing; asking is the command line's."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from app.core.schema import Manifest
from app.errors import CarboyError
from app.files import create
from app.manifests.starters import library
from app.paths import Paths, private_folder

PLAIN = frozenset({"shell"})
"""Always here, and served by the starter library."""


@dataclass
class Ready:
    """One provider: found or not, the files that were made for it, and the secrets it works with (one is enough)."""

    provider: str
    title: str
    found: bool
    version: str = ""
    hint: str = ""
    agent: str = ""
    written: list[Path] = field(default_factory=list[Path])
    secrets: tuple[str, ...] = ()
    available: str = ""
    """The secret that is there already."""

    @property
    def wants(self) -> str:
        """The secret to set, where none is there."""
        return "" if self.available or not self.secrets else self.secrets[0]


def look() -> list[Ready]:
    """Every provider but the shell, and whether its CLI is on this host. Blocks: each is asked for its version."""
    from app.providers.registry import names, provider

    found: list[Ready] = []
    for name in names():
        if name in PLAIN:
            continue
        try:
            chosen = provider(name)
            cli = chosen.find(dict(os.environ))
            wanted = tuple(dict.fromkeys(one.token_ref for one in chosen.credentials(Manifest())))
            found.append(Ready(name, chosen.title, True, cli.version, secrets=wanted))
        except CarboyError as error:
            found.append(Ready(name, name, False, hint=error.hint or error.message))
    return found


def set_up(paths: Paths, found: Collection[Ready], secrets: Collection[str]) -> None:
    """Files for each of these, and which of their secrets is there. `secrets` are the names that have a value."""
    for ready in found:
        ready.available = next((name for name in ready.secrets if name in secrets), "")
        ready.agent = "developer" if ready.provider == "claude" else f"{ready.provider}-developer"
        if ready.provider == "claude":
            continue  # the starter library's own developer
        private_folder(paths.agents)
        private_folder(paths.bottles)
        bottle = (
            f"---\nextends: [{ready.provider}, net-read, github-read]\n---\nEveryday development with {ready.title}.\n"
        )
        for file, text in (
            (paths.bottles / f"{ready.provider}-dev.md", bottle),
            (paths.agents / f"{ready.agent}.md", _agent(ready)),
        ):
            if create(file, text.encode()):
                ready.written.append(file)


def _agent(ready: Ready) -> str:
    """The starter library's developer, in this provider's bottle."""
    text = (library() / "agents" / "developer.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("---\n")
    _, _, body = rest.partition("---\n")
    return f"---\ndescription: Implements a change with {ready.title}\nbottle: {ready.provider}-dev\n---\n{body}"
