"""The models that a launch can choose from: the vendor's own list, asked through a sidecar with the route and the key
that the launch would use, kept for a day; else what was heard last, else what the tried CLIs offer.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app import manifests
from app.controller.outbound import Answered, Ask, Outbound
from app.core.model import LaunchRequest, ModelList, Snapshot
from app.core.schema import Manifest
from app.errors import CarboyError
from app.files import atomic_write, read_bounded
from app.paths import Paths
from app.providers.base import Credential, ModelSource, Provider, pick, with_auth
from app.providers.registry import provider as provider_named
from app.secrets import locate
from app.settings import load_settings
from sidecar.contract import Route
from sidecar.secret import Secret

log = logging.getLogger(__name__)

KEPT_SECONDS = 86400.0
MAX_KEPT = 64
"""Lists of different vendors and keys."""
MAX_FILE = 4 * 1024 * 1024


class Kept(Snapshot):
    """One vendor's answer. What it was asked with is told by name only."""

    at: float
    models: tuple[str, ...]


_FILE = TypeAdapter(dict[str, Kept])


@dataclass(frozen=True)
class _Looked:
    """What is known of a launch before anybody is asked."""

    provider: Provider
    manifest: Manifest
    source: ModelSource | None
    credential: Credential | None
    value: Secret | None
    routes: tuple[Route, ...]
    """The provider's, as the bottle's sidecar would have them."""
    wants: tuple[str, ...]

    @property
    def key(self) -> str:
        assert self.source is not None
        name = self.credential.token_ref if self.credential is not None else ""
        return f"{self.source.host}:{self.source.port}{self.source.path} {name}"


class Models:
    """Of all vendors. One question at a time for each list."""

    def __init__(self, paths: Paths, outbound: Outbound, clock: Callable[[], float] = time.time) -> None:
        self._paths = paths
        self._outbound = outbound
        self._clock = clock
        self._lock = asyncio.Lock()

    async def of(self, request: LaunchRequest, *, fresh: bool = False) -> ModelList:
        """Raises CarboyError only where the launch itself makes no sense (no such agent …)."""
        looked = await asyncio.to_thread(_look, self._paths, request)
        provider, manifest = looked.provider, looked.manifest
        told = ModelList(
            provider=provider.name,
            title=provider.title,
            tested=provider.tested_versions,
            models=provider.models(manifest),
            chosen=manifest.bottle.agent_provider.settings.model,
            wants_env=looked.wants,
        )
        if looked.source is None:
            return told
        async with self._lock:
            kept = await asyncio.to_thread(self._read)
            known = kept.get(looked.key)
            if known is not None and not fresh and self._clock() - known.at < KEPT_SECONDS:
                return told.model_copy(update={"models": known.models, "source": "cache", "at": known.at})
            try:
                found = await self._ask(looked)
            except CarboyError as error:
                if known is not None:
                    return told.model_copy(
                        update={"models": known.models, "source": "cache", "at": known.at, "reason": error.message}
                    )
                return told.model_copy(update={"reason": error.message})
            now = Kept(at=self._clock(), models=found)
            newest = sorted({**kept, looked.key: now}.items(), key=lambda one: one[1].at)[-MAX_KEPT:]
            await asyncio.to_thread(self._write, dict(newest))
        return told.model_copy(update={"models": found, "source": "vendor", "at": now.at, "wants_env": ()})

    async def _ask(self, looked: _Looked) -> tuple[str, ...]:
        source, credential = looked.source, looked.credential
        assert source is not None
        if credential is None or looked.value is None:
            raise CarboyError("there is no key to ask the vendor with", "", "secret_missing")
        route = next((one for one in looked.routes if one.host == source.host and source.port in one.ports), None)
        if route is None:
            raise CarboyError(f"this bottle has no route to {source.host}", "", "vendor")
        ask = Ask("GET", source.path, route.model_copy(update={"ports": (source.port,)}), source.headers, looked.value)
        answer = await self._outbound.fetch(ask)
        try:
            found = source.read(json.loads(answer))
        except (ValueError, RecursionError):
            found = ()
        if not found:
            raise Answered(ask, 200, "sent no list of models")
        return found

    @property
    def _file(self) -> Path:
        return self._paths.state / "models.json"

    def _read(self) -> dict[str, Kept]:
        try:
            return _FILE.validate_json(read_bounded(self._file, MAX_FILE, follow=False))
        except (OSError, ValidationError):
            return {}

    def _write(self, kept: dict[str, Kept]) -> None:
        try:
            atomic_write(self._file, _FILE.dump_json(kept))
        except OSError as error:
            log.warning("the list of models was not kept: %s", error)


def _look(paths: Paths, request: LaunchRequest) -> _Looked:
    """Manifest, provider and credential, as a preflight finds them."""
    manifest = manifests.resolve(
        paths,
        agent=request.agent,
        bottles=request.bottles,
        cwd=Path(request.cwd),
        settings=load_settings(paths).settings,
        confirmed=None,
    )
    provider = provider_named(manifest.bottle.agent_provider.template or "shell")
    source = provider.model_source(manifest)
    given = [one for one in provider.credentials(manifest) if source is not None and one.host == source.host]
    values = _values(provider, manifest, request, [one.token_ref for one in given])
    chosen = next(iter(pick(given, list(values)).chosen), None)
    wants = () if chosen is not None else tuple(one.token_ref for one in given)
    routes = with_auth(provider.routes(manifest), (chosen,) if chosen else ())
    return _Looked(provider, manifest, source, chosen, values[chosen.token_ref] if chosen else None, routes, wants)


def _values(provider: Provider, manifest: Manifest, request: LaunchRequest, names: list[str]) -> dict[str, Secret]:
    try:
        login = provider.host_login(manifest, os.environ)
    except CarboyError:
        login = None
    if login is not None:
        return {login.token_ref: login.token}
    located = locate(names, typed=request.secrets, environment=request.env)
    return {name: found.value for name, found in located.items() if found.value is not None}
