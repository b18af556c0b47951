"""What only a store in a SQLite file can do wrong: its file, its rows, its statements."""

from __future__ import annotations

import contextlib
import re
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from durable_graph import open_store
from durable_graph.errors import ConfigError, IntegrityError, StorageClosedError, StorageError
from durable_graph.ports.store import PutOp
from durable_graph.registry import memory_store
from durable_graph.store import InMemoryStore
from durable_graph.testing.store_contract_kit import embed
from durable_graph_sqlite import SqliteSaver, SqliteStore
from durable_graph_sqlite.sql import ITEM_QUERIES, QUERIES
from tests.backends.kit import child, counting, result_of, thread

HOME = ("users", "7")

_PUT_FOR_EVER = """
import asyncio, sys
from durable_graph.ports.store import PutOp
from durable_graph_sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    n = 0
    while True:
        n += 1
        await store.abatch([PutOp(("n",), key, {"n": n}) for key in "abcdefgh"])
        print(n, flush=True)

asyncio.run(main())
"""

_COUNT = """
import asyncio, sys
from durable_graph.errors import StoreConflictError
from durable_graph_sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    done = 0
    while done < 50:
        item = await store.aget(("n",), "count")
        value = {"n": item.value["n"] + 1} if item else {"n": 1}
        try:
            await store.aput(("n",), "count", value, if_version=item and item.version)
        except StoreConflictError:
            continue
        done += 1
    await store.aclose()

asyncio.run(main())
"""


async def test_one_file_may_hold_threads_and_memory(tmp_path: Path) -> None:
    """In either order of opening; and neither is in the other's way."""
    for name, first in (("a.db", "saver"), ("b.db", "store")):
        path = tmp_path / name
        saver, store = SqliteSaver(path), SqliteStore(path)
        if first == "store":
            await store.aput(HOME, "k", {"n": 1})
        assert await counting(saver, 5).ainvoke({"items": ["begin"]}, thread("a")) == result_of(5)
        await store.aput(HOME, "k", {"n": 1})
        await saver.adelete_thread("a")
        item = await store.aget(HOME, "k")
        assert item is not None
        assert item.value == {"n": 1}
        await store.aclose()
        await saver.aclose()


async def test_a_url_names_a_store(tmp_path: Path) -> None:
    """`open_store` takes a URL and what the store takes, for each kind."""
    index = {"dims": 4, "embed": embed}
    url = f"sqlite:///{tmp_path}/a%20b.db"
    async with open_store(url, index=index, ttl={"default_ttl": 1}) as store:
        await store.aput(HOME, "k", {"t": "a"})
        (item,) = await store.asearch(HOME, query="a")
        assert item.score == pytest.approx(0.0, abs=1)
        assert item.expires_at is not None
    assert (tmp_path / "a b.db").is_file()
    async with SqliteStore.from_conn_string(str(tmp_path / "a b.db")) as store:
        assert [item.key for item in await store.asearch(())] == ["k"]
    assert isinstance(open_store("memory://", index=index), InMemoryStore)
    assert repr(memory_store("memory://")) == "<InMemoryStore: 0 items>"
    with pytest.raises(ConfigError, match="names no file"):
        open_store("sqlite://host/file")
    with pytest.raises(ConfigError, match="no store for nothing://"):
        open_store("nothing://")
    with pytest.raises(ConfigError, match="Write sqlite:// for"):
        open_store("sqlite+aiosqlite:///memory.db")
    unset: Any = None
    for wrong in ("memory.db", "", unset):
        with pytest.raises(ConfigError, match="is no URL"):
            open_store(wrong)


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    """It is not opened again behind one's back."""
    store = SqliteStore(tmp_path / "memory.db")
    await store.aput(HOME, "k", {})
    await store.aclose()
    with pytest.raises(StorageClosedError):
        await store.aget(HOME, "k")
    assert [entry.name for entry in tmp_path.iterdir()] == ["memory.db"]
    assert (tmp_path / "memory.db").stat().st_mode & 0o777 == 0o600


async def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """And stays as it is."""
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE notes (text)")
    store = SqliteStore(tmp_path / "other.db")
    with pytest.raises(StorageError, match="something else"):
        await store.aput(HOME, "k", {})
    await store.aclose()


@pytest.mark.parametrize(
    "damage",
    [
        "value = replace(value, '1', '2')",
        "value = CAST(value AS TEXT)",
        "value = CAST(x'ff' AS TEXT)",
        "value = x''",
        "key = 'other'",
        "key = CAST(x'ff' AS TEXT)",
        "namespace = x'610062'",
        "namespace = x'6100'",
        "version = version + 1",
        "created = created + 1",
        "ttl = 5",
        "checksum = 0",
    ],
)
async def test_a_damaged_row_is_an_error(tmp_path: Path, damage: str) -> None:
    """Never another item, or none."""
    async with SqliteStore(tmp_path / "memory.db") as store:
        await store.aput(HOME, "k", {"n": 1})
        with contextlib.closing(sqlite3.connect(tmp_path / "memory.db")) as db, db:
            db.execute(f"UPDATE items SET {damage}")
        with pytest.raises(IntegrityError, match="damaged"):
            await store.asearch(())


