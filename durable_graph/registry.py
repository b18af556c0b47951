"""Savers and stores by URL: backends register themselves under entry points, by scheme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from durable_graph.errors import ConfigError, MissingExtraError
from durable_graph.saver import InMemorySaver, Saver
from durable_graph.store import BaseStore, InMemoryStore

__all__ = ["memory_saver", "memory_store", "open_saver", "open_store"]

_GROUP: Final = "durable_graph.backends"
_STORES: Final = "durable_graph.stores"


def open_saver(url: str, **options: Any) -> Saver:
    """The saver that a URL names: ``sqlite:///state.db``, ``memory://``, or another backend's.

    Args:
        url: ``scheme://...``; what follows the scheme is the backend's own.
        options: handed to the backend's saver.

    Raises:
        ConfigError: there is no such backend, or its driver is not installed.
    """
    saver: Saver = _maker(url, _GROUP, "backend")(url, **options)
    return saver


def open_store(url: str, **options: Any) -> BaseStore:
    """The store that a URL names: ``sqlite:///memory.db``, ``memory://``, or another backend's.

    Args:
        url: ``scheme://...``; what follows the scheme is the backend's own.
        options: handed to the backend's store, such as `index` and `ttl`.

    Raises:
        ConfigError: there is no such store, or its driver is not installed.
    """
    store: BaseStore = _maker(url, _STORES, "store")(url, **options)
    return store


def memory_saver(url: str, **options: Any) -> InMemorySaver:
    """The saver for ``memory://``: a new one each time."""
    return InMemorySaver(**options)


def memory_store(url: str, **options: Any) -> InMemoryStore:
    """The store for ``memory://``: a new one each time."""
    return InMemoryStore(**options)


def _maker(url: str, group: str, what: str) -> Callable[..., Any]:
    """What is registered for a URL's scheme."""
    from importlib.metadata import entry_points  # a tenth of this package's whole import time

    scheme, separator, _ = url.partition("://") if isinstance(url, str) else ("", "", "")
    if not separator:
        raise ConfigError(f"{url!r} is no URL; write it as scheme://..., as in sqlite:///state.db.")
    found = {entry.name: entry for entry in entry_points(group=group)}
    entry = found.get(scheme)
    if entry is None and (plain := scheme.partition("+")[0]) in found:
        raise ConfigError(f"Write {plain}:// for {scheme}://; the driver is this library's affair.")
    if entry is None:
        raise ConfigError(
            f"There is no {what} for {scheme}://. Installed are {', '.join(sorted(found))}."
        )
    try:
        make: Callable[..., Any] = entry.load()
    except MissingExtraError as error:
        raise ConfigError(str(error)) from error
    except ModuleNotFoundError as error:  # of a plugin that does not say so itself
        raise ConfigError(
            f"The {what} for {scheme}:// needs the package {error.name!r}, which is not installed."
        ) from error
    return make
