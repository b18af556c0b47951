"""What the tests of this folder share: effects that count themselves, and looks at the log."""

from __future__ import annotations

from typing import Any

from durable_graph.log.records import Step, Steps
from durable_graph.log.seal import open_record
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import key_of, records_of

__all__ = ["Effects", "steps_of"]


class Effects(list[Any]):
    """An outside world: what has been done to it, in order."""

    async def do(self, what: Any) -> Any:
        """Do something to it; returns what was done."""
        self.append(what)
        return f"did {what}"

    def do_in_thread(self, what: Any) -> Any:
        """The same, in a synchronous function."""
        self.append(what)
        return f"did {what}"


async def steps_of(saver: Saver, config: RunnableConfig) -> list[Step]:
    """Every entry about a step that is stored in a thread, in order."""
    reading = await saver.backend.read(key_of(config))
    assert reading is not None
    found: list[Step] = []
    for record in await records_of(saver, config):
        if record.kind == "steps":
            _, body = open_record(record, reading.head.secret, "thread")
            assert isinstance(body, Steps)
            found += body.steps
    return found
