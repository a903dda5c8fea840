"""Turns an `EventQuery` into SQL with parameters. Pure."""

from typing import Any

from app.core.model import SEARCHED
from app.store.base import EventQuery

EVENT_COLUMNS = "seq, at, kind, slug, payload"
MAX_LIMIT = 5000
"""Most events that one answer carries, about 5 MB."""

BLOCKED = ("deny", "hold", "error")
"""What `--decision blocked` means: everything that did not leave."""


def decided(decision: str) -> tuple[str, tuple[str, ...]]:
    """SQL and its values for one decision, or for `blocked`."""
    given = BLOCKED if decision == "blocked" else (decision,)
    return f"decision IN ({', '.join('?' * len(given))})", given


def dropped_query(slug: str | None, session_id: str | None, decision: str | None) -> tuple[str, list[Any]]:
    """How many lines are gone of these."""
    where, values = "(?1 IS NULL OR slug = ?1) AND (?2 IS NULL OR session_id = ?2)", [slug, session_id]
    if decision is not None:
        clause, given = decided(decision)
        where, values = f"{where} AND {clause}", [*values, *given]
    return f"SELECT coalesce(sum(dropped), 0) FROM event_counts WHERE {where}", values  # noqa: S608 (ours)


def event_query(query: EventQuery) -> tuple[str, list[Any], bool]:
    """SQL, its values, and whether the rows come newest first."""
    where: list[str] = []
    values: list[Any] = []
    sought: list[str] = []
    texts: list[str] = []

    def add(clause: str, *given: Any) -> None:
        where.append(clause)
        values.extend(given)

    if query.slug is not None:
        add("slug = ?", query.slug)
    if query.session_id is not None:
        add("session_id = ?", query.session_id)
    if query.after is not None:
        add("seq > ?", query.after)
    if query.before is not None:
        add("seq < ?", query.before)
    if query.decision is not None:
        clause, given = decided(query.decision)
        add(clause, *given)
    if query.host is not None:
        sought.append("instr(lower(host), ?) > 0")
        texts.append(query.host.lower())
    if query.text is not None:
        sought.append("instr(lower(payload), ?) > 0")
        texts.append(query.text.lower())
    backwards = query.after is None
    clause = f" WHERE {' AND '.join(where)}" if where else ""
    order = "DESC" if backwards else "ASC"
    # only literals of this file are joined into the text
    events = f"SELECT {EVENT_COLUMNS}, host FROM events{clause} ORDER BY seq {order} LIMIT ?"  # noqa: S608
    limit = max(1, min(query.limit, MAX_LIMIT))
    if not sought:
        return events, [*values, limit], backwards
    found = f"SELECT * FROM ({events}) WHERE {' AND '.join(sought)} ORDER BY seq {order} LIMIT ?"  # noqa: S608
    return found, [*values, SEARCHED, *texts, limit], backwards
