"""The port to memory that outlives threads: values under a namespace and a key.

One method does everything, `abatch`; the rest is made of it. A value is a dict that the codec can
keep; a namespace is a tuple of words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from durable_graph.errors import StoreError

__all__ = [
    "GetOp",
    "Item",
    "ListNamespacesOp",
    "MatchCondition",
    "Namespace",
    "Op",
    "PutOp",
    "SearchItem",
    "SearchOp",
    "Store",
]

Namespace: TypeAlias = tuple[str, ...]


@dataclass(slots=True)
class Item:
    """A value in a store.

    Attributes:
        value: the value: a copy, the reader's own to change.
        key: its key.
        namespace: where it is.
        created_at: when it was first put there, in UTC.
        updated_at: when it was last put there, in UTC.
    """

    value: dict[str, Any]
    key: str
    namespace: Namespace
    created_at: datetime
    updated_at: datetime

    def dict(self) -> dict[str, Any]:
        """All of it, as plain JSON has it."""
        return {
            "namespace": list(self.namespace),
            "key": self.key,
            "value": self.value,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }


@dataclass(slots=True)
class SearchItem(Item):
    """A value that was searched for.

    Attributes:
        score: how near it comes to a query; ``None`` as long as there are no queries.
    """

    score: float | None = None

    def dict(self) -> dict[str, Any]:
        """All of it, as plain JSON has it."""
        return {**Item.dict(self), "score": self.score}


class GetOp(NamedTuple):
    """Read the item under a key."""

    namespace: Namespace
    key: str


class PutOp(NamedTuple):
    """Put a value under a key, in the place of what is there; ``None`` removes that."""

    namespace: Namespace
    key: str
    value: Mapping[str, Any] | None


class SearchOp(NamedTuple):
    """Find the items whose namespace begins like this, the last that was put first.

    Attributes:
        namespace_prefix: the first words of the namespace; ``()`` for all.
        filter: what the value must have under some of its keys; see
            `durable_graph.decisions.filters`.
        limit: how many at most.
        offset: how many to leave out before.
    """

    namespace_prefix: Namespace
    filter: Mapping[str, Any] | None = None
    limit: int = 10
    offset: int = 0


class MatchCondition(NamedTuple):
    """What the beginning or the end of a namespace must be; ``"*"`` stands for any word."""

    match_type: Literal["prefix", "suffix"]
    path: Namespace


class ListNamespacesOp(NamedTuple):
    """List the namespaces that hold something, in order.

    Attributes:
        match_conditions: what all of them must fulfil.
        max_depth: cut off to so many words; each that comes of it is listed once.
        limit: how many at most.
        offset: how many to leave out before.
    """

    match_conditions: Sequence[MatchCondition] = ()
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


Op: TypeAlias = GetOp | PutOp | SearchOp | ListNamespacesOp


class Store(Protocol):
    """Holds values under namespaces and keys; a store has to bring `abatch` alone."""

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        """Do these one after the other; each sees what those before it have done.

        Returns:
            For each, in order: of a get the `Item` or ``None``, of a put ``None``, of a search a
            list of `SearchItem`, of a listing a list of namespaces.

        Raises:
            StoreError: one of them is malformed, or has a value that cannot be kept. Nothing was
                done then.
        """
        ...

    async def aget(self, namespace: Namespace, key: str) -> Item | None:
        """The item under a key; ``None`` if there is none.

        Raises:
            InvalidNamespaceError: the namespace is none.
        """
        (item,) = await self.abatch([GetOp(namespace, key)])
        found: Item | None = item
        return found

    async def aput(self, namespace: Namespace, key: str, value: Mapping[str, Any]) -> None:
        """Put a value under a key, in the place of what is there.

        Args:
            namespace: words from the general to the special, such as ``("users", "7")``.
            key: names the value there.
            value: a dict with texts as keys, of anything that a state can hold.

        Raises:
            InvalidNamespaceError: the namespace is none.
            StoreError: the value cannot be kept.
        """
        if value is None:
            raise StoreError(f"There is no value to put under {key!r}; adelete() removes one.")
        await self.abatch([PutOp(namespace, key, value)])

    async def adelete(self, namespace: Namespace, key: str) -> None:
        """Remove the item under a key, if there is one.

        Raises:
            InvalidNamespaceError: the namespace is none.
        """
        await self.abatch([PutOp(namespace, key, None)])

    async def asearch(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> list[SearchItem]:
        """The items whose namespace begins like this, the last that was put first.

        Args:
            namespace_prefix: the first words of the namespace; ``()`` for all.
            filter: only values that have this under their keys: a value, or a dict of
                ``$eq``, ``$ne``, ``$gt``, ``$gte``, ``$lt``, ``$lte``.
            limit: how many at most.
            offset: how many to leave out before.

        Raises:
            StoreError: an argument is of the wrong kind.
        """
        (found,) = await self.abatch([SearchOp(namespace_prefix, filter, limit, offset)])
        items: list[SearchItem] = found
        return items

    async def alist_namespaces(
        self,
        *,
        prefix: Namespace | None = None,
        suffix: Namespace | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Namespace]:
        """The namespaces that hold something, in order.

        Args:
            prefix: what they begin with; ``"*"`` stands for any word.
            suffix: what they end with.
            max_depth: cut off to so many words; each that comes of it is listed once.
            limit: how many at most.
            offset: how many to leave out before.

        Raises:
            StoreError: an argument is of the wrong kind.
        """
        given: list[tuple[Literal["prefix", "suffix"], Namespace | None]] = [
            ("prefix", prefix),
            ("suffix", suffix),
        ]
        conditions = [MatchCondition(kind, path) for kind, path in given if path]
        op = ListNamespacesOp(conditions, max_depth, limit, offset)
        (found,) = await self.abatch([op])
        namespaces: list[Namespace] = found
        return namespaces
