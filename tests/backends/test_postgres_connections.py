"""Connections to PostgreSQL: few for many runs, poolers, the user's pools, sessions that die."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import pytest

from durable_graph.errors import (
    ConfigError,
    OutcomeUnknownError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
    TransactionError,
)
from durable_graph.ports.backend import Outcome
from durable_graph.ports.items import Puts, Write
from durable_graph.testing.contract_kit import Log, commit, expect_log, process, write
from durable_graph_postgres import PostgresBackend, PostgresSaver, PostgresStore
from tests.backends.kit import counting, result_of, thread
from tests.services import postgres

pytestmark = pytest.mark.services


async def test_a_hundred_runs_on_two_connections() -> None:
    """What they write goes out together; there are never more connections."""
    saver = PostgresSaver(postgres.dsn(), schema=postgres.emptied_schema(), max_connections=2)
    graph = counting(saver, 5)
    runs = (graph.ainvoke({"items": ["begin"]}, thread(f"t{n}")) for n in range(100))
    assert await asyncio.gather(*runs) == [result_of(5)] * 100
    assert saver.backend.statistics()["connections"] <= 2
    assert saver.statistics().batches < saver.statistics().writes / 3
    await saver.aclose()


async def test_b10_calls_go_side_by_side_on_connections_of_their_own() -> None:
    """While one call keeps a connection, others are answered."""
    backend = PostgresBackend(postgres.dsn(), schema=postgres.emptied_schema())
    log, other, free = Log(), Log("other"), asyncio.Event()
    await write(backend, log, commit("c1"))

    async def work(connection: Any) -> Any:
        await free.wait()
        return log.next(commit("c2"))

    keeping = asyncio.ensure_future(backend.transact(log.key, log.position, work))
    while backend.statistics()["idle"]:
        await asyncio.sleep(0)
    await write(backend, other, commit("c1"))
    assert await asyncio.gather(*(backend.beat(None) for _ in range(5))) == [[]] * 5
    assert backend.statistics()["connections"] > 2
    free.set()
    assert await keeping is not None
    await backend.aclose()


async def test_there_is_an_end_to_waiting_for_one() -> None:
    """While others keep all of them, a call gives up in time; nothing was written."""
    backend = PostgresBackend(
        postgres.dsn(), schema=postgres.emptied_schema(), max_connections=1, busy_timeout=0.5
    )
    log, free = Log(), asyncio.Event()
    await write(backend, log, commit("c1"))

    async def work(connection: Any) -> Any:
        await free.wait()
        return log.next(commit("c2"))

    keeping = asyncio.ensure_future(backend.transact(log.key, log.position, work))
    while backend.statistics()["idle"]:
        await asyncio.sleep(0)
    with pytest.raises(StorageBusyError, match="connections to PostgreSQL were in use"):
        await backend.read(log.key)
    free.set()
    stored = await keeping
    assert stored is not None
    log.accept(stored)
    await expect_log(backend, log)
    await backend.aclose()


async def test_a_thread_that_is_locked_is_busy() -> None:
    """Who waits for another transaction's lock gives up in time, and has written nothing."""
    backend = PostgresBackend(postgres.dsn(), schema=postgres.emptied_schema(), busy_timeout=0.5)
    log = Log()
    await write(backend, log, commit("c1"))
    other = await asyncpg.connect(postgres.dsn())
    locked = other.transaction()
    await locked.start()
    await other.execute(f"SELECT FROM {backend.schema}.threads FOR UPDATE")
    with pytest.raises(StorageBusyError, match="kept it locked"):
        await backend.append([log.next(commit("c2"))])
    await locked.rollback()
    await other.close()
    await expect_log(backend, log)
    await write(backend, log, commit("c2"))
    await backend.aclose()


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03"])
async def test_a_transaction_that_the_server_has_undone_may_be_asked_for_again(code: str) -> None:
    """For others' sake, whatever it had done by then: nothing of it is stored, and again it is."""
    backend = PostgresBackend(postgres.dsn(), schema=postgres.emptied_schema())
    log = Log()
    await write(backend, log, commit("c1"))
    other = await asyncpg.connect(postgres.dsn())
    await other.execute(
        f"SET search_path TO {backend.schema};"
        f"CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE 'undone' USING ERRCODE = '{code}'; END $$;"
        f"CREATE TRIGGER undo AFTER INSERT ON records FOR EACH ROW EXECUTE FUNCTION undo()"
    )
    append = log.next(commit("c2"))
    for _ in range(2):
        with pytest.raises(StorageBusyError, match="nothing was written"):
            await backend.append([append])
        await expect_log(backend, log)
    await other.execute("DROP TRIGGER undo ON records")
    await other.close()
    assert await backend.append([append]) == [Outcome.APPLIED]
    log.accept(append)
    await expect_log(backend, log)
    await backend.aclose()


