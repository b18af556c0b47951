"""How services of AWS are asked: connections per loop, and errors that say what has happened."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from durable_graph.errors import (
    ConfigError,
    OutcomeUnknownError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
)
from durable_graph.ports.shielded import to_its_end
from durable_graph.testing.clock import FakeClock
from durable_graph_aws import (
    AwsOptions,
    NothingDoneError,
    Service,
    options_of,
    together,
)
from tests.services import aws
from tests.services.wire import Cut, Hold, Wire, refusal, wire

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

pytestmark = pytest.mark.services


@pytest.fixture
async def line() -> AsyncIterator[Wire]:
    """A wire to the service."""
    async with wire(aws.endpoint()) as made:
        yield made


def service(line: Wire | None = None, **options: Any) -> Service[DynamoDBClient]:
    """DynamoDB, over a wire; what it waits for passes at once."""
    where = aws.options() if line is None else {**aws.options(), "endpoint_url": line.endpoint}
    return Service("dynamodb", AwsOptions.of({**where, **options}), clock=FakeClock(jump=True))


async def tables(client: DynamoDBClient) -> list[str]:
    """Something to ask."""
    return (await client.list_tables())["TableNames"]


async def test_what_is_refused_because_of_load_is_asked_again(line: Wire) -> None:
    """A throttled request is tried again until it is let through, also one that writes."""
    asked = service(line)
    line.times(3, "ListTables", refusal("ThrottlingException"))
    assert isinstance(await asked.once(tables, "Listing"), list)
    assert len(line.calls) == 4
    assert (asked.requests, asked.retries) == (4, 3)
    await asked.aclose()


async def test_what_stays_busy_is_told_after_a_time(line: Wire) -> None:
    """A service that is busy for `busy_timeout` seconds is an error, and nothing was written."""
    asked = service(line, busy_timeout=5.0)
    line.times(1000, "ListTables", refusal("ProvisionedThroughputExceededException"))
    with pytest.raises(StorageBusyError, match="busy_timeout"):
        await asked.once(tables, "Listing")
    assert 5 < len(line.calls) < 50
    await asked.aclose()


@pytest.mark.parametrize(
    "fault",
    [
        refusal("InternalServerError", 500),
        refusal("InternalServerError", 503),
        Cut(),
        Cut(after=True),
    ],
    ids=["500", "503", "cut before", "cut after"],
)
async def test_a_write_without_an_answer_is_not_repeated(line: Wire, fault: Any) -> None:
    """What may have happened is not asked again, and the error says that it is not known."""
    asked = service(line)
    line.once("ListTables", fault)
    with pytest.raises(OutcomeUnknownError, match="Listing"):
        await asked.once(tables, "Listing")
    assert len(line.calls) == 1
    line.once("ListTables", fault)
    assert isinstance(await asked.again(tables, "Listing"), list)
    assert len(line.calls) == 3
    await asked.aclose()


async def test_an_answer_that_does_not_come_is_given_up(line: Wire) -> None:
    """After `read_timeout` seconds of silence it is not known what became of a write."""
    asked = service(line, read_timeout=0.2)
    line.once("ListTables", Hold(asyncio.Event(), after=True))
    with pytest.raises(OutcomeUnknownError):
        await asked.once(tables, "Listing")
    await asked.aclose()


async def test_a_refusal_says_that_nothing_was_written(line: Wire) -> None:
    """Who is not allowed to is told at once."""
    asked = service(line)
    line.once("ListTables", refusal("AccessDeniedException"))
    with pytest.raises(StorageError, match=r"nothing was written.*AccessDenied"):
        await asked.once(tables, "Listing")
    assert len(line.calls) == 1
    await asked.aclose()


async def test_a_service_that_is_not_there_is_told() -> None:
    """Where nobody listens, nothing was written, also of a write."""
    async with wire(aws.endpoint()) as gone:
        asked = service(gone)
    with pytest.raises(StorageBusyError, match="cannot be reached"):
        await asked.once(tables, "Listing")
    assert asked.requests == 3
    await asked.aclose()


async def test_what_has_done_nothing_can_say_so() -> None:
    """A request that finds itself in another's way is asked again; its own errors pass."""
    asked = service()
    left = [NothingDoneError("in the way"), LookupError("mine")]

    async def work(client: DynamoDBClient) -> None:
        raise left.pop(0)

    with pytest.raises(LookupError, match="mine"):
        await asked.once(work, "Working")
    assert not left
    await asked.aclose()


async def test_of_several_that_failed_the_unknown_one_is_told() -> None:
    """That nothing was written is told only where it is true of each of them."""
    told = [StorageBusyError("nothing was written"), OutcomeUnknownError("nobody knows")]

    async def work(error: StorageError) -> None:
        raise error

    with pytest.raises(OutcomeUnknownError):
        await together(work, told)
    with pytest.raises(StorageBusyError):
        await together(work, told[:1] * 2)


