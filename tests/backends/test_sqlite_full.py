"""A SQLite file that has no space to grow: named, whole, readable, and going on afterwards."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Final

import pytest

from durable_graph.errors import StorageFullError
from durable_graph.ports.backend import Outcome, Removal, ThreadQuery
from durable_graph.saver import Saver
from durable_graph.testing.contract_kit import (
    Log,
    commit,
    expect_log,
    message,
    results,
    write,
)
from durable_graph_sqlite.backend import SqliteBackend
from tests.backends.kit import child, counting, result_of, thread

_STEPS: Final = 20
_SIZE: Final = 20_000


class SmallBackend(SqliteBackend):
    """A backend whose file may have so many pages of 4 KB."""

    pages = 64

    def _configure(self, db: sqlite3.Connection) -> None:
        super()._configure(db)
        db.execute(f"PRAGMA max_page_count = {self.pages}")

    async def free_space(self) -> None:
        """Give the file space."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("PRAGMA max_page_count = 100000")

        await self._writer.call(work, writes=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file."""
    return tmp_path / "threads.db"


async def test_nothing_of_a_batch_is_stored(path: Path) -> None:
    """Of a batch that does not fit, nothing is visible, not even of those that would have fitted;
    what was there is read as before, and the same batch is stored once there is space."""
    backend = SmallBackend(path)
    logs = [Log(f"thread {number}") for number in range(3)]
    for log in logs:
        await write(backend, log, commit("c1"), blobs={"d": b"x"})
        await backend.post(log.key, message())
    new = Log("new")
    large = {"key": b'"' + b"x" * 500_000 + b'"'}
    batch = [
        logs[0].next(results(), blobs={"e": b"y"}, settled={"message": ""}),
        new.next(commit("c1")),
        logs[1].next(commit("large", large)),
        logs[2].next(results()),
    ]
    for _ in range(3):
        with pytest.raises(StorageFullError, match="Free some space"):
            await backend.append(batch)
        for log in logs:
            await expect_log(backend, log)
            assert await backend.blobs(log.key, ["d", "e"]) == {"d": b"x"}
            reading = await backend.read(log.key)
            assert reading is not None
            assert list(reading.messages) == [message()]
        assert await backend.read(new.key) is None
        assert len((await backend.threads(ThreadQuery())).threads) == 3
    await write(backend, logs[2], results())  # a small one fits
    batch[3] = logs[2].next(results())
    await backend.free_space()
    assert list(await backend.append(batch)) == [Outcome.APPLIED] * 4
    for log, append in zip([logs[0], new, logs[1], logs[2]], batch, strict=True):
        log.accept(append)
        await expect_log(backend, log)
    await backend.aclose()


async def test_other_writes_say_so_as_well(path: Path) -> None:
    """A message that does not fit raises `StorageFullError`; removing a thread makes space."""
    backend = SmallBackend(path)
    log, spare = Log(), Log("spare")
    await write(backend, log, commit("c1"))
    await write(backend, spare, commit("c1", {"key": b"x" * 100_000}))
    with pytest.raises(StorageFullError):
        await backend.post(log.key, message("m", b"x" * 150_000))
    assert await backend.remove(spare.key, Removal(everything=True))
    await backend.post(log.key, message("m", b"x" * 150_000))
    await expect_log(backend, log)
    await backend.aclose()


async def test_a_run_stops_at_its_last_step_that_fits(path: Path) -> None:
    """A run without space raises `StorageFullError`; everything before it can be read while the
    file is full, and once there is space the run comes to the end of an undisturbed one."""
    backend = SmallBackend(path)
    saver = Saver(backend)
    graph = counting(saver, _STEPS, size=_SIZE)
    with pytest.raises(StorageFullError):
        await graph.ainvoke({"items": ["begin"]}, thread("a"))
    state = await graph.aget_state(thread("a"))
    done = len(state.values["items"]) - 1
    assert 2 < done < _STEPS
    assert state.values == result_of(done, size=_SIZE)
    history = [entry async for entry in graph.aget_state_history(thread("a"))]
    assert [len(entry.values.get("items", ())) for entry in history] == [*range(done + 1, -1, -1)]
    assert await saver.averify("a") == []
    await saver.aclose()

    backend = SmallBackend(path)
    saver = Saver(backend)
    graph = counting(saver, _STEPS, size=_SIZE)
    await backend.free_space()
    assert await graph.ainvoke(None, thread("a")) == result_of(_STEPS, size=_SIZE)
    assert await saver.averify("a") == []
    await saver.aclose()


async def test_the_saver_that_met_a_full_disk_goes_on(path: Path) -> None:
    """The saver whose run ended for want of space can go on as soon as there is some."""
    backend = SmallBackend(path)
    async with Saver(backend) as saver:
        graph = counting(saver, _STEPS, size=_SIZE)
        with pytest.raises(StorageFullError):
            await graph.ainvoke({"items": ["begin"]}, thread("a"))
        await backend.free_space()
        assert await graph.ainvoke(None, thread("a")) == result_of(_STEPS, size=_SIZE)


async def test_a_full_disk_stops_only_runs_that_write(path: Path) -> None:
    """Of two runs of one saver, the one whose step does not fit ends, and the other does not."""
    backend = SmallBackend(path)
    async with Saver(backend) as saver:
        large, small = counting(saver, 20, size=_SIZE), counting(saver, 3)
        with pytest.raises(StorageFullError):
            await large.ainvoke({"items": ["begin"]}, thread("large"))
        await backend.free_space()
        assert await small.ainvoke({"items": ["begin"]}, thread("small")) == result_of(3)


# Runs into a limit of its own on the size of files, and goes on beyond it.
_LIMITED: Final = """
import asyncio, json, resource, sys
from durable_graph.errors import StorageError
from durable_graph.saver import Lease
from durable_graph_sqlite import SqliteSaver
from tests.backends.kit import counting, result_of, thread

async def main(path, limit):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    told = {}
    # An outcome that stays unknown is asked for again for as long as a lease.
    async with SqliteSaver(path, lease=Lease(length=0.5, interval=0.1)) as saver:
        graph = counting(saver, 20, size=20_000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            await graph.ainvoke({"items": ["begin"]}, thread("a"))
        except StorageError as error:
            told["error"] = type(error).__name__
        state = await graph.aget_state(thread("a"))
        told["items"] = len(state.values["items"])
        told["read"] = state.values == result_of(told["items"] - 1, size=20_000)
        told["wrong"] = len(await saver.averify("a"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    async with SqliteSaver(path) as saver:
        graph = counting(saver, 20, size=20_000)
        told["result"] = await graph.ainvoke(None, thread("a")) == result_of(20, size=20_000)
        told["wrong"] += len(await saver.averify("a"))
    print(json.dumps(told))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.parametrize("limit", [250_000, 400_001])
def test_a_limit_on_file_size_is_survived(path: Path, limit: int) -> None:
    """A write that the kernel cuts off at a file-size limit is not acknowledged; the thread is
    read and gone on with."""
    with child(_LIMITED, path, limit) as limited:
        told = json.loads(limited.end())
    assert told.pop("error") in {"StorageFullError", "OutcomeUnknownError"}
    assert 1 < told.pop("items") < 21
    assert told == {"read": True, "wrong": 0, "result": True}
