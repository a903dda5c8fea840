"""SQL of what the operator's desk remembers: names of secrets, notices, the audit trail. Each function runs on the
writer's connection (or is a read); values from outside are parameters."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from app.core.notices import Notice
from app.errors import CarboyError
from app.store.base import SecretName
from app.store.chain import AuditRow


def secret_names(db: sqlite3.Connection) -> list[SecretName]:
    return [SecretName(*row) for row in db.execute("SELECT name, set_at, used_at FROM secrets ORDER BY name")]


def secret_set(db: sqlite3.Connection, name: str, at: float) -> None:
    sql = "INSERT INTO secrets (name, set_at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET set_at = excluded.set_at"
    db.execute(sql, (name, at))


def secret_gone(db: sqlite3.Connection, name: str) -> bool:
    return db.execute("DELETE FROM secrets WHERE name = ?", (name,)).rowcount == 1


def secrets_used(db: sqlite3.Connection, names: Sequence[str], at: float) -> None:
    db.executemany("UPDATE secrets SET used_at = ? WHERE name = ?", [(at, name) for name in names])


def add_notice(db: sqlite3.Connection, notice: Notice, keep: int) -> Notice:
    values = (notice.at, notice.read, notice.model_dump_json())
    db.execute("BEGIN IMMEDIATE")
    try:
        number = db.execute("INSERT INTO notices (at, read, payload) VALUES (?, ?, ?)", values).lastrowid or 0
        db.execute("DELETE FROM notices WHERE id <= ?", (number - keep,))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return notice.model_copy(update={"id": number})


def notices(db: sqlite3.Connection) -> list[Notice]:
    rows = db.execute("SELECT id, read, payload FROM notices ORDER BY id DESC").fetchall()
    return [found for number, read, text in rows if (found := _notice(number, bool(read), text)) is not None]


def _notice(number: int, read: bool, text: str) -> Notice | None:
    try:
        return Notice.model_validate_json(text).model_copy(update={"id": number, "read": read})
    except ValueError:
        return None  # of another version: not worth an error


def read_notices(db: sqlite3.Connection, upto: int) -> None:
    db.execute("UPDATE notices SET read = 1 WHERE id <= ?", (upto,))


def clear_notices(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM notices")


TIMES = (
    "1 + CASE WHEN json_type(payload, '$.detail.count') = 'integer'"
    " AND json_extract(payload, '$.detail.count') BETWEEN 0 AND 1000000000"
    " THEN json_extract(payload, '$.detail.count') ELSE 0 END"
)
"""How often one event stands for: a sidecar's word, which may be any value."""


def refusals(db: sqlite3.Connection, session_id: str, since: float) -> list[tuple[str, str, str, int]]:
    sql = (
        f"SELECT host, decision, coalesce(json_extract(payload, '$.code'), ''), sum({TIMES}) AS times"  # noqa: S608
        " FROM events WHERE session_id = ? AND at >= ? AND kind = 'egress' AND decision IN ('deny', 'error')"
        " GROUP BY 1, 2, 3 ORDER BY times DESC, host LIMIT 50"
    )
    rows = db.execute(sql, (session_id, since))
    return [(str(host), str(decision), str(code), int(times)) for host, decision, code, times in rows]


def orders(db: sqlite3.Connection, session_id: str, since: float) -> list[Any]:
    sql = (
        "SELECT number, at, action, actor, slug, session_id, detail, tag FROM audit"
        " WHERE session_id = ? AND at >= ? ORDER BY number DESC LIMIT 100"
    )
    return db.execute(sql, (session_id, since)).fetchall()[::-1]


def append_audit(db: sqlite3.Connection, row: AuditRow) -> None:
    detail = orjson.dumps(row.detail).decode()
    values = (row.at, row.action, row.actor, row.slug, row.session_id, detail, row.tag)
    # the number must follow the last one: a chain with a hole in it would be found broken for ever
    sql = (
        "INSERT INTO audit SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8"
        " WHERE ?1 = (SELECT coalesce(max(number), 0) + 1 FROM audit)"
    )
    if db.execute(sql, (row.number, *values)).rowcount != 1:
        raise CarboyError(f"audit row {row.number} does not follow the last one", "", "audit_order")
