"""Keys are changed while threads live on: old data stays readable without the old key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from durable_graph import StateGraph
from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.encryption.backend import EncryptedBackend
from durable_graph.errors import ConfigError, DecryptionError, StorageError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Card
from durable_graph.saver import Saver
from durable_graph.types import START
from tests.runtime.encryption.kit import KEY, OTHER, change, everything, found_in, named, opened
from tests.runtime.kit import Items, history

OLD = LocalKeys({"old": KEY})
BOTH = LocalKeys({"new": OTHER, "old": KEY})
NEW = LocalKeys({"new": OTHER})


async def threads(path: Path, *names: str) -> None:
    """Threads under the old key, each with an open question."""
    async with opened(path, Encryption(OLD)) as saver:
        for name in names:
            await everything(saver).ainvoke({"items": ["word-input"]}, named(name))


async def readable(saver: Saver, name: str) -> bool:
    """Whether a thread can be read, with all of its history."""
    try:
        snapshot = await everything(saver).aget_state(named(name))
    except DecryptionError:
        return False
    assert snapshot.interrupts
    assert not await saver.averify(name)
    return all(
        isinstance(each.values, dict) for each in await history(everything(saver), named(name))
    )


async def test_what_is_written_to_takes_the_new_key(tmp_path: Path) -> None:
    """The next write to a thread wraps its secret anew; nothing else is needed, and what nobody
    writes to keeps the old key."""
    path = tmp_path / "threads.db"
    await threads(path, "used", "left")
    async with opened(path, Encryption(BOTH)) as saver:
        await everything(saver).aupdate_state(named("used"), {"items": [1]}, as_node="begin")
    async with opened(path, Encryption(NEW)) as saver:
        found = await everything(saver).aget_state(named("used"))
        assert found.values["items"][-1] == 1
        assert not await readable(saver, "left")
    async with opened(path, Encryption(BOTH)) as saver:
        assert await readable(saver, "left")


async def test_all_threads_are_wrapped_anew(tmp_path: Path) -> None:
    """After `arotate_keys` the old key is not needed any more: states, history and questions are
    as they were, and so is the order of the threads. Doing it again does nothing."""
    path = tmp_path / "threads.db"
    names = [f"t{number:03}" for number in range(5)]
    await threads(path, *names)
    bodies = change(path, "SELECT thread_id, seq, body FROM records ORDER BY thread_id, seq")
    async with opened(path, Encryption(BOTH)) as saver:
        order = [(info.thread_id, info.updated_at) async for info in saver.alist_threads()]
        assert await saver.arotate_keys() == []
        writes = saver.statistics().writes
        assert await saver.arotate_keys() == []
        assert [(i.thread_id, i.updated_at) async for i in saver.alist_threads()] == order
    now = change(path, "SELECT thread_id, seq, body FROM records ORDER BY thread_id, seq")
    assert set(bodies) <= set(now)  # what was encrypted stays as it is
    assert len(now) == len(bodies) + len(names)
    assert writes == 0
    async with opened(path, Encryption(NEW)) as saver:
        for name in names:
            assert await readable(saver, name)
    async with opened(path, Encryption(OLD)) as saver:
        assert not await readable(saver, names[0])
    assert found_in(path) == []


async def test_some_threads_are_wrapped_anew(tmp_path: Path) -> None:
    """Only those that are named; one that does not exist needs no old key."""
    path = tmp_path / "threads.db"
    await threads(path, "a", "b")
    async with opened(path, Encryption(BOTH)) as saver:
        assert await saver.arotate_keys(["a", "none"]) == []
        with pytest.raises(ConfigError, match="several"):
            await saver.arotate_keys("a")
    async with opened(path, Encryption(NEW)) as saver:
        assert [await readable(saver, name) for name in ("a", "b")] == [True, False]
        with pytest.raises(DecryptionError):
            await saver.arotate_keys(["b"])


async def test_tenants_have_their_own_turn(tmp_path: Path) -> None:
    """The handle of a tenant rotates that tenant's threads."""
    path = tmp_path / "threads.db"
    async with opened(path, Encryption(OLD)) as saver:
        for each in (saver, saver.for_tenant("ann")):
            await everything(each).ainvoke({"items": ["x"]}, named("thread"))
    async with opened(path, Encryption(BOTH)) as saver:
        assert await saver.for_tenant("ann").arotate_keys() == []
    async with opened(path, Encryption(NEW)) as saver:
        assert await readable(saver.for_tenant("ann"), "thread")
        assert not await readable(saver, "thread")


