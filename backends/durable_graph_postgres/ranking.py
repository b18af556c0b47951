"""What comes near to a vector, found by the server where it has the extension `vector`.

Vectors are brought into a table of the extension's by searches, not by puts: so what was stored
before the extension came, by an older version or within a run's transaction is found like all
else, and a put costs what it did. Each vector is brought once.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from durable_graph.errors import StorageError
from durable_graph.ports.items import Namespace, Near, beneath, to_bytes, unpack_vectors
from durable_graph_postgres.failures import is_lost
from durable_graph_postgres.item_rows import to_item
from durable_graph_postgres.sql import ranking, vectors

if TYPE_CHECKING:
    from durable_graph_postgres.backend import PostgresBackend
    from durable_graph_postgres.connections import Connection

__all__ = ["Ranker"]

# As many numbers as the extension keeps in a vector. An index on it would take fewer, and would
# not find all that is near; there is none.
_MOST_DIMS: Final = 16_000

_PAGE: Final = 100
_NO_PLACE: Final = (None,) * 4

# Putting a trigger on a table waits for those who write to it, and others wait behind.
_PATIENCE: Final = "1s"

# The extension, or what was made with it, was taken away while it was in use.
_GONE: Final = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedObjectError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InsufficientPrivilegeError,
)
_MAY_PASS: Final = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


class Ranker:
    """Ranks the items of a backend's schema.

    Whether it can is found out by the first search. Where it can't, since the server has no
    extension or the role no rights, it isn't looked for again; a server that has got it is ranked
    by those who open the store later.

    Args:
        backend: has the connections.
    """

    def __init__(self, backend: PostgresBackend) -> None:
        self._backend = backend
        self._vector: str | None = None  # the extension's schema
        self._able = True

    async def nearest(
        self, prefix: Namespace, query: bytes, now: float, *, limit: int, after: Near | None
    ) -> Sequence[Near] | None:
        """See `Ranking.nearest`."""
        dims = len(query) // 4
        vector = await self._extension() if 0 < dims <= _MOST_DIMS else None
        if vector is None:
            return None
        try:
            page = await self._ask(vector, prefix, query, now, limit, after)
            await self._bring(vector, page)
            if len(page) == limit and page[-1]["bound"] == math.inf:
                # There is more of which nothing is known. To look for it page by page, each of
                # which ranks everything, would take time that grows as its square.
                await self._bring_all(vector, prefix)
                page = await self._ask(vector, prefix, query, now, limit, after)
        except StorageError as error:
            if after is None and isinstance(error.__cause__, _GONE):
                self._vector = None
                return None
            raise
        return [Near(to_item(row), bound) for *row, bound in page]

    async def _ask(
        self,
        vector: str,
        prefix: Namespace,
        query: bytes,
        now: float,
        limit: int,
        after: Near | None,
    ) -> list[Any]:
        dims = len(query) // 4
        place: tuple[Any, ...] = _NO_PLACE
        if after is not None:
            version, namespace, key = after.entry.order
            place = after.bound, version, to_bytes(namespace), key
        return await self._fetch(
            vector,
            "nearest",
            *beneath(prefix),
            now,
            dims,
            _unit(query),
            _margin(dims),
            *place,
            limit,
        )

    async def _bring(self, vector: str, page: Sequence[Any]) -> None:
        """Bring the vectors of what nothing is known of on a page."""
        new = [
            (row["namespace"], row["key"], row["version"], row["checksum"], row["vectors"])
            for row in page
            if row["bound"] == math.inf
        ]
        if new:
            # What cannot be kept, for want of space or rights, is ranked by who searches.
            with suppress(StorageError):
                await self._rank(vector, new)

    async def _bring_all(self, vector: str, prefix: Namespace) -> None:
        last: tuple[bytes, str] = (b"", "")
        with suppress(StorageError):
            while True:
                rows = await self._fetch(vector, "unranked", *beneath(prefix), *last, _PAGE)
                if rows:
                    await self._rank(vector, rows)
                    last = rows[-1]["namespace"], rows[-1]["key"]
                if len(rows) < _PAGE:
                    return

    async def _rank(self, vector: str, rows: Sequence[Sequence[Any]]) -> None:
        for start in range(0, len(rows), _PAGE):
            part = rows[start : start + _PAGE]
            items: list[int] = []
            numbers: list[int] = []
            dims: list[int | None] = []
            starts: list[int] = []
            flat: list[float] = []
            for item, row in enumerate(part, 1):
                for number, packed in enumerate(unpack_vectors(row[-1])):
                    unit = _unit(packed)
                    items.append(item)
                    numbers.append(number)
                    dims.append(len(unit) if unit else None)
                    starts.append(len(flat) + 1)
                    flat += unit
            places = [
                list(column) for column in zip(*(tuple(row)[:4] for row in part), strict=True)
            ]
            await self._fetch(
                vector, "rank", *places, items, numbers, dims, starts, flat, writes=True
            )

    # -- the extension -------------------------------------------------------------------------

    async def _extension(self) -> str | None:
        """The schema of the extension, with our table in the place; ``None`` without it."""
        if self._vector is None and self._able:
            self._vector = await self._backend.run(self._open, writes=False)
        return self._vector

    async def _open(self, connection: Connection) -> str | None:
        known = ranking(self._backend.schema)
        try:
            found: str | None = await connection.fetchval(known["vector_schema"])
            if found is None:
                async with connection.transaction():
                    found = await self._make(connection)
        except asyncpg.PostgresError as error:
            if is_lost(error):
                raise
            # Whatever it is that keeps the server from it: items can be ranked without.
            self._able = isinstance(error, _MAY_PASS)
            return None
        self._able = found is not None
        return found

    async def _make(self, connection: Connection) -> str | None:
        known = ranking(self._backend.schema)
        await connection.execute(
            "SELECT set_config('lock_timeout', $1, true),"
            " pg_advisory_xact_lock(hashtextextended('durable_graph vector', 0))",
            _PATIENCE,
        )
        # Whoever was faster may have done it.
        found: str | None = await connection.fetchval(known["vector_schema"])
        if found is not None:
            return found
        extension = await connection.fetchrow(known["vector_extension"])
        if extension is None:
            return None
        vector: str | None = extension[0]
        if vector is None:
            await connection.execute("CREATE EXTENSION vector")
            vector = await connection.fetchval(known["vector_extension"])
            assert vector is not None  # noqa: S101 - for type checkers
        await connection.execute(vectors(self._backend.schema, vector))
        return vector

    async def _fetch(
        self, vector: str, name: str, *arguments: Any, writes: bool = False
    ) -> list[Any]:
        query = ranking(self._backend.schema, vector)[name]

        async def work(connection: Connection) -> list[Any]:
            return await connection.fetch(query, *arguments)

        return await self._backend.run(work, writes=writes)


def _unit(vector: bytes) -> list[float]:
    """A vector at length 1, so that 32 bits neither overflow nor vanish; zeros stay; nothing if it
    is none that the extension keeps."""
    numbers = array("f")
    if not vector or len(vector) % 4 or len(vector) // 4 > _MOST_DIMS:
        return []
    numbers.frombytes(vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    length = math.hypot(*numbers)
    if not math.isfinite(length):
        return []  # such as one that was encrypted
    return [number / length for number in numbers] if length else [0.0] * len(numbers)


def _margin(dims: int) -> float:
    """How much nearer something may be than the extension says.

    It sums in 32 bits: each of the sums of a cosine is off by one part in 2**24 at most for each
    number. That is twice as much as they come to together.
    """
    return (dims + 8) * 2.0**-22
