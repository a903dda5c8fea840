"""The database's schema, as one list of numbered steps. Applied in order, each in its own transaction, never edited
once released; each is safe to run again (a crash between the step and its number repeats it)."""

from dataclasses import dataclass

from app.store.count_tables import COUNTS
from app.store.review_tables import REVIEWS
from app.store.usage_tables import CACHED, USAGE


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    statements: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        "events, spools, sessions",
        (
            """CREATE TABLE IF NOT EXISTS events (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                event_id TEXT NOT NULL,
                session_id TEXT NOT NULL,
                slug TEXT NOT NULL,
                at REAL NOT NULL,
                kind TEXT NOT NULL,
                decision TEXT NOT NULL DEFAULT '',
                host TEXT NOT NULL DEFAULT '',
                payload TEXT NOT NULL,
                UNIQUE (session_id, event_id)
            )""",
            "CREATE INDEX IF NOT EXISTS events_by_slug ON events (slug, seq)",
            "CREATE INDEX IF NOT EXISTS events_by_decision ON events (decision, seq)",
            """CREATE TABLE IF NOT EXISTS spool_positions (
                session_id TEXT PRIMARY KEY,
                slug TEXT NOT NULL,
                segment INTEGER NOT NULL,
                byte_offset INTEGER NOT NULL,
                updated_at REAL NOT NULL
            )""",
            """CREATE TABLE IF NOT EXISTS sessions (
                session_id TEXT PRIMARY KEY,
                slug TEXT NOT NULL,
                agent TEXT,
                provider TEXT NOT NULL,
                state TEXT NOT NULL,
                cwd TEXT NOT NULL,
                created_at REAL NOT NULL,
                ended_at REAL,
                exit_code INTEGER,
                view TEXT NOT NULL
            )""",
            "CREATE INDEX IF NOT EXISTS sessions_by_slug ON sessions (slug, created_at)",
        ),
    ),
    Migration(
        2,
        "proposals",
        (
            """CREATE TABLE IF NOT EXISTS proposals (
                id TEXT PRIMARY KEY,
                slug TEXT NOT NULL,
                session_id TEXT NOT NULL,
                kind TEXT NOT NULL
                    CHECK (kind IN ('egress-allow', 'egress-block', 'egress-token-allow', 'gitleaks-allow')),
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
            "CREATE INDEX IF NOT EXISTS proposals_by_state ON proposals (state, created_at)",
            "CREATE INDEX IF NOT EXISTS proposals_by_content ON proposals (session_id, content_key)",
        ),
    ),
    Migration(
        3,
        "audit",
        (
            """CREATE TABLE IF NOT EXISTS audit (
                number INTEGER PRIMARY KEY,
                at REAL NOT NULL,
                action TEXT NOT NULL,
                actor TEXT NOT NULL DEFAULT '',
                slug TEXT NOT NULL DEFAULT '',
                session_id TEXT NOT NULL DEFAULT '',
                detail TEXT NOT NULL,
                tag TEXT NOT NULL
            )""",
        ),
    ),
    Migration(
        4,
        "who asks",
        (
            """CREATE TABLE IF NOT EXISTS proposal_askers (
                id TEXT PRIMARY KEY,
                proposal_id TEXT NOT NULL REFERENCES proposals (id),
                session_id TEXT NOT NULL,
                at REAL NOT NULL,
                gone INTEGER NOT NULL DEFAULT 0,
                told INTEGER NOT NULL DEFAULT 0
            )""",
            "CREATE INDEX IF NOT EXISTS askers_by_proposal ON proposal_askers (proposal_id)",
            "CREATE INDEX IF NOT EXISTS askers_by_session ON proposal_askers (session_id, told)",
        ),
    ),
    Migration(
        5,
        "names of secrets, notices",
        (
            """CREATE TABLE IF NOT EXISTS secrets (
                name TEXT PRIMARY KEY,
                set_at REAL NOT NULL,
                used_at REAL
            )""",
            """CREATE TABLE IF NOT EXISTS notices (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                at REAL NOT NULL,
                read INTEGER NOT NULL DEFAULT 0,
                payload TEXT NOT NULL
            )""",
        ),
    ),
    Migration(6, "usage, sums, windows, budgets", USAGE),
    Migration(7, "proposals of the git gate", REVIEWS),
    Migration(8, "caches of answers under way", CACHED),
    Migration(9, "counts of lines", COUNTS),
)

LATEST = MIGRATIONS[-1].number
