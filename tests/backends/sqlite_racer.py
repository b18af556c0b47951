"""A process that appends to a thread of its own and, against others, to one that all share.

Run by test_sqlite_processes.py: ``sqlite_racer.py <file> <number> <how many>``.
"""

from __future__ import annotations

import asyncio
import sys

from durable_graph.log.seal import Draft
from durable_graph.ports.backend import Outcome, Position
from durable_graph.testing.contract_kit import Log, mark, results, write
from durable_graph_sqlite.backend import SqliteBackend


async def race(path: str, number: int, count: int) -> None:
    """Append `count` times to each of the two threads."""
    backend = SqliteBackend(path, busy_timeout=30.0)
    own, shared = Log(f"own {number}"), Log("shared")
    refused = 0
    for turn in range(count):
        await write(backend, own, results(b"%d" % turn), mark(), blobs={f"d{turn}": b"x"})
        draft: Draft = mark(f"{number}.{turn}")
        while True:
            unless = None if shared.head is None else shared.position
            reading = await backend.read(shared.key, unless=unless)
            shared.head = None if reading is None else reading.head
            append = shared.next(draft)
            assert reading is None or append.expected == Position.of(reading.head)
            (answer,) = await backend.append([append])
            if answer is Outcome.APPLIED:
                shared.accept(append)
                break
            refused += 1
    await backend.aclose()
    print(refused, flush=True)


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(race(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
