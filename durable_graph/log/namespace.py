"""Namespaces: the way from a thread's root graph to a graph within it, as text.

The root graph's is empty. A graph that the task `id` of node `n` calls has ``n:id`` behind its
caller's, with a ``|`` between; what that task calls besides has ``|1``, ``|2`` and so on behind
that. A graph that keeps its state from call to call has nodes' names only: ``n``, and again
``|1`` for what the same node calls besides. No node's name has a ``|`` or ``:`` in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["called_ns", "kept_ns", "numbered", "parts", "renamed", "tasks_in"]


def called_ns(ns: str, node: str, task: str) -> str:
    """Namespace of the first graph that a task calls."""
    return f"{ns}|{node}:{task}" if ns else f"{node}:{task}"


def kept_ns(ns: str, node: str) -> str:
    """Namespace of the first graph with a state of its own that a node calls, in any task."""
    return "|".join([part.partition(":")[0] for part in ns.split("|") if part] + [node])


def numbered(ns: str, number: int) -> str:
    """Namespace of one of several graphs that a task calls, counted from 0."""
    return f"{ns}|{number}" if number else ns


def parts(ns: str) -> tuple[str, ...]:
    """A namespace as events show it; empty for the root graph."""
    return tuple(ns.split("|")) if ns else ()


def tasks_in(ns: str) -> Iterator[tuple[str, str]]:
    """The tasks on the way to a graph, the outermost first, each behind the namespace of its
    graph. What keeps its state from call to call is in no task."""
    start = 0
    while start <= len(ns) and ns:
        end = ns.find("|", start)
        part = ns[start:] if end < 0 else ns[start:end]
        _, mark, task = part.partition(":")
        if mark:
            yield ns[: max(start - 1, 0)], task
        if end < 0:
            return
        start = end + 1


def renamed(ns: str, names: Mapping[str, str]) -> str:
    """A namespace with other ids of tasks in it."""
    return "|".join(_renamed(ns.split("|"), names))


def _renamed(segments: list[str], names: Mapping[str, str]) -> Iterator[str]:
    for part in segments:
        node, mark, task = part.partition(":")
        yield f"{node}:{names.get(task, task)}" if mark else part