async def test_a_batch_of_which_a_part_is_stored_is_unknown() -> None:
    """What is put into a store is a transaction of its own; where that is refused, it is not told
    that nothing of the batch was written. Asking again finds out."""
    schema = postgres.emptied_schema()
    backend = PostgresBackend(postgres.dsn(), schema=schema, busy_timeout=0.5)
    store = PostgresStore(postgres.dsn(), schema=schema, atomic=True)
    plain, putting = Log("a"), Log("b")
    for log in (plain, putting):
        await write(backend, log, commit("c1"))
    puts = Puts(store.storage, [Write((("n",), "k"), None)], 1.0)
    batch = [plain.next(commit("c2")), replace(putting.next(commit("c2")), puts=[puts])]
    other = await asyncpg.connect(postgres.dsn())
    async with other.transaction():
        await other.execute(f"SELECT FROM {schema}.threads WHERE thread = 'b' FOR UPDATE")
        with pytest.raises(OutcomeUnknownError, match="not all were made"):
            await backend.append(batch)
    assert list(await backend.append(batch)) == [Outcome.APPLIED] * 2
    await other.close()
    await store.aclose()
    await backend.aclose()


async def test_sessions_that_die_are_replaced() -> None:
    """Idle ones without anybody's notice; a thread goes on whatever was ended."""
    saver = PostgresSaver(postgres.dsn(), schema=postgres.emptied_schema())
    graph = counting(saver, 3)
    for number in range(4):
        done = await graph.ainvoke({"items": ["begin"]}, thread(f"t{number}"))
        assert done == result_of(3)
        await postgres.sql(
            postgres.dsn(),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )
    await saver.aclose()


async def test_sessions_are_ended_at_random_under_load() -> None:
    """Every run comes to its end, and its thread is whole."""
    saver = PostgresSaver(postgres.dsn(), schema=postgres.emptied_schema())
    graph = counting(saver, 20)
    config = [thread(f"t{n}") for n in range(20)]
    stop = asyncio.Event()

    async def end_sessions() -> int:
        ended = 0
        while not stop.is_set():
            rows = await postgres.sql(
                postgres.dsn(),
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                " AND random() < 0.5",
            )
            ended += len(rows)
        return ended

    ending = asyncio.ensure_future(end_sessions())

    async def to_the_end(config: Any) -> Any:
        given: Any = {"items": ["begin"]}
        for _ in range(100):
            try:
                return await graph.ainvoke(given, config)
            except StorageError:  # it says what became of it; calling again finds out
                state = await again(lambda: graph.aget_state(config))
                given = None if state.values else given
        raise AssertionError("It does not end.")

    async def again(call: Any) -> Any:
        for _ in range(100):
            try:
                return await call()
            except StorageError:
                continue
        raise AssertionError("It is not answered.")

    results = await asyncio.gather(*map(to_the_end, config))
    stop.set()
    assert await ending > 0
    assert results == [result_of(20)] * 20
    for each in config:
        assert await saver.averify(each["configurable"]["thread_id"]) == []
    await saver.aclose()


