"""Files and the disk they are on."""

from __future__ import annotations

import os
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

__all__ = ["flush_time", "size_of"]


def size_of(path: Path) -> int:
    """Bytes of a database file with everything that was committed in it."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def flush_time(folder: Path | None = None, times: int = 50) -> float:
    """Median seconds to append 4 KiB to a file and have them on the disk.

    Every figure with "SQLite, sync" in it contains this once per transaction, whoever is measured.
    """
    taken = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)
