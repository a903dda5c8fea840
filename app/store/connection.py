"""Opens the database file: modes, pragmas, version check, backups and migrations. Synchronous; called on the store's
own threads. Never touches a database that a newer carboy wrote."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from app.errors import CarboyError, disk_full, has_room
from app.paths import private_folder
from app.store.migrations import MIGRATIONS, Migration

BUSY_MS = 5000
"""How long a connection waits for another's lock: a foreign reader (a backup tool) may hold one for a moment."""

KEEP_BACKUPS = 3


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection for one thread, in autocommit mode (transactions are begun explicitly)."""
    mode = "ro" if readonly else "rwc"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    if readonly:
        connection.execute("PRAGMA query_only = ON")
    else:
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: a spool is deleted once its events are acknowledged, so a power cut must not take them back
        connection.execute("PRAGMA synchronous = FULL")
    return connection


class Transaction:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:  # also where the commit failed: nothing could begin after it
                self._db.execute("ROLLBACK")


def prepare(path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> sqlite3.Connection:
    """The writer's connection to a database with the newest schema; the file is made if there is none."""
    private_folder(path.parent)
    existing = path.exists()
    if existing:
        refuse_newer(path, migrations[-1].number)
    else:
        # made with the right mode before SQLite opens it: -wal and -shm files copy the database's mode
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    try:
        connection = connect(path)
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from None
    try:
        migrate(connection, path, migrations)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError) and not has_room(path.parent):
            raise disk_full(str(path)) from None
        if type(error) is sqlite3.DatabaseError:
            raise damaged(path, error) from None
        raise
    return connection


def refuse_newer(path: Path, latest: int) -> None:
    """Raise CarboyError if the database at `path` has a schema beyond `latest`. Reads only."""
    try:
        connection = connect(path, readonly=True)
        with contextlib.closing(connection):
            found = version(connection)
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from None
    if found > latest:
        raise CarboyError(
            f"{path} was written by a newer carboy (schema {found}; this one knows {latest})",
            "Update carboy, or set CARBOY_HOME to another place",
            "store_newer",
        )


def damaged(path: Path, error: sqlite3.Error) -> CarboyError:
    if isinstance(error, sqlite3.OperationalError) and not has_room(path.parent):
        return disk_full(str(path))
    return CarboyError(
        f"{path} cannot be read as carboy's database: {error}",
        f"Move it away, or put back a backup from {path.parent}",
        "store_damaged",
    )


def version(connection: sqlite3.Connection) -> int:
    """The schema's number; 0 for an empty database."""
    table = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'"
    ).fetchone()
    if table is None:
        return 0
    row = connection.execute("SELECT max(number) FROM schema_version").fetchone()
    return int(row[0] or 0)


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Apply what is missing, in order, with a backup before each step that changes a database with something in it."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (number INTEGER PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL)"
    )
    start = version(connection)
    for step in migrations:
        if step.number <= start:
            continue
        if start:
            backup(connection, path, step.number - 1)
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in step.statements:
                connection.execute(statement)
            connection.execute("INSERT INTO schema_version VALUES (?, ?, ?)", (step.number, step.name, time.time()))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    if start:
        prune_backups(path)


def backup(connection: sqlite3.Connection, path: Path, number: int) -> Path:
    """A consistent copy beside the database, complete or not there at all."""
    target = path.with_name(f"{path.name}.backup-{number}")
    draft = target.with_name(f"{target.name}.part")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(draft)) as copy:
        connection.backup(copy)
    with draft.open("rb") as written:
        os.fsync(written.fileno())
    draft.rename(target)
    return target


def prune_backups(path: Path) -> None:
    """Keep the newest few backups."""
    found = sorted(
        (item for item in path.parent.glob(f"{path.name}.backup-*") if item.suffix != ".part"),
        key=lambda item: item.stat().st_mtime,
    )
    for old in found[:-KEEP_BACKUPS]:
        old.unlink(missing_ok=True)
