"""Threads of every format there has been taken to another storage as one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from durable_graph import InMemorySaver
from durable_graph_sqlite import SqliteSaver
from tests.golden.corpus import folders, unpack
from tests.golden.stored import threads_of


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
async def test_stored_threads_move(folder: Path, tmp_path: Path) -> None:
    """Every record is the same there, and each thread is what its head says."""
    path = unpack(folder, tmp_path)
    async with SqliteSaver(path) as old, InMemorySaver() as new:
        for name in threads_of(path):
            info = await new.threads.import_(await old.threads.export(name))
            assert await new.threads.verify(name) == []
            ranges = ((1, info.records),)
            moved = [await s.backend.scan(s.key(name), ranges) for s in (old, new)]
            assert moved[0] == moved[1]
