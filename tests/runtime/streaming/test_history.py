"""`astream_history`: what watchers of a thread's runs were told is read back, from any place."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_graph import (
    START,
    Command,
    InMemorySaver,
    MessagesState,
    RetryPolicy,
    RunControl,
    Runtime,
    Send,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)
from durable_graph.errors import (
    CheckpointNotFoundError,
    ConfigError,
    GraphDrained,
    GraphRecursionError,
    MissingCheckpointerError,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig, StreamPart
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import Items, chain, collect, says

MODES: Any = ["values", "updates", "messages", "tasks", "checkpoints", "debug"]


def place(part: StreamPart) -> tuple[int, ...]:
    return tuple(map(int, (part["cursor"] or "").split(".")))


async def watched(
    graph: CompiledGraph, given: Any, config: RunnableConfig, **options: Any
) -> list[StreamPart]:
    """What a watcher of a run is told that the log has; whatever the run ends with."""
    seen: list[StreamPart] = []
    stream = graph.astream(given, config, stream_mode=MODES, version="v2", **options)
    with contextlib.suppress(KeyError, GraphDrained, GraphRecursionError, ExceptionGroup):
        async for part in stream:
            seen += [part] if part["cursor"] is not None else []
    return seen


def _is_begin(part: StreamPart) -> bool:
    """Whether a part says that a task begins, which the log does not keep."""
    data = part["data"]
    if part["type"] == "debug":
        return bool(data["type"] == "task")
    return part["type"] == "tasks" and "input" in data


async def told(
    graph: CompiledGraph, config: RunnableConfig, after: str | None = None
) -> list[StreamPart]:
    return await collect(graph.astream_history(config, after=after, stream_mode=MODES))


async def check(graph: CompiledGraph, config: RunnableConfig, live: list[StreamPart]) -> None:
    """What is read back is what was told live; read on from every place, it is what is missing."""
    back = await told(graph, config)
    assert back == live
    cursors = [place(part) for part in back]
    assert cursors == sorted(set(cursors))
    for count, part in enumerate(back, 1):
        assert await told(graph, config, part["cursor"]) == live[count:]


async def test_a_run_is_read_back_as_it_was_told(saver: Saver, config: RunnableConfig) -> None:
    """In all modes, with their data and their cursors, from every place on."""
    graph = chain(*((name, says(name)) for name in "abc"), saver=saver)
    live = await watched(graph, {"items": ["in"]}, config)
    assert {part["type"] for part in live} == {*MODES} - {"messages"}
    await check(graph, config, live)


async def test_only_the_modes_that_are_asked_for_are_read_back(
    saver: Saver, config: RunnableConfig
) -> None:
    """Their cursors are the same whatever else is asked for; by default they are the updates."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    live = await watched(graph, {}, config)
    thread = config["configurable"]["thread_id"]
    updates = [part for part in live if part["type"] == "updates"]
    assert await collect(graph.astream_history(thread)) == updates
    values = await collect(graph.astream_history(config, stream_mode="values"))
    assert values == [part for part in live if part["type"] == "values"]
    assert await collect(graph.astream_history(config, stream_mode="custom")) == []