async def test_damaged_vectors_are_an_error(tmp_path: Path) -> None:
    """When they are needed."""
    async with SqliteStore(tmp_path / "m.db", index={"dims": 4, "embed": embed}) as store:
        await store.aput(HOME, "k", {"n": 1})
        with contextlib.closing(sqlite3.connect(tmp_path / "m.db")) as db, db:
            db.execute("UPDATE items SET vectors = substr(vectors, 1, 10)")
        assert await store.aget(HOME, "k") is not None
        with pytest.raises(IntegrityError, match=r"'k' in .* is damaged"):
            await store.asearch((), query="a")


async def test_statements_are_the_same_whatever_is_asked(tmp_path: Path) -> None:
    """What a caller gives is bound to a statement, never written into one."""
    statements: set[str] = set()
    async with SqliteStore(tmp_path / "memory.db") as store:
        await store.aput(HOME, "k", {})
        for connection in (store._file.writer, store._file.reader):
            await connection.call(lambda db: db.set_trace_callback(statements.add), writes=False)
        shapes: list[set[str]] = []
        for text in ("a", "'; DROP TABLE items; --", '" OR 1=1', "%", "?1", ":now", "x\nCOMMIT;"):
            await store.aput((text, text), text, {text: text})
            await store.aget((text,), text)
            await store.asearch((text,), filter={text: {"$gte": text}})
            await store.alist_namespaces(prefix=(text,), suffix=(text,))
            await store.adelete((text, text), text)
            shapes.append({_shape(statement) for statement in statements})
            statements.clear()
        for connection in (store._file.writer, store._file.reader):
            await connection.call(lambda db: db.set_trace_callback(None), writes=False)
    assert all(shape == shapes[0] for shape in shapes)
    assert len(shapes[0]) > 5


async def test_every_query_uses_an_index(tmp_path: Path) -> None:
    """Nothing looks through all items to find one."""
    async with SqliteStore(tmp_path / "memory.db") as store:
        await store.aput(HOME, "k", {})
    assert not set(ITEM_QUERIES) & set(QUERIES)
    names = {name for query in ITEM_QUERIES.values() for name in re.findall(r":(\w+)", query)}
    values = dict.fromkeys(names)
    with contextlib.closing(sqlite3.connect(tmp_path / "memory.db")) as db:
        for name, query in ITEM_QUERIES.items():
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]
            assert not [line for line in plan if line.startswith("SCAN")], (name, plan)


def test_a_killed_process_leaves_whole_batches(tmp_path: Path) -> None:
    """What it was told it has put is there, and of what was in flight all or nothing."""
    path = tmp_path / "memory.db"
    for told in (1, 3, 8):
        with child(_PUT_FOR_EVER, path) as process:
            for number in range(1, told + 1):
                process.expect(str(number))
            process.process.send_signal(signal.SIGKILL)
            process.process.wait()
            rest = [int(line) for line in process.process.stdout or [] if line.strip()]
        with SqliteStore(path) as store:
            found = {item.value["n"] for item in store.search(("n",))}
        last = max([told, *rest])
        assert found in ({last}, {last + 1})


def test_processes_count_under_conditions(tmp_path: Path) -> None:
    """None loses another's count."""
    path = tmp_path / "memory.db"
    with child(_COUNT, path) as one, child(_COUNT, path) as other:
        for process in (one, other):
            process.expect("ready")
        for process in (one, other):
            process.tell()
        for process in (one, other):
            process.end(timeout=50)
    with SqliteStore(path) as store:
        assert store.get(("n",), "count").value == {"n": 100}


async def test_puts_remove_what_has_expired(tmp_path: Path) -> None:
    """A file does not grow by what nobody can see any more."""
    from durable_graph.testing import FakeClock

    clock = FakeClock()
    async with SqliteStore(tmp_path / "memory.db", clock=clock) as store:
        await store.abatch([PutOp(HOME, str(n), {}, ttl=1) for n in range(20)])
        await clock.advance(61)
        for _ in range(3):
            await store.aput(HOME, "k", {})
        with contextlib.closing(sqlite3.connect(tmp_path / "memory.db")) as db:
            assert db.execute("SELECT count(*) FROM items").fetchone() == (1,)


def _shape(statement: str) -> str:
    """A statement without its values, which SQLite writes into it to trace it."""
    return re.sub(r"[xX]?'(?:[^']|'')*'|\b[\d.]+(?:e[+-]?\d+)?\b|NULL", "?", statement)
