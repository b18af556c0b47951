"""Opening a database: is it one that keeps what it acknowledges, and has it our tables?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import asyncpg

from durable_graph.errors import StorageError, UnknownTypeError
from durable_graph_postgres.sql import functions, migrations, row_security

if TYPE_CHECKING:
    from durable_graph_postgres.connections import Connection

__all__ = ["Demands", "Synchronous", "examine", "history_of", "migrate"]

Synchronous: TypeAlias = Literal["local", "remote"]

_OLDEST: Final = 14

_EXAMINE: Final = """
SELECT current_setting('server_version_num')::int / 10000 AS server,
    current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby,
    current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('synchronous_standby_names') AS standbys,
    (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS unbound,
    current_setting('transaction_isolation') AS isolation,
    to_regclass(format('%I.migrations', $1::text)) IS NOT NULL AS ours,
    to_regclass(format('%I.threads', $1::text)) IS NOT NULL AS threads,
    (SELECT relforcerowsecurity FROM pg_class
     WHERE oid = to_regclass(format('%I.threads', $1::text))) AS secured
"""

# Of a server that has just become the primary, the last checkpoint may be of the timeline before.
_HISTORY: Final = """
SELECT system_identifier AS cluster,
    ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint AS timeline
FROM pg_control_system()
"""


@dataclass(frozen=True, slots=True)
class Demands:
    """What a database has to be like.

    Attributes:
        schema: where our tables are.
        synchronous: "local": what is acknowledged is on the server's disk; "remote": on a
            standby's, too.
        allow_weaker: use it even if it keeps less than that.
        row_security: the database itself keeps tenants apart.
        patience: how long to wait for somebody else who migrates, as a setting.
    """

    schema: str
    synchronous: Synchronous
    allow_weaker: bool
    row_security: bool
    patience: str


async def examine(connection: Connection, demands: Demands, where: str) -> bool:
    """Whether a database is ready; it is not if something is still to be migrated.

    Raises:
        StorageError: it cannot be used, or keeps less than is demanded.
        UnknownTypeError: it was written by a newer version.
    """
    found = await connection.fetchrow(_EXAMINE, demands.schema)
    assert found is not None  # noqa: S101 - for type checkers
    if found["server"] < _OLDEST:
        raise StorageError(
            f"{where} is PostgreSQL {found['server']}; version {_OLDEST} or newer is needed."
        )
    if found["encoding"] != "UTF8":
        raise StorageError(
            f"{where} is encoded as {found['encoding']}, which cannot hold every text. Make a "
            f"database with ENCODING 'UTF8'."
        )
    if found["standby"]:
        raise StorageError(
            f"{where} is a standby, which cannot be written to. Connect to the primary, for "
            f"instance with target_session_attrs=primary."
        )
    if found["isolation"] != "read committed":
        raise StorageError(
            f"{where} begins transactions as {found['isolation']}, under which writers at work at "
            f"the same time would be refused: set default_transaction_isolation to 'read "
            f"committed' for this role."
        )
    if not demands.allow_weaker:
        _refuse_weaker(found, demands, where)
    if not found["ours"]:
        if found["threads"]:
            raise StorageError(
                f"Schema {demands.schema!r} of {where} has tables of something else. Choose "
                f"another one with schema=."
            )
        return False
    version = await _version(connection, demands, where)
    if found["secured"] and not demands.row_security:
        raise StorageError(
            f"Schema {demands.schema!r} of {where} has row level security, without which nothing "
            f"can be read. Give row_security=True."
        )
    return version == len(migrations(demands.schema)) and found["secured"] >= demands.row_security


async def history_of(connection: Connection) -> tuple[int, int] | None:
    """Which cluster a primary belongs to, and its timeline; ``None`` where that is not told, as by
    some that only speak like PostgreSQL."""
    try:
        found = await connection.fetchrow(_HISTORY)
    except (
        asyncpg.FeatureNotSupportedError,
        asyncpg.InsufficientPrivilegeError,
        asyncpg.UndefinedFunctionError,
    ):
        return None
    assert found is not None  # noqa: S101 - for type checkers
    return found["cluster"], found["timeline"]


def _refuse_weaker(found: Any, demands: Demands, where: str) -> None:
    wrong = [f"{name} is off" for name in ("fsync", "full_page_writes") if found[name] == "off"]
    level = found["synchronous_commit"]
    if level == "off":
        wrong.append("synchronous_commit is off")
    elif demands.synchronous == "remote":
        if level not in ("on", "remote_apply"):
            wrong.append(f"synchronous_commit is {level}")
        if not found["standbys"]:
            wrong.append("synchronous_standby_names is empty")
    if wrong:
        raise StorageError(
            f"{where} cannot be used with synchronous={demands.synchronous!r}: "
            f"{' and '.join(wrong)}, so what it acknowledges could be lost. Change that, or accept "
            f"less with allow_weaker=True."
        )
    if demands.row_security and found["unbound"]:
        raise StorageError(
            f"{where} cannot be used with row_security=True: this role bypasses row level "
            f"security. Connect as one that is no superuser and has no BYPASSRLS, or accept that "
            f"with allow_weaker=True."
        )


async def _version(connection: Connection, demands: Demands, where: str) -> int:
    """The version of our tables.

    Raises:
        UnknownTypeError: this version does not know it.
    """
    query = f'SELECT coalesce(max(version), 0) FROM "{demands.schema}".migrations'  # noqa: S608 - a name that was checked
    version: int = await connection.fetchval(query)
    known = len(migrations(demands.schema))
    if not 1 <= version <= known:
        raise UnknownTypeError(
            f"Schema {demands.schema!r} of {where} has version {version}; this version reads up "
            f"to {known}. It was written by a newer one: upgrade."
        )
    return version


async def migrate(
    connection: Connection,
    demands: Demands,
    where: str,
    to: int | None = None,
    step: Callable[[int], None] = lambda version: None,
) -> None:
    """Bring our tables to the present version, in one transaction.

    Args:
        connection: where.
        demands: what is demanded.
        where: the database, for messages.
        to: stop at this version; for tests.
        step: is told of each version that is reached.

    Raises:
        UnknownTypeError: they were written by a newer version.
    """
    schema = demands.schema
    async with connection.transaction():
        await connection.execute(
            "SELECT set_config('lock_timeout', $1, true),"
            " pg_advisory_xact_lock(hashtextextended('durable_graph ' || $2, 0))",
            demands.patience,
            schema,
        )
        # Only now does nobody else migrate: whoever was faster has done some or all of it. That is
        # asked of the catalog itself: what a session knows of names may be of a moment ago.
        there = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n"
            " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'migrations')",
            schema,
        )
        version = await _version(connection, demands, where) if there else 0
        if version == 0 and not await connection.fetchval(
            # IF NOT EXISTS would want the right to make one, whether it exists or not.
            "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)",
            schema,
        ):
            await connection.execute(f'CREATE SCHEMA "{schema}"')
        wanted = migrations(schema)[version:to]
        for number, migration in enumerate(wanted, version + 1):
            await connection.execute(migration)
            await connection.execute(
                f'INSERT INTO "{schema}".migrations (version) VALUES ($1)',  # noqa: S608
                number,
            )
            step(number)
        if wanted:
            await connection.execute(functions(schema))
        if demands.row_security:
            await connection.execute(row_security(schema))
