"""One more kind of proposal: SQLite cannot change a CHECK, so the table is made anew, with those that refer to it.

Part of `app.store.migrations`; safe to run again.
"""

_COLUMNS = (
    "id, slug, session_id, kind, state, created_at, expires_at, content_key, base_hash, justification, payload, "
    "decided_at, decided_by, reason, scope, outcome, applied_at, error"
)

REVIEWS: tuple[str, ...] = (
    "DROP TABLE IF EXISTS new_askers",
    "DROP TABLE IF EXISTS new_proposals",
    """CREATE TABLE new_proposals (
        id TEXT PRIMARY KEY,
        slug TEXT NOT NULL,
        session_id TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (
            kind IN ('egress-allow', 'egress-block', 'egress-token-allow', 'gitleaks-allow', 'git-push')
        ),
        state TEXT NOT NULL
            CHECK (state IN ('pending', 'approved', 'modified', 'rejected', 'expired', 'withdrawn')),
        created_at REAL NOT NULL,
        expires_at REAL,
        content_key TEXT NOT NULL DEFAULT '',
        base_hash TEXT NOT NULL DEFAULT '',
        justification TEXT NOT NULL DEFAULT '',
        payload TEXT NOT NULL,
        decided_at REAL,
        decided_by TEXT NOT NULL DEFAULT '',
        reason TEXT NOT NULL DEFAULT '',
        scope TEXT NOT NULL DEFAULT '',
        outcome TEXT,
        applied_at REAL,
        error TEXT NOT NULL DEFAULT ''
    )""",
    f"INSERT INTO new_proposals ({_COLUMNS}) SELECT {_COLUMNS} FROM proposals",  # noqa: S608  (our own names)
    """CREATE TABLE new_askers (
        id TEXT PRIMARY KEY,
        proposal_id TEXT NOT NULL REFERENCES new_proposals (id),
        session_id TEXT NOT NULL,
        at REAL NOT NULL,
        gone INTEGER NOT NULL DEFAULT 0,
        told INTEGER NOT NULL DEFAULT 0
    )""",
    "INSERT INTO new_askers (id, proposal_id, session_id, at, gone, told) "
    "SELECT id, proposal_id, session_id, at, gone, told FROM proposal_askers",
    "DROP TABLE proposal_askers",
    "DROP TABLE proposals",
    "ALTER TABLE new_proposals RENAME TO proposals",
    "ALTER TABLE new_askers RENAME TO proposal_askers",
    "CREATE INDEX IF NOT EXISTS proposals_by_state ON proposals (state, created_at)",
    "CREATE INDEX IF NOT EXISTS proposals_by_content ON proposals (session_id, content_key)",
    "CREATE INDEX IF NOT EXISTS askers_by_proposal ON proposal_askers (proposal_id)",
    "CREATE INDEX IF NOT EXISTS askers_by_session ON proposal_askers (session_id, told)",
)
