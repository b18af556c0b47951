"""The graphs within a thread, by namespace, and by the tasks that have called them.

A thread may have as many of them as a task sends packets. Whoever ends a task, or goes on with
it, must not have to look at all of them to find those that it called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from durable_graph.log.namespace import tasks_in

if TYPE_CHECKING:
    from durable_graph.log.fold import Scope

__all__ = ["Nested"]


class Nested(dict[str, "Scope"]):
    """The scopes of the graphs within a thread, by namespace, in the order in which they began."""

    # Of the class, so that the many scopes with nothing within them do not make any of their own.
    _below: dict[str, dict[str, None]] | None = None
    _tasks: dict[str, dict[str, None]] | None = None
    _kept: dict[str, None] | None = None

    def __setitem__(self, ns: str, scope: Scope) -> None:
        if ns not in self:
            self._enter(ns)
        super().__setitem__(ns, scope)

    def __delitem__(self, ns: str) -> None:
        super().__delitem__(ns)
        self._leave(ns)

    def remove(self, ns: str) -> None:
        """Drop the graph at a namespace, if it is there."""
        if ns in self:
            del self[ns]

    def called(self, task: str) -> list[Scope]:
        """Those that a task has called, in the order of their namespaces."""
        names = {**(self._below or {}).get(task, {}), **(self._kept or {})}
        found = [
            scope
            for scope in map(self.__getitem__, names)
            if scope.caller is not None and scope.caller.due == task
        ]
        return sorted(found, key=lambda scope: (len(scope.ns), scope.ns))

    def calling(self, ns: str) -> list[str]:
        """The tasks of the graph at a namespace, "" for the root graph, that have called any."""
        return list((self._tasks or {}).get(ns, ()))

    def end(self, task: str) -> None:
        """Drop what a task has called, however deep."""
        for ns in list((self._below or {}).get(task, ())):
            del self[ns]

    def _enter(self, ns: str) -> None:
        if self._below is None or self._tasks is None or self._kept is None:
            self._below, self._tasks, self._kept = {}, {}, {}
        called = False
        for graph, task in tasks_in(ns):
            called = True
            self._below.setdefault(task, {})[ns] = None
            self._tasks.setdefault(graph, {})[task] = None
        if not called:
            self._kept[ns] = None

    def _leave(self, ns: str) -> None:
        if self._below is None or self._tasks is None or self._kept is None:
            return
        self._kept.pop(ns, None)
        for graph, task in tasks_in(ns):
            below = self._below[task]
            del below[ns]
            if not below:
                del self._below[task]
                tasks = self._tasks[graph]
                del tasks[task]
                if not tasks:
                    del self._tasks[graph]
