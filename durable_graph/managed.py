"""Keys of a state whose values the engine supplies: how far a run may still go.

They are named in a schema's annotations, are read only, and are never stored::

    class State(TypedDict):
        messages: Annotated[list, add_messages]
        remaining_steps: RemainingSteps

What a node writes to them is left out, so that it may return the whole state it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

__all__ = ["IsLastStep", "ManagedValue", "RemainingSteps"]


@dataclass(frozen=True, slots=True)
class ManagedValue:
    """Marks a key whose value the engine supplies.

    Attributes:
        of: the value, by how many supersteps the run may still take, this one included.
    """

    of: Callable[[int], Any]


IsLastStep = Annotated[bool, ManagedValue(lambda left: left == 1)]
"""Whether the run may take no superstep after this one: `recursion_limit` is reached."""

RemainingSteps = Annotated[int, ManagedValue(lambda left: left)]
"""How many supersteps the run may still take, this one included: 1 in the last."""
