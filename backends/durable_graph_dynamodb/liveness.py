"""Signs of life, where there is no clock that all can see.

Each process counts up in an item of its own. Whoever looks remembers, by its own monotonic clock,
when it saw the count change last; that long ago is the age of the sign. What is seen for the first
time has just been given, as far as anybody can tell. So the death of a process on another host is
known a lease after somebody began to look, and no two clocks are ever compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from durable_graph.ports.backend import Liveness, Process
from durable_graph.ports.clock import Clock
from durable_graph.ports.rows import to_process
from durable_graph_dynamodb.keys import PROCESSES, hashed
from durable_graph_dynamodb.requests import Delete, Where
from durable_graph_dynamodb.table import Table
from durable_graph_dynamodb.values import Item

__all__ = ["Beats"]

# Processes whose sign of life is this many leases old are forgotten, but none that has just come.
_FORGOTTEN: Final = 100.0
_AT_LEAST: Final = 60.0


@dataclass(slots=True)
class _Seen:
    count: int
    since: float


class Beats:
    """Signs of life, given and observed.

    Args:
        table: where they are.
        clock: the observer's own.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    async def give(self, process: Process) -> None:
        """Store a sign of life."""
        identity = process.identity
        told = {
            "id": process.id,
            "host": identity.host,
            "pid": identity.pid,
            "started": identity.started,
            "lease": repr(float(process.lease)),
        }
        count = await self._table.add(PROCESSES, hashed(process.id), "count", Where(), told)
        self._seen[process.id] = _Seen(count or 0, self._clock.monotonic())

    async def known(self) -> list[Liveness]:
        """All processes that have given signs of life, and how long ago that was."""
        items = await self._table.everything(PROCESSES, "0", "~")
        now = self._clock.monotonic()
        found: list[Liveness] = []
        for item in items:
            process = _process_in(item)
            if process is None:
                continue
            seen = self._seen.get(process.id)
            if seen is None or seen.count != item["count"]:
                seen = self._seen[process.id] = _Seen(item["count"], now)
            age = max(0.0, now - seen.since)
            if age > max(_FORGOTTEN * process.lease, _AT_LEAST):
                await self._forget(item)
                self._seen.pop(process.id, None)
                continue
            found.append(Liveness(process, age))
        return found

    async def _forget(self, item: Item) -> None:
        unchanged = Where(equal={"count": item["count"]})
        await self._table.write(Delete(PROCESSES, item["sk"], unchanged), "Forgetting a process")


def _process_in(item: Item) -> Process | None:
    try:
        lease = float(item["lease"])
    except (LookupError, ValueError, TypeError):
        return None
    row = (
        *(item.get(name) for name in ("id", "host", "pid", "started")),
        *(None, item.get("count"), lease),
    )
    found = to_process(row)
    return found[0] if found is not None else None
