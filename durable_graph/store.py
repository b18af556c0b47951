"""Memory that outlives threads: what users call of a store, and the one that is in memory."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from durable_graph.decisions.filters import check_filter, matches, matches_namespace
from durable_graph.errors import InvalidNamespaceError, StoreError
from durable_graph.log.codec import Codec, UnstorableValueError
from durable_graph.ports.clock import Clock, SystemClock
from durable_graph.ports.store import (
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Namespace,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
    Store,
)
from durable_graph.state.families import FAMILIES
from durable_graph.state.messages import MESSAGE_TYPES
from durable_graph.sync import SyncStore

__all__ = [
    "BaseStore",
    "GetOp",
    "InMemoryStore",
    "Item",
    "ListNamespacesOp",
    "MatchCondition",
    "Op",
    "PutOp",
    "SearchItem",
    "SearchOp",
]

T = TypeVar("T")


class BaseStore(SyncStore, Store):
    """What users call of a store; a store of one's own derives from it and has `abatch`.

    Nodes get the store that their graph was compiled with as `runtime.store`, as a parameter
    named `store`, or from `get_store()`. What they put there is there at once, whatever becomes of
    their superstep: it is an effect, and a node that runs again has it again.
    """

    __injected__: ClassVar[str] = "store"


@dataclass(slots=True)
class _Entry:
    """A value as it is kept: encoded, so that nobody's changes reach it."""

    value: bytes
    created: float
    updated: float


class InMemoryStore(BaseStore):
    """A store in this process's memory, lost with it. Can be used from any thread and loop.

    Args:
        clock: dates the items.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock if clock is not None else SystemClock()
        self._codec = Codec(MESSAGE_TYPES, FAMILIES)
        # The last that was put is the last in here.
        self._entries: dict[tuple[Namespace, str], _Entry] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<InMemoryStore: {len(self._entries)} items>"

    def _wait(self, function: Callable[[], Awaitable[T]]) -> T:
        # It never waits, so it needs no event loop: async nodes may use the synchronous face.
        try:
            coroutine: Any = function()
            coroutine.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        raise AssertionError("A store in memory waits for nothing.")

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        """See `Store.abatch`."""
        # All is checked and encoded before any of it is done.
        given = list(ops)
        values = [_checked(op, self._codec) for op in given]
        with self._lock:
            return [self._do(op, value) for op, value in zip(given, values, strict=True)]

    def _do(self, op: Op, value: bytes | None) -> Any:
        match op:
            case GetOp(namespace, key):
                entry = self._entries.get((namespace, key))
                return None if entry is None else Item(*self._parts(namespace, key, entry))
            case PutOp(namespace, key):
                self._put((namespace, key), value)
                return None
            case SearchOp(prefix, filter, limit, offset):
                return self._search(prefix, filter, limit, offset)
            case ListNamespacesOp():
                return self._namespaces(op)

    def _put(self, place: tuple[Namespace, str], value: bytes | None) -> None:
        before = self._entries.pop(place, None)
        if value is not None:
            now = self._clock.time()
            created = now if before is None else before.created
            self._entries[place] = _Entry(value, created, now)

    def _search(
        self, prefix: Namespace, filter: Mapping[str, Any] | None, limit: int, offset: int
    ) -> list[SearchItem]:
        found: list[SearchItem] = []
        left = offset
        for (namespace, key), entry in reversed(self._entries.items()):
            if len(found) == limit:
                break
            if namespace[: len(prefix)] != prefix:
                continue
            if filter and not matches(self._codec.decode(entry.value), filter):
                continue
            if left > 0:
                left -= 1
                continue
            found.append(SearchItem(*self._parts(namespace, key, entry)))
        return found

    def _namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        found = {
            namespace[: op.max_depth]
            for namespace, _ in self._entries
            if all(matches_namespace(namespace, kind, path) for kind, path in op.match_conditions)
        }
        return sorted(found)[op.offset : op.offset + op.limit]

    def _parts(self, namespace: Namespace, key: str, entry: _Entry) -> tuple[Any, ...]:
        value = self._codec.decode(entry.value)
        return value, key, namespace, _moment(entry.created), _moment(entry.updated)


def _moment(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)


def _checked(op: Op, codec: Codec) -> bytes | None:
    """An operation's value, encoded, once all about it is seen to be right.

    Raises:
        StoreError: it is not.
    """
    match op:
        case GetOp(namespace, key):
            _check_namespace(namespace)
            _check_key(key)
        case PutOp(namespace, key, value):
            _check_namespace(namespace)
            _check_key(key)
            return None if value is None else _encoded(key, value, codec)
        case SearchOp(prefix, filter, limit, offset):
            _check_words(prefix)
            check_filter(filter)
            _check_page(limit, offset)
        case ListNamespacesOp(conditions, depth, limit, offset):
            for _, path in conditions:
                _check_words(path)
            if depth is not None and (type(depth) is not int or depth < 1):
                raise StoreError(f"max_depth is a number of words, at least 1, not {depth!r}.")
            _check_page(limit, offset)
        case _:
            raise StoreError(f"{op!r} is no operation on a store.")
    return None


def _encoded(key: str, value: Any, codec: Codec) -> bytes:
    if type(value) is not dict or not all(isinstance(name, str) for name in value):
        raise StoreError(
            f"The value under {key!r} is to be a dict with texts as keys, not {value!r:.200}."
        )
    try:
        return codec.encode(value)
    except UnstorableValueError as error:
        raise StoreError(f"The value under {key!r} cannot be kept: {error}.") from error


def _check_key(key: Any) -> None:
    if not isinstance(key, str) or not key or "\0" in key:
        raise StoreError(f"A key is a text that is not empty, not {key!r}.")


def _check_words(words: Any) -> None:
    if not isinstance(words, tuple) or not all(isinstance(word, str) for word in words):
        raise InvalidNamespaceError(
            f"A namespace is a tuple of words, such as ('users', '7'), not {words!r}."
        )


def _check_namespace(namespace: Any) -> None:
    _check_words(namespace)
    if not namespace:
        raise InvalidNamespaceError("A namespace has at least one word: ('users',), not ().")
    for word in namespace:
        if not word or "." in word or "\0" in word:
            raise InvalidNamespaceError(
                f"{word!r} cannot be a word of a namespace: it is empty, or has a '.' or a zero "
                f"byte in it. Of an address, make several words, or replace its dots."
            )
    if namespace[0] == "langgraph":
        raise InvalidNamespaceError("The first word of a namespace cannot be 'langgraph'.")


def _check_page(limit: Any, offset: Any) -> None:
    for name, number in (("limit", limit), ("offset", offset)):
        if type(number) is not int or number < 0:
            raise StoreError(f"{name} is a number, at least 0, not {number!r}.")
