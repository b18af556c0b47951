"""A graph without a checkpointer runs in memory, with live objects, and stores nothing."""

from __future__ import annotations

import operator
import threading
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Command, Send, StateGraph, interrupt
from durable_graph.errors import EmptyInputError, MissingCheckpointerError
from tests.runtime.kit import Items, chain, collect, says


class Live(TypedDict, total=False):
    things: Annotated[list[Any], operator.add]
    lock: Any


async def test_it_runs_without_a_thread(recwarn: pytest.WarningsRecorder) -> None:
    """No config is needed, and two calls know nothing of each other."""
    graph = chain(("a", says("a")), ("b", says("b")))
    assert (await graph.ainvoke({}))["items"] == ["a", "b"]
    assert (await graph.ainvoke({"items": ["x"]}))["items"] == ["x", "a", "b"]
    assert not recwarn.list


async def test_the_state_may_hold_what_cannot_be_stored() -> None:
    """Locks, functions and open files pass through as the objects they are."""
    lock = threading.Lock()
    seen: list[Any] = []

    async def make(state: Live) -> Live:
        return {"things": [make], "lock": lock}

    async def use(state: Live) -> Live:
        seen.append(state)
        return {"things": [state["lock"]]}

    graph = StateGraph(Live).add_sequence([make, use]).add_edge(START, "make").compile()
    result = await graph.ainvoke({"things": [object]})
    assert result["things"] == [object, make, lock]
    assert result["lock"] is lock
    assert seen[0]["things"] == [object, make]


async def test_packets_may_carry_live_objects() -> None:
    """A `Send` of a lock arrives as that lock."""
    lock = threading.Lock()

    async def take(state: Any) -> Live:
        return {"things": [state["lock"] is lock]}

    graph = StateGraph(Live).add_node("take", take)
    graph.add_conditional_edges(START, lambda s: [Send("take", {"lock": lock})])
    assert (await graph.compile().ainvoke({}))["things"] == [True]


async def test_a_question_without_a_checkpointer_is_an_error() -> None:
    """There is nowhere to keep it, so the node fails with what to do."""

    async def ask(state: Items) -> None:
        interrupt("?")

    with pytest.raises(MissingCheckpointerError, match="no checkpointer to keep it in"):
        await chain(("ask", ask)).ainvoke({})


@pytest.mark.parametrize("command", [Command(resume=1), Command(update={"last": 1}), Command()])
async def test_a_command_without_a_checkpointer_is_an_error(command: Command[Any]) -> None:
    """A command acts on stored state, and there is none."""
    with pytest.raises(MissingCheckpointerError, match="A Command acts on stored state"):
        await chain(("a", says())).ainvoke(command)


async def test_none_without_a_checkpointer_is_an_error() -> None:
    """There is nothing to go on with."""
    with pytest.raises(EmptyInputError, match="no checkpointer"):
        await chain(("a", says())).ainvoke(None)


async def test_reading_state_without_a_checkpointer_is_an_error() -> None:
    """Each of the calls that read or write stored state says so."""
    graph = chain(("a", says()))
    config: Any = {"configurable": {"thread_id": "1"}}
    with pytest.raises(MissingCheckpointerError, match="aget_state reads stored state"):
        await graph.aget_state(config)
    with pytest.raises(MissingCheckpointerError, match="aget_state_history"):
        await collect(graph.aget_state_history(config))
    with pytest.raises(MissingCheckpointerError, match="aupdate_state"):
        await graph.aupdate_state(config, {})


async def test_everything_but_checkpoints_is_streamed() -> None:
    """The modes that need no log work as they do with one."""

    async def node(state: Items, writer: Any) -> Items:
        writer("w")
        return {"items": ["a"]}

    modes: Any = ["values", "updates", "custom", "tasks", "checkpoints", "debug"]
    events = await collect(chain(("a", node)).astream({"last": 1}, stream_mode=modes))
    assert [mode for mode, _ in events] == [
        "values",
        "tasks",
        "debug",
        "custom",
        "updates",
        "tasks",
        "debug",
        "values",
    ]


async def test_parts_have_no_cursors_without_a_log() -> None:
    """In version v2 every cursor is None: nothing could be given again."""
    parts = await collect(chain(("a", says("a"))).astream({}, stream_mode="updates", version="v2"))
    assert parts == [{"type": "updates", "ns": (), "data": {"a": {"items": ["a"]}}, "cursor": None}]