async def test_a_running_thread_is_left_and_told(tmp_path: Path) -> None:
    """A thread that is being run is not disturbed: it is told, and takes the key by its own next
    write; so is one that was moved elsewhere, until it comes back."""
    path = tmp_path / "threads.db"
    here, go = asyncio.Event(), asyncio.Event()

    async def wait(state: Items) -> Items:
        here.set()
        await go.wait()
        return {"items": [2]}

    await threads(path, "thread")
    async with opened(path, Encryption(OLD)) as before, opened(path, Encryption(BOTH)) as saver:
        graph = StateGraph(Items).add_node("wait", wait).add_edge(START, "wait")
        run = asyncio.create_task(graph.compile(before).ainvoke({"items": [1]}, named("running")))
        await here.wait()
        away = Card(1, archived="the attic")
        await saver.backend.label(ThreadKey("", "away"), away)
        assert sorted(await saver.arotate_keys()) == ["away", "running"]
        go.set()
        assert (await run)["items"] == [1, 2]
        assert await saver.arotate_keys() == ["away"]
    async with opened(path, Encryption(NEW)) as saver:
        found = await graph.compile(saver).aget_state(named("running"))
        assert found.values["items"] == [1, 2]


async def test_two_processes_of_two_minds_lose_nothing(tmp_path: Path) -> None:
    """While some processes have the new key as the current one and others have not yet, each reads
    what the other has written, and neither is fenced by it."""
    path = tmp_path / "threads.db"
    graph = StateGraph(Items).add_node("n", lambda state: {"items": ["n"]}).add_edge(START, "n")
    later = LocalKeys({"new": OTHER, "old": KEY}, current="old")
    async with opened(path, Encryption(later)) as one, opened(path, Encryption(BOTH)) as other:
        for turn in range(6):
            runs = graph.compile((one, other)[turn % 2])
            result = await runs.ainvoke({"items": [turn]}, named("thread"))
        assert len(result["items"]) == 12
        assert not await one.averify("thread")
        assert await other.arotate_keys() == []
    async with opened(path, Encryption(NEW)) as saver:
        assert (await graph.compile(saver).aget_state(named("thread"))).values == result


class Service:
    """A key management service: it takes its time, and is sometimes not there."""

    def __init__(self) -> None:
        self.keys = LocalKeys({"k": KEY})
        self.current = "k"
        self.there = True
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.most = self._now = 0

    async def wrap(self, key_id: str, secret: bytes, context: Mapping[str, str]) -> bytes:
        return await self._answer("wrap", context, self.keys.wrap(key_id, secret, context))

    async def unwrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return await self._answer("unwrap", context, self.keys.unwrap(key_id, wrapped, context))

    async def _answer(self, what: str, context: Mapping[str, str], answer: Any) -> bytes:
        self.asked.append((what, context))
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            for _ in range(5):
                await asyncio.sleep(0)
            found: bytes = await answer
            if not self.there:
                raise TimeoutError("the service says: word-secret")
            return found
        finally:
            self._now -= 1


async def test_a_service_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A call that needs a key then fails with `StorageError`, having written nothing; what needs
    none goes on, and once the service is back everything does."""
    service = Service()
    graph = StateGraph(Items).add_node("n", lambda state: {"items": ["n"]}).add_edge(START, "n")
    async with opened(tmp_path / "threads.db", Encryption(service)) as saver:
        runs = graph.compile(saver)
        await runs.ainvoke({"items": [0]}, named("known"))
        service.there = False
        with pytest.raises(StorageError, match=r"could not wrap.*'new' \(TimeoutError\)") as told:
            await runs.ainvoke({"items": [0]}, named("new"))
        assert "word-secret" not in str(told.value)
        assert [info.thread_id async for info in saver.alist_threads()] == ["known"]
        assert (await runs.ainvoke({"items": [1]}, named("known")))["items"] == [0, "n", 1, "n"]
        service.there = True
        assert (await runs.ainvoke({"items": [0]}, named("new")))["items"] == [0, "n"]
    async with opened(tmp_path / "threads.db", Encryption(service)) as saver:
        service.there = False
        with pytest.raises(StorageError, match="could not unwrap"):
            await graph.compile(saver).aget_state(named("known"))
        service.there = True
        assert (await graph.compile(saver).aget_state(named("known"))).values["items"]
    assert all(
        context == {"for": "durable_graph thread", "tenant": "", "thread": context["thread"]}
        for _, context in service.asked
    )


async def test_many_threads_are_asked_for_at_once(tmp_path: Path) -> None:
    """Threads that are begun together wait for the service together, and none for the others."""
    service = Service()
    graph = StateGraph(Items).add_node("n", lambda state: {"items": ["n"]}).add_edge(START, "n")
    async with opened(tmp_path / "threads.db", Encryption(service)) as saver:
        runs = graph.compile(saver)
        calls = (runs.ainvoke({"items": [n]}, named(f"t{n}")) for n in range(30))
        results = await asyncio.gather(*calls)
        assert [result["items"] for result in results] == [[n, "n"] for n in range(30)]
        assert isinstance(saver.backend, EncryptedBackend)
    assert len(service.asked) == 30
    assert service.most > 10
