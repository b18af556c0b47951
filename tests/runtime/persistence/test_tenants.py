"""Tenants: handles on one saver, each of which sees its own threads and no others."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from typing import Any

import pytest

from durable_graph import Command, Runtime, StateGraph, interrupt
from durable_graph.errors import (
    CheckpointNotFoundError,
    ConfigError,
    EmptyInputError,
    StorageClosedError,
    ThreadBusyError,
    ThreadNotFoundError,
)
from durable_graph.ports.clock import SystemChance
from durable_graph.saver import Saver
from durable_graph.types import START, RunnableConfig
from tests.runtime.kit import Items, chain, collect, history, reached, says


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


class SameAgain(SystemChance):
    """The same ids each time."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def id(self) -> str:
        return str(uuid.UUID(int=next(self._numbers)))


def named(name: str, checkpoint: str | None = None) -> RunnableConfig:
    return {"configurable": {"thread_id": name, "checkpoint_id": checkpoint}}


async def test_two_tenants_have_a_thread_of_the_same_name_each(
    saver: Saver, config: RunnableConfig
) -> None:
    """States, histories, questions and lists are apart; so are those of the saver itself."""
    savers = [saver, saver.for_tenant("acme"), saver.for_tenant("globex")]
    graphs = [chain(("ask", ask), saver=one) for one in savers]
    for number, graph in enumerate(graphs):
        await graph.ainvoke({"items": [number]}, config)
    await graphs[1].ainvoke(Command(resume="yes"), config)
    found = [(await graph.aget_state(config)).values["items"] for graph in graphs]
    assert found == [[0], [1, "yes"], [2]]
    assert [len(await history(graph, config)) for graph in graphs] == [2, 3, 2]
    for one, status in zip(savers, ("asking", "finished", "asking"), strict=True):
        (info,) = await collect(one.alist_threads())
        assert (info.thread_id, info.status) == (config["configurable"]["thread_id"], status)


async def test_what_belongs_to_others_answers_like_what_is_missing(
    saver: Saver, config: RunnableConfig
) -> None:
    """Whatever is done to a foreign thread comes out as for a thread that nobody has, and changes
    nothing of it."""
    name = config["configurable"]["thread_id"]
    ours, theirs = saver.for_tenant("acme"), saver.for_tenant("globex")
    owner, stranger = chain(("ask", ask), saver=ours), chain(("ask", ask), saver=theirs)
    await owner.ainvoke({}, config)
    before = await owner.aget_state(config)
    for thread in (name, "nobody's"):
        assert (await stranger.aget_state(named(thread))).values == {}
        assert await history(stranger, named(thread)) == []
        with pytest.raises(EmptyInputError):
            await stranger.ainvoke(None, named(thread))
        with pytest.raises(CheckpointNotFoundError):
            await stranger.aget_state(named(thread, before.checkpoint_id))
        with pytest.raises(CheckpointNotFoundError):
            await stranger.aupdate_state(named(thread, before.checkpoint_id), {"items": ["x"]})
        with pytest.raises(ThreadNotFoundError):
            await theirs.averify(thread)
        with pytest.raises(ThreadNotFoundError):
            await theirs.acopy_thread(thread, "mine")
        await theirs.adelete_thread(thread)
        await theirs.aprune([thread], strategy="delete")
        await theirs.aprune([thread])
    assert await collect(theirs.alist_threads()) == []
    assert await owner.aget_state(config) == before
    assert (await owner.ainvoke(Command(resume="yes"), config))["items"] == ["yes"]


