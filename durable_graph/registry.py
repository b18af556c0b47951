"""Savers by URL: backends register themselves under the entry points `durable_graph.backends`."""

from __future__ import annotations

from typing import Any, Final

from durable_graph.errors import ConfigError
from durable_graph.saver import InMemorySaver, Saver

__all__ = ["memory_saver", "open_saver"]

_GROUP: Final = "durable_graph.backends"


def open_saver(url: str, **options: Any) -> Saver:
    """The saver that a URL names: ``sqlite:///state.db``, ``memory://``, or another backend's.

    Args:
        url: ``scheme://...``; what follows the scheme is the backend's own.
        options: handed to the backend's saver.

    Raises:
        ConfigError: there is no such backend, or its driver is not installed.
    """
    from importlib.metadata import entry_points  # a tenth of this package's whole import time

    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ConfigError(f"{url!r} is no URL; write it as scheme://..., as in sqlite:///state.db.")
    found = {entry.name: entry for entry in entry_points(group=_GROUP)}
    entry = found.get(scheme)
    if entry is None:
        raise ConfigError(
            f"There is no backend for {scheme}://. Installed are {', '.join(sorted(found))}."
        )
    try:
        make = entry.load()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The backend for {scheme}:// needs the package {error.name!r}: "
            f"pip install 'durable-graph[{scheme}]'."
        ) from error
    saver: Saver = make(url, **options)
    return saver


def memory_saver(url: str) -> InMemorySaver:
    """The saver for ``memory://``: a new one each time."""
    return InMemorySaver()
