"""Turns an `EventQuery` into SQL with parameters. Pure."""

from typing import Any

from app.store.base import EventQuery

EVENT_COLUMNS = "seq, at, kind, slug, payload"
MAX_LIMIT = 5000
"""Most events that one answer carries, about 5 MB."""

BLOCKED = ("deny", "hold", "error")
"""What `--decision blocked` means: everything that did not leave."""


def event_query(query: EventQuery) -> tuple[str, list[Any], bool]:
    """SQL, its values, and whether the rows come newest first."""
    where: list[str] = []
    values: list[Any] = []

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
    if query.decision == "blocked":
        add(f"decision IN ({', '.join('?' * len(BLOCKED))})", *BLOCKED)
    elif query.decision is not None:
        add("decision = ?", query.decision)
    if query.host is not None:
        add("instr(lower(host), ?) > 0", query.host.lower())
    if query.text is not None:
        add("instr(lower(payload), ?) > 0", query.text.lower())
    backwards = query.after is None
    clause = f" WHERE {' AND '.join(where)}" if where else ""
    order = "DESC" if backwards else "ASC"
    values.append(max(1, min(query.limit, MAX_LIMIT)))
    # only literals of this file are joined into the text
    return f"SELECT {EVENT_COLUMNS} FROM events{clause} ORDER BY seq {order} LIMIT ?", values, backwards  # noqa: S608
