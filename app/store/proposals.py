"""SQL of proposals: who asked, one decision each, who has been told. Each function is one transaction on the writer's
connection (or a read); values from outside are parameters."""

import sqlite3
import time
from typing import Any

import orjson

from app.core.proposal import TEMPORARY, over
from app.errors import CarboyError, NotFound
from app.store import desk
from app.store.base import Asker, Decided, ProposalRow
from app.store.chain import AuditRow
from app.store.connection import Transaction

UNKNOWN = 2
"""`told` of an asker whose sidecar was another one by then: 0 is not yet told, 1 is told."""
_COLUMNS = (
    "id, slug, session_id, kind, state, created_at, payload, justification, content_key, base_hash, expires_at,"
    " decided_at, decided_by, reason, scope, outcome, applied_at, error"
)
_NAMES = tuple(name.strip() for name in _COLUMNS.split(","))
_SELECT = (
    f"SELECT {_COLUMNS}, (SELECT count(*) FROM proposal_askers a WHERE a.proposal_id = proposals.id)"  # noqa: S608
    " FROM proposals"
)


def listed(db: sqlite3.Connection, slug: str | None, state: str | None) -> list[ProposalRow]:
    sql = f"{_SELECT} WHERE (?1 IS NULL OR slug = ?1) AND (?2 IS NULL OR state = ?2) ORDER BY created_at, id"
    return [_row(found) for found in db.execute(sql, (slug, state)).fetchall()]


def one(db: sqlite3.Connection, identity: str) -> ProposalRow | None:
    """The proposal of that id, or the one that the asker of that id has joined."""
    where = "WHERE id = ?1 OR id = (SELECT proposal_id FROM proposal_askers WHERE id = ?1) LIMIT 1"
    sql = f"{_SELECT} {where}"
    found = db.execute(sql, (identity,)).fetchone()
    return None if found is None else _row(found)


def add(db: sqlite3.Connection, row: ProposalRow) -> ProposalRow:
    with Transaction(db):
        known = db.execute("SELECT session_id, proposal_id FROM proposal_askers WHERE id = ?", (row.id,)).fetchone()
        if known is not None and known[0] != row.session_id:
            raise CarboyError("Another bottle has a proposal of this id", "", "proposal_id")
        if known is not None:
            _longer(db, known[1], row.expires_at)
        else:
            joined = _waiting(db, row) or _answered(db, row) if row.content_key else None
            if joined is None:
                _insert(db, row)
            else:
                _longer(db, joined, row.expires_at)
            values = (row.id, joined or row.id, row.session_id, row.created_at)
            db.execute("INSERT INTO proposal_askers (id, proposal_id, session_id, at) VALUES (?, ?, ?, ?)", values)
        return _known(db, row.id)


def _waiting(db: sqlite3.Connection, row: ProposalRow) -> str | None:
    sql = (
        "SELECT id FROM proposals WHERE session_id = ? AND content_key = ? AND kind = ? AND state = 'pending'"
        " ORDER BY created_at LIMIT 1"
    )
    found = db.execute(sql, (row.session_id, row.content_key, row.kind)).fetchone()
    return None if found is None else found[0]


def _answered(db: sqlite3.Connection, row: ProposalRow) -> str | None:
    """The operator's answer to the same question, where it holds for this repeat: it has reached nobody yet (the
    sidecar that asked was gone by then), or it was a yes for a time that is not over, which a new sidecar does not know
    of. Approved access is in the routes, and asked for anew where it was taken out of them."""
    sql = (
        "SELECT id FROM proposals WHERE session_id = ?1 AND content_key = ?2 AND kind = ?3"
        " AND (state = 'rejected' OR (state = 'approved' AND kind NOT IN ('egress-allow', 'egress-block')))"
        " AND (NOT EXISTS (SELECT 1 FROM proposal_askers a WHERE a.proposal_id = proposals.id AND a.told = 1)"
        "  OR (state = 'approved' AND (scope = 'session' OR (scope = '15m' AND decided_at > ?4))))"
        " ORDER BY decided_at DESC LIMIT 1"
    )
    since = time.time() - TEMPORARY["15m"]
    found = db.execute(sql, (row.session_id, row.content_key, row.kind, since)).fetchone()
    return None if found is None else found[0]


