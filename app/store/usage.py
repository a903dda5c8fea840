"""SQL of usage: rows once, sums beside them in the same transaction, intents, windows, metrics, the operator's own
budgets. Each public function is one transaction on the writer's connection or a read; outside values are parameters."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import orjson

from app.core.model import Sum
from app.core.schema import Amount
from app.core.scopes import session_of
from app.core.usage import Intent, Metrics, Progress, Slice, UsageRow, bucket, sum_of
from app.core.windows import MOST, Gauge
from app.store.connection import Transaction
from app.store.metering import Counted, Metering, Override, SumQuery

KEEP_METRICS = 100
"""Sessions of one project whose metrics stay (control-plane.md, "Store")."""

MODELS = 50
"""Names of models of one launch that are told apart in sums: an agent may write any, and sums are kept for good."""
OTHERS = "other models"

_ROW = tuple(field.name for field in fields(UsageRow))
_CACHED = ("cache_read", "cache_write", "cache_write_1h")
"""Told by an answer's progress alone: a table of its own."""
_INTENT = tuple(field.name for field in fields(Intent) if field.name not in _CACHED)
_SUMS = tuple(Sum.model_fields)
_INSERT_ROW = (
    f"INSERT INTO usage (session_id, slug, {', '.join(_ROW)}) VALUES ({', '.join('?' * (len(_ROW) + 2))})"  # noqa: S608
    " ON CONFLICT (session_id, event_id) DO NOTHING"
)
_SELECT_ROW = f"SELECT {', '.join(_ROW)} FROM usage"  # noqa: S608
_ADD_SUM = (
    f"INSERT INTO usage_sums (scope, provider, model, start, {', '.join(_SUMS)})"  # noqa: S608
    f" VALUES ({', '.join('?' * (len(_SUMS) + 4))}) ON CONFLICT (scope, provider, model, start) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
)
# an intent that is read again after its usage was kept must not come back to life
_INSERT_INTENT = (
    f"INSERT INTO usage_intents (session_id, {', '.join(_INTENT)})"  # noqa: S608
    f" SELECT ?1, {', '.join(f'?{n + 2}' for n in range(len(_INTENT)))}"
    " WHERE NOT EXISTS (SELECT 1 FROM usage WHERE session_id = ?1 AND request_id = ?2)"
    " ON CONFLICT (session_id, request_id) DO NOTHING"
)
_PROGRESS = (
    "UPDATE usage_intents SET model = CASE WHEN ?1 = '' THEN model ELSE ?1 END, input = ?2, output = ?3, at = ?4,"
    " known = 1 WHERE session_id = ?5 AND request_id = ?6 AND at <= ?4"
)

_SET_CACHED = "INSERT OR REPLACE INTO usage_cached VALUES (?, ?, ?, ?, ?)"


def keep(db: sqlite3.Connection, slug: str, session_id: str, metering: Metering) -> tuple[Counted, ...]:
    """Part of the caller's transaction. Returns what changed in the sums."""
    for intent in metering.intents:
        db.execute(_INSERT_INTENT, (session_id, *(getattr(intent, name) for name in _INTENT)))
    for step in metering.progress:
        _step(db, session_id, step)
    counted: list[Counted] = []
    for row in metering.rows:
        counted += _keep_row(db, slug, session_id, row)
    _add_up(db, session_id, slug, metering.scopes, counted)
    return tuple(counted)


def _step(db: sqlite3.Connection, session_id: str, step: Progress) -> None:
    values = (step.model, step.input, step.output, step.at, session_id, step.request_id)
    if db.execute(_PROGRESS, values).rowcount and (step.cache_read or step.cache_write):
        db.execute(_SET_CACHED, (session_id, step.request_id, *(getattr(step, name) for name in _CACHED)))


