"""The usage half of the SQLite engine: each call of `MeterStore` as one job of the writer's or the reader's thread."""

import sqlite3
import time
from collections.abc import Callable, Sequence

from app.core.usage import Intent, Metrics, Slice, UsageRow
from app.core.windows import Gauge
from app.store import usage
from app.store.metering import Counted, MeterStore, Override, SumQuery


class SqliteUsage(MeterStore):
    """Mixed into `SqliteStore`, which has the threads."""

    async def _writing[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        raise NotImplementedError

    async def _reading[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        raise NotImplementedError

    async def sums(self, query: SumQuery) -> list[Slice]:
        return await self._reading(lambda db: usage.sums(db, query))

    async def usage_rows(
        self, *, session_id: str | None = None, since: float = 0.0, limit: int = 200
    ) -> list[tuple[str, UsageRow]]:
        return await self._reading(lambda db: usage.rows(db, session_id, since, limit))

    async def minutes(self, session_id: str, since: float) -> dict[int, int]:
        sql = (
            "SELECT CAST(at / 60 AS INTEGER), sum(input + output + cache_read + cache_write) FROM usage"
            " WHERE session_id = ? AND at >= ? GROUP BY 1 LIMIT 10000"
        )
        return dict(await self._reading(lambda db: db.execute(sql, (session_id, since)).fetchall()))

    async def intents(self, session_id: str) -> list[Intent]:
        return await self._writing(lambda db: usage.intents(db, session_id))

    async def settle_intents(
        self,
        session_id: str,
        slug: str,
        scopes: tuple[str, ...],
        request_ids: Sequence[str],
        prices: Sequence[int | None] = (),
    ) -> tuple[Counted, ...]:
        return await self._writing(lambda db: usage.settle(db, session_id, slug, scopes, request_ids, prices))

    async def gauges(self) -> list[Gauge]:
        return await self._reading(usage.gauges)

    async def save_gauges(self, gauges: Sequence[Gauge]) -> None:
        await self._writing(lambda db: usage.save_gauges(db, gauges))

    async def metrics(
        self, *, project: str | None = None, session_id: str | None = None, limit: int = 100
    ) -> list[Metrics]:
        return await self._reading(lambda db: usage.metrics(db, project, session_id, limit))

    async def save_metrics(self, metrics: Metrics) -> None:
        await self._writing(lambda db: usage.save_metrics(db, metrics))

    async def overrides(self) -> list[Override]:
        return await self._writing(usage.overrides)

    async def save_override(self, override: Override) -> None:
        await self._writing(lambda db: usage.save_override(db, override))

    async def drop_override(self, scope: str, provider: str) -> bool:
        sql = "DELETE FROM budget_overrides WHERE scope = ? AND provider = ?"
        return await self._writing(lambda db: db.execute(sql, (scope, provider)).rowcount > 0)

    async def mark(self, scope: str, provider: str, period: float, mark: int) -> bool:
        sql = "INSERT INTO budget_marks VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        values = (scope, provider, period, mark, time.time())
        return await self._writing(lambda db: db.execute(sql, values).rowcount > 0)

    async def marks(self, scope: str, provider: str, period: float) -> tuple[int, ...]:
        sql = "SELECT mark FROM budget_marks WHERE scope = ? AND provider = ? AND period = ? ORDER BY mark"
        found = await self._writing(lambda db: db.execute(sql, (scope, provider, period)).fetchall())
        return tuple(mark for (mark,) in found)

    async def unmark(self, scope: str, provider: str, period: float, above: int) -> None:
        sql = "DELETE FROM budget_marks WHERE scope = ? AND provider = ? AND period = ? AND mark > ?"
        await self._writing(lambda db: db.execute(sql, (scope, provider, period, above)))
