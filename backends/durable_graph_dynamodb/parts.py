"""What does not fit into one item, in several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from durable_graph_dynamodb.keys import part_key
from durable_graph_dynamodb.values import Item

__all__ = ["PART", "Parts", "Spill", "join", "parts_in", "split"]

PART: Final = 256 * 1024
"""Bytes in one item. An item may have 400 KB; less goes through on a bad connection."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Where something is that does not fit into one item.

    Attributes:
        change: what wrote it.
        first: number of the first part.
        count: how many there are.
    """

    change: str
    first: int
    count: int

    def keys(self, life: str, of: str = "c") -> list[str]:
        """The sort keys of the parts."""
        numbers = range(self.first, self.first + self.count)
        return [part_key(life, of, self.change, number) for number in numbers]

    def to_json(self) -> list[Any]:
        """As JSON."""
        return [self.change, self.first, self.count]

    @classmethod
    def of(cls, data: Any) -> Parts:
        """From JSON.

        Raises:
            ValueError: it is none.
        """
        change, first, count = data
        numbers = type(first) is type(count) is int
        if type(change) is not str or not numbers or first < 0 or not 0 < count <= 10**6:
            raise ValueError("not where anything is")
        return cls(change, first, count)


class Spill:
    """Puts aside what is too large for an item.

    Args:
        life: the thread's.
        change: what writes it.
    """

    def __init__(self, life: str, change: str) -> None:
        self._life = life
        self._change = change
        self.items: list[Item] = []
        """The parts, without their partition."""

    def __call__(self, data: bytes) -> Parts:
        """Put aside, and say where."""
        parts = Parts(self._change, len(self.items), max(1, -(-len(data) // PART)))
        self.items += split(data, parts, self._life)
        return parts

    def attributes(self, data: bytes) -> dict[str, Any]:
        """What an item says that holds this, or says where it is."""
        if len(data) <= PART:
            return {"data": data}
        at = self(data)
        return {"at": at.change, "first": at.first, "count": at.count}


def parts_in(item: Item) -> Parts | None:
    """Where an item's data is; ``None`` if it is in the item, or is damaged."""
    try:
        return Parts.of((item["at"], item["first"], item["count"]))
    except (LookupError, ValueError):
        return None


def split(data: bytes, parts: Parts, life: str, of: str = "c") -> Iterator[Item]:
    """The parts as items, without their partition."""
    for number, sk in enumerate(parts.keys(life, of)):
        yield {"sk": sk, "data": data[number * PART : (number + 1) * PART]}


def join(parts: Parts, life: str, found: Mapping[str, Item], of: str = "c") -> bytes | None:
    """What was split, out of items by sort key; ``None`` if one is missing or damaged."""
    pieces: list[Any] = [found.get(sk, {}).get("data") for sk in parts.keys(life, of)]
    if not all(type(piece) is bytes for piece in pieces):
        return None
    return b"".join(pieces)
