"""The bytes in the items of a table of DynamoDB's, past the backend."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from durable_graph_aws import AwsOptions, Service

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

__all__ = ["RawDynamoDB"]

# Position, head and card; records, large values, and their parts.
_ATTRIBUTES: Final = ("link", "head", "card", "data")
_KEPT: Final = ("/r/", "/d/", "/c/", "/h/")


class RawDynamoDB:
    """Pieces are the attributes of items.

    Args:
        table: the table's name.
        options: how the server is reached.
    """

    def __init__(self, table: str, options: AwsOptions) -> None:
        self._table, self._options = table, options

    async def pieces(self) -> Mapping[str, bytes]:
        """By partition key, sort key and attribute."""
        return {
            "\0".join((item["pk"]["S"], item["sk"]["S"], name)): bytes(item[name]["B"])
            for item in await self.items()
            if item["sk"]["S"] == "thread" or any(of in item["sk"]["S"] for of in _KEPT)
            for name in _ATTRIBUTES
            if name in item
        }

    async def items(self) -> list[Any]:
        """All that is in the table."""

        async def scan(client: DynamoDBClient) -> list[Any]:
            pages = client.get_paginator("scan").paginate(TableName=self._table)
            return [item async for page in pages for item in page["Items"]]

        async with aclosing(self._service()) as service:
            return await service.again(scan, "Scanning")

    async def overwrite(self, name: str, data: bytes) -> None:
        """Put other bytes into an attribute."""
        await self.put(name, {"B": data})

    async def put(self, name: str, value: Any) -> None:
        """Put any other value into an attribute."""
        pk, sk, attribute = name.split("\0")

        async def update(client: DynamoDBClient) -> None:
            await client.update_item(
                TableName=self._table,
                Key={"pk": {"S": pk}, "sk": {"S": sk}},
                UpdateExpression="SET #name = :value",
                ExpressionAttributeNames={"#name": attribute},
                ExpressionAttributeValues={":value": value},
            )

        async with aclosing(self._service()) as service:
            await service.again(update, "Damaging")

    def _service(self) -> Service[DynamoDBClient]:
        return Service("dynamodb", self._options)