async def test_a_server_that_does_not_answer() -> None:
    """A call is given up in time, and the next goes on where the server does."""
    with postgres.own_server() as server:
        backend = PostgresBackend(server.dsn, busy_timeout=1.0, call_timeout=1.0)
        log = Log()
        await write(backend, log, commit("c1"))
        server.freeze()
        append = log.next(commit("c2"))
        try:
            async with asyncio.timeout(20):
                with pytest.raises(StorageError, match="did not answer in time"):
                    await backend.append([append])
                with pytest.raises(StorageBusyError):
                    await backend.read(log.key)
        finally:
            server.thaw()
        async with asyncio.timeout(20):
            while True:
                try:
                    await backend.append([append])
                    break
                except StorageError:
                    continue
        log.accept(append)
        await expect_log(backend, log)
        await backend.aclose()


# -- pools of the user's ---------------------------------------------------------------------------


async def test_a_pool_of_the_users() -> None:
    """It is used, given back, and not closed."""
    async with asyncpg.create_pool(postgres.dsn(), min_size=1, max_size=2) as pool:
        saver = PostgresSaver(pool=pool, schema=postgres.emptied_schema())
        graph = counting(saver, 3)
        runs = (graph.ainvoke({"items": ["begin"]}, thread(f"t{n}")) for n in range(10))
        assert await asyncio.gather(*runs) == [result_of(3)] * 10
        await saver.aclose()
        assert await pool.fetchval("SELECT 1") == 1
        assert pool.get_idle_size() == pool.get_size()
        with pytest.raises(StorageClosedError):
            await saver.backend.beat(None)


async def test_a_server_that_dies_behind_a_pool() -> None:
    """What is asked of it then fails with a true error of ours: a write whose answer was lost is
    unknown, what cannot be sent has written nothing. Once the server is back, all goes on."""
    with postgres.own_server() as server:
        pool = await asyncpg.create_pool(server.dsn, min_size=1, max_size=2)
        backend = PostgresBackend(pool=pool, schema="threads", busy_timeout=0.5)
        log = Log()
        await write(backend, log, commit("c1"))
        server.crash()
        with pytest.raises(OutcomeUnknownError, match="Calling again finds out"):
            await backend.append([log.next(commit("c2"))])
        for call in (backend.read(log.key), backend.append([log.next(commit("c2"))])):
            with pytest.raises(StorageBusyError, match="nothing was written"):
                await call
        server.start()
        await expect_log(backend, log)
        await write(backend, log, commit("c2"))
        await pool.close()
        with pytest.raises(StorageError, match="pool is closed"):
            await backend.read(log.key)
        await backend.aclose()


async def test_an_answer_counts_that_a_pool_cannot_follow() -> None:
    """What was acknowledged stays so if the pool cannot set the session back afterwards, and
    nobody waits for that for ever."""
    with postgres.own_server() as server:
        pool = await asyncpg.create_pool(server.dsn, min_size=1, max_size=1)
        backend = PostgresBackend(pool=pool, schema="threads", busy_timeout=0.5)
        await backend.beat(None)
        source = backend._make_source()
        connection = await source.take()
        server.freeze()
        try:
            await asyncio.wait_for(source.give_back(connection), 20)
        finally:
            server.thaw()
        assert await backend.beat(None) == []
        await backend.aclose()
        await pool.close()


async def test_other_loops_do_not_touch_a_pool() -> None:
    """What they ask for is done by the pool's own loop; if that cannot be, it is said."""
    async with asyncpg.create_pool(postgres.dsn(), min_size=1, max_size=2) as pool:
        backend = PostgresBackend(pool=pool, schema=postgres.emptied_schema(), busy_timeout=1.0)
        await backend.beat(process("here"))

        def elsewhere() -> list[str]:
            return [entry.process.id for entry in asyncio.run(_beat(backend))]

        assert await asyncio.to_thread(elsewhere) == ["here"]
        caught: list[BaseException] = []

        def blocked() -> None:
            try:
                asyncio.run(_beat(backend))
            except ConfigError as error:
                caught.append(error)

        waiting = threading.Thread(target=blocked)
        waiting.start()
        waiting.join()  # the pool's loop is this one, which waits
        assert "waits for this call" in str(caught[0])
        await backend.aclose()


