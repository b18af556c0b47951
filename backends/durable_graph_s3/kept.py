"""Objects that never change, at hand: those that were used last, up to a size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

__all__ = ["Kept"]

_LARGEST: Final = 8  # an object may take this part of the room


class Kept:
    """Bytes by key. May be used by several threads.

    Args:
        room: how many bytes to keep.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._objects: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: str) -> bytes | None:
        """What was put under a key, if it is still here."""
        with self._lock:
            data = self._objects.get(key)
            if data is not None:
                self._objects.move_to_end(key)
            return data

    def put(self, key: str, data: bytes) -> None:
        """Keep an object; others go if there is no room."""
        if len(data) > self._room // _LARGEST:
            return
        with self._lock:
            self._size += len(data) - len(self._objects.pop(key, b""))
            self._objects[key] = data
            while self._size > self._room:
                _, gone = self._objects.popitem(last=False)
                self._size -= len(gone)
