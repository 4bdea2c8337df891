"""The sqlite file of a local store: created whole, upgraded as a copy, moved aside if broken.

A process may be killed at any time, and several may open a new store at once. So the file is
written under another name, below a lock, and renamed into place when MLflow accepts it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.tracking.store import TrackingError

if TYPE_CHECKING:
    from sqlalchemy import Engine

LOCKED_S = 20
"""How long to wait for a locked file; equal to MLflow's own limit."""
MAGIC = b"SQLite format 3\0"
"""First bytes of a database (sqlite.org/fileformat.html, section 1.3)."""
SIDECARS = ("-journal", "-wal", "-shm")
"""Suffixes of files that belong to a database and are replayed into one of that name."""
NOT_BROKEN = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
)
"""Errors of the disk or of another process, with which the store itself may be whole."""
BROKEN = "broken"
REMEDY = "harness publish brings the stored records into the new one"


def prepare(path: Path, artifacts: str) -> list[str]:
    """Make sure that a complete store of this version of MLflow is at `path`.

    Returns remarks for the user: a store that cannot be upgraded is moved aside, never deleted.
    TrackingError for a file of another kind and for a store of a newer MLflow; OSError and
    sqlite3.Error for one that cannot be read or written.
    """
    if is_current(path):
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock(path):
        for leftover in path.parent.glob(f".{path.name}.new-*"):
            leftover.unlink()
        if is_current(path):  # another process was faster
            return []
        new = path.with_name(f".{path.name}.new-{os.getpid()}")
        try:
            remarks = [] if _is_absent(path) else _upgrade(path, new)
            if not new.exists():
                _create(new, artifacts)
            _sync(new)
            new.replace(path)
        finally:  # on a full disk too
            new.unlink(missing_ok=True)
    return remarks


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock of the store in this context."""
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_absent(path: Path) -> bool:
    return not path.exists() or not path.stat().st_size


def is_current(path: Path) -> bool:
    """Whether the file is a store with the schema of the MLflow that this process imports."""
    if _is_absent(path):
        return False
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise TrackingError(f"{path}: not a sqlite database; give another tracking.uri")
    with suppress(sqlite3.DatabaseError), closing(_connect(path)) as connection:
        try:
            return _revision(connection) == _head()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise TrackingError(f"{path}: {error}") from error
    return False


def _connect(path: Path) -> sqlite3.Connection:
    """Open an existing database; sqlite rolls back what a killed process left in its journal."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=LOCKED_S)


def _revision(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def _head() -> str | None:
    """The newest revision of MLflow's schema."""
    return _revisions()[0]


@cache
def _revisions() -> tuple[str, ...]:
    """All revisions of MLflow's schema, the newest first: Python files, read once in a process."""
    import mlflow
    from alembic.script import ScriptDirectory

    folder = Path(mlflow.__file__).parent / "store" / "db_migrations"
    scripts = ScriptDirectory(str(folder)).walk_revisions()
    return tuple(script.revision for script in scripts)


def _upgrade(path: Path, new: Path) -> list[str]:
    """Write an upgraded copy of a store to `new`; move it aside where that fails.

    Returns remarks.
    """
    from mlflow.store.db.utils import _all_tables_exist, _upgrade_db

    try:
        with closing(_connect(path)) as old:
            _check_origin(path, old)
            with closing(sqlite3.connect(new)) as copy:
                old.backup(copy)
        with _engine(new) as engine:
            _upgrade_db(engine)  # type: ignore[no-untyped-call]
            if not _all_tables_exist(engine):  # type: ignore[no-untyped-call]
                raise sqlite3.DatabaseError("tables are missing")
    except (TrackingError, OSError):
        raise
    except Exception as error:  # of alembic, SQLAlchemy and MLflow
        new.unlink(missing_ok=True)
        code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
        if code and code & 0xFF in NOT_BROKEN:
            raise
        aside = _move_aside(path)
        reason = str(error).partition("\n")[0]
        return [f"{path}: incomplete or damaged ({reason}); moved to {aside.name}; {REMEDY}"]
    return []


def _check_origin(path: Path, connection: sqlite3.Connection) -> None:
    """TrackingError for a database of another program, or of a newer MLflow."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = {name for (name,) in rows}
    if tables and not tables & {"experiments", "alembic_version"}:
        raise TrackingError(f"{path}: a database, but not of MLflow; give another tracking.uri")
    revision = _revision(connection) if "alembic_version" in tables else None
    if revision and revision not in _revisions():
        raise TrackingError(
            f"{path}: written by a newer MLflow (schema {revision}); use that one, or another "
            "tracking.uri"
        )


def _move_aside(path: Path) -> Path:
    """Rename a store and its sidecars; returns the new name."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    aside = path.with_name(f"{path.name}.{BROKEN}-{stamp}")
    # Sidecars first: a new store under the old name must not inherit them.
    for suffix in SIDECARS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return path.rename(aside)


def _create(new: Path, artifacts: str) -> None:
    """Write an empty store to `new`."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    new.write_bytes(empty_tables())
    # MLflow adds its default experiment when it opens a store; two processes at once collide.
    store = SqlAlchemyStore(f"sqlite:///{new}", artifacts)  # type: ignore[no-untyped-call]
    store.engine.dispose()


@cache
def empty_tables() -> bytes:
    """A database file with MLflow's tables, which takes seconds to make, once in a process.

    MLflow's migrations write to the disk hundreds of times, so they run in memory.
    """
    import sqlalchemy
    from mlflow.store.db.utils import _initialize_tables

    memory = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
    _initialize_tables(memory)  # type: ignore[no-untyped-call]
    connection = memory.raw_connection().driver_connection
    assert isinstance(connection, sqlite3.Connection)
    image = connection.serialize()
    memory.dispose()
    return image


@contextmanager
def _engine(path: Path) -> Iterator[Engine]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    try:
        yield engine
    finally:
        engine.dispose()


def _sync(path: Path) -> None:
    """Write a file to the disk, so that its rename survives a loss of power."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
