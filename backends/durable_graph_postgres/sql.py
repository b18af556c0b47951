"""The statements and migrations beside this file, for a schema of a given name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from durable_graph.errors import ConfigError
from durable_graph.ports.sql import migrations_of, queries_of

__all__ = [
    "checked_schema",
    "functions",
    "migrations",
    "queries",
    "ranking",
    "row_security",
    "vectors",
]

# What needs no escaping anywhere, and is not cut off by PostgreSQL.
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def checked_schema(name: str) -> str:
    """The name of a schema.

    Raises:
        ConfigError: it is none that can be used.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.startswith("pg_"):
        raise ConfigError(
            f"schema= is up to 63 lower case letters, digits and underscores, and begins neither "
            f"with a digit nor with pg_; {name!r} is not."
        )
    return name


@cache
def queries(schema: str) -> Mapping[str, str]:
    """Statements by name."""
    return {name: _within(schema, text) for name, text in queries_of(__package__).items()}


@cache
def migrations(schema: str) -> tuple[str, ...]:
    """What brings the schema from each version to the next; the first makes one of nothing."""
    return tuple(_within(schema, text) for text in migrations_of(__package__))


@cache
def functions(schema: str) -> str:
    """What makes the functions of the present version."""
    return _within(schema, (files(__package__) / "functions.sql").read_text())


@cache
def row_security(schema: str) -> str:
    """What switches row level security on."""
    return _within(schema, (files(__package__) / "row_security.sql").read_text())


@cache
def ranking(schema: str, vector: str = "") -> Mapping[str, str]:
    """Statements on vectors by name, with the extension in a schema that is named as in SQL; those
    that find it need no name."""
    found = queries_of(__package__, "ranking.sql")
    return {name: _within(schema, text, vector) for name, text in found.items()}


def vectors(schema: str, vector: str) -> str:
    """What makes the table of vectors, with the extension in a schema that is named as in SQL."""
    return _within(schema, (files(__package__) / "vectors.sql").read_text(), vector)


def _within(schema: str, text: str, vector: str = "") -> str:
    return text.replace("{schema}", f'"{schema}"').replace("{vector}", vector)
