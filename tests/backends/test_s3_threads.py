"""Listing threads on S3: looks at all of them, and only at what has changed since."""

from __future__ import annotations

import asyncio

import pytest

from durable_graph.errors import IntegrityError
from durable_graph.ports.backend import Process, Removal, ThreadQuery
from durable_graph.testing.contract_kit import Log, commit, process, results, write
from durable_graph_s3 import S3Backend
from durable_graph_s3.kept import Kept
from tests.backends.s3_kit import opened
from tests.services import aws


async def _listed(backend: S3Backend, limit: int = 100) -> tuple[list[str], int]:
    """The threads on all pages, and how many requests that took."""
    before = backend.bucket.service.requests
    query = ThreadQuery(limit=limit)
    names: list[str] = []
    for _ in range(100):
        page = await backend.threads(query)
        names += [thread.key.thread for thread in page.threads]
        if page.next is None:
            break
        query = ThreadQuery(limit=limit, after=page.next)
    return names, backend.bucket.service.requests - before


@pytest.mark.services
async def test_what_has_not_changed_is_not_read_again() -> None:
    """The first list reads each thread once, on however many pages; the next reads those that have
    changed, and what was removed is not there."""
    async with opened(await aws.fresh_bucket()) as backend, asyncio.timeout(50):
        logs = [Log(f"t{number:02}") for number in range(20)]
        for number, log in enumerate(logs):
            await write(backend, log, commit("c1"), at=100.0 - number)
        names, requests = await _listed(backend, limit=7)
        assert names == [log.key.thread for log in logs]
        assert requests == 20 + 3
        assert await _listed(backend) == (names, 1)
        await write(backend, logs[5], results(), at=200.0)
        await backend.remove(logs[6].key, Removal(everything=True))
        left = [name for name in names if name not in ("t05", "t06")]
        assert await _listed(backend) == (["t05", *left], 3)


@pytest.mark.services
async def test_a_damaged_thread_is_not_left_out_in_silence() -> None:
    """A list that cannot be whole is an error, not a shorter list."""
    async with opened(await aws.fresh_bucket()) as backend:
        await write(backend, Log(), commit("c1"))
        (head,) = await backend.bucket.list("heads/")
        await backend.bucket.put(head.key, b"damaged")
        with pytest.raises(IntegrityError):
            await backend.threads(ThreadQuery())


@pytest.mark.services
async def test_processes_that_are_silent_for_long_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a hundred leases nothing is told of a process, and its object is gone."""
    monkeypatch.setattr("durable_graph_s3.processes._LEAST", -1.0)
    async with opened(await aws.fresh_bucket()) as backend:
        await backend.beat(process("alive"))
        await backend.beat(Process("silent", process().identity, -1.0))
        assert [entry.process.id for entry in await backend.beat(None)] == ["alive"]
        assert len(await backend.bucket.list("processes/")) == 1


def test_what_is_kept_at_hand_has_a_limit() -> None:
    """What was used last stays; what is too large for the room is not kept at all."""
    kept = Kept(100)
    for name in "abcdefghij":
        kept.put(name, b"x" * 10)
    assert kept.get("a") is not None
    kept.put("k", b"x" * 12)
    assert kept.get("a") is not None
    assert kept.get("b") is None
    kept.put("large", b"x" * 13)
    assert kept.get("large") is None