async def test_a_cancelled_write_is_made_to_its_end(line: Wire) -> None:
    """Who is cancelled is told when what was sent is over."""
    asked = service(line)
    held = asyncio.Event()
    line.once("ListTables", Hold(held))
    call = asyncio.ensure_future(to_its_end(asked.once(tables, "Listing")))
    while not line.calls:
        await asyncio.sleep(0)
    call.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not call.done()
    held.set()
    await asyncio.wait([call])
    assert call.cancelled()
    await asked.aclose()


async def test_closing_waits_for_what_is_under_way(line: Wire) -> None:
    """Connections are closed once nobody waits for an answer; then nothing is asked any more."""
    asked = service(line)
    held = asyncio.Event()
    line.once("ListTables", Hold(held))
    call = asyncio.ensure_future(asked.again(tables, "Listing"))
    while not line.calls:
        await asyncio.sleep(0)
    closing = asyncio.ensure_future(asked.aclose())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not closing.done()
    held.set()
    assert isinstance(await call, list)
    await closing
    with pytest.raises(StorageClosedError):
        await asked.again(tables, "Listing")
    await asked.aclose()


def test_each_loop_has_connections_of_its_own() -> None:
    """They are closed when their loop ends, or by whoever closes from another loop."""
    asked = service()
    for _ in range(2):  # the loop of `run` closes what it has opened, or warnings tell
        asyncio.run(asked.again(tables, "Listing"))
    gc.collect()
    ready, done = threading.Event(), threading.Event()

    async def beside() -> None:
        await asked.again(tables, "Listing")
        ready.set()
        while not done.is_set():
            await asyncio.sleep(0.001)

    async def close() -> int:
        await asked.again(tables, "Listing")
        count = asked.loops
        await asked.aclose()
        return count

    thread = threading.Thread(target=asyncio.run, args=(beside(),))
    thread.start()
    assert ready.wait(30)
    assert asyncio.run(close()) == 2
    done.set()
    thread.join(30)
    assert asked.loops == 0
    gc.collect()


async def test_a_client_passed_in_is_used_and_stays_open() -> None:
    """It belongs to its loop: another one is refused."""
    async with _client() as client:
        asked: Service[DynamoDBClient] = Service("dynamodb", AwsOptions(), client=client)
        assert isinstance(await asked.again(tables, "Listing"), list)
        with pytest.raises(ConfigError, match="one event loop"):
            await asyncio.to_thread(asyncio.run, asked.again(tables, "Listing"))
        await asked.aclose()
        assert "TableNames" in await client.list_tables()


def _client() -> Any:
    from aiobotocore.session import get_session

    return get_session().create_client(
        "dynamodb",
        endpoint_url=aws.endpoint(),
        region_name=aws.REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


async def test_a_missing_region_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a region nothing can be reached; the error says how to give one."""
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    asked: Service[DynamoDBClient] = Service("dynamodb", AwsOptions())
    for _ in range(2):
        with pytest.raises(ConfigError, match="AWS_DEFAULT_REGION"):
            await asked.again(tables, "Listing")
    await asked.aclose()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"read_timeout": "1"}, "read_timeout"),
        ({"busy_timeout": float("nan")}, "busy_timeout"),
        ({"connections": 0}, "connections"),
        ({"access_key_id": "a"}, "together"),
        ({"endpoint_url": "localhost:1"}, "http://"),
        ({"endpoint_url": "http://localhost:99999"}, "http://"),
        ({"endpoint_url": "http://"}, "http://"),
        ({"reigon": "x"}, "'reigon'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    """Each says what it should be."""
    with pytest.raises(ConfigError, match=told):
        AwsOptions.of(options)


def test_options_do_not_show_keys() -> None:
    """What is printed has no credentials in it."""
    shown = repr(AwsOptions(region="r", access_key_id="AKIA", secret_access_key="hidden"))
    assert shown == "AwsOptions(region='r')"


def test_a_url_names_a_thing_and_options() -> None:
    """What follows the question mark are options, by the names that they have as arguments."""
    name, options = options_of(
        "s3://bucket/a%20b/?region=r&endpoint=http://h:1&read_timeout=2&connections=3&x=y",
        form="s3://bucket",
        extra=("x",),
    )
    assert name == "bucket/a b"
    assert options == {
        "region": "r",
        "endpoint_url": "http://h:1",
        "read_timeout": 2.0,
        "connections": 3,
        "x": "y",
    }


def test_what_is_no_url_is_refused() -> None:
    """Such as a client, which has a place of its own."""
    wrong: Any = object()
    with pytest.raises(ConfigError, match="taken as client="):
        options_of(wrong, form="s3://bucket/prefix")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://", "looks like s3://bucket"),
        ("s3://key:secret@bucket", "environment"),
        ("s3://key:sec/ret@bucket", "environment"),
        ("s3://bucket?acces=1", "'acces'"),
        ("s3://bucket?read_timeout=soon", "no number"),
        ("s3://bucket?access_key_id=1", "no option"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str, told: str) -> None:
    """Each message says what a URL looks like, or which options there are."""
    with pytest.raises(ConfigError, match=told):
        options_of(url, form="s3://bucket/prefix")
