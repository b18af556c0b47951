"""Records out of the tables, and text among them that is none."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from durable_graph.ports.backend import Ranges, Record
from durable_graph.ports.rows import chained
from durable_graph_sqlite.sql import QUERIES

__all__ = ["find_checkpoint", "read_records"]


def read_records(
    db: sqlite3.Connection, thread_id: int, end: int, ranges: Ranges, *, bodies: bool = True
) -> list[Record]:
    """Records of a log that ends at `end`; one that cannot be found there is a damaged one."""
    query = QUERIES["records" if bodies else "headers"]
    found: list[Record] = []
    for first, last in ranges:
        first, last = max(first, 1), min(last, end)  # noqa: PLW2901 - as far as the log goes
        if first <= last:
            rows = _fetch(db, query, (thread_id, first, last))
            found += chained(first, last, rows, _link_before(db, thread_id, first))
    return found


def find_checkpoint(db: sqlite3.Connection, thread_id: int, checkpoint: str) -> Record | None:
    """The commit of a checkpoint, without its body."""
    rows = _fetch(db, QUERIES["checkpoint"], (thread_id, checkpoint))
    if not rows or type(rows[0][0]) is not int:
        return None
    seq = rows[0][0]
    return chained(seq, seq, rows, _link_before(db, thread_id, seq))[0]


def _link_before(db: sqlite3.Connection, thread_id: int, seq: int) -> Any:
    if seq == 1:
        return None
    row = db.execute(QUERIES["link"], (thread_id, seq - 1)).fetchone()
    return None if row is None else row[0]


def _fetch(db: sqlite3.Connection, query: str, values: Sequence[Any]) -> list[Any]:
    """All rows of a query, also if there is text among them that is none."""
    try:
        return db.execute(query, values).fetchall()
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
    db.text_factory = _readable
    try:
        return db.execute(query, values).fetchall()
    finally:
        db.text_factory = str


def _readable(text: bytes) -> str:
    return text.decode(errors="replace")
