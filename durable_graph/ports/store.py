"""The port to memory that outlives threads: values under a namespace and a key.

One method does everything, `abatch`; the rest is made of it. A value is a dict that the codec can
keep; a namespace is a tuple of words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from durable_graph.decisions.items import Namespace
from durable_graph.decisions.lifetimes import TTLConfig
from durable_graph.errors import StoreError

__all__ = [
    "NOT_GIVEN",
    "GetOp",
    "Item",
    "ListNamespacesOp",
    "MatchCondition",
    "Namespace",
    "NotGiven",
    "Op",
    "PutOp",
    "SearchItem",
    "SearchOp",
    "Store",
    "TTLConfig",
]


class NotGiven:
    """What an argument is that was not given, where ``None`` says something."""

    def __repr__(self) -> str:
        return "NOT_GIVEN"

    def __bool__(self) -> bool:
        return False


NOT_GIVEN: Final = NotGiven()
"""The argument was not given."""


@dataclass(slots=True)
class Item:
    """A value in a store.

    Attributes:
        value: the value: a copy, the reader's own to change.
        key: its key.
        namespace: where it is.
        created_at: when it was first put there, in UTC.
        updated_at: when it was last put there, in UTC.
        version: names this put of it: what `aput` compares with its `if_version`.
        expires_at: when it is gone unless it is read or put before, in UTC; ``None`` for never.
    """

    value: dict[str, Any]
    key: str
    namespace: Namespace
    created_at: datetime
    updated_at: datetime
    version: int = field(default=0, compare=False)
    expires_at: datetime | None = field(default=None, compare=False)

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
        score: how near it comes to the query, at most 1: the cosine of the angle between them.
            ``None`` without a query, and of an item that is not searched by meaning.
    """

    score: float | None = None

    def dict(self) -> dict[str, Any]:
        """All of it, as plain JSON has it."""
        return {**Item.dict(self), "score": self.score}


class GetOp(NamedTuple):
    """Read the item under a key.

    Attributes:
        refresh_ttl: whether its time begins anew.
    """

    namespace: Namespace
    key: str
    refresh_ttl: bool = True


class PutOp(NamedTuple):
    """Put a value under a key, in the place of what is there; ``None`` removes that.

    Attributes:
        value: a dict with texts as keys.
        index: what of it is searched by meaning: paths into it, `False` for nothing, ``None`` for
            what the store's index says.
        ttl: how long it lives, in minutes; ``None`` for ever.
        if_version: only if the item is of this version; 0 or ``None`` only if there is none.
    """

    namespace: Namespace
    key: str
    value: Mapping[str, Any] | None
    index: Literal[False] | Sequence[str] | None = None  # type: ignore[assignment]
    ttl: float | None = None
    if_version: int | NotGiven | None = NOT_GIVEN


class SearchOp(NamedTuple):
    """Find the items whose namespace begins like this, the last that was put first.

    Attributes:
        namespace_prefix: the first words of the namespace; ``()`` for all.
        filter: what the value must have under some of its keys; see
            `durable_graph.decisions.filters`.
        limit: how many at most.
        offset: how many to leave out before.
        query: a text; those that come nearest to its meaning come first.
        refresh_ttl: whether the time of those that are found begins anew.
    """

    namespace_prefix: Namespace
    filter: Mapping[str, Any] | None = None
    limit: int = 10
    offset: int = 0
    query: str | None = None
    refresh_ttl: bool = True


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

    match_conditions: Sequence[MatchCondition] | None = ()
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


Op: TypeAlias = GetOp | PutOp | SearchOp | ListNamespacesOp


class Store(Protocol):
    """Holds values under namespaces and keys; a store has to bring `abatch` alone.

    Attributes:
        supports_ttl: whether its items can be given a time to live.
        ttl_config: how long they live where a call does not say.
    """

    supports_ttl: bool = False
    ttl_config: TTLConfig | None = None

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        """Do these one after the other; each sees what those before it have done.

        All puts of a batch are written together at its end: all of them or none.

        Returns:
            For each, in order: of a get the `Item` or ``None``, of a put ``None``, of a search a
            list of `SearchItem`, of a listing a list of namespaces.

        Raises:
            StoreError: one of them is malformed, or has a value that cannot be kept. Nothing was
                done then.
            StoreConflictError: an item is not of the version that a put expects. Nothing was
                written then.
        """
        ...

    async def aget(
        self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None
    ) -> Item | None:
        """The item under a key; ``None`` if there is none.

        Args:
            namespace: where it is.
            key: its key there.
            refresh_ttl: whether its time to live begins anew; by default, as the store's `ttl`
                says, and if that says nothing, it does.

        Raises:
            InvalidNamespaceError: the namespace is none.
        """
        (item,) = await self.abatch([GetOp(namespace, key, self._refresh(refresh_ttl))])
        found: Item | None = item
        return found

    async def aput(
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | Sequence[str] | None = None,
        *,
        ttl: float | NotGiven | None = NOT_GIVEN,
        if_version: int | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Put a value under a key, in the place of what is there.

        Args:
            namespace: words from the general to the special, such as ``("users", "7")``.
            key: names the value there.
            value: a dict with texts as keys, of anything that a state can hold.
            index: what of it is searched by meaning: paths such as ``"notes[*].text"``; `False`
                for nothing; by default, what the store's index says.
            ttl: how long it lives, in minutes; ``None`` for ever; by default, as the store's
                `ttl` says.
            if_version: only if the item is of this version, as its `version` says; 0 or ``None``
                only if there is none.

        Raises:
            InvalidNamespaceError: the namespace is none.
            StoreError: the value cannot be kept.
            StoreConflictError: somebody else has put something there since; nothing was written.
        """
        if value is None:
            raise StoreError(f"There is no value to put under {key!r}; adelete() removes one.")
        if isinstance(ttl, NotGiven):
            ttl = self.ttl_config.get("default_ttl") if self.ttl_config else None
        if ttl is not None and not self.supports_ttl:
            raise StoreError(
                f"{type(self).__name__} keeps its items for ever. Leave ttl out, or use a store "
                f"that supports it."
            )
        await self.abatch([PutOp(namespace, key, value, index, ttl, if_version)])

    async def adelete(
        self,
        namespace: Namespace,
        key: str,
        *,
        if_version: int | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Remove the item under a key, if there is one.

        Args:
            namespace: where it is.
            key: its key there.
            if_version: only if it is of this version.

        Raises:
            InvalidNamespaceError: the namespace is none.
            StoreConflictError: it is of another version; it is still there.
        """
        await self.abatch([PutOp(namespace, key, None, if_version=if_version)])

    async def asearch(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """The items whose namespace begins like this, the last that was put first.

        Args:
            namespace_prefix: the first words of the namespace; ``()`` for all.
            query: a text. What comes nearest to its meaning comes first; what is not searched by
                meaning comes after that.
            filter: only values that have this under their keys: a value, or a dict of
                ``$eq``, ``$ne``, ``$gt``, ``$gte``, ``$lt``, ``$lte``, ``$in``, ``$exists``.
            limit: how many at most.
            offset: how many to leave out before.
            refresh_ttl: whether the time to live of those that are found begins anew; by default,
                as the store's `ttl` says, and if that says nothing, it does.

        Raises:
            StoreError: an argument is of the wrong kind.
        """
        op = SearchOp(namespace_prefix, filter, limit, offset, query, self._refresh(refresh_ttl))
        (found,) = await self.abatch([op])
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

    def _refresh(self, given: bool | None) -> bool:
        if given is not None:
            return given
        return self.ttl_config.get("refresh_on_read", True) if self.ttl_config else True
