"""One call of a graph: what its caller asked for, checked and in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from durable_graph.engine.control import RunControl
from durable_graph.types import UNSET, Command, Durability, OnPending, RunnableConfig, StepPolicy

if TYPE_CHECKING:
    from durable_graph.cache import BaseCache
    from durable_graph.store import BaseStore

__all__ = ["Call", "Policies"]


@dataclass(frozen=True, slots=True)
class Policies:
    """What a graph was compiled to go by as it runs.

    Attributes:
        step: what the failure of one task is to the others of its superstep: "fail_fast" ends
            them, "collect" lets them finish.
        cache: where results of nodes are kept.
    """

    step: StepPolicy = "fail_fast"
    cache: BaseCache | None = None


_USUAL: Final = Policies()


@dataclass(slots=True)
class Call:
    """What a caller asked for.

    Attributes:
        input: the input, a `Command`, or ``None`` to go on.
        config: the config as given.
        thread: the thread; ``None`` without a checkpointer.
        checkpoint: the checkpoint to start from, if one was named.
        ns: the namespace of the graph whose checkpoint it is, or whose state is to be edited.
        run: the run's id.
        metadata: what every checkpoint of the run is marked with.
        durability: see `durable_graph.types.Durability`.
        on_pending: what becomes of open questions when there is a new input.
        by: who calls.
        recursion_limit: how many supersteps the call may take.
        max_concurrency: how many nodes may run at once; ``None`` for all.
        interrupt_before: nodes to stop before.
        interrupt_after: nodes to stop after.
        context: what nodes get as their context.
        store: what nodes get as their store.
        control: what asks the run to stop.
        policies: what the graph was compiled to go by.
    """

    input: Any
    config: RunnableConfig
    thread: str | None
    checkpoint: str | None
    run: str
    ns: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    durability: Durability = "sync"
    on_pending: OnPending = "reject"
    by: str | None = None
    recursion_limit: int = 10_007
    max_concurrency: int | None = None
    interrupt_before: Collection[str] = ()
    interrupt_after: Collection[str] = ()
    context: Any = None
    store: BaseStore | None = None
    control: RunControl | None = None
    policies: Policies = _USUAL

    @property
    def answers(self) -> bool:
        """Whether it answers what the thread asks."""
        return isinstance(self.input, Command) and self.input.resume is not UNSET
