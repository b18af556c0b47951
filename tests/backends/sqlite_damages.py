"""Ways to damage the rows of thread "a"; each tells which records cannot be proved any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeAlias

from tests.backends.sqlite_world import LAST

__all__ = ["DAMAGES", "beyond_the_head", "swapped_across"]

_DAMAGED: TypeAlias = set[int]


def _row(number: int, thread: str = "a") -> str:
    return f"seq = {number} AND thread_id = (SELECT id FROM threads WHERE thread = '{thread}')"


def body_changed(db: sqlite3.Connection) -> _DAMAGED:
    """A value within a body is another one."""
    db.execute(f"UPDATE records SET body = replace(body, '5:xx', '6:xx') WHERE {_row(7)}")
    return {7}


def body_cut(db: sqlite3.Connection) -> _DAMAGED:
    """A body ends early."""
    db.execute(f"UPDATE records SET body = substr(body, 1, 20) WHERE {_row(7)}")
    return {7}


def body_emptied(db: sqlite3.Connection) -> _DAMAGED:
    """A body is empty."""
    db.execute(f"UPDATE records SET body = x'' WHERE {_row(7)}")
    return {7}


def body_of_zeros(db: sqlite3.Connection) -> _DAMAGED:
    """A body is as long as it was, and zero."""
    db.execute(f"UPDATE records SET body = zeroblob(length(body)) WHERE {_row(7)}")
    return {7}


def body_is_text(db: sqlite3.Connection) -> _DAMAGED:
    """A body is stored as text instead of bytes."""
    db.execute(f"UPDATE records SET body = CAST(body AS TEXT) WHERE {_row(7)}")
    return {7}


def header_changed(db: sqlite3.Connection) -> _DAMAGED:
    """A header says another step."""
    db.execute(
        f"UPDATE records SET header = replace(header, '\"step\":5', '\"step\":6') WHERE {_row(7)}"
    )
    return {7}


def header_is_a_number(db: sqlite3.Connection) -> _DAMAGED:
    """A header is no bytes at all."""
    db.execute(f"UPDATE records SET header = 42 WHERE {_row(7)}")
    return {7}


def kind_changed(db: sqlite3.Connection) -> _DAMAGED:
    """A record's kind is none that there is."""
    db.execute(f"UPDATE records SET kind = 'cOmmit' WHERE {_row(7)}")
    return {7}


def digest_changed(db: sqlite3.Connection) -> _DAMAGED:
    """A digest is another one."""
    db.execute(f"UPDATE records SET digest = zeroblob(16) WHERE {_row(7)}")
    return {7}


def link_changed(db: sqlite3.Connection) -> _DAMAGED:
    """A link is another one: with it goes the proof of the record after it."""
    db.execute(f"UPDATE records SET link = zeroblob(32) WHERE {_row(7)}")
    return {7, 8}


def record_deleted(db: sqlite3.Connection) -> _DAMAGED:
    """A record in the middle is missing, and so is what proves the one after it."""
    db.execute(f"DELETE FROM records WHERE {_row(7)}")
    return {7, 8}


def first_deleted(db: sqlite3.Connection) -> _DAMAGED:
    """The first record is missing."""
    db.execute(f"DELETE FROM records WHERE {_row(1)}")
    return {1, 2}


def last_deleted(db: sqlite3.Connection) -> _DAMAGED:
    """The last record is missing, and the head says that there was one."""
    db.execute(f"DELETE FROM records WHERE {_row(LAST)}")
    return {LAST}


def several_deleted(db: sqlite3.Connection) -> _DAMAGED:
    """Three records in a row are missing."""
    for number in (7, 8, 9):
        db.execute(f"DELETE FROM records WHERE {_row(number)}")
    return {7, 8, 9, 10}


def swapped_within(db: sqlite3.Connection) -> _DAMAGED:
    """Two records of the thread have changed places."""
    _swap(db, (7, "a"), (9, "a"))
    return {7, 8, 9, 10}


def swapped_across(db: sqlite3.Connection) -> _DAMAGED:
    """A record has changed places with that of another thread."""
    _swap(db, (7, "a"), (7, "before"))
    return {7, 8}


def taken_from_another(db: sqlite3.Connection) -> _DAMAGED:
    """Everything of a record but its number is that of the same record of another thread."""
    _copy(db, (7, "before"), (7, "a"))
    return {7, 8}


def duplicated(db: sqlite3.Connection) -> _DAMAGED:
    """A record stands in the place of the next one, too."""
    _copy(db, (7, "a"), (8, "a"))
    return {8, 9}


def beyond_the_head(db: sqlite3.Connection) -> None:
    """There is a record after the last one: it is not part of the log."""
    db.execute(
        "INSERT INTO records (thread_id, seq, kind, checkpoint, digest, link, header, body) "
        "SELECT thread_id, seq + 1, kind, checkpoint, digest, link, header, body FROM records "
        f"WHERE {_row(LAST)}"
    )


def _swap(db: sqlite3.Connection, one: tuple[int, str], other: tuple[int, str]) -> None:
    """Let two rows change places: each gets the other's thread and number."""
    places = [
        db.execute(f"SELECT id, thread_id, seq FROM records WHERE {_row(*row)}").fetchone()
        for row in (one, other)
    ]
    (first, *_), (second, *_) = places
    db.execute("UPDATE records SET seq = -1 WHERE id = ?", (first,))
    db.execute("UPDATE records SET thread_id = ?, seq = ? WHERE id = ?", (*places[0][1:], second))
    db.execute("UPDATE records SET thread_id = ?, seq = ? WHERE id = ?", (*places[1][1:], first))


def _copy(db: sqlite3.Connection, source: tuple[int, str], target: tuple[int, str]) -> None:
    """Let one row hold what another does."""
    columns = "kind, checkpoint, digest, link, header, body"
    values = db.execute(f"SELECT {columns} FROM records WHERE {_row(*source)}").fetchone()
    db.execute(f"UPDATE records SET ({columns}) = (?, ?, ?, ?, ?, ?) WHERE {_row(*target)}", values)


DAMAGES: list[Callable[[sqlite3.Connection], _DAMAGED]] = [
    body_changed,
    body_cut,
    body_emptied,
    body_of_zeros,
    body_is_text,
    header_changed,
    header_is_a_number,
    kind_changed,
    digest_changed,
    link_changed,
    record_deleted,
    first_deleted,
    last_deleted,
    several_deleted,
    swapped_within,
    swapped_across,
    taken_from_another,
    duplicated,
]
