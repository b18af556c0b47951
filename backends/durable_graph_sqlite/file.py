"""One SQLite file of ours: opened, brought up to date, and reached by two connections."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar
from urllib.parse import unquote

from durable_graph.errors import ConfigError, StorageError, UnknownTypeError
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.rows import to_text
from durable_graph_sqlite.sql import migrations

__all__ = ["DatabaseFile", "Synchronous", "path_of"]

T = TypeVar("T")
Synchronous: TypeAlias = Literal["full", "normal"]

IN_MEMORY: Final = ":memory:"
_APPLICATION: Final = 0x64677068  # "dgph", so that `file` knows what it is
_LEVELS: Final = {"off": 0, "normal": 1, "full": 2, "extra": 3}


class DatabaseFile:
    """A file that holds threads, or the items of a store, or both.

    Args:
        path: the file; it is made if it does not exist. ``":memory:"`` keeps it in memory.
        synchronous: "full": what was acknowledged survives a power loss. "normal": only the death
            of processes.
        busy_timeout: seconds to wait while another process writes.
        allow_weaker: use the file even if it cannot give what `synchronous` promises.
        configure: prepares each connection, in the place of this file's `configure`, which it
            calls.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        synchronous: Synchronous,
        busy_timeout: float,
        allow_weaker: bool,
        configure: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        if synchronous not in ("full", "normal"):
            raise ConfigError(f"synchronous is 'full' or 'normal', not {synchronous!r}.")
        if not isinstance(path, str | bytes | os.PathLike):
            raise ConfigError(
                f"A SQLite file is named by its path, not by a {type(path).__name__}: connections "
                f"are made here, since each is used in one thread. What is in memory is ':memory:'."
            )
        name = os.fsdecode(path)
        # Absolute: it is opened later than now, and more than once.
        self.path = name if name == IN_MEMORY else str(Path(name).absolute())
        self.in_memory = self.path == IN_MEMORY
        self.synchronous = synchronous
        self._allow_weaker = allow_weaker
        configure = configure or self.configure
        self.writer = Connection(self.path, configure, busy_timeout)
        # Readers have a connection of their own, so that they do not wait for the disk. A
        # database in memory is its connection's own.
        self.reader = (
            self.writer if self.in_memory else Connection(self.path, configure, busy_timeout)
        )

    def is_same(self, other: DatabaseFile) -> bool:
        """Whether both are one file, whatever it is called; what is in memory is one's own."""
        if self.in_memory or other.in_memory:
            return False
        return os.path.realpath(self.path) == os.path.realpath(other.path)

    async def look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read, all of it in one snapshot."""

        def reading(db: sqlite3.Connection) -> T:
            db.execute("BEGIN")  # one snapshot for all that is read
            result = work(db)
            db.execute("COMMIT")
            return result

        return await self.reader.call(reading, writes=False)

    async def close(self) -> None:
        """Finish what is under way, and close. Harmless if done twice."""
        await self.reader.close()
        await self.writer.close()

    def configure(self, db: sqlite3.Connection) -> None:
        """Prepare a connection that has just been opened, in its thread."""
        db.text_factory = to_text
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        db.execute(f"PRAGMA synchronous = {_LEVELS[self.synchronous]}")
        db.execute("BEGIN")
        version = self._version(db)  # before anything of it is changed
        db.execute("COMMIT")
        if not self.in_memory:
            self._write_ahead(db)
        if version < len(migrations()):
            self._migrate(db)

    def _version(self, db: sqlite3.Connection) -> int:
        """The version that the file has: 0 if it is new.

        Raises:
            StorageError: it is a database of something else.
            UnknownTypeError: it was written by a newer version.
        """
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (application,) = db.execute("PRAGMA application_id").fetchone()
        if application != _APPLICATION:
            if version or application or db.execute("SELECT 1 FROM sqlite_schema").fetchone():
                raise StorageError(
                    f"{self.path} is a SQLite file of something else. Use another file."
                )
            return 0
        known = len(migrations())
        if not 1 <= version <= known:
            raise UnknownTypeError(
                f"{self.path} has schema version {version}; this version reads up to {known}. "
                f"It was written by a newer one: upgrade."
            )
        return int(version)

    def _write_ahead(self, db: sqlite3.Connection) -> None:
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        (level,) = db.execute("PRAGMA synchronous").fetchone()
        if (mode != "wal" or level < _LEVELS[self.synchronous]) and not self._allow_weaker:
            raise StorageError(
                f"{self.path} cannot be used with synchronous={self.synchronous!r}: its journal "
                f"mode is {mode!r}. A file system without shared memory, such as a network share, "
                f"is the usual cause. Move the file, or accept less with allow_weaker=True."
            )

    def _migrate(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        # Only now does nobody else migrate: whoever was faster has done some or all of it.
        for migration in migrations()[self._version(db) :]:
            for statement in migration.split(";\n"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(migrations())}")
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute("COMMIT")


def path_of(url: str) -> str:
    """The file that ``sqlite:///relative/path`` or ``sqlite:////absolute/path`` names.

    Raises:
        ConfigError: it names none.
    """
    _, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if host or not slash or not path:
        raise ConfigError(
            f"{url!r} names no file; write sqlite:///relative/path or sqlite:////absolute/path."
        )
    return unquote(path)
