"""`runtime.transaction`: the user's SQL and the log's record of it are one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from durable_graph import START, InMemorySaver, RetryPolicy, Runtime, StateGraph, entrypoint, step
from durable_graph.errors import (
    ConfigError,
    FencedError,
    InvalidUpdateError,
    MissingCheckpointerError,
    StepConflictError,
    TransactionError,
    UnsupportedError,
)
from durable_graph.ports.backend import Append, Position, ThreadKey, ThreadQuery
from durable_graph.testing import FakeClock
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.backend import SqliteBackend
from tests.runtime.functional.kit import steps_of
from tests.runtime.kit import Items, chain, fan, reached


@pytest_asyncio.fixture
async def saver(tmp_path: Path) -> AsyncIterator[SqliteSaver]:
    """A SQLite file in which there is a table of the user's beside the threads."""
    made = SqliteSaver(tmp_path / "threads.db")
    await made.backend.threads(ThreadQuery())  # which makes the file
    with closing(sqlite3.connect(tmp_path / "threads.db")) as db, db:
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT UNIQUE, records TEXT)")
    yield made
    await made.aclose()


@pytest.fixture
def orders(tmp_path: Path) -> Callable[[], list[str]]:
    """The items that are in the user's table, as anybody sees them."""

    def read() -> list[str]:
        with closing(sqlite3.connect(tmp_path / "threads.db")) as db:
            return [row[0] for row in db.execute("SELECT item FROM orders ORDER BY id")]

    return read


def order(db: sqlite3.Connection, item: str) -> int:
    """What a user writes: returns the order's number."""
    number = db.execute("INSERT INTO orders (item) VALUES (?)", (item,)).lastrowid
    assert number is not None
    return number


