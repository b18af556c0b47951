"""Drivers of storage systems, which come with extras: what a plugin says where one is missing."""

from __future__ import annotations

import importlib

from durable_graph.errors import MissingExtraError

__all__ = ["check_driver"]


def check_driver(driver: str, plugin: str) -> None:
    """See that a driver is there, where a plugin could not be imported.

    Args:
        driver: the package that is imported.
        plugin: the plugin's name; its extra is called the same, without ``durable_graph_``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        importlib.import_module(driver)  # noqa: TID251 - one of our extras
    except ModuleNotFoundError as error:
        extra = plugin.removeprefix("durable_graph_")
        raise MissingExtraError(
            f"{plugin} needs the package {driver!r}: pip install 'durable-graph[{extra}]'."
        ) from error
