"""What is counted of a session's lines, as a step of `app.store.migrations`: never edited once released."""

_TIMES = (
    "CASE WHEN kind = 'egress' AND json_extract(payload, '$.phase') = 'closed' THEN 1 + CASE"
    " WHEN json_type(payload, '$.detail.count') = 'integer'"
    " AND json_extract(payload, '$.detail.count') BETWEEN 0 AND 1000000000"
    " THEN json_extract(payload, '$.detail.count') ELSE 0 END ELSE 0 END"
)

_FILL = (
    "INSERT OR IGNORE INTO event_counts (session_id, decision, slug, times, lines, size)"  # noqa: S608 (ours)
    f" SELECT session_id, decision, min(slug), sum({_TIMES}), count(*), sum(length(payload)) FROM events"
    " GROUP BY session_id, decision"
)

COUNTS: tuple[str, ...] = (
    """CREATE TABLE IF NOT EXISTS event_counts (
        session_id TEXT NOT NULL,
        decision TEXT NOT NULL,
        slug TEXT NOT NULL,
        times INTEGER NOT NULL,
        lines INTEGER NOT NULL,
        size INTEGER NOT NULL,
        dropped INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (session_id, decision)
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS event_counts_by_slug ON event_counts (slug)",
    _FILL,
)
"""`times`: ended requests that the lines stood for, also those that are gone; `lines` and `size` (of their payloads):
those that are there; `dropped`: those that are not."""
