"""Rows of the table of items as entries."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from durable_graph.errors import IntegrityError
from durable_graph.ports.items import Entry, checksum, damaged, from_bytes, unpack_vectors

__all__ = ["item_checksum", "to_item"]


def item_checksum(entry: Entry) -> int:
    """What is stored with an item, to know it again by."""
    # It is for the server to say when the item was created.
    return checksum(replace(entry, created=entry.updated))


def to_item(row: Sequence[Any]) -> Entry:
    """The item in a row.

    Raises:
        IntegrityError: it is not what was written.
    """
    stored, key, version, created, updated, ttl, expires, crc, value, vectors = row
    namespace = from_bytes(stored)
    entry = Entry(namespace, key, value, version, created, updated, ttl, expires)
    if item_checksum(entry) == crc:
        with suppress(IntegrityError):
            return replace(entry, vectors=unpack_vectors(vectors))
    raise damaged(namespace, key, version)
