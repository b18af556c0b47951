"""The statements, by name, from the files beside this one."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["ITEM_QUERIES", "QUERIES", "migrations", "schema"]

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def _queries(file: str) -> dict[str, str]:
    text = (files(__package__) / file).read_text()
    _, *parts = _NAME.split(text)
    return {
        name: "\n".join(
            line for line in body.strip().splitlines() if not line.startswith("--")
        ).rstrip(";")
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


@cache
def schema() -> str:
    """What a file of the present version consists of."""
    return (files(__package__) / "schema.sql").read_text()


@cache
def migrations() -> tuple[str, ...]:
    """What brings a file from each version to the next; the first makes one of nothing."""
    folder = files(__package__) / "migrations"
    return tuple(file.read_text() for file in sorted(folder.iterdir(), key=lambda file: file.name))


QUERIES: Final = _queries("queries.sql")
"""Statements about threads, by name."""

ITEM_QUERIES: Final = _queries("items.sql")
"""Statements about the items of a store, by name."""
