"""Row level security: the database itself keeps tenants apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from durable_graph.errors import StorageError
from durable_graph.ports.backend import Card, Outcome, Position, Removal, ThreadQuery
from durable_graph.testing.contract_kit import (
    Log,
    commit,
    expect_log,
    mark,
    message,
    process,
    write,
)
from durable_graph_postgres import PostgresBackend
from durable_graph_postgres.opening import Demands, migrate
from tests.services import postgres

pytestmark = pytest.mark.services


@asynccontextmanager
async def secured(schema: str, role: str) -> AsyncIterator[PostgresBackend]:
    """A backend that works as a role."""
    backend = PostgresBackend(_as(role), schema=schema, row_security=True)
    try:
        yield backend
    finally:
        await backend.aclose()


def _as(role: str) -> str:
    return postgres.dsn().replace("//postgres@", f"//{role}@")


async def _roles() -> tuple[str, str, str]:
    """A schema, the role that owns it, and one of a tenant."""
    if "//postgres@" not in postgres.dsn():
        pytest.skip("roles can be made in the tests' own server only")
    schema = postgres.fresh_schema()
    owner, acme = f"{schema}_owner", f"{schema}_acme"
    await postgres.sql(
        postgres.dsn(),
        f"CREATE ROLE {owner} LOGIN",
        f"CREATE ROLE {acme} LOGIN",
        f"CREATE SCHEMA {schema} AUTHORIZATION {owner}",
    )
    return schema, owner, acme


async def test_all_goes_on_under_policies() -> None:
    """Appends of several tenants in one batch, cards, messages, removal, transactions."""
    schema, owner, _ = await _roles()
    async with secured(schema, owner) as backend:
        logs = [Log("a", tenant=tenant) for tenant in ("x", "y", "")]
        appends = [log.next(commit("c1"), blobs={"d": b"1"}) for log in logs]
        assert await backend.append(appends) == [Outcome.APPLIED] * 3
        for log, append in zip(logs, appends, strict=True):
            log.accept(append)
            await expect_log(backend, log)
            await backend.post(log.key, message())
            assert await backend.label(log.key, Card(1, tags=("t",), time=1.0))
            page = await backend.threads(ThreadQuery(tenant=log.key.tenant, tags=("t",)))
            assert [found.key for found in page.threads] == [log.key]
            reading = await backend.read(log.key, "c1")
            assert reading is not None
            assert len(reading.records) == 1

        async def work(connection: Any) -> Any:
            return logs[0].next(mark())

        stored = await backend.transact(logs[0].key, logs[0].position, work)
        assert stored is not None
        logs[0].accept(stored)
        await expect_log(backend, logs[0])
        assert await backend.remove(logs[1].key, Removal(everything=True))
        await expect_log(backend, logs[2])


async def test_a_role_that_is_bound_sees_its_own_tenant_only() -> None:
    """Whatever it asks for, through the backend or past it."""
    schema, owner, acme = await _roles()
    ours, theirs = Log("a", tenant="acme"), Log("a", tenant="other")
    async with secured(schema, owner) as backend:
        await write(backend, ours, commit("c1"), blobs={"d": b"1"})
        await write(backend, theirs, commit("c1"), blobs={"d": b"1"})
        await backend.post(theirs.key, message())
        await backend.label(theirs.key, Card(1, time=1.0))
    await postgres.sql(_as(owner), f"SELECT {schema}.bind_role('{acme}', 'acme')")
    async with secured(schema, acme) as backend:
        await expect_log(backend, ours)
        await write(backend, ours, mark())
        assert await backend.read(theirs.key) is None
        assert await backend.thread(theirs.key) is None
        assert await backend.scan(theirs.key, ((1, 5),)) == []
        assert await backend.blobs(theirs.key, ["d"]) == {}
        assert (await backend.threads(ThreadQuery(tenant="other"))).threads == []
        assert not await backend.remove(theirs.key, Removal(everything=True))
        with pytest.raises(StorageError):
            await backend.append([Log("new", tenant="other").next(commit("c1"))])
    connection = await asyncpg.connect(_as(acme))
    await connection.execute("SET durable_graph.tenant = 'other'")
    for table in ("threads", "cards", "records", "blobs", "messages"):
        tenants = await connection.fetch(f"SELECT DISTINCT tenant FROM {schema}.{table}")
        assert {row[0] for row in tenants} <= {"acme"}
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(f"UPDATE {schema}.roles SET tenant = 'other'")
    await connection.close()
    async with secured(schema, owner) as backend:
        await expect_log(backend, theirs)
        assert Position.of(theirs.now) == theirs.position


async def _bound(schema: str, owner: str, acme: str) -> asyncpg.Connection[Any]:
    """A session of a role that is bound to the tenant `acme`."""
    await postgres.sql(_as(owner), f"SELECT {schema}.bind_role('{acme}', 'acme')")
    return await asyncpg.connect(_as(acme))


async def test_a_bound_role_cannot_give_words_another_meaning() -> None:
    """Whoever may create operators somewhere compares with them what he likes, but not roles."""
    schema, owner, acme = await _roles()
    async with secured(schema, owner) as backend:
        await write(backend, Log("a", tenant="other"), commit("c1"))
    connection = await _bound(schema, owner, acme)
    mine = f"{schema}_mine"
    await postgres.sql(postgres.dsn(), f"CREATE SCHEMA {mine} AUTHORIZATION {acme}")
    await connection.execute(f"""
        CREATE FUNCTION {mine}.no(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT false';
        CREATE OPERATOR {mine}.= (LEFTARG = name, RIGHTARG = name, FUNCTION = {mine}.no);
        SET search_path = {mine}, pg_catalog;
        SET durable_graph.tenant = 'other';
    """)
    assert await connection.fetchval(f"SELECT {schema}.tenant()") == "acme"
    assert await connection.fetch(f"SELECT * FROM {schema}.threads") == []
    await connection.close()


async def test_a_bound_role_is_not_in_the_way_of_others() -> None:
    """What it stores itself belongs to threads of its own, so nobody else's records meet it."""
    schema, owner, acme = await _roles()
    ours, theirs = Log("a", tenant="acme"), Log("a", tenant="other")
    async with secured(schema, owner) as backend:
        await write(backend, theirs, commit("c1"), blobs={"d": b"1"})
        ((id,),) = await postgres.sql(postgres.dsn(), f"SELECT id FROM {schema}.threads")
        connection = await _bound(schema, owner, acme)
        for row in (
            f"records VALUES ('acme', {id}, 2, 'mark', NULL, '', '', '', '')",
            f"blobs VALUES ('acme', {id}, 'e', '')",
            f"messages VALUES ('acme', {id}, 'm', DEFAULT, '', '', NULL, 0)",
            f"threads (id, tenant, thread) OVERRIDING SYSTEM VALUE VALUES ({id}, 'acme', 'b')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"INSERT INTO {schema}.{row}")
        await connection.close()
        await write(backend, theirs, mark(), blobs={"e": b"2"})
    async with secured(schema, acme) as backend:
        await write(backend, ours, commit("c1"), blobs={"d": b"1"})
        await backend.post(ours.key, message())
        await expect_log(backend, ours)


async def test_a_bound_role_has_no_say_in_whether_others_live() -> None:
    """It sees processes that may be at work for its tenant, and changes its own only."""
    schema, owner, acme = await _roles()
    everybodys, own = process("everybody"), process("own")
    async with secured(schema, owner) as backend:
        await backend.beat(everybodys)
        connection = await _bound(schema, owner, acme)
        async with secured(schema, acme) as bound:
            await bound.beat(own)
            alive = {found.process.id for found in await bound.beat(own)}
        assert alive == {everybodys.id, own.id}
        await connection.execute(f"UPDATE {schema}.processes SET lease = 1e9")
        await connection.execute(f"DELETE FROM {schema}.processes")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                f"SELECT {schema}.beat('1s', '{everybodys.id}', 'h', 1, 1, 0.001)"
            )
        (left,) = await backend.beat(None)
        assert (left.process.id, left.process.lease) == (everybodys.id, everybodys.lease)
        await connection.close()


async def test_a_bound_role_does_not_learn_who_else_there_is() -> None:
    """Neither other tenants' names nor their processes."""
    schema, owner, acme = await _roles()
    async with secured(schema, owner) as backend:
        await backend.beat(None)
    connection = await _bound(schema, owner, acme)
    other = f"{schema}_other"
    await postgres.sql(postgres.dsn(), f"CREATE ROLE {other} LOGIN")
    await postgres.sql(_as(owner), f"SELECT {schema}.bind_role('{other}', 'other')")
    async with secured(schema, other) as backend:
        await backend.beat(process("theirs"))
    assert await connection.fetch(f"SELECT tenant FROM {schema}.roles") == [("acme",)]
    assert await connection.fetch(f"SELECT id FROM {schema}.processes") == []
    await connection.close()


async def test_it_must_be_meant() -> None:
    """A schema with policies is not opened without them, and not by those whom they do not bind."""
    schema, owner, _ = await _roles()
    async with secured(schema, owner) as backend:
        await backend.beat(None)
    without = PostgresBackend(_as(owner), schema=schema)
    with pytest.raises(StorageError, match="row_security=True"):
        await without.beat(None)
    await without.aclose()
    almighty = PostgresBackend(postgres.dsn(), schema=schema, row_security=True)
    with pytest.raises(StorageError, match="bypasses row level security"):
        await almighty.beat(None)
    await almighty.aclose()


async def test_it_can_be_switched_on_later() -> None:
    """What was stored before is there."""
    schema, owner, _ = await _roles()
    log = Log("a", tenant="x")
    before = PostgresBackend(_as(owner), schema=schema)
    await write(before, log, commit("c1"))
    await before.aclose()
    async with secured(schema, owner) as backend:
        await expect_log(backend, log)


async def test_a_role_that_was_bound_before_is_held_to_the_same() -> None:
    """By a version that gave it more: the migration takes that back."""
    schema, owner, acme = await _roles()
    connection = await asyncpg.connect(_as(owner))
    demands = Demands(schema, "local", allow_weaker=False, row_security=True, patience="10s")
    await migrate(connection, replace(demands, row_security=False), "here", to=3)
    await connection.execute(f"SELECT {schema}.bind_role('{acme}', 'acme')")
    await migrate(connection, demands, "here")
    await connection.close()
    connection = await asyncpg.connect(_as(acme))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(
            f"INSERT INTO {schema}.threads (id, tenant, thread, updated)"
            f" OVERRIDING SYSTEM VALUE VALUES (1, 'acme', 'b', 0)"
        )
    await connection.close()
    async with secured(schema, acme) as backend:
        ours = Log("a", tenant="acme")
        await write(backend, ours, commit("c1"))
        assert await backend.remove(ours.key, Removal(everything=True))
