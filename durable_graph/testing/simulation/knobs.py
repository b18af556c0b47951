"""The engine's constants, turned so that what is rare in practice happens all the time."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any, Final
from unittest import mock

from durable_graph.decisions import freeze
from durable_graph.engine.history import scanning, snapshots
from durable_graph.engine.runs import run
from durable_graph.engine.storage import runlog
from durable_graph.log import seal

__all__ = ["turned"]

_KNOBS: Final[tuple[tuple[Any, str, tuple[float, ...]], ...]] = (
    # Values stored by content.
    (freeze, "LARGE", (64, 16)),
    (freeze, "_MUCH", (256,)),  # forgetting those that are not needed any more
    (seal, "_SMALL_STATE", (512, 0)),  # snapshots
    (runlog, "_AHEAD", (1, 3)),  # waiting for storage in "async" durability
    (run, "_SLICE", (0.0,)),  # letting others have the event loop
    (run, "_STARTS", (1,)),
    (snapshots, "_PAGE", (1, 3)),  # histories of several pages
    (scanning, "_PAGE", (1, 3)),
)


@contextlib.contextmanager
def turned(numbers: random.Random) -> Iterator[None]:
    """Turn some of the knobs, as long as the block runs."""
    with contextlib.ExitStack() as stack:
        for module, name, values in _KNOBS:
            if numbers.random() < 0.3:
                stack.enter_context(mock.patch.object(module, name, numbers.choice(values)))
        yield
