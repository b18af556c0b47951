"""Fixtures for all tests: savers over every backend, and a watch for what a test leaves behind."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from _pytest.mark import ParameterSet

from durable_graph import InMemorySaver
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_dynamodb import DynamoDBSaver
from durable_graph_postgres import PostgresSaver
from durable_graph_redis import RedisSaver
from durable_graph_s3 import S3Saver
from durable_graph_sqlite import SqliteSaver
from tests.services import aws, postgres, redis

SAVERS: dict[str, Callable[[Path], Saver]] = {
    "dynamodb": lambda folder: DynamoDBSaver(
        aws.fresh_name(), create=True, session=aws.session(), **aws.options()
    ),
    "memory": lambda folder: InMemorySaver(),
    "postgres": lambda folder: PostgresSaver(postgres.dsn(), schema=postgres.emptied_schema()),
    "redis": lambda folder: RedisSaver(redis.url(), prefix=redis.fresh_prefix()),
    "s3": lambda folder: S3Saver(
        f"s3://{aws.fresh_name()}/threads", create=True, session=aws.session(), **aws.options()
    ),
    "sqlite": lambda folder: SqliteSaver(folder / "threads.db"),
}
SERVICES = {"dynamodb", "postgres", "redis", "s3"}
"""Savers that need a server."""

SLOW = {"dynamodb", "s3"}
"""Savers whose server takes long for an answer. They are tried where storage has most to do."""

FOR_SLOW = (
    "runtime/calls/test_ownership.py",
    "runtime/persistence/test_answers.py",
    "runtime/persistence/test_archive.py",
    "runtime/persistence/test_tenants.py",
    "runtime/persistence/test_threads.py",
    "runtime/size/test_large_states.py",
)

FAR_FROM_STORAGE = (
    "runtime/building/",
    "runtime/inner/",
    "runtime/running/",
    "runtime/seeing/",
    "runtime/streaming/",
)
"""What is tried on servers in `make torture` only."""

LONG = (
    "[s3-blobs.many_large_values",
    "[dynamodb-blobs.many_large_values",
    "[dynamodb-cancel.cancelled_reads",
    "[dynamodb-hostile.tenant_and_thread",
    "[dynamodb-hostile.names_within",
    "many_threads_are_listed_in_pages_each_once[s3",
    "many_threads_are_listed_in_pages_each_once[dynamodb",
    "silence_is_not_waited_for[s3-Fate(wait=0.0, passes=10",
    "silence_is_not_waited_for[s3-Fate(wait=0.0, passes=0, rate=None, then='hold'",
    "silence_is_not_waited_for[dynamodb-Fate(wait=0.0, passes=10",
    "silence_is_not_waited_for[dynamodb-Fate(wait=0.0, passes=0, rate=None, then='hold'",
)
"""Single tests of 10 to 30 seconds each, which imitations of services spend on many requests, or
on silence: in `make torture` only."""

TORTURE = "DURABLE_GRAPH_TORTURE" in os.environ


def savers() -> list[ParameterSet]:
    """The names of all savers, as parameters of fixtures and tests."""
    return [
        pytest.param(name, marks=[pytest.mark.services] if name in SERVICES else [])
        for name in SAVERS
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would take a server minutes and say nothing new."""
    left_out = [item for item in items if _says_nothing_new(item)]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


def _says_nothing_new(item: pytest.Item) -> bool:
    if not TORTURE and any(words in item.name for words in LONG):
        return True
    params: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    on, path = {params.get("saver"), params.get("cold")}, item.path.as_posix()
    if not SLOW.isdisjoint(on):
        return not path.endswith(FOR_SLOW)
    far = any(folder in path for folder in FAR_FROM_STORAGE)
    return not SERVICES.isdisjoint(on) and far and not TORTURE


@pytest_asyncio.fixture(params=savers())
async def saver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Saver]:
    """A fresh saver over each backend."""
    made = SAVERS[request.param](tmp_path)
    yield made
    await made.aclose()


@pytest.fixture
def config() -> RunnableConfig:
    """A config that names a thread of the test's own."""
    return thread(f"thread-{next(_numbers)}")


@pytest_asyncio.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """Nothing may run on after a test: no task but the test's own."""
    before = asyncio.all_tasks()
    yield
    for _ in range(100):
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"Left running: {left}")


def thread(name: str, checkpoint: str | None = None) -> RunnableConfig:
    """The config that names a thread, or a checkpoint of it."""
    names = {"thread_id": name}
    if checkpoint is not None:
        names["checkpoint_id"] = checkpoint
    return {"configurable": names}


_numbers: Iterator[int] = itertools.count(1)
