"""Storage systems behind servers: how each is started, and what is measured on it."""

from __future__ import annotations

import importlib
from typing import Final

from benchmarks.systems.kind import System, UnavailableError

__all__ = ["LOCAL", "SERVED", "UnavailableError", "system"]

LOCAL: Final = {"memory": "memory", "sqlite": "SQLite, sync"}
"""Those that need no server, with the name that the cases of the scenarios give them."""

SERVED: Final = ("postgres", "redis", "dynamodb", "s3")
"""Those that do."""


def system(name: str) -> System:
    """One of `SERVED`, with its server running.

    Raises:
        UnavailableError: it cannot be had here; says why.
    """
    try:
        # Servers are started by what starts them for the tests, so pytest must be there.
        skipped = importlib.import_module("pytest").skip.Exception
        module = importlib.import_module(f"benchmarks.systems.{name}")
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"{error.name} is not installed: use `make bench`, or "
            "pip install 'durable-graph[bench,dev,services]'"
        ) from error
    try:
        made: System = module.start()
    except skipped as reason:
        raise UnavailableError(str(reason)) from None
    return made
