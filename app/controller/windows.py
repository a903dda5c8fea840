"""Keeps the providers' rate-limit windows: as they were seen last, and each bottle's share of their movement. Decides
by `app.core.windows`; what it holds is in the store as well."""

import logging
import time
from collections.abc import Iterable

from app.core.windows import MOST, Gauge, current, moved, within
from app.errors import CarboyError
from app.store.base import Store
from app.store.metering import Counted

log = logging.getLogger(__name__)


class Windows:
    """`used` before `seen` for the same batch: headers tell of what was used before them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gauges: dict[tuple[str, str], Gauge] = {}
        self._tokens: dict[tuple[str, str], dict[str, int]] = {}
        """For each window, the tokens of each bottle since it was seen last."""
        self._unsaved: set[tuple[str, str]] = set()

    async def start(self) -> None:
        now = time.time()
        kept = await self._store.gauges()
        self._gauges = {item.key: within(item, now) for item in kept}
        self._unsaved = {item.key for item in kept if self._gauges[item.key] != item}

    @property
    def news(self) -> bool:
        return bool(self._unsaved)

    def used(self, slug: str, counted: Iterable[Counted]) -> None:
        for item in counted:
            for key in self._gauges:
                if key[0] == item.row.provider:
                    since = self._tokens.setdefault(key, {})
                    since[slug] = since.get(slug, 0) + item.sign * item.row.total

    def seen(self, gauges: Iterable[Gauge]) -> None:
        now = time.time()
        for gauge in (within(item, now) for item in gauges):
            if gauge.key not in self._gauges and len(self._gauges) >= MOST:
                self._forget(min(self._gauges, key=lambda key: self._gauges[key].at))
            before = self._gauges.get(gauge.key)
            after = moved(before, gauge, self._tokens.get(gauge.key, {}))
            if after != before:
                self._gauges[gauge.key] = after
                self._tokens[gauge.key] = {}
                self._unsaved.add(gauge.key)

    def _forget(self, key: tuple[str, str]) -> None:
        del self._gauges[key]
        self._tokens.pop(key, None)
        self._unsaved.discard(key)

    def current(self, now: float) -> list[Gauge]:
        return [current(item, now) for _, item in sorted(self._gauges.items())]

    async def save(self) -> None:
        keys, self._unsaved = self._unsaved, set()
        try:
            await self._store.save_gauges([self._gauges[key] for key in keys])
        except CarboyError as error:  # they come again with the next answers
            log.warning("rate-limit windows could not be saved: %s", error)
