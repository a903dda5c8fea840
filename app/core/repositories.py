"""The repositories of a bottle: what its manifest says about them, checked, and what the bottle's git is told. Pure.

The bottle's git never learns an upstream's credential; it learns that an address means the gate's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from app.core.schema import GitRepo, GitUser, Manifest
from app.errors import CarboyError
from sidecar.contract import INTERNAL_HOST
from sidecar.gitgate.hostkeys import aliases, key_of
from sidecar.gitgate.urls import BadUrl, Upstream, parse, spellings

GATE = f"http://git.{INTERNAL_HOST}"
FORGES = ("gitea", "github")


@dataclass(frozen=True)
class Repository:
    """One entry of `git-gate.repos` that can be used."""

    name: str
    upstream: Upstream
    entry: GitRepo

    @property
    def deploys(self) -> bool:
        """Whether a key is made for it at launch."""
        return self.entry.key.provider in FORGES

    @property
    def token_ref(self) -> str:
        """The secret that it needs: a token, an SSH key's text, or what the forge's API is called with."""
        return self.entry.key.token_ref or ""

    @property
    def shown(self) -> str:
        return f"{self.upstream.host}/{self.upstream.path}"


def repositories(manifest: Manifest) -> tuple[tuple[Repository, ...], tuple[CarboyError, ...]]:
    """All that can be used, and what is wrong with the others."""
    good: list[Repository] = []
    problems: list[CarboyError] = []
    for name, entry in manifest.bottle.git_gate.repos.items():
        try:
            repository = _read(name, entry)
        except CarboyError as error:
            problems.append(error)
        else:
            good.append(repository)
    return tuple(good), tuple(problems)


def _read(name: str, entry: GitRepo) -> Repository:
    def fault(key: str, message: str, hint: str) -> CarboyError:
        return CarboyError(f"git-gate.repos.{name}{key}: {message}", hint, "git_repo")

    if not entry.url:
        raise fault("", "it has no url", "Add `url: git@host:owner/repo.git`, or an https:// address")
    try:
        upstream = parse(entry.url)
    except BadUrl as error:
        raise fault(".url", str(error), "Write the address that `git clone` takes") from None
    key = entry.key
    if upstream.scheme == "ssh":
        if not entry.host_key:
            scan = f"ssh-keyscan {'' if upstream.port == 22 else f'-p {upstream.port} '}{upstream.host}"
            raise fault(
                "", "its server's key is not pinned", f"Add `host_key:` with a line of `{scan}`, compared first"
            )
        try:
            key_of(entry.host_key)
        except ValueError as error:
            raise fault(".host_key", str(error), "Copy the whole line") from None
        if key.provider == "static" and not (key.path or key.token_ref):
            raise fault(
                ".key", "an SSH address needs a key", "Add `key: {path: ~/.ssh/KEY}` or `key: {token_ref: NAME}`"
            )
    elif key.path:
        raise fault(".key.path", "a key file is for SSH addresses", "For HTTPS name a token: `key: {token_ref: NAME}`")
    elif key.provider != "static":
        raise fault(".key", "a deploy key is for SSH addresses", "Write the url as git@host:owner/repo.git")
    elif key.token_ref and upstream.scheme == "http" and upstream.host not in ("localhost", "127.0.0.1", "::1"):
        raise fault(".url", "a token would cross the network unencrypted", "Use https://")
    if key.path and key.token_ref and key.provider == "static":
        raise fault(".key", "path and token_ref are two ways to name one key", "Keep one of them")
    if key.provider != "static":
        if not key.token_ref:
            raise fault(".key", "making a deploy key needs a token", "Add `token_ref: NAME` of a token for the API")
        if upstream.owner_and_name[0] == "":
            raise fault(".url", "names no owner", "Write owner/repo")
    return Repository(name, upstream, entry)


def needed_secrets(repos: tuple[Repository, ...]) -> dict[str, str]:
    """Secrets by name, each with what uses it."""
    return {each.token_ref: f"the repository {each.name}" for each in repos if each.token_ref}


def made(repos: tuple[Repository, ...]) -> tuple[str, ...]:
    """What a launch makes for them, in words."""
    lines = [f"a mirror of {each.shown}, pushed to only after a scan" for each in repos]
    return tuple(
        lines
        + [f"a deploy key with write access for {each.shown}, revoked at the end" for each in repos if each.deploys]
    )


def gitconfig(repos: tuple[Repository, ...], user: GitUser) -> str:
    """The bottle's `.gitconfig`: who commits, and every spelling of each repository as the gate's address."""
    lines = [*_identity(user)]
    for each in repos:
        spelled = spellings(each.upstream, aliases(each.entry.host_key or ""))
        exact, open_ended = [f"{text}.git" for text in spelled], list(spelled)
        lines += _section(f'url "{GATE}/{each.name}.git"', [("insteadOf", text) for text in exact])
        # what begins alike may be another repository: the gate tells by what follows
        lines += _section(f'url "{GATE}/{each.name}.git/="', [("insteadOf", text) for text in open_ended])
    return "\n".join(lines) + "\n" if lines else ""


def _identity(user: GitUser) -> Iterator[str]:
    given = [(name, value) for name, value in (("name", user.name), ("email", user.email)) if value]
    if given:
        yield from _section("user", given)


def _section(head: str, values: list[tuple[str, str]]) -> list[str]:
    return [f"[{head}]", *(f"\t{name} = {_quoted(value)}" for name, value in values)]


def _quoted(value: str) -> str:
    """git-config(1): in quotes, with backslashes before quotes and backslashes. Line breaks were refused at load."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
