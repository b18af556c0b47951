"""A process whose disk fails on request, and who says what it has seen.

Run by test_sqlite_failing_disk.py under the shim, with a file, a scenario and its numbers; prints
one line of JSON.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sqlite3
import sys
from collections import Counter
from typing import Any

from durable_graph.errors import OutcomeUnknownError, StorageError, StorageFullError
from durable_graph.ports.backend import Outcome
from durable_graph.saver import Lease, Saver
from durable_graph.testing.contract_kit import Log, commit, expect_log, mark, results, write
from durable_graph_sqlite.backend import SqliteBackend
from tests.backends.kit import counting, result_of, thread

_shim = ctypes.CDLL(None)
_APPENDS = 40
_STEPS = 12
_TRIES = 500


def fail(sync: float, write: float, seed: int = 0) -> None:
    """From now on, let so many of all syncs and writes fail."""
    _shim.shim_fail(ctypes.c_double(sync), ctypes.c_double(write), ctypes.c_uint64(seed))


def allow(space: int) -> None:
    """From now on, let the files grow by so many bytes; -1: without limit."""
    _shim.shim_space(ctypes.c_int64(space))


class Observed(SqliteBackend):
    """A backend that is looked into, and whose log is taken into the file every few pages."""

    def _configure(self, db: sqlite3.Connection) -> None:
        super()._configure(db)
        db.execute("PRAGMA wal_autocheckpoint = 12")

    @property
    def handle(self) -> sqlite3.Connection | None:
        """The writer's handle at present."""
        return self._writer._held._connection


async def appends(path: str, sync: float, writes: float, seed: int) -> dict[str, Any]:
    """Append on a failing disk; each append is asked for until it is answered."""
    acks = os.open(f"{path}-acks", os.O_CREAT | os.O_WRONLY)
    backend, log = Observed(path), Log()
    await write(backend, log, commit("c"))
    errors: Counter[str] = Counter()
    reused = 0
    fail(sync, writes, seed)
    for number in range(_APPENDS):
        append = log.next(results(b"x" * 3000), mark(), blobs={f"d{number}": b"y" * 5000})
        for _ in range(_TRIES):
            handle = backend.handle
            try:
                answers = list(await backend.append([append]))
            except StorageError as error:
                errors[type(error).__name__] += 1
                unsure = isinstance(error, OutcomeUnknownError) and handle is not None
                reused += unsure and backend.handle is handle
            else:
                assert answers == [Outcome.APPLIED], answers
                log.accept(append)
                os.write(acks, f"{log.now.seq}\n".encode())
                break
        else:
            raise AssertionError(f"An append was refused {_TRIES} times.")
        if number % 10 == 0:
            fail(0.0, 0.0)
            await expect_log(backend, log)
            fail(sync, writes)
    fail(0.0, 0.0)
    await expect_log(backend, log)
    await write(backend, log, commit("healed"))
    os.write(acks, f"{log.now.seq}\n".encode())
    await backend.aclose()
    backend = Observed(path)
    await expect_log(backend, log)
    await backend.aclose()
    return {"errors": errors, "reused": reused, "seq": log.now.seq, "failures": _failures()}


async def runs(path: str, sync: float, writes: float, seed: int) -> dict[str, Any]:
    """Run a graph on a failing disk, called again with a new saver whenever it fails."""
    errors: Counter[str] = Counter()
    fail(sync, writes, seed)
    lease = Lease(length=0.3, interval=0.1)
    result: Any = None
    for _ in range(_TRIES):
        saver = Saver(Observed(path), lease=lease)
        graph = counting(saver, _STEPS, size=3000)
        try:
            begun = (await graph.aget_state(thread("a"))).values
            result = await graph.ainvoke(None if begun else {"items": ["begin"]}, thread("a"))
            break
        except StorageError as error:
            errors[type(error).__name__] += 1
        finally:
            await saver.aclose()
    fail(0.0, 0.0)
    async with Saver(Observed(path)) as saver:
        wrong = len(await saver.averify("a"))
        history = [h async for h in counting(saver, _STEPS).aget_state_history(thread("a"))]
    return {
        "errors": errors,
        "failures": _failures(),
        "right": result == result_of(_STEPS, size=3000),
        "wrong": wrong,
        "steps": len({h.metadata["step"] for h in history if h.metadata}),
    }


async def full(path: str, space: int) -> dict[str, Any]:
    """Append until the disk is full, look, and go on once there is space."""
    backend, log = Observed(path), Log()
    await write(backend, log, commit("c"))
    allow(space)
    told = 0
    while told < 5:
        append = log.next(results(b"x" * 3000), blobs={f"d{log.now.seq}": b"y" * 3000})
        try:
            await backend.append([append])
        except StorageFullError:
            told += 1
            await expect_log(backend, log)
            assert await backend.blobs(log.key, list(append.blobs)) == {}
        else:
            assert log.now.seq < 1000, "The disk is never full."
            log.accept(append)
    fitted = log.now.seq
    allow(-1)
    assert list(await backend.append([append])) == [Outcome.APPLIED]
    log.accept(append)
    await expect_log(backend, log)
    await backend.aclose()
    backend = Observed(path)
    await expect_log(backend, log)
    await backend.aclose()
    return {"told": told, "fitted": fitted}


def _failures() -> int:
    _shim.shim_failures.restype = ctypes.c_int64
    return int(_shim.shim_failures())


if __name__ == "__main__":
    path, scenario, *numbers = sys.argv[1:]
    told: Any
    if scenario == "full":
        told = asyncio.run(full(path, int(numbers[0])))
    else:
        sync, writes, seed = float(numbers[0]), float(numbers[1]), int(numbers[2])
        told = asyncio.run({"appends": appends, "runs": runs}[scenario](path, sync, writes, seed))
    print(json.dumps(told), flush=True)