async def test_a_run_of_one_tenant_is_not_in_the_way_of_another(
    saver: Saver, config: RunnableConfig
) -> None:
    """A thread that one tenant runs can be run, edited and deleted under the same name by another;
    a second run of the first tenant is still refused."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def node(state: Items) -> Items:
        entered.set()
        await leave.wait()
        return {"items": ["done"]}

    ours, theirs = saver.for_tenant("acme"), saver.for_tenant("globex")
    run = asyncio.create_task(chain(("node", node), saver=ours).ainvoke({}, config))
    await reached(entered, run)
    other = chain(("a", says("a")), saver=theirs)
    assert (await other.ainvoke({}, config))["items"] == ["a"]
    await other.aupdate_state(config, {"items": ["b"]})
    await theirs.adelete_thread(config["configurable"]["thread_id"])
    again = chain(("a", says("a")), saver=saver.for_tenant("acme"))
    with pytest.raises(ThreadBusyError):
        await again.ainvoke({"items": ["other"]}, config)
    leave.set()
    assert (await run)["items"] == ["done"]


async def test_a_run_that_was_left_is_waited_for_in_the_same_thread_of_another(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node that watches a thread of another tenant, which has its own thread's name, and leaves
    it, finds it at rest: that is not the run which the node is part of."""
    words = [says(word) for word in "abc"]
    theirs = chain(*zip("abc", words, strict=True), saver=saver.for_tenant("globex"))

    async def node(state: Items) -> Items:
        async for _ in theirs.astream({}, config, stream_mode="updates"):
            break
        return {"items": [len((await theirs.ainvoke(None, config))["items"])]}

    ours = chain(("node", node), saver=saver.for_tenant("acme"))
    assert (await ours.ainvoke({}, config))["items"] == [3]


async def test_keys_of_effects_differ_between_tenants(saver: Saver) -> None:
    """Also where two tenants' ids came out the same, and also those of a graph within that keeps
    no state: no service takes the call of one tenant for that of another."""
    seen: list[str] = []

    async def node(state: Items, runtime: Runtime) -> Items:
        seen.append(runtime.idempotency_key)
        return {}

    within = StateGraph(Items)
    within.add_node("inner", chain(("node", node), saver=False))
    within.add_edge(START, "inner")
    for tenant in ("acme", "globex"):
        handle = saver.for_tenant(tenant)
        graphs = {"alone": chain(("node", node), saver=handle), "within": within.compile(handle)}
        for name, graph in graphs.items():
            handle.chance = SameAgain()
            await graph.ainvoke({}, named(name))
    assert len(set(seen)) == 4


@pytest.mark.parametrize("tenant", ["", "a\nb", "x" * 256, None, 1.5, {"$gt": ""}, b"acme"])
async def test_a_tenant_id_is_text(tenant: Any, saver: Saver) -> None:
    """Anything else is refused before it gets anywhere."""
    with pytest.raises(ConfigError, match="tenant_id"):
        saver.for_tenant(tenant)


async def test_a_handle_leads_to_no_other_tenant(saver: Saver) -> None:
    """Neither by asking it for another one, nor back to threads of no tenant."""
    handle = saver.for_tenant("acme")
    for tenant in ("globex", "acme"):
        with pytest.raises(ConfigError, match="cannot reach others"):
            handle.for_tenant(tenant)


async def test_a_handle_is_open_as_long_as_its_saver(saver: Saver, config: RunnableConfig) -> None:
    """Closing it closes nothing of the others'; closing the saver closes all."""
    async with saver.for_tenant("acme") as handle:
        await chain(("a", says("a")), saver=handle).ainvoke({}, config)
    assert len(await collect(handle.alist_threads())) == 1
    await saver.aclose()
    with pytest.raises(StorageClosedError):
        await collect(handle.alist_threads())
    with pytest.raises(StorageClosedError):
        await chain(("a", says("a")), saver=handle).ainvoke({}, config)


async def test_handles_share_what_a_process_holds(saver: Saver, config: RunnableConfig) -> None:
    """One owner, one cache of states: a thousand tenants cost no more than their threads."""
    for number in range(20):
        handle = saver.for_tenant(f"tenant {number}")
        await chain(("a", says("a")), saver=handle).ainvoke({}, config)
    now = saver.statistics()
    assert (now.loops, now.hot_threads) == (1, 20)
