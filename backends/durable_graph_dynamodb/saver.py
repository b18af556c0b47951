"""The saver on a table of DynamoDB's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from durable_graph.encryption import Encryption
from durable_graph.ports.clock import Chance, Clock
from durable_graph.saver import Lease, Saver
from durable_graph_aws import AwsOptions, options_of
from durable_graph_dynamodb.backend import DynamoDBBackend

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from types_aiobotocore_dynamodb import DynamoDBClient

__all__ = ["FORM", "DynamoDBSaver", "open_saver"]

FORM = "dynamodb://table?region=eu-central-1"
"""What a URL looks like."""


class DynamoDBSaver(Saver):
    """Stores threads in a table of DynamoDB's.

    The table is looked for on first use. Any number of processes on any number of hosts may use
    it at once. Deleted threads are deleted; point-in-time recovery, if the table has it, keeps
    them for as long as it keeps anything.

    Args:
        table: its name.
        create: make the table if it does not exist: partition key pk and sort key sk, both
            strings, billed by request.
        client: an aiobotocore client of your own. It belongs to one event loop, and so does this
            saver then; it is not closed.
        session: an aiobotocore session of your own, from which clients are made.
        clock: where time comes from.
        chance: where ids come from.
        lease: how this process proves that it is alive. A process on another host is known to
            be dead once somebody has seen no sign of life of it for a lease.
        encryption: how what is stored is encrypted; ``None`` if it is not.
        max_value_bytes: how large one value may be; see `durable_graph.saver.Saver`.
        options: how DynamoDB is reached: region, endpoint_url, access_key_id, secret_access_key,
            session_token, connect_timeout, read_timeout, busy_timeout, connections; see
            `durable_graph_aws.AwsOptions`. What is not said is found as AWS's own tools find it.

    Raises:
        ConfigError: no table can have this name, or there is no such option.
    """

    def __init__(
        self,
        table: str,
        *,
        create: bool = False,
        client: DynamoDBClient | None = None,
        session: AioSession | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
        lease: Lease | None = None,
        encryption: Encryption | None = None,
        max_value_bytes: int | None = None,
        **options: Any,
    ) -> None:
        backend = DynamoDBBackend(
            table,
            AwsOptions.of(options),
            create=create,
            client=client,
            session=session,
            clock=clock,
            chance=chance,
        )
        super().__init__(
            backend,
            clock=clock,
            chance=chance,
            lease=lease,
            encryption=encryption,
            max_value_bytes=max_value_bytes,
        )

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """The saver that a URL names, such as ``dynamodb://table?region=eu-central-1``.

        Raises:
            ConfigError: it names no table, or has an option that there is not.
        """
        table, found = options_of(conn_string, form=FORM)
        return cls(table, **{**found, **options})


def open_saver(url: str, **options: Any) -> DynamoDBSaver:
    """The saver for ``dynamodb://table?region=...&endpoint=...``.

    Raises:
        ConfigError: the URL names no table, or has an option that there is not.
    """
    return DynamoDBSaver.from_conn_string(url, **options)
