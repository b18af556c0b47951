"""Fixtures for all tests: savers over every backend, and a watch for what a test leaves behind."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from _pytest.mark import ParameterSet

from durable_graph import InMemorySaver
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_postgres import PostgresSaver
from durable_graph_redis import RedisSaver
from durable_graph_sqlite import SqliteSaver
from tests.services import postgres, redis

SAVERS: dict[str, Callable[[Path], Saver]] = {
    "memory": lambda folder: InMemorySaver(),
    "postgres": lambda folder: PostgresSaver(postgres.dsn(), schema=postgres.emptied_schema()),
    "redis": lambda folder: RedisSaver(redis.url(), prefix=redis.fresh_prefix()),
    "sqlite": lambda folder: SqliteSaver(folder / "threads.db"),
}
SERVICES = {"postgres", "redis"}
"""Savers that need a server."""


def savers() -> list[ParameterSet]:
    """The names of all of them, as parameters of tests."""
    return [
        pytest.param(name, marks=[pytest.mark.services] if name in SERVICES else [])
        for name in SAVERS
    ]


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
