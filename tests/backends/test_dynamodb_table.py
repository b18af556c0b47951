"""Tables of DynamoDB's: found, made, refused, damaged; and savers on them."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from durable_graph import open_saver
from durable_graph.errors import ConfigError, IntegrityError, StorageError, UnknownTypeError
from durable_graph.ports.backend import Card, ThreadKey, ThreadQuery
from durable_graph.testing.contract_kit import Log, commit, expect_log, results, write
from durable_graph_aws import AwsOptions, Service
from durable_graph_dynamodb import DynamoDBBackend, DynamoDBSaver
from tests.backends.dynamodb_raw import RawDynamoDB
from tests.backends.kit import child, counting, result_of, thread
from tests.services import aws

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

WORKER = """
import asyncio, sys
from durable_graph_dynamodb import DynamoDBSaver
from tests.backends.kit import counting, thread

async def main():
    saver = DynamoDBSaver.from_conn_string(sys.argv[1], create=True)
    async for event in counting(saver, 30).astream({"items": ["begin"]}, thread("one")):
        print("step", flush=True)

asyncio.run(main())
"""


def backend(table: str, **options: Any) -> DynamoDBBackend:
    """A backend on a table."""
    return DynamoDBBackend(table, AwsOptions(**aws.options()), session=aws.session(), **options)


def url(table: str) -> str:
    """The URL of a table on the tests' server."""
    return f"dynamodb://{table}?region={aws.REGION}&endpoint={aws.endpoint()}"


async def test_a_missing_table_is_told() -> None:
    """Who does not ask for a table to be made is told how to have one."""
    made = backend(aws.fresh_name())
    with pytest.raises(StorageError, match="create=True"):
        await made.thread(ThreadKey("", "t"))
    await made.aclose()


async def test_twenty_make_a_table_at_once() -> None:
    """Whoever comes first makes it; all use it."""
    table = aws.fresh_name()
    made = [backend(table, create=True) for _ in range(20)]
    await asyncio.gather(*(write(one, Log(f"t{n}"), commit("c1")) for n, one in enumerate(made)))
    page = await made[0].threads(ThreadQuery())
    assert len(page.threads) == 20
    await asyncio.gather(*(one.aclose() for one in made))


@pytest.mark.parametrize("name", [None, "", "ab", "a b", "a/b", "x" * 256, "tä"])
def test_a_name_that_no_table_can_have_is_refused(name: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigError, match="3 to 255"):
        DynamoDBSaver(name)


async def test_a_table_of_something_else_is_refused() -> None:
    """One with another key, and one with the same key that holds other things."""
    service: Service[DynamoDBClient] = Service("dynamodb", AwsOptions(**aws.options()))
    other, full = aws.fresh_name(), aws.fresh_name()

    async def make(client: DynamoDBClient) -> None:
        await client.create_table(
            TableName=other,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        await client.create_table(
            TableName=full,
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
        await client.put_item(TableName=full, Item={"pk": {"S": "user 1"}, "sk": {"S": "order"}})

    await service.once(make, "Making tables")
    await service.aclose()
    for name, told in ((other, "its key"), (full, "something else")):
        made = backend(name, create=True)
        with pytest.raises(StorageError, match=told):
            await made.thread(ThreadKey("", "t"))
        await made.aclose()


async def test_a_later_layout_is_refused() -> None:
    """A table that a newer version has written says so, and is not touched."""
    table = aws.fresh_name()
    first = backend(table, create=True)
    await write(first, Log(), commit("c1"))
    await RawDynamoDB(table, AwsOptions(**aws.options())).put("format\0format\0layout", {"N": "2"})
    second = backend(table)
    with pytest.raises(UnknownTypeError, match="upgrade"):
        await second.thread(ThreadKey("", "thread"))
    await first.aclose()
    await second.aclose()


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("seq", {"N": "7"}),
        ("epoch", {"N": "1.5"}),
        ("link", {"B": b"other"}),
        ("head", {"S": "text"}),
        ("head", {"B": b"\x78\x9cbomb"}),
        ("card", {"L": [{"S": "list"}]}),
        ("card", {"B": b"[1]"}),
        ("minute", {"N": "5"}),
        ("life", {"BOOL": True}),
        ("head_at", {"S": "nothing"}),
    ],
)
async def test_a_damaged_thread_is_told(attribute: str, value: Any) -> None:
    """Whatever stands in a thread's item, it is what was written or an `IntegrityError`."""
    table, log = aws.fresh_name(), Log()
    made = backend(table, create=True)
    await write(made, log, commit("c1"))
    await made.label(log.key, Card(1, "ann"))
    raw = RawDynamoDB(table, AwsOptions(**aws.options()))
    (pk,) = {i["pk"]["S"] for i in await raw.items() if i["sk"]["S"] == "thread"}
    await raw.put(f"{pk}\0thread\0{attribute}", value)
    with pytest.raises(IntegrityError):
        await made.thread(log.key)
    with pytest.raises(IntegrityError):
        await made.threads(ThreadQuery())
    await made.aclose()


async def test_records_that_are_missing_are_told_to_be_damaged() -> None:
    """A hole in the log is no shorter log."""
    table, log = aws.fresh_name(), Log()
    made = backend(table, create=True)
    for number in range(3):
        await write(made, log, commit(f"c{number}"))
    raw = RawDynamoDB(table, AwsOptions(**aws.options()))
    (name,) = [n for n in await raw.pieces() if n.endswith("/r/00000000000000000002\0data")]
    await raw.overwrite(name, b"")
    found = await made.scan(log.key, ((1, 3),))
    assert [record.seq for record in found] == [1, 2, 3]
    assert [record.link == b"" for record in found] == [False, True, False]
    await made.aclose()


async def test_a_saver_is_opened_by_url() -> None:
    """The URL names the table, and how it is reached."""
    table = aws.fresh_name()
    saver = open_saver(url(table), create=True, session=aws.session(), **aws.CREDENTIALS)
    assert isinstance(saver, DynamoDBSaver)
    graph = counting(saver, 3)
    assert await graph.ainvoke({"items": ["begin"]}, thread("t")) == result_of(3)
    assert repr(saver.backend) == f"<DynamoDBBackend {table!r}>"
    await saver.aclose()


async def test_a_client_of_ones_own_stays_open() -> None:
    """A saver on somebody's client uses it and does not close it."""
    async with aws.session().create_client(
        "dynamodb",
        endpoint_url=aws.endpoint(),
        region_name=aws.REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    ) as client:
        made = DynamoDBBackend(aws.fresh_name(), create=True, client=client)
        log = Log()
        await write(made, log, commit("c1"), results())
        await expect_log(made, log)
        await made.aclose()
        assert "TableNames" in await client.list_tables()


async def test_a_killed_worker_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers, one of which is killed: the other goes on at once, and nothing is lost or done
    twice, since on one host a dead process is known to be dead."""
    for name, value in (("ACCESS_KEY_ID", "testing"), ("SECRET_ACCESS_KEY", "testing")):
        monkeypatch.setenv(f"AWS_{name}", value)
    address = url(aws.fresh_name())
    with child(WORKER, address) as worker:
        for _ in range(5):
            worker.expect("step")
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait(30)
    saver = DynamoDBSaver.from_conn_string(address, session=aws.session())
    graph = counting(saver, 30)
    before = await graph.aget_state(thread("one"))
    assert 4 <= len(before.values["items"]) < 30
    assert await graph.ainvoke(None, thread("one")) == result_of(30)
    await saver.aclose()
