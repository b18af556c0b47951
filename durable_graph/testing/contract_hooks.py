"""What a factory may bring along, so that more of the contract can be checked on its storage.

A backend alone shows what it does in calm weather. Whether it survives the death of its process, a
flipped bit or a broken connection can only be seen by whoever can bring these about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from durable_graph.ports.backend import Backend

__all__ = ["Line", "Raw", "When"]

When = Literal["before", "after"]


class Raw(Protocol):
    """The bytes that are stored, past the backend: to be damaged.

    Pieces are whatever the storage system keeps apart: a column of a row, a field of a hash, an
    object. Pieces that only help to find others, such as an index, are left out; so are those of
    processes and of messages, of which nothing else depends.
    """

    async def pieces(self) -> Mapping[str, bytes]:
        """All that is stored, each piece under a name of its own that stays the same."""
        ...

    async def overwrite(self, name: str, data: bytes) -> None:
        """Put other bytes in the place of a piece's; instances opened afterwards read these."""
        ...


class Line(Protocol):
    """A connection to the storage that breaks when it is told to.

    Attributes:
        backend: an instance that has no other connection.
    """

    @property
    def backend(self) -> Backend: ...

    def cut(self, request: int, when: When) -> None:
        """Let the connection break once, at a request from now on.

        Args:
            request: its number, from 1. A call may make several requests, or few for many calls.
            when: "before": the request is not delivered. "after": it is delivered and carried
                out, and its reply is not.
        """
        ...

    def mend(self) -> bool:
        """Call a cut off that has not come yet; returns whether it has come."""
        ...