def _keep_row(db: sqlite3.Connection, slug: str, session_id: str, row: UsageRow) -> list[Counted]:
    if db.execute("SELECT 1 FROM usage WHERE session_id = ? AND event_id = ?", (session_id, row.event_id)).fetchone():
        return []
    for table in ("usage_intents", "usage_cached"):
        db.execute(f"DELETE FROM {table} WHERE session_id = ? AND request_id = ?", (session_id, row.request_id))  # noqa: S608
    former = _taken_place(db, session_id, row)
    if any(_better(old, row) for old in former):
        return []
    for old in former:
        db.execute("DELETE FROM usage WHERE session_id = ? AND event_id = ?", (session_id, old.event_id))
    db.execute(_INSERT_ROW, (session_id, slug, *(getattr(row, name) for name in _ROW)))
    return [*(Counted(old, -1) for old in former), Counted(row)]


def _taken_place(db: sqlite3.Connection, session_id: str, row: UsageRow) -> list[UsageRow]:
    """Rows that say the same thing: the estimate that was made where this one seemed lost, and another answer with the
    provider's same id (a background response that is polled)."""
    found = db.execute(
        f"{_SELECT_ROW} WHERE session_id = ?1 AND request_id = ?2 AND event_id = ?3",
        (session_id, row.request_id, Intent(row.request_id, 0.0, "").row.event_id),
    ).fetchall()
    if row.response_id and row.billable:
        found += db.execute(
            f"{_SELECT_ROW} WHERE session_id = ? AND response_id = ? AND model = ? AND billable",
            (session_id, row.response_id, row.model),
        ).fetchall()
    return [_row(one) for one in found]


def _better(old: UsageRow, new: UsageRow) -> bool:
    """What the provider said goes before what was set aside, and more before less."""
    same = bool(old.response_id) and old.response_id == new.response_id
    return same and (not old.unmetered, old.total) >= (not new.unmetered, new.total)


def _add_up(
    db: sqlite3.Connection, session_id: str, slug: str, scopes: Iterable[str], counted: Sequence[Counted]
) -> None:
    scopes = tuple(dict.fromkeys(scopes))
    launch = next((scope for scope in scopes if session_of(scope) is not None), "")
    own = _told_apart(db, launch, counted)
    sums: dict[tuple[str, str, int], Sum] = {}
    for item in counted:
        row = item.row
        name = row.model if (row.provider, row.model) in own else OTHERS
        key = (row.provider, name, bucket(row.at))
        sums[key] = sums.get(key, Sum()).plus(sum_of(row, item.sign))
    for scope in scopes:
        for (provider, model, start), found in sums.items():
            db.execute(_ADD_SUM, (scope, provider, model, start, *(getattr(found, name) for name in _SUMS)))
    _count_session(db, session_id, slug, counted)


def _told_apart(db: sqlite3.Connection, launch: str, counted: Sequence[Counted]) -> set[tuple[str, str]]:
    """Providers and models of these rows that keep their names in sums: those that are in them, and new ones as long as
    there is room. So a row that is taken out again is called what it was."""
    asked = dict.fromkeys((item.row.provider, item.row.model) for item in counted)
    sql = "SELECT 1 FROM usage_sums WHERE scope = ? AND provider = ? AND model = ? LIMIT 1"
    new = [key for key in asked if db.execute(sql, (launch, *key)).fetchone() is None]
    if new and launch:
        sql = "SELECT count(*) FROM (SELECT DISTINCT provider, model FROM usage_sums WHERE scope = ?)"
        room = MODELS - db.execute(sql, (launch,)).fetchone()[0]
        return set(asked) - set(new[max(0, room) :])
    return set(asked)


def _count_session(db: sqlite3.Connection, session_id: str, slug: str, counted: Sequence[Counted]) -> None:
    if not counted:
        return
    found = Sum()
    for item in counted:
        found = found.plus(sum_of(item.row, item.sign))
    peak = max(item.row.context for item in counted)
    models = [item.row.model for item in counted if item.sign > 0 and item.row.model]
    faults = [item.row.fault for item in counted if item.sign > 0]
    db.execute(
        "INSERT INTO session_metrics (session_id, slug, provider, model, tokens, peak_context, turns, tool_calls,"
        " cost_nano, unpriced, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        " ON CONFLICT (session_id) DO UPDATE SET tokens = tokens + ?5, peak_context = max(peak_context, ?6),"
        " turns = turns + ?7, tool_calls = tool_calls + ?8, cost_nano = cost_nano + ?9, unpriced = unpriced + ?10,"
        " model = CASE WHEN ?4 = '' THEN model ELSE ?4 END, error = ?11",
        (
            session_id,
            slug,
            counted[-1].row.provider,
            models[-1] if models else "",
            found.total,
            peak,
            found.requests,
            found.tool_calls,
            found.cost_nano,
            found.unpriced,
            faults[-1] if faults else "",
        ),
    )


