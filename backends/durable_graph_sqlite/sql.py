"""The statements, by name, from the files beside this one."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from durable_graph.ports.sql import migrations_of, queries_of

__all__ = ["ITEM_QUERIES", "QUERIES", "migrations", "schema"]


@cache
def schema() -> str:
    """What a file of the present version consists of."""
    return (files(__package__) / "schema.sql").read_text()


@cache
def migrations() -> tuple[str, ...]:
    """What brings a file from each version to the next; the first makes one of nothing."""
    return migrations_of(__package__)


QUERIES: Final = queries_of(__package__)
"""Statements about threads, by name."""

ITEM_QUERIES: Final = queries_of(__package__, "items.sql")
"""Statements about the items of a store, by name."""
