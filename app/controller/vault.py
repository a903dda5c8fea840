"""The operator's secrets: values into the system keyring and nowhere else, names and times into the store, every change
on record by name. A value passes through here once, on its way in; none ever comes out to a client."""

import asyncio
import time
from collections.abc import Callable, Iterable

from app import keyrings, secrets
from app.controller.audit import Audit
from app.controller.session import Session
from app.core.vault import SecretView, VaultView
from app.errors import NotFound
from app.store.base import Store
from sidecar.secret import Secret


class Vault:
    """`store` and `audit` are the controller's."""

    def __init__(self, store: Store, audit: Audit, live: Callable[[], Iterable[Session]]) -> None:
        self._store = store
        self._audit = audit
        self._live = live

    async def view(self) -> VaultView:
        chosen = await asyncio.to_thread(keyrings.choose)
        rows = await self._store.secret_names()
        found = tuple(SecretView(name=row.name, set_at=row.set_at, used_at=row.used_at) for row in rows)
        hint = "" if chosen.backend is not None else f"{chosen.why}. {keyrings.WAYS}"
        return VaultView(keyring=chosen.name or "", hint=hint, secrets=found)

    async def set(self, name: str, value: Secret) -> None:
        """Keep it. The name is remembered after the keyring took the value: a listing never promises too much."""
        await asyncio.to_thread(secrets.store, name, value)
        await self._store.secret_set(name, time.time())
        await self._audit.record("secret-set", name=name)

    def kept_by(self, name: str) -> tuple[str, ...]:
        """The live bottles that use it: a running sidecar goes on with what it was given."""
        return tuple(sorted(session.slug for session in self._live() if name in session.record.secrets))

    async def remove(self, name: str) -> None:
        """Take it out. One that the keyring lost already is forgotten as well."""
        try:
            await asyncio.to_thread(secrets.remove, name)
        except NotFound:
            if not await self._store.secret_gone(name):
                raise
        else:
            await self._store.secret_gone(name)
        await self._audit.record("secret-removed", name=name, may_wait=True)

    async def used(self, names: Iterable[str]) -> None:
        await self._store.secrets_used(tuple(names), time.time())
