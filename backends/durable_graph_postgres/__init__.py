"""Threads in a PostgreSQL database: `PostgresSaver`; and memory: `PostgresStore`.

**What is where.** One schema holds it all, by default ``durable_graph``; the files in
``migrations`` beside this one say what is in it. It is made, and brought to the present version,
on first use; several that do so at once wait for each other.

**Poolers.** Nothing is kept in a session: no settings, no locks, no notifications. So a pooler that
gives each transaction another session will do; unless it knows about prepared statements, give
``prepared=False``.

**Row level security.** With ``row_security=True`` the database itself keeps tenants apart: each
transaction says for which tenant it is, and policies show it no other's rows. A role that is to
have one tenant, whatever its sessions say, is bound to it by an owner of the tables::

    SELECT durable_graph.bind_role('acme_app', 'acme');

It can then read, change and block nothing of other tenants, and does not learn which there are.
Like every role, it can still keep the server busy, and hold locks for as long as it is let.
"""

from durable_graph.ports.drivers import check_driver

try:
    from durable_graph_postgres.backend import PostgresBackend
    from durable_graph_postgres.saver import PostgresSaver, open_saver
    from durable_graph_postgres.store import PostgresStore, open_store
except ModuleNotFoundError:
    check_driver("asyncpg", __name__)
    raise

__all__ = ["PostgresBackend", "PostgresSaver", "PostgresStore", "open_saver", "open_store"]
