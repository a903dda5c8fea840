"""Repository addresses: what a manifest's `url` means, and every way in which the same repository may be written. Pure.

The bottle's git turns each of those into the gate's own address (`insteadOf`), so that an address copied from anywhere
works.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import unquote, urlsplit

from sidecar.egress.names import is_address

_SCP = re.compile(
    r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<path>[^\x00-\x20\x7f]+)"
)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?|[0-9A-Fa-f:.]+")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
"""A last label that makes an address of a host, which clients read in different ways (WHATWG URL, 3.5)."""
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_PATH = re.compile(r"[A-Za-z0-9._~+@/ -]+")
_PORTS = {"ssh": 22, "https": 443, "http": 80}


class BadUrl(ValueError):
    """Not the address of a repository that the gate can reach. The text says why."""


@dataclass(frozen=True)
class Upstream:
    """One repository. `path` has no leading slash and no `.git`; `suffix` is what stood behind it."""

    scheme: Literal["ssh", "https", "http"]
    host: str
    port: int
    path: str
    user: str = ""
    suffix: str = ".git"
    absolute: bool = False
    """An ssh path from the server's root; an scp-like one is relative to the login's home."""

    @property
    def url(self) -> str:
        """The address as git takes it. It never holds a password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        at = f"{self.user}@" if self.user else ""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        if self.scheme == "ssh" and not self.absolute and not port:
            return f"{at}{host}:{self.path}{self.suffix}"
        lead = "/~/" if self.scheme == "ssh" and not self.absolute else "/"
        return f"{self.scheme}://{at}{host}{port}{lead}{self.path}{self.suffix}"

    @property
    def owner_and_name(self) -> tuple[str, str]:
        """`me/app` → (`me`, `app`): what a forge calls the repository."""
        owner, _, name = self.path.rpartition("/")
        return owner, name


def parse(text: str) -> Upstream:
    """Read `url` of a manifest. Raises BadUrl."""
    if not text.isprintable():
        raise BadUrl("it has control characters")
    if "://" in text:
        return _with_scheme(text)
    found = _SCP.fullmatch(text)
    if not found:
        raise BadUrl("write it as git@host:owner/repo.git, ssh://…, or https://…")
    if text.startswith(("/", ".")):
        raise BadUrl("a folder of this machine is no upstream")
    path = found["path"]
    absolute = path.startswith("/")
    return _checked(
        Upstream("ssh", found["host"].strip("[]").lower(), 22, path.lstrip("/"), found["user"] or "", "", absolute)
    )


def _with_scheme(text: str) -> Upstream:
    parts = urlsplit(text)
    scheme = parts.scheme.lower().removeprefix("git+")
    if scheme not in _PORTS:
        raise BadUrl(f"{parts.scheme}:// is not served; use ssh:// or https://")
    if parts.password is not None:
        raise BadUrl("a password cannot stand in a file: name it in key.token_ref")
    if parts.query or parts.fragment:
        raise BadUrl("an address without ? and #")
    try:
        port = parts.port or _PORTS[scheme]
    except ValueError:
        raise BadUrl("the port is not a number") from None
    path = unquote(parts.path)
    absolute = not path.startswith("/~/")
    path = path.removeprefix("/~/") if not absolute else path.lstrip("/")
    return _checked(Upstream(scheme, (parts.hostname or ""), port, path, parts.username or "", "", absolute))  # type: ignore[arg-type]


def _checked(found: Upstream) -> Upstream:
    path = found.path.rstrip("/")
    suffix = ".git" if path.endswith(".git") else ""
    path = path.removesuffix(".git")
    if not _HOST.fullmatch(found.host):
        raise BadUrl("names no host")
    if _NUMBER.fullmatch(found.host.rpartition(".")[2]) and not is_address(found.host):
        raise BadUrl("its host is neither a name nor a whole address")
    if found.user and not _USER.fullmatch(found.user):
        raise BadUrl("the user's name has characters that do not belong there")
    if not path or not _PATH.fullmatch(path) or path.startswith("-") or ".." in path.split("/") or "//" in path:
        raise BadUrl("names no repository, or its path has characters that git would not take as they are")
    return replace(found, path=path, suffix=suffix)


def spellings(upstream: Upstream, aliases: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Every way to write this repository, without `.git`. `aliases` are further names of the host."""
    found: dict[str, None] = {}
    for host in dict.fromkeys((upstream.host, *aliases)):
        shown = f"[{host}]" if ":" in host else host
        for user in dict.fromkeys((upstream.user, "git", "")):
            at = f"{user}@" if user else ""
            found[f"{at}{shown}:{upstream.path}"] = None
            found[f"{at}{shown}:/{upstream.path}"] = None
            for scheme in ("ssh", "git+ssh", "ssh+git"):
                for port in _ports(upstream, "ssh"):
                    found[f"{scheme}://{at}{shown}{port}/{upstream.path}"] = None
        for scheme in ("https", "http", "git"):
            for user in dict.fromkeys(("", upstream.user, "git")):
                at = f"{user}@" if user else ""
                for port in _ports(upstream, scheme):
                    found[f"{scheme}://{at}{shown}{port}/{upstream.path}"] = None
    return tuple(found)


def _ports(upstream: Upstream, scheme: str) -> tuple[str, ...]:
    usual = f":{_PORTS.get(scheme, 9418)}"
    own = f":{upstream.port}"
    return ("", usual, own) if upstream.scheme == scheme and own != usual else ("", usual)