# --- reading --------------------------------------------------------------------------------------------------------


def sums(db: sqlite3.Connection, query: SumQuery) -> list[Slice]:
    step = max(0, query.step)
    start = "(start / :step) * :step" if step else "0 * :step"
    columns = (
        "scope" if query.scopes_of is not None else "''",
        "provider" if query.by_provider else "''",
        "model" if query.by_model else "''",
        start,
    )
    clauses = {
        f"scope IN ({', '.join(f':scope{n}' for n in range(len(query.also) + 1))})": query.scope,
        "scope >= :kind AND scope < :kind_end": query.scopes_of,
        "provider = :provider": query.provider,
        "start < :until": query.until,
    }
    where = ["start >= :since", *(clause for clause, value in clauses.items() if value is not None)]
    values = {
        "step": step or 1,
        "since": bucket(query.since),
        "until": query.until,
        "provider": query.provider,
        "kind": query.scopes_of,
        "kind_end": f"{query.scopes_of}\U0010ffff",
    }
    values |= {f"scope{n}": scope for n, scope in enumerate((query.scope, *query.also))}
    added = ", ".join(f"sum({name})" for name in _SUMS)
    sql = (
        f"SELECT {', '.join(columns)}, {added} FROM usage_sums WHERE {' AND '.join(where)}"  # noqa: S608
        f" GROUP BY 1, 2, 3, 4 ORDER BY 4 DESC, 2, 3, 1 LIMIT {int(max(1, min(query.limit, 40000)))}"
    )
    found = db.execute(sql, values).fetchall()
    return [_slice(row) for row in reversed(found)]


def _slice(row: tuple[Any, ...]) -> Slice:
    scope, provider, model, start, *numbers = row
    # these rows are ours: validating them again would double what a screen costs
    found = Sum.model_construct(**dict(zip(_SUMS, numbers, strict=True)))
    return Slice.model_construct(scope=scope, provider=provider, model=model, start=start, sum=found)


def rows(db: sqlite3.Connection, session_id: str | None, since: float, limit: int) -> list[tuple[str, UsageRow]]:
    # two texts, so that each has its index: with "or" in it SQLite walks through every session's rows
    whose = "session_id = ?2 AND" if session_id is not None else ""
    sql = f"SELECT slug, {', '.join(_ROW)} FROM usage WHERE {whose} at >= ?1 ORDER BY at DESC LIMIT ?3"  # noqa: S608
    found = db.execute(sql, (since, session_id, max(1, min(limit, 5000)))).fetchall()
    return [(slug, _row(tuple(rest))) for slug, *rest in reversed(found)]


def intents(db: sqlite3.Connection, session_id: str) -> list[Intent]:
    cached = ", ".join(f"coalesce({name}, 0)" for name in _CACHED)
    sql = (
        f"SELECT {', '.join(_INTENT)}, {cached} FROM usage_intents"  # noqa: S608
        " LEFT JOIN usage_cached USING (session_id, request_id) WHERE session_id = ? ORDER BY at"
    )
    found = [dict(zip((*_INTENT, *_CACHED), row, strict=True)) for row in db.execute(sql, (session_id,)).fetchall()]
    for one in found:
        one["known"] = bool(one["known"])
    return [Intent(**one) for one in found]


def settle(
    db: sqlite3.Connection,
    session_id: str,
    slug: str,
    scopes: tuple[str, ...],
    request_ids: Sequence[str],
    prices: Sequence[int | None],
) -> tuple[Counted, ...]:
    """In a transaction of its own: these intents become rows."""
    wanted = dict(zip(request_ids, [*prices, *([None] * len(request_ids))], strict=False))
    db.execute("BEGIN IMMEDIATE")
    try:
        lost = [intent for intent in intents(db, session_id) if intent.request_id in wanted]
        made = [replace(intent.row, cost_nano=wanted[intent.request_id]) for intent in lost]
        counted = keep(db, slug, session_id, Metering(scopes, (), made))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return counted


