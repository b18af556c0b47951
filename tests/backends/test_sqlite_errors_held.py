"""An error about damage, held by whoever caught it, does not hold the reader where it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from durable_graph.errors import IntegrityError
from durable_graph_sqlite import SqliteSaver, SqliteStore
from tests.backends.kit import counting, thread


async def test_of_listing_threads(tmp_path: Path) -> None:
    """What is written afterwards is seen."""
    path = tmp_path / "threads.db"
    saver = SqliteSaver(path)
    graph = counting(saver, 1)
    for name in "abc":
        await graph.ainvoke({"items": []}, thread(name))
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE threads SET link = x'00' WHERE thread = 'b'")
        db.commit()
    with pytest.raises(IntegrityError) as held:
        await saver.threads.search(limit=2)
    await graph.ainvoke({"items": []}, thread("d"))
    assert (await graph.aget_state(thread("d"))).values
    assert held.value
    await saver.aclose()


async def test_of_searching_items(tmp_path: Path) -> None:
    """The same for a store."""
    path = tmp_path / "memory.db"
    store = SqliteStore(path)
    for name in "abc":
        await store.aput(("n",), name, {})
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE items SET value = x'00' WHERE key = 'c'")
        db.commit()
    with pytest.raises(IntegrityError, match=r"'c' in \('n',\)") as held:
        await store.asearch(("n",))
    await store.adelete(("n",), "c")
    assert [item.key for item in await store.asearch(("n",))] == ["b", "a"]
    assert held.value
    await store.aclose()
