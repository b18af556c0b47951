"""The store on a table of DynamoDB's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from durable_graph.encryption import Encryption
from durable_graph.ports.clock import Chance, Clock, SystemChance, SystemClock
from durable_graph.store import IndexConfig, ItemStore, TTLConfig
from durable_graph_aws import AwsOptions, Service, options_of
from durable_graph_dynamodb.changes import Changes
from durable_graph_dynamodb.collecting import Collector
from durable_graph_dynamodb.items import DynamoDBItems
from durable_graph_dynamodb.saver import FORM
from durable_graph_dynamodb.table import Table

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from types_aiobotocore_dynamodb import DynamoDBClient

__all__ = ["DynamoDBStore", "open_store"]


class DynamoDBStore(ItemStore):
    """Keeps items in a table of DynamoDB's, which may be that of a `DynamoDBSaver`.

    The table is looked for on first use. Any number of processes on any number of hosts may use
    it at once. Values may be of any size.

    Its limits: a batch puts 100 items at most, or 98 if their values have more than 700 KB
    together. While a batch is being written, a search may see a part of it. A search reads the
    keys and times of all that is beneath its prefix, which DynamoDB charges for as if it were
    read whole; so give namespaces that are searched a first word of their own, such as a user's.
    All beneath one first word is in one partition, of which DynamoDB takes some 1000 writes a
    second. What has expired is removed by puts that expire, too, beneath the same first word, and
    by `asweep_ttl`.

    Args:
        table: its name.
        create: make the table if it does not exist: partition key pk and sort key sk, both
            strings, billed by request.
        client: an aiobotocore client of your own. It belongs to one event loop, and so does this
            store then; it is not closed.
        session: an aiobotocore session of your own, from which clients are made.
        index: how items are searched by meaning; without one, they are not.
        ttl: how long items live where a call does not say; without it, for ever.
        clock: dates the items.
        chance: makes their versions.
        encryption: how values are encrypted; ``None`` if they are not.
        options: how DynamoDB is reached, as for `DynamoDBSaver`.

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
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
        encryption: Encryption | None = None,
        **options: Any,
    ) -> None:
        service: Service[DynamoDBClient] = Service(
            "dynamodb", AwsOptions.of(options), client=client, session=session
        )
        # The clock of items may be any; what waits for the service, or for others, waits by ours.
        waiting = SystemClock()
        self._table = Table(table, service, create=create, clock=waiting)
        changes = Changes(self._table, waiting)
        items = DynamoDBItems(
            self._table, changes, Collector(self._table, changes, waiting), SystemChance()
        )
        super().__init__(
            items, index=index, ttl=ttl, clock=clock, chance=chance, encryption=encryption
        )

    def __repr__(self) -> str:
        return f"<DynamoDBStore {self._table.name!r}>"

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """The store that a URL names, such as ``dynamodb://table?region=eu-central-1``.

        Raises:
            ConfigError: it names no table, or has an option that there is not.
        """
        table, found = options_of(conn_string, form=FORM)
        return cls(table, **{**found, **options})


def open_store(url: str, **options: Any) -> DynamoDBStore:
    """The store for ``dynamodb://table?region=...&endpoint=...``.

    Raises:
        ConfigError: the URL names no table, or has an option that there is not.
    """
    return DynamoDBStore.from_conn_string(url, **options)