# --- windows, metrics, budgets --------------------------------------------------------------------------------------


def gauges(db: sqlite3.Connection) -> list[Gauge]:
    found = db.execute("SELECT gauge FROM usage_windows ORDER BY at DESC LIMIT ?", (MOST,)).fetchall()
    return [Gauge.model_validate_json(text) for (text,) in found]


def save_gauges(db: sqlite3.Connection, given: Sequence[Gauge]) -> None:
    with Transaction(db):
        db.executemany(
            "INSERT INTO usage_windows VALUES (?, ?, ?, ?) ON CONFLICT (provider, name) DO UPDATE SET"
            " at = excluded.at, gauge = excluded.gauge",
            [(item.provider, item.name, item.at, item.model_dump_json()) for item in given],
        )
        db.execute(
            "DELETE FROM usage_windows WHERE (provider, name) NOT IN"
            " (SELECT provider, name FROM usage_windows ORDER BY at DESC LIMIT ?)",
            (MOST,),
        )


_METRICS = tuple(Metrics.model_fields)


def metrics(db: sqlite3.Connection, project: str | None, session_id: str | None, limit: int) -> list[Metrics]:
    sql = (
        f"SELECT {', '.join(_METRICS)} FROM session_metrics"  # noqa: S608
        " WHERE (?1 IS NULL OR project = ?1) AND (?2 IS NULL OR session_id = ?2)"
        " ORDER BY started DESC, session_id LIMIT ?3"
    )
    found = db.execute(sql, (project, session_id, max(1, min(limit, 5000)))).fetchall()
    return [Metrics.model_construct(**dict(zip(_METRICS, row, strict=True))) for row in found]


def save_metrics(db: sqlite3.Connection, given: Metrics) -> None:
    """The facts of a session; its numbers are added up by `keep`."""
    facts = ("slug", "project", "agent", "provider", "started", "ended", "status")
    values = [getattr(given, name) for name in facts]
    sets = ", ".join(f"{name} = excluded.{name}" for name in facts)
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(
            f"INSERT INTO session_metrics (session_id, model, error, {', '.join(facts)})"  # noqa: S608
            f" VALUES (?, ?, ?, {', '.join('?' * len(facts))}) ON CONFLICT (session_id) DO UPDATE SET {sets},"
            " error = CASE WHEN excluded.error = '' THEN error ELSE excluded.error END,"
            " model = CASE WHEN model = '' THEN excluded.model ELSE model END",
            (given.session_id, given.model, given.error, *values),
        )
        db.execute(
            "DELETE FROM session_metrics WHERE project = ?1 AND ended IS NOT NULL AND session_id NOT IN"
            " (SELECT session_id FROM session_metrics WHERE project = ?1 ORDER BY started DESC, session_id LIMIT ?2)",
            (given.project, KEEP_METRICS),
        )
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def overrides(db: sqlite3.Connection) -> list[Override]:
    sql = "SELECT scope, provider, amount, at, until, by, reason FROM budget_overrides ORDER BY scope, provider"
    return [
        Override(scope, provider, Amount.model_validate_json(amount), at, until, by, reason)
        for scope, provider, amount, at, until, by, reason in db.execute(sql).fetchall()
    ]


def save_override(db: sqlite3.Connection, given: Override) -> None:
    amount = orjson.dumps(given.amount.model_dump(exclude_none=True)).decode()
    db.execute(
        "INSERT INTO budget_overrides (scope, provider, amount, at, until, by, reason) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (scope, provider) DO UPDATE SET amount = excluded.amount, at = excluded.at,"
        " until = excluded.until, by = excluded.by, reason = excluded.reason",
        (given.scope, given.provider, amount, given.at, given.until, given.by, given.reason),
    )


def _row(found: tuple[Any, ...]) -> UsageRow:
    values = dict(zip(_ROW, found, strict=True))
    for name in ("billable", "complete", "estimated", "unmetered"):
        values[name] = bool(values[name])
    return UsageRow(**values)
