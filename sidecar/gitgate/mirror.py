"""One repository's bare mirror: brought to upstream's state before it is served, and never to anything else.

Only branches and tags are mirrored. All changes to it go through its lock. When upstream cannot be reached the last
state stays, and `stale` says why.
"""

import asyncio
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from sidecar.gitgate import limits
from sidecar.gitgate.credentials import Credentials
from sidecar.gitgate.git import Git, GitFailed
from sidecar.gitgate.pktline import valid_ref
from sidecar.gitgate.urls import Upstream

log = logging.getLogger(__name__)

MIRRORED = ("refs/heads/", "refs/tags/")
MAX_REFS = 64 * 1024 * 1024
_CONFIG = {
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "true",  # a partial clone asks for single objects later
    "receive.denyCurrentBranch": "ignore",
    "core.compression": "1",
}


_PACKED = ("-c", "fetch.unpackLimit=1")
"""What came as a pack stays one: single objects would be compressed anew for every clone."""


@dataclass(frozen=True)
class Refs:
    """Branches and tags with the objects they name, and what HEAD stands for."""

    names: dict[str, str]
    head: str = ""


class Unreachable(Exception):
    """Upstream could not be reached, and nothing of it is here. The text is for the client."""


class Mirror:
    def __init__(self, name: str, folder: Path, upstream: Upstream, credentials: Credentials, git: Git) -> None:
        self.name = name
        self.path = folder / f"{name}.git"
        self.upstream = upstream
        self.credentials = credentials
        self.git = git
        self.lock = asyncio.Lock()
        self.stale = ""
        self._fresh_at = 0.0
        self._head = ""
        self._names: dict[str, str] | None = None
        self._ready = False
        self._filled = False

    async def refresh(self) -> None:
        """Bring it to upstream's present state. Calls that come meanwhile share one. Raises Unreachable only where
        there is no state at all to go on with."""
        asked = time.monotonic()
        async with self.lock:
            if self._fresh_at >= asked:
                return
            began = time.monotonic()
            try:
                await self._make()
                await self._fetch()
            except GitFailed as error:
                self.stale = self.credentials.trouble or _plain(error)
                log.info("%s: upstream cannot be reached", self.name)
                if not self._filled:
                    raise Unreachable(self.stale) from None
            else:
                self.stale, self._filled, self._fresh_at = "", True, began

    async def names(self) -> dict[str, str]:
        """Branches and tags that it holds now, with their objects."""
        if not self._ready:
            return {}
        if self._names is not None:
            return dict(self._names)
        output = await self.git.run(
            "for-each-ref", "--format=%(objectname) %(refname)", *MIRRORED, cwd=self.path, limit=MAX_REFS
        )
        lines = (line.split(" ", 1) for line in _lines(output))
        self._names = {name: oid for oid, name in lines}
        return dict(self._names)

    async def _make(self) -> None:
        if self._ready:
            return
        if not (self.path / "HEAD").exists():
            await asyncio.to_thread(shutil.rmtree, self.path, ignore_errors=True)
            fresh = self.path.with_suffix(".new")
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
            await self.git.run("init", "-q", "--bare", "--template=", str(fresh), cwd=self.git.folder)
            lines = "".join(
                f"[{key.split('.')[0]}]\n\t{key.split('.')[1]} = {value}\n" for key, value in _CONFIG.items()
            )
            with (fresh / "config").open("a") as file:
                file.write(lines)
            fresh.rename(self.path)
        self._ready = True
        self._filled = self._filled or bool(await self.names())

    async def _fetch(self) -> None:
        if missing := self.credentials.missing:
            raise GitFailed(missing)
        theirs = await self._look()
        if theirs.names != await self.names():
            await self._clear_locks()
            self._names = None
            async with self.credentials.open() as access:
                await self.git.run(
                    *access.args, *_PACKED, "fetch", "--prune", "--no-tags", "--force", "--progress",
                    "--no-write-fetch-head", "--no-auto-maintenance", self.upstream.url,
                    *(f"+{each}*:{each}*" for each in MIRRORED),
                    cwd=self.path, env=access.env, extra=access.extra, online=True,
                )  # fmt: skip
            await self.tidy()
        if theirs.head and theirs.head != self._head:
            await self.git.run("symbolic-ref", "HEAD", theirs.head, cwd=self.path)
            self._head = theirs.head

    async def _look(self) -> Refs:
        """What upstream has."""
        async with self.credentials.open() as access:
            output = await self.git.run(
                *access.args, "ls-remote", "--symref", self.upstream.url, "HEAD", *(f"{each}*" for each in MIRRORED),
                cwd=self.path, env=access.env, extra=access.extra, online=True, limit=MAX_REFS,
            )  # fmt: skip
        names: dict[str, str] = {}
        head = ""
        for line in _lines(output):
            value, _, name = line.partition("\t")
            if value.startswith("ref: ") and name == "HEAD" and valid_ref(value[5:]):
                head = value[5:]
            elif name.startswith(MIRRORED) and not name.endswith("^{}"):
                names[name] = value
        return Refs(names, head)

    async def _clear_locks(self) -> None:
        """What a git that was killed left behind: nobody else works here."""

        def clear() -> None:
            for lock in (*self.path.glob("*.lock"), *self.path.glob("refs/**/*.lock")):
                lock.unlink(missing_ok=True)
            for left in self.path.glob("objects/pack/tmp_*"):
                left.unlink(missing_ok=True)

        await asyncio.to_thread(clear)

    # --- a push's way into it -----------------------------------------------------------------------------------------

    async def take_in(self, objects: Path, changes: list[tuple[str, str, str]]) -> None:
        """Make a push's objects ours and set its references: (name, new or zeros, old or zeros). Under the lock."""
        await asyncio.to_thread(_move_packs, objects, self.path / "objects")
        lines = [
            f"delete {name}\0{old}\0" if set(new) == {"0"} else f"update {name}\0{new}\0{old}\0"
            for name, new, old in changes
        ]
        names, self._names = await self.names(), None
        await self.git.run("update-ref", "-z", "--stdin", cwd=self.path, stdin="".join(lines).encode())
        names |= {name: new for name, new, _ in changes}
        self._names = {name: oid for name, oid in names.items() if set(oid) != {"0"}}

    async def tidy(self) -> None:
        """One pack instead of many. Under the lock."""
        packs = len(list((self.path / "objects" / "pack").glob("*.pack")))
        if packs > limits.MAX_LOOSE_PACKS:
            await self.git.run("repack", "-a", "-d", "-q", cwd=self.path)


def _lines(output: bytes) -> list[str]:
    """Upstream may call a branch nearly anything, also in bytes that are no text: they go through as they are."""
    return output.decode(errors="surrogateescape").split("\n")[:-1]


def _move_packs(source: Path, target: Path) -> None:
    """The pack first and its index last: an index without its pack would be an error."""
    (target / "pack").mkdir(exist_ok=True)
    order = {".pack": 0, ".rev": 1, ".idx": 3}
    for file in sorted((source / "pack").glob("pack-*"), key=lambda file: order.get(file.suffix, 2)):
        if file.suffix != ".keep":
            file.rename(target / "pack" / file.name)


_TELLING = ("ssh:", "Host key verification", "Permission denied", "Connection ", "kex_exchange", "No ED25519", "No RSA")


def _plain(error: GitFailed) -> str:
    """Why, in a line for the client: what ssh or git complained about."""
    lines = [line.strip() for line in error.said.splitlines() if any(char.isalnum() for char in line)]
    ssh = next((line for line in lines if line.startswith(_TELLING) or "Permission denied" in line), "")
    said = next((line for line in reversed(lines) if line.startswith(("fatal", "error", "it did"))), "")
    return (ssh or said or error.what)[:300]