async def test_several_runs_questions_failures_and_stops_are_read_back(
    saver: Saver, config: RunnableConfig
) -> None:
    """One run after the other on a thread, each ended in its own way."""
    failing = True

    async def ask(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    async def fail(state: Items) -> Items:
        if failing:
            raise KeyError("broken")
        return {"items": ["mended"]}

    graph = chain(("a", says("a")), ("ask", ask), ("fail", fail), ("z", says("z")), saver=saver)
    control = RunControl()
    control.request_drain()
    live = await watched(graph, {}, {**config, "metadata": {"run": 1}}, interrupt_after=["a"])
    live += await watched(graph, None, {**config, "metadata": {"run": 2}})
    live += await watched(graph, None, config)  # shows what is there, which nothing has told anew
    live += await watched(graph, Command(resume="!"), {**config, "recursion_limit": 1})
    live += await watched(graph, None, config, control=control)
    live += await watched(graph, None, config)
    failing = False
    live += await watched(graph, None, config)
    live += await watched(graph, {"last": 1}, config, interrupt_before=["ask"])
    live += await watched(graph, {"last": 2}, config)
    live += await watched(graph, Command(resume="x", update={"count": 1}), config)
    live += await watched(graph, Command(goto="z"), config)
    errors = [p["data"]["error"] for p in live if p["type"] == "tasks" and p["data"]["error"]]
    assert errors == ["KeyError: 'broken'"]
    await check(graph, config, live)


async def test_branches_are_read_back(saver: Saver, config: RunnableConfig) -> None:
    """Forks begin elsewhere than where the log was: at an input, in the middle, with an answer."""

    async def ask(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    graph = chain(("a", says("a")), ("ask", ask), ("z", says("z")), saver=saver)
    live = await watched(graph, {"items": ["in"]}, config)
    live += await watched(graph, Command(resume="!"), config)
    history = [snapshot.config async for snapshot in graph.aget_state_history(config)]
    for before in history:
        live += await watched(graph, None, before)
        live += await watched(graph, {"last": "other"}, before, on_pending="supersede")
    live += await watched(graph, Command(resume="again"), history[2])
    await check(graph, config, live)


async def test_edits_between_runs_are_told(saver: Saver, config: RunnableConfig) -> None:
    """Nobody could watch them: their values and checkpoints are there for who reads later."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    live = await watched(graph, {}, config, interrupt_after=["a"])
    await graph.aupdate_state(config, {"items": ["edit"]}, as_node="a")
    after = await watched(graph, None, config)
    back = await told(graph, config)
    edit = back[len(live) : len(back) - len(after)]
    assert (back[: len(live)], back[len(back) - len(after) :]) == (live, after)
    assert [part["type"] for part in edit] == ["values", "checkpoints", "debug"]
    assert edit[0]["data"]["items"] == ["a", "edit"]


async def test_what_ran_at_once_is_read_back_in_the_order_in_which_it_ended(
    saver: Saver, config: RunnableConfig
) -> None:
    """Sends, results in records of their own, one that is tried again, and a join."""
    tried: list[int] = []

    async def each(n: int) -> Items:
        for _ in range(n):
            await asyncio.sleep(0)
        if n == 2 and len(tried) < 2:
            tried.append(n)
            raise ConnectionError
        return {"items": [n]}

    policy = RetryPolicy(initial_interval=0, jitter=False)
    graph = StateGraph(Items).add_node("each", each, retry_policy=policy)
    graph.add_node("end", says("end")).add_edge("each", "end")
    graph.add_conditional_edges(START, lambda s: [Send("each", n) for n in (3, 2, 1, 0)])
    compiled = graph.compile(saver)
    live = await watched(compiled, {"last": 1}, config)
    assert len(tried) == 2
    await check(compiled, config, live)


async def test_an_error_handler_is_read_back(saver: Saver, config: RunnableConfig) -> None:
    """First that its node has failed, then how it ended itself: with the same error here."""

    async def node(state: Items) -> None:
        raise KeyError("broken")

    async def handle(state: Items, error: Any) -> None:
        raise KeyError("broken")

    graph = StateGraph(Items).add_node("node", node, error_handler=handle)
    compiled = graph.add_edge(START, "node").compile(saver)
    live = await watched(compiled, {"last": 1}, config)
    names = [part["data"]["name"] for part in live if part["type"] == "tasks"]
    assert len(names) == len(set(names)) == 2
    await check(compiled, config, live)


async def test_messages_are_read_back_once_each(saver: Saver, config: RunnableConfig) -> None:
    """With what the caller of each run said about it; a message that is given back is not new."""

    async def speak(state: MessagesState) -> Any:
        return {"messages": [("ai", "one"), ("ai", "two"), *state["messages"]]}

    async def replace(state: MessagesState) -> Any:
        return {"messages": [state["messages"][-1]]}

    graph = StateGraph(MessagesState).add_sequence([speak, replace]).add_edge(START, "speak")
    compiled = graph.compile(saver)
    live = await watched(compiled, {"messages": ["hi"]}, {**config, "metadata": {"who": "me"}})
    live += await watched(compiled, {"messages": ["ho"]}, {**config, "metadata": {"who": "you"}})
    said = [part["data"] for part in live if part["type"] == "messages"]
    assert [(m.content, data["who"]) for m, data in said] == [
        ("one", "me"),
        ("two", "me"),
        ("one", "you"),
        ("two", "you"),
    ]
    await check(compiled, config, live)


@pytest.mark.parametrize("way", ["answer", "go on"])
async def test_what_a_caller_says_who_goes_on_is_read_back(
    way: str, saver: Saver, config: RunnableConfig
) -> None:
    """It is not what the caller has said whose run had stopped; it stands where the new run begins,
    so that results which are stored before the superstep's end have it."""

    async def speak(state: MessagesState) -> Any:
        return {"messages": [("ai", interrupt("?") if way == "answer" else "one")]}

    async def later(state: MessagesState) -> Any:
        if way == "answer":
            interrupt("!")
        for _ in range(5):
            await asyncio.sleep(0)

    builder = StateGraph(MessagesState).add_node(speak).add_edge(START, "speak")
    graph = builder.add_node(later).add_edge(START, "later").compile(saver)
    stops = ["speak"] if way == "go on" else []
    first: RunnableConfig = {**config, "metadata": {"who": "me", "first": True}}
    live = await watched(graph, {"messages": ["hi"]}, first, interrupt_before=stops)
    asked = (await graph.aget_state(config)).interrupts
    given: Any = Command(resume={ask.id: "one" for ask in asked}) if way == "answer" else None
    live += await watched(graph, given, {**config, "metadata": {"who": "you"}})
    ((_, about),) = [part["data"] for part in live if part["type"] == "messages"]
    assert (about["who"], "first" in about) == ("you", False)
    await check(graph, config, live)


async def test_a_message_whose_tokens_were_lost_is_read_back_as_a_whole(
    saver: Saver, config: RunnableConfig
) -> None:
    """Tokens are not kept; so nothing is missing, a reader gets what they came to."""

    async def speak(state: MessagesState, runtime: Runtime) -> Any:
        runtime.emit_message("Hel")
        runtime.emit_message("lo")
        return {"messages": [("ai", "Hello")]}

    graph = StateGraph(MessagesState).add_node(speak).add_edge(START, "speak").compile(saver)
    stream = graph.astream({"messages": []}, config, stream_mode="messages", version="v2")
    assert [part["data"].content async for part in stream] == ["Hel", "lo"]
    (part,) = await collect(graph.astream_history(config, stream_mode="messages"))
    assert part["data"].content == "Hello"


async def test_calls_of_the_functional_api_are_read_back(
    saver: Saver, config: RunnableConfig
) -> None:
    """Their results stand in records of their own."""

    @task
    async def double(n: int) -> int:
        return 2 * n

    @entrypoint(checkpointer=saver)
    async def work(n: int) -> int:
        return await double(n) + await double(n + 1)

    live = await watched(work, 3, config)
    names = [part["data"]["name"] for part in live if part["type"] == "tasks"]
    assert names == ["double", "double", "work"]
    await check(work, config, live)


async def test_a_run_ahead_of_its_storage_promises_nothing_that_a_crash_could_take_back(
    saver: Saver, config: RunnableConfig
) -> None:
    """Under "async" an event that comes before its record is stored has no cursor: something else
    might come to stand there. What it says is what the log will say."""

    async def each(n: int) -> Items:
        return {"items": [n]}

    graph = StateGraph(Items).add_node("each", each).add_node("end", says("end"))
    graph.add_conditional_edges(START, lambda s: [Send("each", n) for n in range(5)])
    compiled = graph.add_edge("each", "end").compile(saver)
    stream = compiled.astream(
        {"last": 1}, config, stream_mode=MODES, version="v2", durability="async"
    )
    live = [part async for part in stream if not _is_begin(part)]
    back = await told(compiled, config)
    assert len(live) > 15
    assert [part["data"] for part in live] == [part["data"] for part in back]
    for ours, theirs in zip(live, back, strict=True):
        assert ours["cursor"] in (None, theirs["cursor"])


async def test_a_reader_that_lost_its_stream_misses_nothing(tmp_path: Path) -> None:
    """It leaves the run in the middle; another process goes on; it reads on from its cursor."""
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}

    def made(saver: Saver) -> CompiledGraph:
        return chain(*((name, says(name)) for name in "abcd"), saver=saver)

    async with SqliteSaver(tmp_path / "t.db") as saver:
        seen: list[StreamPart] = []
        stream = made(saver).astream({}, config, version="v2")
        async for part in stream:
            seen.append(part)
            if len(seen) == 2:
                break
        await stream.aclose()
    async with SqliteSaver(tmp_path / "t.db") as other:
        await made(other).ainvoke(None, config)
        last = seen[-1]["cursor"]
        seen += await collect(made(other).astream_history(config, after=last))
        assert seen == await collect(made(other).astream_history(config))
    assert [[*part["data"]] for part in seen] == [["a"], ["b"], ["c"], ["d"]]


async def test_large_values_are_read_back(saver: Saver, config: RunnableConfig) -> None:
    """They stand beside the records."""
    graph = chain(("a", says("a" * 9000)), ("b", says("b" * 9000)), saver=saver)
    live = await watched(graph, {"last": "c" * 9000}, config)
    live += await watched(graph, {"last": "d" * 9000}, config)
    await check(graph, config, live)


async def test_what_comes_behind_a_snapshot_is_read_back(
    saver: Saver, config: RunnableConfig
) -> None:
    """A long thread has commits that hold the whole state, and more than one page of records."""
    graph = chain(("a", says("x" * 500)), saver=saver)
    live: list[StreamPart] = []
    for n in range(60):
        live += await watched(graph, {"last": n}, config)
    back = await told(graph, config)
    assert back == live
    for at in range(0, len(live), 37):
        assert await told(graph, config, live[at]["cursor"]) == live[at + 1 :]


async def test_a_reader_behind_which_was_pruned_is_told_so(
    saver: Saver, config: RunnableConfig
) -> None:
    """It cannot get all that it misses; one that begins anew gets what there is."""
    graph = chain(("a", says("x" * 500)), saver=saver)
    first = await watched(graph, {}, config)
    for n in range(60):
        await graph.ainvoke({"last": n}, config)
    await saver.aprune([config["configurable"]["thread_id"]], keep=1)
    with pytest.raises(CheckpointNotFoundError, match="was pruned behind the cursor"):
        await told(graph, config, first[0]["cursor"])
    left = await told(graph, config)
    assert left[-1]["type"] == "debug"
    assert await told(graph, config, left[0]["cursor"]) == left[1:]


@pytest.mark.parametrize("cursor", ["", "1", "x.1", "1.", 7, "999.1", "1.²", "9" * 5000 + ".1"])
async def test_what_is_no_cursor_is_refused(
    cursor: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Rather than taken for the beginning, or the end."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    with pytest.raises(ConfigError, match="cursor"):
        await told(graph, config, cursor)


async def test_a_thread_that_is_not_there_has_told_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """As its state is empty; without a checkpointer there is nothing to read at all."""
    assert await told(chain(("a", says("a")), saver=saver), config) == []
    with pytest.raises(MissingCheckpointerError):
        await told(chain(("a", says("a"))), config)


async def test_what_nodes_told_that_are_gone_is_read_back(
    saver: Saver, config: RunnableConfig
) -> None:
    """The log has what they did, whatever the graph has become."""

    async def speak(state: MessagesState) -> Any:
        return {"messages": [("ai", "one")]}

    before = StateGraph(MessagesState).add_node("old", speak).add_edge(START, "old").compile(saver)
    after = StateGraph(MessagesState).add_node("new", speak).add_edge(START, "new").compile(saver)
    live = await watched(before, {"messages": ["hi"]}, config)
    live += await watched(after, {"messages": ["ho"]}, config)
    await check(after, config, live)


def test_the_synchronous_face_reads_back(config: RunnableConfig) -> None:
    """`stream_history` is a generator of the same parts."""
    graph = chain(("a", says("a")), saver=InMemorySaver())
    live = list(graph.stream({}, config, version="v2"))
    assert list(graph.stream_history(config)) == live


# -- a law: whatever happens on a thread ---------------------------------------------------------

ACTS = ("go", "input", "answer", "fork", "limit", "fail", "drain", "stop", "async")


class World:
    """A thread, and what a watcher of all its runs has been told."""

    def __init__(self) -> None:
        self.saver = InMemorySaver()
        self.config: RunnableConfig = {"configurable": {"thread_id": "1"}}
        self.fails = False
        self.live: list[StreamPart] = []
        graph = StateGraph(Items)
        graph.add_node("first", self._first).add_node("ask", self._ask).add_node("each", self._each)
        graph.add_node("last", says("last")).add_edge(START, "first")
        graph.add_conditional_edges("first", self._route).add_edge(["ask", "each"], "last")
        self.graph = graph.compile(self.saver)

    async def _first(self, state: Items) -> Items:
        return {"items": ["first"], "count": 1}

    def _route(self, state: Items) -> list[Any]:
        return ["ask", Send("each", 1), "each", Send("each", 2)]

    async def _ask(self, state: Items) -> Items:
        return {"items": [interrupt("one?"), interrupt("two?")]}

    async def _each(self, state: Any) -> Items:
        if self.fails and state == 2:
            raise KeyError("fails")
        return {"items": [str(state)[:1]], "last": None} if state == 1 else {"items": ["e"]}

    async def act(self, act: str, number: int) -> None:
        self.fails = act == "fail"
        given: Any = None
        config, options = dict(self.config), dict[str, Any]()
        match act:
            case "input":
                given, options = {"items": [number]}, {"on_pending": "supersede"}
            case "answer":
                given = Command(resume=number)
            case "fork":
                history = [s async for s in self.graph.aget_state_history(self.config)]
                if not history:
                    return
                config = dict(history[number % len(history)].config)
            case "limit":
                config["recursion_limit"] = 1
            case "drain":
                options["control"] = RunControl()
                options["control"].request_drain()
            case "stop":
                options["interrupt_before"] = "*"
            case "async":
                options["durability"] = "async"
        config["metadata"] = {"n": number}
        with contextlib.suppress(Exception):
            self.live += await watched(self.graph, given, config, **options)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Not all finished results")
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 9)), max_size=7),
    st.integers(0, 10_000),
)
async def test_what_was_told_and_what_is_read_on_is_all_there_is(
    acts: list[tuple[str, int]], cut: int
) -> None:
    """For any runs on a thread, and a reader that is cut off anywhere."""
    world = World()
    for act, number in [("input", 0), *acts]:
        await world.act(act, number)
    live = world.live
    assert await told(world.graph, world.config) == live
    at = cut % (len(live) + 1)
    after = live[at - 1]["cursor"] if at else None
    assert live[:at] + await told(world.graph, world.config, after) == live
    await world.saver.aclose()