async def _beat(backend: PostgresBackend) -> Any:
    return await backend.beat(None)


async def test_a_call_that_is_cancelled_on_another_loop_waits_for_its_write() -> None:
    """As on the pool's own: what its caller does next comes after the write."""
    async with asyncpg.create_pool(postgres.dsn(), min_size=0) as pool:
        backend = PostgresBackend(pool=pool, schema=postgres.emptied_schema())
        log = Log()
        await write(backend, log, commit("c1"))
        append = log.next(commit("c2"))
        blocked, waited, free = threading.Event(), threading.Event(), threading.Event()

        async def elsewhere() -> int:
            call = asyncio.create_task(backend.append([append]))
            while not blocked.is_set():
                await asyncio.sleep(0.01)
            call.cancel()
            _, waiting = await asyncio.wait([call], timeout=0.1)
            waited.set()
            assert waiting == {call}
            while not free.is_set():
                await asyncio.sleep(0.01)
            await asyncio.wait([call])
            assert call.cancelled()
            found = await backend.thread(log.key)
            assert found is not None
            assert found.head is not None
            return found.head.seq

        beside = await asyncpg.connect(postgres.dsn())
        lock = beside.transaction()
        await lock.start()
        await beside.execute(f"SELECT FROM {backend.schema}.threads FOR UPDATE")
        async with asyncio.timeout(20):
            other = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(elsewhere())))
            asked = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
            while not await beside.fetchval(asked, beside.get_server_pid()):
                await asyncio.sleep(0.01)
            blocked.set()
            await asyncio.to_thread(waited.wait, 10)
            await lock.rollback()
            free.set()
            assert await other == append.head.seq
        await beside.close()
        await backend.aclose()


# -- poolers ---------------------------------------------------------------------------------------


