"""Tables of the search index: a database of its own, since what is in it can be large, is never money or permission,
and may be lost without harm. SQLite's FTS5 keeps the words, the entries keep the text once."""

from app.store.migrations import Migration

SEARCH: tuple[Migration, ...] = (
    Migration(
        1,
        "entries of conversations",
        (
            """CREATE TABLE IF NOT EXISTS sessions (
                number INTEGER PRIMARY KEY,
                session_id TEXT NOT NULL UNIQUE,
                slug TEXT NOT NULL,
                label TEXT NOT NULL,
                agent TEXT NOT NULL,
                provider TEXT NOT NULL
            )""",
            """CREATE TABLE IF NOT EXISTS entries (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                session INTEGER NOT NULL REFERENCES sessions (number),
                place BLOB NOT NULL UNIQUE,
                at REAL NOT NULL,
                kind TEXT NOT NULL,
                tool TEXT NOT NULL,
                conversation TEXT NOT NULL,
                size INTEGER NOT NULL,
                text TEXT NOT NULL
            )""",
            "CREATE INDEX IF NOT EXISTS entries_by_session ON entries (session, id)",
            "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 "
            "(text, content = 'entries', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2')",
            "CREATE TRIGGER IF NOT EXISTS entry_added AFTER INSERT ON entries BEGIN"
            " INSERT INTO words (rowid, text) VALUES (new.id, new.text); END",
            "CREATE TRIGGER IF NOT EXISTS entry_gone AFTER DELETE ON entries BEGIN"
            " INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text); END",
        ),
    ),
)