def _insert(db: sqlite3.Connection, row: ProposalRow) -> None:
    values = [getattr(row, name) for name in _NAMES]
    values[_NAMES.index("payload")] = orjson.dumps(row.payload).decode()
    values[_NAMES.index("outcome")] = None if row.outcome is None else orjson.dumps(row.outcome).decode()
    marks = ", ".join("?" * len(_NAMES))
    db.execute(f"INSERT INTO proposals ({_COLUMNS}) VALUES ({marks})", values)  # noqa: S608


def _longer(db: sqlite3.Connection, identity: str, until: float | None) -> None:
    """Whoever joins later may wait longer."""
    pending = "WHERE id = ? AND state = 'pending'"
    if until is None:
        db.execute(f"UPDATE proposals SET expires_at = NULL {pending}", (identity,))  # noqa: S608
    else:
        db.execute(f"UPDATE proposals SET expires_at = max(expires_at, ?) {pending}", (until, identity))  # noqa: S608


def decide(db: sqlite3.Connection, identity: str, decided: Decided, said: AuditRow) -> ProposalRow:
    sql = (
        "UPDATE proposals SET state = ?, decided_at = ?, decided_by = ?, reason = ?, scope = ?, outcome = ?,"
        " applied_at = ?, error = '' WHERE id = ? AND state = 'pending'"
    )
    outcome = None if decided.outcome is None else orjson.dumps(decided.outcome).decode()
    values = (decided.state, decided.at, decided.by, decided.reason, decided.scope, outcome, decided.applied_at)
    with Transaction(db):
        won = db.execute(sql, (*values, identity)).rowcount == 1
        row = _known(db, identity)
        if not won:
            text = over(row.state, row.decided_by, row.reason)
            raise CarboyError(text, "A decision is made once", "already_decided")
        desk.append_audit(db, said)
    return row


def fault(db: sqlite3.Connection, identity: str, error: str) -> None:
    db.execute("UPDATE proposals SET error = ? WHERE id = ? AND state = 'pending'", (error[:1000], identity))


def leave(db: sqlite3.Connection, asker: str) -> bool:
    with Transaction(db):
        db.execute("UPDATE proposal_askers SET gone = 1 WHERE id = ?", (asker,))
        sql = (
            "SELECT count(*) FROM proposal_askers WHERE gone = 0"
            " AND proposal_id = (SELECT proposal_id FROM proposal_askers WHERE id = ?)"
        )
        return db.execute(sql, (asker,)).fetchone()[0] == 0


def untold(db: sqlite3.Connection, session_id: str) -> list[Asker]:
    sql = (
        "SELECT a.id, p.id, p.state, p.reason, p.scope, coalesce(p.decided_at, 0)"
        " FROM proposal_askers a JOIN proposals p ON p.id = a.proposal_id"
        " WHERE a.session_id = ? AND a.told = 0 AND p.state != 'pending' ORDER BY a.at, a.id"
    )
    return [Asker(*found) for found in db.execute(sql, (session_id,)).fetchall()]


def told(db: sqlite3.Connection, asker: str, known: bool) -> None:
    db.execute("UPDATE proposal_askers SET told = ? WHERE id = ?", (1 if known else UNKNOWN, asker))


def _known(db: sqlite3.Connection, identity: str) -> ProposalRow:
    row = one(db, identity)
    if row is None:
        raise NotFound("There is no such proposal", "`carboy proposals` lists them", "no_such_proposal")
    return row


def _row(found: tuple[Any, ...]) -> ProposalRow:
    fields: dict[str, Any] = dict(zip(_NAMES, found, strict=False))
    fields["payload"] = orjson.loads(fields["payload"])
    fields["outcome"] = orjson.loads(fields["outcome"]) if fields["outcome"] else None
    return ProposalRow(**fields, asked=found[-1])
