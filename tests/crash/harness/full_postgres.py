"""A PostgreSQL server whose disk is full: ``full_postgres.py rows|log FOLDER EFFECTS``.

FOLDER is a small file system. What is on it: the rows of tables, or the server's own log. Whoever
starts this sees to it that nobody else sees the file system. EFFECTS is a file elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from durable_graph.errors import StorageError, StorageFullError
from durable_graph.saver import Lease
from durable_graph.types import RunnableConfig
from durable_graph_postgres import PostgresSaver
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.programs import STEPS, filling
from tests.services import postgres
from tests.services.postgres import Server

CONFIG: RunnableConfig = {"configurable": {"thread_id": "thread"}}


async def rows(small: Path, effects: EffectFile) -> None:
    """Tables find no space: a clear error, nothing partial, and reading works meanwhile."""
    with postgres.own_server() as server:
        place = small / "rows"
        place.mkdir()
        postgres.unprivileged(place)
        await postgres.sql(server.dsn, f"CREATE TABLESPACE small LOCATION '{place}'")
        await postgres.sql(server.dsn, "ALTER DATABASE postgres SET default_tablespace = small")
        async with PostgresSaver(server.dsn) as saver:
            graph: Any = filling(saver, effects)
            await saver.backend.beat(None)  # so the tables are there
            ballast = small / "ballast"
            ballast.write_bytes(bytes(_free(small) - 150_000))
            acknowledged = await _until_full(graph)
            state = await graph.aget_state(CONFIG)
            assert len(state.values["pages"]) == acknowledged, "something partial is to be seen"
            assert len([one async for one in graph.aget_state_history(CONFIG)]) >= acknowledged
            assert await saver.averify("thread") == []
            ballast.unlink()
            await _to_its_end(graph, saver)


async def log(small: Path, effects: EffectFile) -> None:
    """The server's log finds no space, which no server survives: once there is space and it was
    started again, all that was acknowledged is there, and the run goes on."""
    with postgres.own_server() as server:
        server.stop()
        within = server.data / "pg_wal"
        subprocess.run(["cp", "-a", str(within), str(small)], check=True)
        subprocess.run(["rm", "-r", str(within)], check=True)
        within.symlink_to(small / "pg_wal")
        server.start()
        hasty: dict[str, Any] = {"busy_timeout": 1.0, "lease": Lease(1.0, 0.1)}
        async with PostgresSaver(server.dsn, **hasty) as saver:
            graph: Any = filling(saver, effects)
            ballast = small / "ballast"
            ballast.write_bytes(bytes(_free(small) - 100_000))
            acknowledged = await _until_full(graph, fill=_switching(server))
            assert "PANIC" in server.log()
            ballast.unlink()
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            state = await graph.aget_state(CONFIG)
            assert len(state.values["pages"]) >= acknowledged, "something acknowledged is lost"
            await _to_its_end(graph, saver)


def _free(folder: Path) -> int:
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize


def _switching(server: Server) -> Callable[[], Any]:
    """Has the server begin a new file of its log, for which there is no space."""

    async def fill() -> None:
        await postgres.sql(server.dsn, "SELECT pg_switch_wal()")

    return fill


async def _until_full(graph: Any, fill: Callable[[], Any] | None = None) -> int:
    """Run until it fails; returns how many steps were acknowledged."""
    acknowledged = 0
    failed: StorageError | None = None
    try:
        async for _ in graph.astream({"pages": []}, CONFIG):
            acknowledged += 1
            if fill is not None and acknowledged == 5:
                await fill()
    except StorageError as error:
        failed = error
    assert failed is not None, "the disk is too large for this"
    if fill is None:
        assert isinstance(failed, StorageFullError)
        assert "nothing was written" in str(failed)
    assert acknowledged >= 2
    return acknowledged


async def _to_its_end(graph: Any, saver: PostgresSaver) -> None:
    ended = await graph.ainvoke(None, CONFIG)
    assert [int(page.split()[0]) for page in ended["pages"]] == list(range(STEPS))
    assert await saver.averify("thread") == []


if __name__ == "__main__":
    _, what, folder, effects = sys.argv
    asyncio.run({"rows": rows, "log": log}[what](Path(folder), EffectFile(Path(effects))))
    print("ended")
