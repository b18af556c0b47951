"""Threads as a whole: listed, deleted, copied, pruned, verified."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph import Command, interrupt
from durable_graph.errors import (
    CheckpointNotFoundError,
    EmptyInputError,
    FencedError,
    ThreadBusyError,
    ThreadNotFoundError,
)
from durable_graph.ports.backend import Removal
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import (
    Items,
    bytes_of,
    chain,
    collect,
    fan,
    history,
    identities,
    key_of,
    reached,
    says,
)


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


def named(name: str) -> RunnableConfig:
    return {"configurable": {"thread_id": name}}


async def test_threads_are_listed_with_the_one_that_changed_last_first(saver: Saver) -> None:
    """Each with status, step and last run, without its state being read."""
    graph = chain(("a", says("a")), saver=saver)
    for name in ("one", "two", "three", "one"):
        await graph.ainvoke({}, named(name))
    found = await collect(saver.alist_threads())
    assert [info.thread_id for info in found] == ["one", "three", "two"]
    assert [(info.status, info.step) for info in found] == [
        ("finished", 4),
        ("finished", 1),
        ("finished", 1),
    ]
    state = await graph.aget_state(named("one"))
    assert found[0].checkpoint_id == state.checkpoint_id
    assert found[0].created_at <= found[0].updated_at


async def test_threads_can_be_listed_by_status_and_in_part(saver: Saver) -> None:
    """A filter by status, and at most so many."""
    done, asking = chain(("a", says("a")), saver=saver), chain(("ask", ask), saver=saver)
    for number in range(3):
        await done.ainvoke({}, named(f"done {number}"))
        await asking.ainvoke({}, named(f"asking {number}"))
    found = await collect(saver.alist_threads(status="asking"))
    assert [info.thread_id for info in found] == ["asking 2", "asking 1", "asking 0"]
    assert len(await collect(saver.alist_threads(limit=4))) == 4
    assert await collect(saver.alist_threads(status="failed")) == []
    assert await collect(saver.alist_threads(limit=0)) == []


async def test_many_threads_are_listed_in_pages_each_once(saver: Saver) -> None:
    """More threads than a page, and the list is whole."""
    graph = chain(("a", says("a")), saver=saver)
    await asyncio.gather(*(graph.ainvoke({}, named(str(n))) for n in range(250)))
    found = [info.thread_id for info in await collect(saver.alist_threads())]
    assert sorted(found, key=int) == [str(n) for n in range(250)]


async def test_the_size_of_a_thread_counts_its_large_values(saver: Saver) -> None:
    """A thread that holds a megabyte says so in the list."""
    graph = chain(("a", says("x" * 2**20)), saver=saver)
    await graph.ainvoke({}, named("large"))
    (info,) = await collect(saver.alist_threads())
    assert info.size >= 2**20


async def test_a_deleted_thread_is_gone(saver: Saver, config: RunnableConfig) -> None:
    """No state, no history, not in the list; a new thread of its name begins from nothing."""
    graph = chain(("a", says("a" * 10_000)), saver=saver)
    await graph.ainvoke({"items": ["old"]}, config)
    old = await graph.aget_state(config)
    await saver.adelete_thread(config["configurable"]["thread_id"])
    assert await collect(saver.alist_threads()) == []
    assert (await graph.aget_state(config)).values == {}
    assert await history(graph, config) == []
    with pytest.raises(CheckpointNotFoundError):
        await graph.aget_state(old.config)
    with pytest.raises(EmptyInputError):
        await graph.ainvoke(None, config)
    assert (await graph.ainvoke({"items": ["new"]}, config))["items"][0] == "new"


async def test_deleting_what_is_not_there_is_harmless(saver: Saver, config: RunnableConfig) -> None:
    """So it can be done twice."""
    await saver.adelete_thread("nobody")
    await saver.adelete_thread("nobody")


async def test_a_late_writer_cannot_bring_a_deleted_thread_back(
    saver: Saver, config: RunnableConfig
) -> None:
    """A run whose thread was removed under it is fenced at its next write."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def node(state: Items) -> Items:
        entered.set()
        await leave.wait()
        return {"items": ["late"]}

    graph = chain(("node", node), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(entered, run)
    assert await saver.backend.remove(key_of(config), Removal(everything=True))
    leave.set()
    with pytest.raises(FencedError):
        await run
    assert await collect(saver.alist_threads()) == []


async def test_a_thread_that_is_being_run_cannot_be_deleted(
    saver: Saver, config: RunnableConfig
) -> None:
    """Nor copied, nor pruned; the run does not notice."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def node(state: Items) -> Items:
        entered.set()
        await leave.wait()
        return {"items": ["done"]}

    graph = chain(("node", node), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(entered, run)
    name = config["configurable"]["thread_id"]
    with pytest.raises(ThreadBusyError):
        await saver.adelete_thread(name)
    with pytest.raises(ThreadBusyError):
        await saver.acopy_thread(name, "copy")
    with pytest.raises(ThreadBusyError):
        await saver.aprune([name])
    leave.set()
    assert (await run)["items"] == ["done"]


async def test_a_copy_has_the_whole_history(saver: Saver, config: RunnableConfig) -> None:
    """States, questions and checkpoint ids are those of the source, which stays as it is."""
    graph = chain(("a", says("x" * 10_000)), ("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    before = await identities(saver, config)
    await saver.acopy_thread(config["configurable"]["thread_id"], "copy")
    assert await identities(saver, config) == before
    ours, copied = await history(graph, config), await history(graph, named("copy"))
    assert [s.values for s in copied] == [s.values for s in ours]
    assert [s.checkpoint_id for s in copied] == [s.checkpoint_id for s in ours]
    assert (await graph.aget_state(named("copy"))).interrupts == (
        await graph.aget_state(config)
    ).interrupts
    assert await saver.averify("copy") == []


async def test_a_copy_goes_its_own_way(saver: Saver, config: RunnableConfig) -> None:
    """What is answered in the one is still asked in the other."""
    graph = chain(("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    await saver.acopy_thread(config["configurable"]["thread_id"], "copy")
    assert (await graph.ainvoke(Command(resume="one"), config))["items"] == ["one"]
    assert (await graph.ainvoke(Command(resume="two"), named("copy")))["items"] == ["two"]


async def test_a_copy_that_cannot_be_made_is_an_error(saver: Saver, config: RunnableConfig) -> None:
    """There must be a source, and there must not be a target."""
    graph = chain(("a", says("a")), saver=saver)
    with pytest.raises(ThreadNotFoundError):
        await saver.acopy_thread("nobody", "copy")
    await graph.ainvoke({}, config)
    await graph.ainvoke({"items": ["other"]}, named("other"))
    with pytest.raises(ThreadBusyError, match="exists already"):
        await saver.acopy_thread(config["configurable"]["thread_id"], "other")
    assert (await graph.aget_state(named("other"))).values["items"] == ["other", "a"]


async def test_a_copy_is_not_made_over_an_earlier_one(saver: Saver, config: RunnableConfig) -> None:
    """Also if the earlier one was made of the very same thread, and has gone on since."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    await saver.acopy_thread(config["configurable"]["thread_id"], "copy")
    await graph.ainvoke({"items": ["more"]}, named("copy"))
    with pytest.raises(ThreadBusyError, match="exists already"):
        await saver.acopy_thread(config["configurable"]["thread_id"], "copy")
    assert (await graph.aget_state(named("copy"))).values["items"] == ["a", "more", "a"]


async def test_a_crashed_thread_can_be_copied(saver: Saver, config: RunnableConfig) -> None:
    """Nobody owns the copy; it goes on where the source would."""
    begun: list[str] = []

    async def hang(state: Items) -> Items:
        begun.append("hang")
        if len(begun) == 1:
            asyncio.get_running_loop().stop()
            await asyncio.Event().wait()
        return {"items": ["done"]}

    graph = chain(("a", says("a")), ("hang", hang), saver=saver)

    def crash() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
        run = loop.create_task(graph.ainvoke({}, config))
        loop.run_forever()
        loop.close()
        del run

    await asyncio.to_thread(crash)
    await saver.acopy_thread(config["configurable"]["thread_id"], "copy")
    assert await saver.averify("copy") == []
    (copied,) = await collect(saver.alist_threads(status="stopped"))
    assert (copied.thread_id, copied.reason) == ("copy", "copied")
    for one in (named("copy"), config):
        assert (await graph.ainvoke(None, one))["items"] == ["a", "done"]


@pytest.mark.parametrize("keep", [1, 3])
async def test_pruning_keeps_the_present_and_the_last_checkpoints(
    keep: int, saver: Saver, config: RunnableConfig
) -> None:
    """What is kept reads as before; the rest is gone, and its space with it."""
    graph = chain(*((n, says(n * 5000)) for n in "abc"), saver=saver)
    for _ in range(10):
        await graph.ainvoke({"last": "y" * 5000}, config)
    everything, size = await history(graph, config), await bytes_of(saver, config)
    name = config["configurable"]["thread_id"]
    await saver.aprune([name], keep=keep)
    saver.hot.take(key_of(config))
    assert await graph.aget_state(config) == everything[0]._replace(tasks=(), interrupts=())
    left = await history(graph, config)
    assert left[:keep] == everything[:keep]
    assert len(left) < len(everything)
    assert await bytes_of(saver, config) <= size
    assert await saver.averify(name) == []
    with pytest.raises(CheckpointNotFoundError):
        await graph.aget_state(everything[-1].config)
    result = await graph.ainvoke({}, config)
    assert len(result["items"]) == 33


async def test_pruning_keeps_open_questions_and_finished_results(
    saver: Saver, config: RunnableConfig
) -> None:
    """A thread that asks can be pruned and answered afterwards."""
    graph = fan(("ask", ask), ("b", says("b")), saver=saver)
    await graph.ainvoke({}, config)
    await graph.ainvoke(Command(resume="first"), config)
    await graph.ainvoke({}, config)
    await saver.aprune([config["configurable"]["thread_id"]])
    state = await graph.aget_state(config)
    assert [question.value for question in state.interrupts] == ["?"]
    result = await graph.ainvoke(Command(resume="second"), config)
    assert result["items"] == ["first", "b", "second", "b"]


async def test_pruning_can_delete(saver: Saver) -> None:
    """`strategy="delete"` deletes the threads that are named, and only those."""
    graph = chain(("a", says("a")), saver=saver)
    for name in ("one", "two", "three"):
        await graph.ainvoke({}, named(name))
    await saver.aprune(["one", "three", "nobody"], strategy="delete")
    assert [info.thread_id for info in await collect(saver.alist_threads())] == ["two"]


async def test_at_least_one_checkpoint_must_be_kept(saver: Saver) -> None:
    """Keeping none is deleting, and has to be said."""
    with pytest.raises(ValueError, match="Keep at least one"):
        await saver.aprune(["x"], keep=0)


async def test_a_sound_thread_verifies(saver: Saver, config: RunnableConfig) -> None:
    """Every kind of record, and after every kind of call."""
    graph = chain(("a", says("x" * 10_000)), ("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    await graph.ainvoke(Command(resume=1, update={"last": 2}), config)
    await graph.aupdate_state(config, {"items": ["edit"]}, as_node="a")
    await graph.ainvoke(None, (await history(graph, config))[2].config)
    assert await saver.averify(config["configurable"]["thread_id"]) == []
    with pytest.raises(ThreadNotFoundError):
        await saver.averify("nobody")


async def test_deleting_waits_for_no_one_elses_thread(saver: Saver, config: RunnableConfig) -> None:
    """A thread can be deleted while another is being run."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def node(state: Items) -> Any:
        entered.set()
        await leave.wait()

    busy = asyncio.create_task(chain(("node", node), saver=saver).ainvoke({}, config))
    await reached(entered, busy)
    await chain(("a", says("a")), saver=saver).ainvoke({}, named("other"))
    await saver.adelete_thread("other")
    assert [info.status for info in await collect(saver.alist_threads())] == ["running"]
    leave.set()
    await busy
