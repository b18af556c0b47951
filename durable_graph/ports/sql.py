"""SQL in files beside the code that uses it; for backends on databases that speak it.

Statements stand in ``queries.sql`` and the like, each under a line ``-- name: its_name``; what
brings the tables from each version to the next, in ``migrations/``, in the order of their names.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

__all__ = ["migrations_of", "queries_of"]

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def queries_of(package: str, file: str = "queries.sql") -> dict[str, str]:
    """A package's statements by name, without their comments and last semicolons."""
    _, *parts = _NAME.split((files(package) / file).read_text())
    return {
        name: "\n".join(
            line for line in body.strip().splitlines() if not line.startswith("--")
        ).rstrip(";")
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def migrations_of(package: str) -> tuple[str, ...]:
    """A package's migrations: the n-th leads to version n, the first from nothing."""
    folder = files(package) / "migrations"
    found = (file for file in folder.iterdir() if file.name.endswith(".sql"))
    return tuple(file.read_text() for file in sorted(found, key=lambda file: file.name))
