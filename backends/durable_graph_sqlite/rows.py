"""Records out of the tables, and text among them that is none."""

from __future__ import annotations

import sqlite3
from typing import Any

from durable_graph.ports.backend import Ranges, Record
from durable_graph.ports.rows import chained
from durable_graph_sqlite.sql import QUERIES

__all__ = ["Undecodable", "find_checkpoint", "read_records", "to_text"]


def read_records(
    db: sqlite3.Connection, thread_id: int, end: int, ranges: Ranges, *, bodies: bool = True
) -> list[Record]:
    """Records of a log that ends at `end`; one that cannot be found there is a damaged one."""
    query = QUERIES["records" if bodies else "headers"]
    found: list[Record] = []
    for first, last in ranges:
        first, last = max(first, 1), min(last, end)  # noqa: PLW2901 - as far as the log goes
        if first <= last:
            rows = db.execute(query, (thread_id, first, last)).fetchall()
            found += chained(first, last, rows, _link_before(db, thread_id, first))
    return found


def find_checkpoint(db: sqlite3.Connection, thread_id: int, checkpoint: str) -> Record | None:
    """The commit of a checkpoint, without its body."""
    rows = db.execute(QUERIES["checkpoint"], (thread_id, checkpoint)).fetchall()
    if not rows or type(rows[0][0]) is not int:
        return None
    seq = rows[0][0]
    return chained(seq, seq, rows, _link_before(db, thread_id, seq))[0]


def _link_before(db: sqlite3.Connection, thread_id: int, seq: int) -> Any:
    if seq == 1:
        return None
    row = db.execute(QUERIES["link"], (thread_id, seq - 1)).fetchone()
    return None if row is None else row[0]


class Undecodable:
    """What stands for text whose bytes are none: neither text nor bytes.

    So whoever takes a row apart finds it damaged, and can say whose row it is.
    """

    def __init__(self, stored: bytes) -> None:
        self._stored = stored

    def __repr__(self) -> str:
        return f"<text that cannot be decoded: {self._stored!r:.200}>"


def to_text(stored: bytes) -> str | Undecodable:
    """Text as it was stored; where the driver would refuse the whole statement, only that text."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return Undecodable(stored)
