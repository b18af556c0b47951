"""Threads whose present state is at hand, so that their next call need not read it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from durable_graph.decisions.freeze import Freezer
from durable_graph.decisions.reduce import Reducers
from durable_graph.definition.graph import GraphDefinition
from durable_graph.log.fold import Scope
from durable_graph.log.records import Head, ThreadKey
from durable_graph.ports.backend import Position

__all__ = ["Hot", "HotThreads"]


@dataclass(slots=True)
class Hot:
    """A thread's state as a run left it; good for that very position of the log only."""

    head: Head
    scope: Scope
    freezer: Freezer
    reducers: Reducers
    definition: GraphDefinition


class HotThreads:
    """The states of the threads used last.

    A taker gets an entry for itself: whoever runs a thread changes its state in place.

    Args:
        limit: how many threads to keep.
        size: how many bytes of values to keep, all in all.
    """

    def __init__(self, limit: int = 1024, size: int = 64 * 2**20) -> None:
        self._limit = limit
        self._size = size
        self._held = 0
        self._lock = threading.RLock()  # several event loops may use one saver
        self._entries: OrderedDict[ThreadKey, tuple[Hot, int]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<HotThreads {len(self._entries)} threads, {self._held} bytes>"

    @property
    def threads(self) -> int:
        """How many threads' states are here."""
        return len(self._entries)

    @property
    def size(self) -> int:
        """How many bytes of values they hold."""
        return self._held

    def position(self, key: ThreadKey, definition: GraphDefinition) -> Position | None:
        """Where a thread stood when its state was put here by this graph."""
        entry = self._entries.get(key)
        if entry is None or entry[0].definition is not definition:
            return None
        return Position.of(entry[0].head)

    def take(self, key: ThreadKey) -> Hot | None:
        """Take a thread's state out."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is None:
                return None
            self._held -= entry[1]
            return entry[0]

    def put(self, hot: Hot) -> None:
        """Put a thread's state in, in place of the one that was used least recently."""
        key = hot.head.key
        if hot.scope.graph != hot.definition.fingerprint:
            # Written by another version of the graph: whoever goes on has to look it up.
            self.take(key)
            return
        size = hot.scope.size() + sum(map(len, hot.freezer.blobs.values()))
        with self._lock:
            self.take(key)
            if size > self._size // 4:
                return
            self._entries[key] = (hot, size)
            self._held += size
            while len(self._entries) > self._limit or self._held > self._size:
                _, (_, dropped) = self._entries.popitem(last=False)
                self._held -= dropped
