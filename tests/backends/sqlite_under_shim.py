"""A process that runs graphs on a SQLite file and notes what was acknowledged.

Run by test_sqlite_power_loss.py under the shim: ``sqlite_under_shim.py <file> <level> <rounds>``.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from typing import Any

from durable_graph.saver import Saver
from durable_graph_sqlite.backend import SqliteBackend
from tests.backends.kit import counting, thread

THREADS = ("a", "b")


class OftenCheckpointed(SqliteBackend):
    """A backend whose write-ahead log is taken into the file every few pages, not every 1000."""

    def _configure(self, db: sqlite3.Connection) -> None:
        super()._configure(db)
        db.execute("PRAGMA wal_autocheckpoint = 12")


async def run(path: str, synchronous: Any, rounds: int) -> None:
    """Run each thread in turn, and note how many items each had when its call returned."""
    acks = os.open(f"{path}-acks", os.O_CREAT | os.O_WRONLY)
    saver = Saver(OftenCheckpointed(path, synchronous=synchronous))
    for number in range(rounds):
        for name in THREADS:
            # Each call asks for two steps more than there were before.
            graph = counting(saver, 3 * number + 2, size=300)
            result = await graph.ainvoke({"items": ["begin"]}, thread(name))
            os.write(acks, f"{name} {len(result['items'])}\n".encode())
    await saver.aclose()
    os.close(acks)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
