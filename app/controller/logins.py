"""The logins that agents' CLIs have on this host, kept fresh for the bottles that use them.

A token is renewed here, on the host, before it ends, and given to the sidecar: no bottle ever sees one, nor what renews
it. One renewal at a time: what renews a login is used up by it.
"""

import asyncio
import logging
import os
import time
from collections.abc import Mapping

from app.controller.outbound import Answered, Ask, Outbound
from app.controller.session import Session
from app.core.schema import Manifest
from app.errors import CarboyError
from app.providers.base import HostLogin, Provider
from app.providers.registry import provider as provider_named
from sidecar.contract import PathMatch, Route, RouteMatch
from sidecar.secret import Secret

log = logging.getLogger(__name__)

MARGIN = 600.0
"""Seconds before its end at which a token is renewed."""
LEAST_WAIT = 60.0
SOURCE = "login"
"""How a session's record calls where such a secret came from."""


class Logins:
    """All of this host. `environ` tells where the CLIs keep theirs."""

    def __init__(self, outbound: Outbound, environ: Mapping[str, str] | None = None) -> None:
        self._outbound = outbound
        self._environ = os.environ if environ is None else environ
        self._renewing = asyncio.Lock()

    async def fresh(self, provider: Provider, manifest: Manifest) -> HostLogin | None:
        """The login that the manifest asks for, renewed where it is about to end; None where it asks for none."""
        found = await asyncio.to_thread(provider.host_login, manifest, self._environ)
        if found is None or not _ends_within(found, MARGIN):
            return found
        async with self._renewing:
            found = await asyncio.to_thread(provider.host_login, manifest, self._environ)
            if found is None or not _ends_within(found, MARGIN):
                return found  # somebody renewed it while we waited
            try:
                await self._renew(provider)
            except CarboyError as error:
                if _ends_within(found, 0):
                    raise
                log.warning("a login of %s could not be renewed yet: %s", provider.name, error)
        return await asyncio.to_thread(provider.host_login, manifest, self._environ)

    async def _renew(self, provider: Provider) -> None:
        asked = await asyncio.to_thread(provider.renewal, self._environ)
        if asked is None:
            raise expired(provider)
        try:
            exactly = RouteMatch(paths=(PathMatch(type="exact", value=asked.path),), methods=("POST",))
            route = Route(host=asked.host, ports=(443,), matches=(exactly,))
            answer = await self._outbound.fetch(Ask("POST", asked.path, route, body=asked.body))
            await asyncio.to_thread(asked.keep, answer)
        except Answered as error:
            if error.status in (400, 401, 403):
                raise expired(provider) from None
            raise
        except ValueError:
            raise CarboyError(f"{asked.host} sent no login", "Try again later", "vendor") from None

    async def values(self, session: Session) -> Mapping[str, Secret]:
        """The secrets of this session that are logins; without those that are gone."""
        if SOURCE not in session.record.secrets.values():
            return {}
        try:
            found = await self.fresh(provider_named(session.view.provider), session.record.manifest)
        except CarboyError as error:
            log.warning("%s has no login: %s", session.slug, error)
            return {}
        return {found.token_ref: found.token} if found is not None else {}

    async def keep_fresh(self, session: Session) -> None:
        """For as long as the session lives: its sidecar gets a new token before the old one ends."""
        while SOURCE in session.record.secrets.values() and session.supervisor is not None:
            ends = await self._ends(session)
            if not ends:
                return
            await asyncio.sleep(max(ends - time.time() - MARGIN, LEAST_WAIT))
            try:
                await session.supervisor.give({})
            except CarboyError as error:
                log.warning("%s did not get its new login: %s", session.slug, error)

    async def _ends(self, session: Session) -> float:
        provider = provider_named(session.view.provider)
        try:
            found = await asyncio.to_thread(provider.host_login, session.record.manifest, self._environ)
        except CarboyError:
            return time.time() + MARGIN  # it is looked at again after `LEAST_WAIT`
        return found.expires_at if found is not None else 0.0


def expired(provider: Provider) -> CarboyError:
    return CarboyError(
        f"The login of {provider.title} on this host has expired",
        provider.login_hint or "Log in again",
        "login_expired",
    )


def _ends_within(found: HostLogin, seconds: float) -> bool:
    return 0 < found.expires_at < time.time() + seconds
