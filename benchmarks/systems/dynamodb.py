"""DynamoDB, as moto imitates it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.systems.imitated import STEPS, about, client
from benchmarks.systems.kind import Row, System, Write
from durable_graph_dynamodb import DynamoDBSaver
from tests.services import aws

__all__ = ["start"]


def start() -> System:
    """The server of the tests."""
    why = "it has no saver of its own for DynamoDB"
    return System("DynamoDB", about(), _ours, why, _bare, STEPS)


@asynccontextmanager
async def _ours() -> AsyncIterator[Any]:
    table = aws.fresh_name()
    async with DynamoDBSaver(table, create=True, session=aws.session(), **aws.options()) as saver:
        yield saver


@asynccontextmanager
async def _bare() -> AsyncIterator[Write]:
    table = aws.fresh_name()
    async with client("dynamodb") as dynamodb:
        await dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "thread", "KeyType": "HASH"},
                {"AttributeName": "number", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "thread", "AttributeType": "S"},
                {"AttributeName": "number", "AttributeType": "N"},
            ],
        )

        async def write(row: Row) -> None:
            item = {
                "thread": {"S": row.thread},
                "number": {"N": str(row.number)},
                "data": {"B": row.data},
            }
            await dynamodb.put_item(TableName=table, Item=item)

        yield write
