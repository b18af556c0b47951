"""What users call of a store."""

from __future__ import annotations

from types import TracebackType
from typing import ClassVar, Self

from durable_graph.ports.items import ItemsCapabilities
from durable_graph.ports.store import Store
from durable_graph.sync import SyncStore

__all__ = ["BaseStore"]


class BaseStore(SyncStore, Store):
    """What users call of a store; a store of one's own derives from it and has `abatch`.

    Nodes get the store that their graph was compiled with as `runtime.store`, as a parameter
    named `store`, or from `get_store()`. What they put there is there at once, whatever becomes of
    their superstep: it is an effect, and a node that runs again has it again; unless the store is
    `atomic`.

    Attributes:
        atomic: whether what a node puts is written in the very write that stores the node's
            result. The node sees it at once, others then; of an attempt that fails, nothing is
            left. Once a result is on record it stays, with its puts, even if one of the same
            superstep excludes it that comes later; then only that one is refused, and runs again.
            One case is left: a reducer of your own, or a schema, that takes each result and not
            several together is asked for all of them as the superstep closes. If those on record
            do not go together by then, the nodes that are told of run again, and put again: have
            them put under the same key each time.
    """

    __injected__: ClassVar[str] = "store"

    atomic: bool = False

    @property
    def capabilities(self) -> ItemsCapabilities:
        """What its storage guarantees; of a store that does not say, nothing."""
        return ItemsCapabilities(durable=False, shared=False)

    async def asetup(self) -> None:
        """Does nothing: storage is opened and migrated on first use."""

    async def aclose(self) -> None:
        """Release what the store holds. Harmless if done twice."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
