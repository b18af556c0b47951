"""The values in the tables of a PostgreSQL schema, past the backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import asyncpg

if TYPE_CHECKING:
    from asyncpg import Connection

__all__ = ["RawPostgres"]

# By table, what names a row, and its columns. What names a row is left out: to change it is to
# have another row.
_COLUMNS: Final = {
    "threads": ("tenant || '/' || thread", ("link", "secret", "status", "owner", "state")),
    "records": ("thread_id || '/' || seq", ("kind", "digest", "link", "header", "body")),
    "blobs": ("thread_id || '/' || digest", ("data",)),
    "cards": ("tenant || '/' || thread", ("card",)),
}
_TEXTS: Final = ("status", "owner", "kind")


class RawPostgres:
    """Pieces are the columns of rows, as ``table.column.row``.

    Args:
        dsn: the database.
        schema: where the tables are.
    """

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn, self._schema = dsn, schema

    async def pieces(self) -> Mapping[str, bytes]:
        """Every column that holds text or bytes."""
        async with self._open() as connection:
            return {
                f"{table}.{column}.{row}": data.encode() if isinstance(data, str) else data
                for table, (name, columns) in _COLUMNS.items()
                for column in columns
                for row, data in await connection.fetch(
                    f"SELECT {name}, {column} FROM {self._schema}.{table} "
                    f"WHERE {column} IS NOT NULL ORDER BY 1"
                )
            }

    async def overwrite(self, name: str, data: bytes) -> None:
        """Text stays text, which PostgreSQL makes sure of itself."""
        table, column, row = name.split(".", 2)
        value: Any = data
        if column in _TEXTS:
            value = data.decode(errors="replace").replace("\0", "0")
        named, _ = _COLUMNS[table]
        async with self._open() as connection:
            for constraint in await connection.fetch(
                "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = $1::regclass",
                f"{self._schema}.{table}",
            ):
                await connection.execute(
                    f"ALTER TABLE {self._schema}.{table} DROP CONSTRAINT {constraint[0]}"
                )
            await connection.execute(
                f"UPDATE {self._schema}.{table} SET {column} = $1 WHERE {named} = $2", value, row
            )

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Connection[Any]]:
        connection = await asyncpg.connect(self._dsn)
        try:
            yield connection
        finally:
            await connection.close()
