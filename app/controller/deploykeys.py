"""Deploy keys of live bottles: made at launch, on record before they exist, taken away at the end.

The ledger is a file for each key below the state folder; it holds what revoking needs and no secret. One that cannot be
revoked now stays there, and the next cleanup tries again. Private keys are given to the caller and kept nowhere here.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from pydantic import ValidationError

from app import forges, secrets
from app.controller.session import Session
from app.core.model import Snapshot
from app.core.repositories import Repository
from app.errors import CarboyError
from app.files import atomic_write, read_bounded
from app.forges import Forge, Kind
from app.manifests.trust import confirmed
from app.paths import Paths, private_folder
from sidecar.contract import UpstreamSettings
from sidecar.secret import Secret

log = logging.getLogger(__name__)

FOLDER = "deploy-keys"
MAKE_SECONDS = 10.0
"""gitgate.md: for making a key."""
MAX_BYTES = 64 * 1024

type Upstream = Callable[[], Awaitable[UpstreamSettings]]


class Entry(Snapshot):
    """A key that exists, or may: `number` is None until the forge has answered."""

    session_id: str
    slug: str
    repo: str
    kind: Kind
    host: str
    owner: str
    name: str
    token_ref: str
    title: str
    number: int | None = None

    @property
    def forge(self) -> Forge:
        return Forge(self.kind, self.host, self.owner, self.name)


def unconfirmed(paths: Paths, repos: tuple[Repository, ...]) -> dict[str, str]:
    """Content hash → what it is, for each key that would be made and that the operator has not agreed to yet. Agreed
    once for a repository, a server and the secret that it is made with."""
    waiting: dict[str, str] = {}
    for repo in repos:
        if not repo.deploys:
            continue
        text = f"deploy key {repo.entry.key.provider} {repo.upstream.url} {repo.token_ref}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        if not confirmed(paths, digest):
            waiting[digest] = (
                f"a deploy key for {repo.shown} ({repo.entry.key.provider}): every launch of this bottle makes one "
                f"with write access, by the token {repo.token_ref}, and revokes it at the end"
            )
    return waiting


class DeployKeys:
    def __init__(self, paths: Paths, upstream: Upstream) -> None:
        self._folder = paths.state / FOLDER
        self._upstream = upstream

    async def make(
        self, session: Session, repos: tuple[Repository, ...], found: Mapping[str, Secret]
    ) -> dict[str, Secret]:
        """A key for each repository that wants one; its private half by the repository's name. Raises CarboyError;
        what was made by then is on record."""
        made: dict[str, Secret] = {}
        settings = await self._upstream()
        for repo in repos:
            if not repo.deploys:
                continue
            async with asyncio.timeout(MAKE_SECONDS):
                private, public = await asyncio.to_thread(_new_key)
            entry = self._entry(session, repo)
            await asyncio.to_thread(self._save, entry)
            token = found[repo.token_ref]
            number = await forges.register(entry.forge, token, settings, entry.title, public)
            await asyncio.to_thread(self._save, entry.model_copy(update={"number": number}))
            made[repo.name] = private
        return made

    async def revoke(self, session: Session) -> list[str]:
        """Take away the keys of a bottle that is over. Returns what was revoked; what could not be stays on record."""
        entries = [entry for entry in await asyncio.to_thread(self._entries) if entry.session_id == session.id]
        return await self._revoke(entries, session.typed, session.environment)

    async def cleanup(self, live: frozenset[str]) -> list[str]:
        """The same for all whose session is gone."""
        entries = [entry for entry in await asyncio.to_thread(self._entries) if entry.session_id not in live]
        return await self._revoke(entries, {}, {})

    async def _revoke(
        self, entries: list[Entry], typed: Mapping[str, Secret], environment: Mapping[str, Secret]
    ) -> list[str]:
        if not entries:
            return []
        names = {entry.token_ref for entry in entries}
        tokens = await asyncio.to_thread(secrets.locate, names, typed=typed, environment=environment)
        settings = await self._upstream()
        done: list[str] = []
        for entry in entries:
            token = tokens[entry.token_ref].value
            if token is None:
                log.warning("the deploy key of %s stays: the secret %s is not there", entry.slug, entry.token_ref)
                continue
            try:
                await self._revoke_one(entry, token, settings)
            except CarboyError as error:
                log.warning("the deploy key of %s could not be revoked: %s", entry.slug, error)
                continue
            done.append(f"the deploy key of {entry.slug} for {entry.forge.shown}")
        return done

    async def _revoke_one(self, entry: Entry, token: Secret, settings: UpstreamSettings) -> None:
        numbers = [entry.number] if entry.number is not None else []
        if not numbers:  # its controller was killed before it knew
            numbers = await forges.find(entry.forge, token, settings, entry.title)
        for number in numbers:
            await forges.revoke(entry.forge, token, settings, number)
        await asyncio.to_thread(self._file(entry).unlink, True)

    # --- the ledger -------------------------------------------------------------------------------------------------

    def _entry(self, session: Session, repo: Repository) -> Entry:
        owner, name = repo.upstream.owner_and_name
        return Entry(
            session_id=session.id,
            slug=session.slug,
            repo=repo.name,
            kind="gitea" if repo.entry.key.provider == "gitea" else "github",
            host=repo.upstream.host,
            owner=owner,
            name=name,
            token_ref=repo.token_ref,
            title=f"carboy {session.slug} {session.id} {repo.name}",
        )

    def _file(self, entry: Entry) -> Path:
        return self._folder / f"{entry.session_id}-{entry.repo}.json"

    def _save(self, entry: Entry) -> None:
        private_folder(self._folder)
        atomic_write(self._file(entry), entry.model_dump_json().encode(), 0o600)

    def _entries(self) -> list[Entry]:
        found: list[Entry] = []
        for file in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else ():
            try:
                found.append(Entry.model_validate_json(read_bounded(file, MAX_BYTES, follow=False)))
            except (OSError, ValidationError):
                log.warning("%s cannot be read", file)
        return found


def _new_key() -> tuple[Secret, str]:
    """An ed25519 key: private half as OpenSSH text, public one as a line."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return Secret(private), public.decode()
