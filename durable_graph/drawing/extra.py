"""Libraries that draw. They come with an extra, and are imported when something is drawn."""

from __future__ import annotations

import importlib
from typing import Any

from durable_graph.errors import MissingExtraError

__all__ = ["needed"]


def needed(module: str, what: str) -> Any:
    """A library of the extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)  # noqa: TID251 - one of our extras
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs the package {module.partition('.')[0]!r}, which is not installed: "
            f"pip install 'durable-graph[draw]'. draw_mermaid() needs nothing."
        ) from error
