"""The bytes in the rows of a SQLite file, past the backend."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

__all__ = ["RawSqlite"]

# What names a row is left out: to change it is to have another row.
_COLUMNS: Final = {
    "threads": ("link", "secret", "status", "owner", "state"),
    "records": ("kind", "digest", "link", "header", "body"),
    "blobs": ("data",),
    "messages": ("kind", "body", "author"),
    "cards": ("owner", "tags", "metadata", "body"),
}


class RawSqlite:
    """Pieces are the columns of rows, as ``table.rowid.column``.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def pieces(self) -> Mapping[str, bytes]:
        """Every column that holds text or bytes."""
        with closing(self._open()) as db:
            return {
                f"{table}.{row}.{column}": data.encode() if isinstance(data, str) else data
                for table, columns in _COLUMNS.items()
                for column in columns
                for row, data in db.execute(
                    f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL"
                )
            }

    async def overwrite(self, name: str, data: bytes) -> None:
        """Keep the column's type: text stays text, whatever bytes it consists of."""
        table, row, column = name.split(".")
        with closing(self._open()) as db:
            db.execute(
                f"UPDATE {table} SET {column} = CASE typeof({column}) "
                f"WHEN 'text' THEN CAST(:data AS TEXT) ELSE :data END WHERE rowid = :row",
                {"data": data, "row": row},
            )

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("PRAGMA ignore_check_constraints = ON")
        return db