@asynccontextmanager
async def pgbouncer(dsn: str, sessions: int = 3) -> AsyncIterator[str]:
    """A pooler that gives each transaction another of its sessions; the address to use instead."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not Path(program).exists():
        pytest.skip("there is no pgbouncer here: run `make services`")
    to = urlsplit(dsn)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "users").write_text(f'"{to.username}" ""\n')
        (Path(folder) / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={to.port} user={to.username}\n"
            f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\nunix_socket_dir=\n"
            f"auth_type=any\nauth_file={folder}/users\npool_mode=transaction\n"
            f"default_pool_size={sessions}\nserver_round_robin=1\n"
        )
        if postgres.unprivileged(Path(folder)):
            (Path(folder) / "users").chmod(0o644)
            (Path(folder) / "ini").chmod(0o644)
        pooler = subprocess.Popen(
            [program, "-q", f"{folder}/ini"], **postgres.unprivileged(Path(folder))
        )
        try:
            for _ in range(200):
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.02)
            yield to._replace(netloc=f"{to.username}@127.0.0.1:{port}").geturl()
        finally:
            pooler.terminate()
            pooler.wait(timeout=30)


async def test_through_a_pooler() -> None:
    """With no prepared statements kept, each transaction may have another session."""
    async with pgbouncer(postgres.dsn()) as address:
        saver = PostgresSaver(address, schema=postgres.fresh_schema(), prepared=False)
        graph = counting(saver, 5)
        runs = (graph.ainvoke({"items": ["begin"]}, thread(f"t{n}")) for n in range(20))
        assert await asyncio.gather(*runs) == [result_of(5)] * 20
        for number in range(20):
            assert await saver.averify(f"t{number}") == []
        history = [s async for s in graph.aget_state_history(thread("t1"))]
        state = await graph.aget_state(history[-2].config)
        assert state.checkpoint_id == history[-2].checkpoint_id
        await saver.aclose()


@pytest.mark.parametrize("ends", ["returns", "raises", "spoils", "is told of a mistake"])
async def test_what_a_guest_sets_does_not_reach_others_through_a_pooler(ends: str) -> None:
    """Its session is given to others once the transaction has ended, however it has ended."""
    asked = (
        "SELECT current_setting('app.name', true), current_setting('work_mem'), current_user,"
        " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711),"
        " (SELECT count(*) FROM pg_class WHERE relname = 'left_behind'),"
        " (SELECT count(*) FROM pg_proc WHERE proname = 'left_behind')"
    )

    async def work(connection: Any) -> Any:
        await connection.execute("SELECT set_config('app.name', 'ann', false)")
        await connection.execute("SELECT set_config('work_mem', '77MB', false)")
        await connection.execute("CREATE TEMP TABLE left_behind (n) AS SELECT 1")
        await connection.execute(
            "CREATE FUNCTION pg_temp.left_behind() RETURNS int LANGUAGE sql RETURN 1"
        )
        await connection.execute("SELECT set_config('role', 'pg_read_all_data', false)")
        await connection.execute("SELECT pg_advisory_lock(4711)")
        if ends == "raises":
            raise ValueError("mine")
        if ends == "spoils":
            await connection.execute("SELECT 1 / 0")
        if ends == "is told of a mistake":
            await connection.execute("COMMIT")
        return log.next(commit(f"c{log.now.seq + 1}"))

    async with pgbouncer(postgres.dsn(), sessions=2) as address:
        beside = await asyncpg.connect(address, statement_cache_size=0)
        ((_, memory, user, *_),) = await beside.fetch(asked)
        backend = PostgresBackend(address, schema=postgres.emptied_schema(), prepared=False)
        log = Log()
        await write(backend, log, commit("c1"))
        told = contextlib.nullcontext() if ends == "returns" else pytest.raises(_ENDS[ends])
        for _ in range(3):  # in either session, and in one where it has been before
            with told:
                appended = await backend.transact(log.key, log.position, work)
                assert appended is not None
                log.accept(appended)
            for _ in range(2):
                ((name, *found),) = await beside.fetch(asked)
                assert (name or None, *found) == (None, memory, user, 0, 0, 0)
        await expect_log(backend, log)
        await beside.close()
        await backend.aclose()


_ENDS: Final[dict[str, type[Exception]]] = {
    "raises": ValueError,
    "spoils": asyncpg.DivisionByZeroError,
    "is told of a mistake": TransactionError,
}


async def test_what_is_temporary_in_a_session_of_the_users_pool_stays() -> None:
    """If it was there before the guest, whose own is gone where nothing else is temporary."""

    async def work(connection: Any) -> Any:
        await connection.execute("CREATE TEMP TABLE IF NOT EXISTS guests (n int)")
        await connection.execute("INSERT INTO guests VALUES (1)")
        return log.next(commit(f"c{log.now.seq + 1}"))

    async def prepare(connection: Any) -> None:
        await connection.execute("CREATE TEMP TABLE IF NOT EXISTS users AS SELECT 1 AS n")

    for init in (None, prepare):
        log = Log()
        async with asyncpg.create_pool(postgres.dsn(), min_size=1, max_size=1, init=init) as pool:
            backend = PostgresBackend(pool=pool, schema=postgres.emptied_schema())
            await write(backend, log, commit("c1"))
            appended = await backend.transact(log.key, log.position, work)
            assert appended is not None
            there = "SELECT to_regclass('pg_temp.users'), to_regclass('pg_temp.guests')"
            ((users, guests),) = await pool.fetch(there)
            assert (users is None, guests is None) == (init is None, init is None)
            await backend.aclose()
