"""A node's result out of the graph's cache, or into it.

A cache is a convenience: whatever goes wrong with it, the node runs. Only a key that cannot be
made is an error, since then nothing of the node would ever be kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from durable_graph.decisions.keeping import key_of, namespace_of, pack, unpack
from durable_graph.decisions.results import Result
from durable_graph.definition.graph import GraphDefinition
from durable_graph.definition.node import Node
from durable_graph.errors import CacheWarning
from durable_graph.log.codec import UnstorableValueError

if TYPE_CHECKING:
    from durable_graph.cache import BaseCache

__all__ = ["Slot"]

T = TypeVar("T")


class Slot:
    """The place in a cache that belongs to one node and one input.

    Attributes:
        result: what is kept there, if anything that can be used.
    """

    def __init__(
        self, cache: BaseCache, definition: GraphDefinition, node: Node, value: Any
    ) -> None:
        self._cache = cache
        self._definition = definition
        self._node = node
        self._key = (namespace_of(definition, node), key_of(definition, node, value))
        self._packed: bytes | None = None
        self._answers = True
        self.result: Result | None = None

    @classmethod
    async def of(
        cls, cache: BaseCache, definition: GraphDefinition, node: Node, value: Any
    ) -> Self:
        """The place for a node's result, and what is kept there.

        Raises:
            InvalidUpdateError: the input cannot be a key.
        """
        slot = cls(cache, definition, node, value)
        found = await slot._tried(cache.aget([slot._key]), "read from")
        slot._answers = found is not None
        if found and (data := found.get(slot._key)) is not None:
            slot.result = unpack(definition, data)
        return slot

    def fix(self, result: Result) -> None:
        """Take down what is to be kept, before the node can change it."""
        if not self._answers:  # a cache that has just failed is not waited for once more
            return
        try:
            self._packed = pack(self._definition, result)
        except UnstorableValueError as error:
            self._warn(f"What it returned cannot be kept: {error}.")

    async def keep(self) -> None:
        """Keep what was taken down."""
        policy = self._node.cache
        if self._packed is not None and policy is not None:
            entries = {self._key: (self._packed, policy.ttl)}
            await self._tried(self._cache.aset(entries), "written to")

    async def _tried(self, access: Awaitable[T], what: str) -> T | None:
        try:
            return await access
        except Exception as error:  # whatever a cache may raise: it is not needed
            self._warn(f"The cache could not be {what}: {type(error).__name__}: {error}")
            return None

    def _warn(self, text: str) -> None:
        warnings.warn(f"Node {self._node.name!r} goes without its cache. {text}", CacheWarning, 2)
