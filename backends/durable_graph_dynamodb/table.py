"""One table: found or made, checked, and asked."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from durable_graph.errors import ConfigError, StorageError, UnknownTypeError
from durable_graph.ports.clock import Clock
from durable_graph_aws import NothingDoneError, Service, code_of, together
from durable_graph_dynamodb.keys import FORMAT
from durable_graph_dynamodb.requests import Delete, Put, Request, Update, Where
from durable_graph_dynamodb.values import Item, decode, encode

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_dynamodb.type_defs import TableDescriptionTypeDef

__all__ = ["LAYOUT", "Table"]

LAYOUT: Final = 1
"""What items look like; a table of a later one is refused."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_KEYS: Final = [("pk", "HASH", "S"), ("sk", "RANGE", "S")]
_MADE_WITHIN: Final = 60.0
_POLL: Final = 0.1
# What DynamoDB takes in one request.
_READS: Final = 100
_WRITES: Final = 25
_WRITE_BYTES: Final = 700_000
_AT_ONCE: Final = 4

_REFUSED: Final = "ConditionalCheckFailed"
# Reasons for which a transaction was cancelled though its conditions may hold.
_IN_THE_WAY: Final = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "ThrottlingError",
        "TransactionConflict",
    }
)


class Table:
    """A table of DynamoDB's that holds threads or what is remembered across them.

    Args:
        name: its name.
        service: who is asked.
        create: whether it is made if it does not exist, billed by request.
        clock: for waiting until it has been made.
    """

    def __init__(
        self, name: str, service: Service[DynamoDBClient], *, create: bool, clock: Clock
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(
                f"A table's name has 3 to 255 letters, digits, '.', '-' and '_'; this one is "
                f"{name!r}."
            )
        self.name = name
        self.service = service
        self._create = create
        self._clock = clock
        self._is_open = False

    # -- opening -----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Find the table, or make it, and see that it is one of ours; does so once.

        Raises:
            StorageError: there is none, or it is one of something else.
            UnknownTypeError: it was written by a later version.
        """
        if self._is_open:
            return
        found = await self._describe()
        if found is None:
            if not self._create:
                raise StorageError(
                    f"There is no table {self.name!r}. Say create=True to have it made on first "
                    f"use, or make it: partition key pk and sort key sk, both strings."
                )
            await self._make()
        await self._until_active()
        await self._claim()
        self._is_open = True

    async def _describe(self) -> TableDescriptionTypeDef | None:
        async def ask(client: DynamoDBClient) -> TableDescriptionTypeDef | None:
            try:
                return (await client.describe_table(TableName=self.name))["Table"]
            except ClientError as error:
                if code_of(error) != "ResourceNotFoundException":
                    raise
                return None

        return await self.service.again(ask, f"Looking for table {self.name!r}")

    async def _make(self) -> None:
        async def ask(client: DynamoDBClient) -> None:
            try:
                await client.create_table(
                    TableName=self.name,
                    KeySchema=[
                        {"AttributeName": "pk", "KeyType": "HASH"},
                        {"AttributeName": "sk", "KeyType": "RANGE"},
                    ],
                    AttributeDefinitions=[
                        {"AttributeName": "pk", "AttributeType": "S"},
                        {"AttributeName": "sk", "AttributeType": "S"},
                    ],
                    BillingMode="PAY_PER_REQUEST",
                )
            except ClientError as error:
                if code_of(error) != "ResourceInUseException":  # somebody else is making it
                    raise

        await self.service.again(ask, f"Making table {self.name!r}")

    async def _until_active(self) -> None:
        deadline = self._clock.monotonic() + _MADE_WITHIN
        while True:
            found = await self._describe()
            if found is not None and found["TableStatus"] in ("ACTIVE", "UPDATING"):
                break
            if self._clock.monotonic() > deadline:
                raise StorageError(f"Table {self.name!r} was not ready within {_MADE_WITHIN:g} s.")
            await self._clock.sleep(_POLL)
        types = {d["AttributeName"]: d["AttributeType"] for d in found["AttributeDefinitions"]}
        keys = [
            (key["AttributeName"], key["KeyType"], types.get(key["AttributeName"]))
            for key in found["KeySchema"]
        ]
        if keys != _KEYS:
            raise StorageError(
                f"Table {self.name!r} is one of something else: its key is not the partition key "
                f"pk and the sort key sk, both strings. Use another table."
            )

    async def _claim(self) -> None:
        """See that the table is ours, or that it is empty and becomes so."""
        found = await self.get(FORMAT, FORMAT)
        if found is None:
            if not await self._is_empty():
                raise StorageError(f"Table {self.name!r} holds something else. Use another table.")
            first = Put({"pk": FORMAT, "sk": FORMAT, "layout": LAYOUT}, Where(absent=("pk",)))
            await self.write(first, f"Beginning table {self.name!r}")
            found = await self.get(FORMAT, FORMAT)
        layout = (found or {}).get("layout")
        if layout != LAYOUT:
            raise UnknownTypeError(
                f"Table {self.name!r} has layout {layout}; this version reads {LAYOUT}. It was "
                f"written by a newer one: upgrade."
            )

    async def _is_empty(self) -> bool:
        async def ask(client: DynamoDBClient) -> bool:
            found = await client.scan(TableName=self.name, Limit=1, ConsistentRead=True)
            # Somebody else may have begun it just now.
            return all(item["pk"] == {"S": FORMAT} for item in found["Items"])

        return await self.service.again(ask, f"Looking into table {self.name!r}")

    # -- reading -----------------------------------------------------------------------------------

    async def get(self, pk: str, sk: str, only: Sequence[str] = ()) -> Item | None:
        """One item as it is now, or some attributes of it; ``None`` if it is not there."""
        options = _only(only)

        async def ask(client: DynamoDBClient) -> Item | None:
            key = encode({"pk": pk, "sk": sk})
            found = await client.get_item(
                TableName=self.name, Key=key, ConsistentRead=True, **options
            )
            return decode(found["Item"]) if "Item" in found else None

        return await self.service.again(ask, f"Reading from table {self.name!r}")

    async def get_all(
        self, keys: Sequence[tuple[str, str]], *, only: Sequence[str] = ()
    ) -> dict[tuple[str, str], Item]:
        """Items by key as they are now, or some attributes of them; those that are there."""
        found: dict[tuple[str, str], Item] = {}
        distinct = list(dict.fromkeys(keys))
        pieces = [distinct[n : n + _READS] for n in range(0, len(distinct), _READS)]

        async def get(piece: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Item]:
            return await self._get_some(piece, _only(only))

        for answer in await together(get, pieces, at_once=_AT_ONCE):
            found |= answer
        return found

    async def _get_some(
        self, keys: Sequence[tuple[str, str]], options: Mapping[str, Any]
    ) -> dict[tuple[str, str], Item]:
        found: dict[tuple[str, str], Item] = {}
        left: Any = {
            self.name: {
                "Keys": [encode({"pk": pk, "sk": sk}) for pk, sk in keys],
                "ConsistentRead": True,
                **options,
            }
        }

        async def ask(client: DynamoDBClient) -> None:
            nonlocal left
            while left:
                answer = await client.batch_get_item(RequestItems=left)
                got = [decode(item) for item in answer["Responses"].get(self.name, [])]
                found.update({(item["pk"], item["sk"]): item for item in got})
                left = answer.get("UnprocessedKeys")
                if left and not got:
                    raise NothingDoneError("DynamoDB has taken none of the keys.")

        await self.service.again(ask, f"Reading from table {self.name!r}")
        return found

    async def range(
        self,
        pk: str,
        first: str,
        last: str,
        *,
        limit: int | None = None,
        backwards: bool = False,
        only: Sequence[str] = (),
    ) -> AsyncGenerator[list[Item], None]:
        """Items of a partition in the order of their sort keys, as they are now, page by page.

        Args:
            pk: the partition.
            first: the lowest sort key.
            last: the highest.
            limit: how many there may be on a page; without it, as many as go into 1 MB.
            backwards: the highest first.
            only: the attributes that are wanted, if not all.
        """
        options: dict[str, Any] = {**_only(only), "ScanIndexForward": not backwards}
        if limit is not None:
            options["Limit"] = limit
        after: Any = None
        while True:
            items, after = await self._page(pk, first, last, options)
            options["ExclusiveStartKey"] = after
            if items:
                yield items
            if not after:
                return

    async def _page(
        self, pk: str, first: str, last: str, options: dict[str, Any]
    ) -> tuple[list[Item], Any]:
        async def ask(client: DynamoDBClient) -> tuple[list[Item], Any]:
            found = await client.query(
                TableName=self.name,
                ConsistentRead=True,
                KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
                ExpressionAttributeValues=encode({":pk": pk, ":first": first, ":last": last}),
                **options,
            )
            return [decode(item) for item in found["Items"]], found.get("LastEvaluatedKey")

        return await self.service.again(ask, f"Reading from table {self.name!r}")

    async def everything(self, pk: str, first: str, last: str) -> list[Item]:
        """All items of a range."""
        return [item async for page in self.range(pk, first, last) for item in page]

    # -- writing -----------------------------------------------------------------------------------

    async def write(
        self, request: Put | Delete | Update, what: str, *, repeatable: bool = True
    ) -> bool:
        """Change one item; ``False`` if it is not as it must be.

        Args:
            request: the change.
            what: what it is for, for messages.
            repeatable: whether it may be made more than once.
        """
        sent: dict[str, Any]
        ((verb, sent),) = request.to_aws(self.name).items()

        async def ask(client: DynamoDBClient) -> bool:
            calls: Any = {
                "Put": client.put_item,
                "Delete": client.delete_item,
                "Update": client.update_item,
            }
            try:
                await calls[verb](**sent)
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise
                return False
            return True

        service = self.service
        return await (service.again if repeatable else service.once)(ask, what)

    async def add(
        self, pk: str, sk: str, name: str, where: Where, sets: Mapping[str, Any] | None = None
    ) -> int | None:
        """Count an attribute up by one, or more than one if an answer is lost, and set others.

        Returns:
            The count; ``None`` if the item is not as it must be.
        """
        sent: Any = Update(pk, sk, sets or {}, where, {name: 1}).to_aws(self.name)["Update"]

        async def ask(client: DynamoDBClient) -> int | None:
            try:
                answer = await client.update_item(**sent, ReturnValues="UPDATED_NEW")
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise
                return None
            count: int = decode(answer["Attributes"])[name]
            return count

        return await self.service.again(ask, f"Counting in table {self.name!r}")

    async def transact(
        self, requests: Sequence[Request], what: str, *, repeatable: bool = False
    ) -> bool:
        """Make several changes, all or none; ``False``, and none, unless all is as it must be.

        Args:
            requests: the changes, of one item each.
            what: what they are for, for messages.
            repeatable: whether they may be made more than once.

        Raises:
            OutcomeUnknownError: all of them may have been made.
        """
        sent: Any = [request.to_aws(self.name) for request in requests]

        async def ask(client: DynamoDBClient) -> bool:
            try:
                await client.transact_write_items(TransactItems=sent)
            except ClientError as error:
                if code_of(error) != "TransactionCanceledException":
                    raise
                reasons = {why.get("Code", "None") for why in _reasons(error)}
                if _REFUSED in reasons:
                    return False
                if reasons & _IN_THE_WAY:
                    raise NothingDoneError(str(error)) from error
                raise
            return True

        service = self.service
        return await (service.again if repeatable else service.once)(ask, what)

    async def put_all(self, items: Iterable[Item]) -> None:
        """Store items, each by itself; there must be no two of one key."""
        await self._write_all({"PutRequest": {"Item": encode(item)}} for item in items)

    async def delete_all(self, keys: Iterable[tuple[str, str]]) -> None:
        """Delete items, each by itself, if they are there."""
        await self._write_all(
            {"DeleteRequest": {"Key": encode({"pk": pk, "sk": sk})}}
            for pk, sk in dict.fromkeys(keys)
        )

    async def _write_all(self, requests: Iterable[dict[str, Any]]) -> None:
        await together(self._write_some, _batches(requests), at_once=_AT_ONCE)

    async def _write_some(self, requests: list[dict[str, Any]]) -> None:
        left: Any = {self.name: requests}

        async def ask(client: DynamoDBClient) -> None:
            nonlocal left
            while left:
                answer = await client.batch_write_item(RequestItems=left)
                refused = answer.get("UnprocessedItems") or {}
                if len(refused.get(self.name, [])) == len(left[self.name]):
                    raise NothingDoneError("DynamoDB has taken none of the items.")
                left = refused

        await self.service.again(ask, f"Writing to table {self.name!r}")


def _only(names: Sequence[str]) -> dict[str, Any]:
    if not names:
        return {}
    return {
        "ProjectionExpression": ", ".join(f"#{name}" for name in names),
        "ExpressionAttributeNames": {f"#{name}": name for name in names},
    }


def _reasons(error: ClientError) -> list[dict[str, Any]]:
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])
    return reasons


def _batches(requests: Iterable[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for request in requests:
        item = request.get("PutRequest", {}).get("Item", {})
        weight = sum(len(value.get("B", b"")) for value in item.values())
        if batch and (len(batch) == _WRITES or size + weight > _WRITE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += weight
    if batch:
        yield batch
