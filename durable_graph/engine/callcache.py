"""A task's result out of the graph's cache, or into it: without it, the task runs."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from durable_graph.errors import CacheWarning, IntegrityError, InvalidUpdateError
from durable_graph.log.codec import Codec, UnstorableValueError
from durable_graph.types import UNSET, CachePolicy

if TYPE_CHECKING:
    from durable_graph.cache import BaseCache, CacheNamespace

__all__ = ["CallSlot", "call_namespace"]

T = TypeVar("T")


def call_namespace(name: str, function: Callable[..., Any]) -> CacheNamespace:
    """Whose results they are: of this function under this name, in whatever graph."""
    kind = function if hasattr(function, "__qualname__") else type(function)
    return ("durable_graph", "task", name, f"{kind.__module__}.{kind.__qualname__}")


class CallSlot:
    """The place in a cache that belongs to a task and its arguments.

    Attributes:
        found: the result that is kept there, a fresh copy; `UNSET` if there is none.
    """

    def __init__(
        self,
        cache: BaseCache,
        policy: CachePolicy,
        codec: Codec,
        name: str,
        function: Callable[..., Any],
    ) -> None:
        self._cache = cache
        self._policy = policy
        self._codec = codec
        self._name = name
        self._namespace = (*call_namespace(name, function), policy.version)
        self._key = ""
        self.found: Any = UNSET

    async def look(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Self:
        """Look whether a result for these arguments is kept.

        Raises:
            InvalidUpdateError: they cannot be a key.
        """
        own = self._policy.key_func
        given = [list(args), sorted(kwargs.items())] if own is None else own(*args, **kwargs)
        try:
            encoded = self._codec.encode(given)
        except UnstorableValueError as error:
            what = "Its arguments" if own is None else "What key_func returned for them"
            raise InvalidUpdateError(
                f"Task {self._name!r} cannot be cached. {what} cannot be a key: {error}. Give its "
                f"CachePolicy a key_func that returns what the result depends on, as plain data."
            ) from error
        self._key = hashlib.blake2b(encoded, digest_size=32).hexdigest()
        place = (self._namespace, self._key)
        found = await self._tried(self._cache.aget([place]), "read from")
        if found and (data := found.get(place)) is not None:
            try:
                self.found = self._codec.decode(data)
            except IntegrityError:  # kept by a program that knew other types
                self.found = UNSET
        return self

    async def keep(self, value: Any) -> None:
        """Keep a result."""
        try:
            data = self._codec.encode(value)
        except UnstorableValueError as error:
            self._warn(f"What it returned cannot be kept: {error}.")
            return
        entries = {(self._namespace, self._key): (data, self._policy.ttl)}
        await self._tried(self._cache.aset(entries), "written to")

    async def _tried(self, access: Awaitable[T], what: str) -> T | None:
        try:
            return await access
        except Exception as error:  # whatever a cache may raise: it is not needed
            self._warn(f"The cache could not be {what}: {type(error).__name__}: {error}")
            return None

    def _warn(self, text: str) -> None:
        warnings.warn(f"Task {self._name!r} goes without its cache. {text}", CacheWarning, 2)