async def test_both_are_stored_or_neither(
    saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """The row and the record of its number; a node that runs again finds the number."""
    broken, seen = [True], []

    async def node(state: Items, runtime: Runtime) -> Items:
        seen.append(await runtime.transaction(order, "tea"))
        if broken:
            broken.clear()
            raise ValueError("broken")
        return {"items": seen}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(ValueError, match="broken"):
        await graph.ainvoke({"items": []}, config)
    assert orders() == ["tea"]
    assert await graph.ainvoke(None, config) == {"items": [1, 1], "count": 0}
    assert orders() == ["tea"]
    entries = await steps_of(saver, config)
    assert [(e.kind, e.name, e.state) for e in entries] == [("transaction", "order", "done")]
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_what_it_raises_rolls_all_back(
    saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """Errors come out as they were, SQLite's own included, and the node can go on."""

    def fail(db: sqlite3.Connection) -> None:
        order(db, "coffee")
        raise KeyError("no")

    def twice(db: sqlite3.Connection) -> None:
        order(db, "tea")
        order(db, "tea")

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(KeyError, match="no"):
            await runtime.transaction(fail)
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            await runtime.transaction(twice)
        assert await runtime.transaction(order, "milk") == 1
        return {"items": ["went on"]}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert orders() == ["milk"]
    assert [entry.state for entry in await steps_of(saver, config)] == ["done"]


async def test_synchronous_nodes_and_functions_as_graphs(
    saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """Wherever there is a runtime."""

    def node(state: Items, runtime: Runtime) -> Items:
        return {"items": [runtime.transaction(order, "tea").result()]}

    @entrypoint(saver)
    async def flow(item: str, runtime: Runtime) -> int:
        return await runtime.transaction(order, item)

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert await flow.ainvoke("milk", {"configurable": {"thread_id": "other"}}) == 2
    assert orders() == ["tea", "milk"]


async def test_several_are_told_apart(
    saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """By function and arguments, equal ones by their number; or by keys of their own."""
    broken = [True]

    def add(db: sqlite3.Connection) -> int:
        return order(db, f"item {db.execute('SELECT count(*) FROM orders').fetchone()[0]}")

    async def node(state: Items, runtime: Runtime) -> Items:
        numbers = [await runtime.transaction(add) for _ in range(2)]
        numbers.append(await runtime.transaction(add, key="more"))
        numbers.append(await runtime.transaction(lambda db: order(db, "last")))
        if broken:
            broken.clear()
            raise ValueError("broken")
        return {"items": numbers}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(ValueError, match="broken"):
        await graph.ainvoke({"items": []}, config)
    assert (await graph.ainvoke(None, config))["items"] == [1, 2, 3, 4]
    assert orders() == ["item 0", "item 1", "item 2", "last"]


async def test_a_key_stands_for_its_arguments(saver: SqliteSaver, config: RunnableConfig) -> None:
    """As with any step."""
    items = ["tea", "milk"]

    async def node(state: Items, runtime: Runtime) -> Items:
        await runtime.transaction(order, items.pop(0), key="order")
        raise ValueError("broken")

    graph = chain(("node", node), saver=saver)
    with pytest.raises(ValueError, match="broken"):
        await graph.ainvoke({"items": []}, config)
    with pytest.raises(StepConflictError, match="Transaction 'order'"):
        await graph.ainvoke(None, config)


async def test_those_of_siblings_take_turns(
    saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """Transactions, steps and results of nodes that run at once, in one log without a gap."""

    def ordering(name: str) -> Callable[..., Any]:
        async def node(state: Items, runtime: Runtime) -> Items:
            for number in range(3):
                await asyncio.gather(
                    runtime.transaction(order, f"{name}{number}"),
                    step(f"s{number}", lambda: None),
                )
            return {"items": [name]}

        return node

    names = [f"n{number}" for number in range(5)]
    graph = fan(*((name, ordering(name)) for name in names), saver=saver)
    assert sorted((await graph.ainvoke({"items": []}, config))["items"]) == names
    assert sorted(orders()) == sorted(f"{name}{number}" for name in names for number in range(3))
    assert await saver.averify(config["configurable"]["thread_id"]) == []


FORBIDDEN = [
    "BEGIN",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT s",
    "RELEASE s",
    "ATTACH ':memory:' AS other",
    "DETACH main",
    "PRAGMA user_version = 7",
    "PRAGMA synchronous",
    "DELETE FROM threads",
    "delete from RECORDS",
    "UPDATE main.threads SET epoch = epoch + 1",
    "INSERT INTO messages SELECT * FROM messages",
    "INSERT OR REPLACE INTO blobs SELECT * FROM blobs",
    "DROP TABLE processes",
    "ALTER TABLE records RENAME TO mine",
    "CREATE INDEX mine ON records (kind)",
    "DROP INDEX threads_by_change",
    "CREATE TRIGGER mine AFTER INSERT ON records BEGIN SELECT 1; END",
    "CREATE TEMP TABLE records (a)",
    "CREATE TABLE temp.mine (a)",
    "CREATE TEMP VIEW records AS SELECT 1",
    "CREATE TEMP TRIGGER mine AFTER INSERT ON orders BEGIN SELECT 1; END",
    "WITH old AS (SELECT id FROM threads) DELETE FROM threads WHERE id IN old",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_what_is_not_its_own_is_refused(
    statement: str, saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """Neither the transaction's ends nor the tables that threads are stored in."""

    def work(db: sqlite3.Connection) -> None:
        order(db, "tea")
        db.execute(statement)

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(TransactionError, match="must not") as caught:
            await runtime.transaction(work)
        assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
        await runtime.transaction(order, "milk")
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert orders() == ["milk"]
    assert await saver.averify(config["configurable"]["thread_id"]) == []


@pytest.mark.parametrize("method", ["commit", "rollback", "executescript"])
async def test_the_connections_own_ways_out_are_shut(
    method: str, saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """Those of Python's, which send statements of their own."""

    def work(db: sqlite3.Connection) -> None:
        order(db, "tea")
        getattr(db, method)(*(["SELECT 1"] if method == "executescript" else []))

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(TransactionError, match="begin or end a transaction"):
            await runtime.transaction(work)
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert orders() == []


def _close(db: sqlite3.Connection) -> None:
    db.close()


def _choose_other_transactions(db: sqlite3.Connection) -> None:
    db.isolation_level = "EXCLUSIVE"


@pytest.mark.parametrize("spoil", [_close, _choose_other_transactions])
async def test_a_connection_that_was_spoilt_is_not_used_again(
    spoil: Callable[[sqlite3.Connection], None],
    saver: SqliteSaver,
    config: RunnableConfig,
    orders: Callable[[], list[str]],
) -> None:
    """It is the function's mistake, of which nothing is stored; the saver goes on with another."""

    def work(db: sqlite3.Connection) -> None:
        order(db, "tea")
        spoil(db)

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(TransactionError, match="must not close the connection"):
            await runtime.transaction(work)
        await runtime.transaction(order, "milk")
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert orders() == ["milk"]


def _interrupt_all(db: sqlite3.Connection) -> None:
    db.set_progress_handler(lambda: 1, 1)


def _limit(db: sqlite3.Connection) -> None:
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10)


@pytest.mark.parametrize("change", [_interrupt_all, _limit])
async def test_what_a_connection_is_set_to_is_set_back(
    change: Callable[[sqlite3.Connection], None],
    saver: SqliteSaver,
    config: RunnableConfig,
    orders: Callable[[], list[str]],
) -> None:
    """Settings that others would stumble over hold within the function only."""

    def work(db: sqlite3.Connection) -> None:
        order(db, "tea")
        change(db)

    async def node(state: Items, runtime: Runtime) -> Items:
        await runtime.transaction(work)
        return {"items": ["x" * 20_000]}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert orders() == ["tea"]


async def test_a_transaction_that_rolls_itself_back_is_no_step(
    saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """OR ROLLBACK ends the transaction by itself; that is noticed, and the result not kept."""

    def work(db: sqlite3.Connection) -> str:
        order(db, "tea")
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("INSERT OR ROLLBACK INTO orders (item) VALUES ('tea')")
        return "done"

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(TransactionError, match="rolled its transaction back"):
            await runtime.transaction(work)
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert orders() == []
    assert await steps_of(saver, config) == []


async def test_its_own_tables_can_be_made_and_changed(
    saver: SqliteSaver, config: RunnableConfig, tmp_path: Path
) -> None:
    """Tables, indices, triggers and columns of whatever name; and reading is free."""

    def work(db: sqlite3.Connection) -> list[int]:
        db.execute("CREATE TABLE mine (id INTEGER PRIMARY KEY, messages TEXT)")
        db.execute("ALTER TABLE mine RENAME TO yours")
        db.execute("CREATE INDEX by_messages ON yours (messages)")
        db.execute("CREATE TRIGGER t AFTER INSERT ON yours BEGIN DELETE FROM orders; END")
        db.executemany("INSERT INTO yours (messages) VALUES (?)", [("a",), ("b",)])
        db.execute("UPDATE yours SET messages = 'c' WHERE id = 1")
        db.execute("UPDATE orders SET records = 'r'")
        (threads,) = db.execute("SELECT count(*) FROM threads").fetchone()
        with pytest.raises(sqlite3.OperationalError, match="decode"):  # as on any connection
            db.execute("SELECT CAST(x'ff' AS TEXT)").fetchone()
        db.row_factory = sqlite3.Row
        (mine,) = db.execute("SELECT count(*) AS n FROM yours").fetchone()
        return [threads, mine]

    async def node(state: Items, runtime: Runtime) -> Items:
        return {"items": await runtime.transaction(work)}

    graph = chain(("node", node), saver=saver)
    assert (await graph.ainvoke({"items": []}, config))["items"] == [1, 2]
    assert (await graph.aget_state(config)).values["items"] == [1, 2]


async def test_steps_within_are_refused(saver: SqliteSaver, config: RunnableConfig) -> None:
    """It runs in the connection's thread: what waits for the log there would wait for itself."""

    def work(db: sqlite3.Connection) -> None:
        step("key", print)

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(RuntimeError, match="only inside a node"):
            await runtime.transaction(work)
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)


async def test_a_result_that_cannot_be_stored_rolls_back(
    saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """A cursor, say: the error names it, and the rows are not there either."""

    def work(db: sqlite3.Connection) -> Any:
        return db.execute("INSERT INTO orders (item) VALUES ('tea')")

    async def node(state: Items, runtime: Runtime) -> Items:
        await runtime.transaction(work)
        return {}

    with pytest.raises(InvalidUpdateError, match="Transaction 'work' of node 'node' returned"):
        await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert orders() == []


async def test_a_cancelled_node_has_done_it_or_not(
    saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """Cancelled while the database works, it has; and that is known in the same process, too."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(db: sqlite3.Connection) -> int:
        number = order(db, "tea")
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(60)
        return number

    async def node(state: Items, runtime: Runtime) -> Items:
        return {"items": [await runtime.transaction(work)]}

    graph = chain(("node", node), saver=saver)
    run = asyncio.create_task(graph.ainvoke({"items": []}, config))
    await reached(begun, run)
    run.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert orders() == ["tea"]
    assert (await graph.ainvoke(None, config))["items"] == [1]
    assert orders() == ["tea"]


async def test_a_fenced_run_writes_nothing(
    saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """Who has lost the thread does not even get to call the function."""
    calls: list[int] = []

    def work(db: sqlite3.Connection) -> int:
        calls.append(1)
        return order(db, "tea")

    async def node(state: Items, runtime: Runtime) -> Items:
        key = ThreadKey.of(config["configurable"]["thread_id"])
        reading = await saver.backend.read(key)
        assert reading is not None
        await _take_away(saver, key)
        return {"items": [await runtime.transaction(work)]}

    with pytest.raises(FencedError):
        await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert (calls, orders()) == ([], [])


async def _take_away(saver: SqliteSaver, key: ThreadKey) -> None:
    def work(db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM threads WHERE thread = ?", (key.thread,))
        db.execute("COMMIT")

    backend = saver.backend
    assert isinstance(backend, SqliteBackend)
    await backend._writer.call(work, writes=True)


class _Losing(SqliteBackend):
    """Loses answers: of a transaction that is stored, or of one that is not."""

    lost: bool = True
    stores: bool = True
    calls = 0

    async def transact(
        self, thread: ThreadKey, expected: Position, work: Callable[[Any], Append]
    ) -> Append | None:
        from durable_graph.errors import OutcomeUnknownError

        self.calls += 1
        if not self.lost:
            return await super().transact(thread, expected, work)
        self.lost = False

        def spoilt(db: sqlite3.Connection) -> Append:
            work(db)
            raise OutcomeUnknownError("The answer was lost.")

        if self.stores:
            await super().transact(thread, expected, work)
            raise OutcomeUnknownError("The answer was lost.")
        return await super().transact(thread, expected, spoilt)


@pytest.mark.parametrize("stored", [True, False])
async def test_a_lost_answer_is_found_out(
    stored: bool, saver: SqliteSaver, config: RunnableConfig, orders: Callable[[], list[str]]
) -> None:
    """If it was stored it is not done again; if it was not, it is, and then once."""
    inner = saver.backend
    assert isinstance(inner, SqliteBackend)
    losing = _Losing(inner.path, clock=FakeClock(jump=True))
    losing.stores = stored
    saver.backend = losing

    async def node(state: Items, runtime: Runtime) -> Items:
        return {"items": [await runtime.transaction(order, "tea")]}

    graph = chain(("node", node), saver=saver)
    assert (await graph.ainvoke({"items": []}, config))["items"] == [1]
    assert orders() == ["tea"]
    assert losing.calls == (1 if stored else 2)
    await losing.aclose()
    saver.backend = inner


async def test_a_locked_database_is_an_error_of_the_node(
    tmp_path: Path, config: RunnableConfig, orders: Callable[[], list[str]], saver: SqliteSaver
) -> None:
    """Nothing was written, and the run can go on: the node may try again."""
    path = tmp_path / "threads.db"
    held: list[sqlite3.Connection] = []

    async def node(state: Items, runtime: Runtime) -> Items:
        if runtime.attempt == 1:
            held.append(sqlite3.connect(path, isolation_level=None))
            held[0].execute("BEGIN IMMEDIATE")
        number = runtime.transaction(order, "tea")
        if runtime.attempt == 1:
            try:
                await number
            finally:
                held[0].close()
        return {"items": [await number]}

    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=TimeoutError)
    async with SqliteSaver(path, busy_timeout=0.01) as impatient:
        graph = StateGraph(Items).add_node("node", node, retry_policy=policy)
        result = await graph.add_edge(START, "node").compile(impatient).ainvoke({}, config)
    assert (result["items"], orders()) == ([1], ["tea"])


async def test_what_has_no_transactions_says_so(saver: SqliteSaver, config: RunnableConfig) -> None:
    """A saver in memory, no saver, a run that stores only its end; and a function that is async."""

    async def node(state: Items, runtime: Runtime) -> Items:
        await runtime.transaction(order, "tea")
        return {}

    async def work(db: sqlite3.Connection) -> None:
        pass

    async def wrong(state: Items, runtime: Runtime) -> Items:
        runtime.transaction(work)
        return {}

    with pytest.raises(UnsupportedError, match="SqliteSaver and PostgresSaver have it"):
        await chain(("node", node), saver=InMemorySaver()).ainvoke({}, config)
    with pytest.raises(MissingCheckpointerError, match="no checkpointer"):
        await chain(("node", node)).ainvoke({})
    graph = chain(("node", node), saver=saver)
    with pytest.raises(ConfigError, match="exit"):
        await graph.ainvoke({}, config, durability="exit")
    with pytest.raises(TypeError, match="not async"):
        await chain(("node", wrong), saver=saver).ainvoke({}, config)
    with pytest.raises(RuntimeError, match="made by hand"):
        Runtime().transaction(order, "tea")
