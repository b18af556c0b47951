"""One run at a time owns a thread; who does not own it leaves answers in its inbox."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from durable_graph import START, Command, StateGraph, interrupt
from durable_graph.engine.runs.inbox import answer_message
from durable_graph.errors import (
    AlreadyAnsweredError,
    FencedError,
    ThreadBusyError,
    UnknownInterruptError,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import Items, chain, collect, history, key_of, reached, says


class Busy:
    """``ask`` asks while ``wait`` waits: a running thread with an open question."""

    def __init__(self, saver: Saver, config: RunnableConfig) -> None:
        self.saver = saver
        self.config = config
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()
        self.runs: list[str] = []
        self.run: asyncio.Task[Any] | None = None
        self.graph = self.over(saver)
        self.other = self.over(Saver(saver.backend))

    def over(self, saver: Saver) -> CompiledGraph:
        graph = StateGraph(Items).add_node("ask", self._ask).add_node("wait", self._wait)
        graph.add_node("end", says("end")).add_edge(START, "ask").add_edge(START, "wait")
        return graph.add_edge(["ask", "wait"], "end").compile(saver)

    async def _ask(self, state: Items) -> Items:
        self.runs.append("ask")
        return {"items": [interrupt("?")]}

    async def _wait(self, state: Items) -> Items:
        self.runs.append("wait")
        self.entered.set()
        await self.leave.wait()
        return {"items": ["waited"]}

    async def begin(self) -> None:
        """Run until the question is stored and ``wait`` waits."""
        self.run = asyncio.create_task(self.graph.ainvoke({}, self.config))
        await reached(self.entered, self.run)
        async with asyncio.timeout(20):
            while not (await self.other.aget_state(self.config)).interrupts:
                await asyncio.sleep(0)

    async def until_posted(self, count: int = 1) -> None:
        """Wait until so many messages are in the inbox."""
        async with asyncio.timeout(20):
            while True:
                reading = await self.saver.backend.read(key_of(self.config))
                if reading is not None and len(reading.messages) >= count:
                    return
                await asyncio.sleep(0)

    async def end(self) -> Any:
        """Let ``wait`` go on; returns what the run returns."""
        assert self.run is not None
        self.leave.set()
        return await self.run


@pytest.fixture
async def busy(saver: Saver, config: RunnableConfig) -> Busy:
    """A running thread with an open question."""
    program = Busy(saver, config)
    await program.begin()
    return program


async def test_two_calls_at_once_on_a_new_thread_are_one_run(
    saver: Saver, config: RunnableConfig
) -> None:
    """Of five calls at the same moment one runs, and the others are told that it is busy."""

    async def slow(state: Items) -> Items:
        for _ in range(20):
            await asyncio.sleep(0)
        return {"items": ["slow"]}

    graph = chain(("slow", slow), saver=saver)
    results = await asyncio.gather(
        *(graph.ainvoke({"items": [n]}, config) for n in range(5)), return_exceptions=True
    )
    done = [result for result in results if isinstance(result, dict)]
    assert len(done) == 1
    assert [type(r) for r in results if r is not done[0]] == [ThreadBusyError] * 4
    assert (await graph.aget_state(config)).values == done[0]


async def test_calls_of_several_savers_at_once_lose_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """However many callers there are, every input that was accepted is in the state, in order."""
    graphs = [chain(("a", says("a")), saver=Saver(saver.backend)) for _ in range(5)]
    accepted: list[int] = []

    async def call(graph: CompiledGraph, number: int) -> None:
        while True:
            try:
                await graph.ainvoke({"items": [number]}, config)
            except (ThreadBusyError, FencedError):
                await asyncio.sleep(0)
            else:
                accepted.append(number)
                return

    async with asyncio.timeout(30):
        await asyncio.gather(*(call(graph, n) for n, graph in enumerate(graphs)))
    items = (await graphs[0].aget_state(config)).values["items"]
    assert sorted(items[::2]) == sorted(accepted) == list(range(5))
    assert items[1::2] == ["a"] * 5
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_an_answer_reaches_a_running_thread_through_its_inbox(busy: Busy) -> None:
    """The owner takes it up without ending its run; both callers get the same end."""
    answering = asyncio.create_task(busy.other.ainvoke(Command(resume="!"), busy.config, by="bob"))
    await busy.until_posted()
    result = await busy.end()
    assert result["items"] == ["!", "waited", "end"]
    assert await answering == result
    assert busy.runs == ["ask", "wait", "ask"]
    assert len([s for s in await history(busy.graph, busy.config) if s.next == ()]) == 1


async def test_an_answer_of_the_owners_own_process_reaches_the_run_too(busy: Busy) -> None:
    """A server that runs the thread and receives the answer is the usual case."""
    answering = asyncio.create_task(busy.graph.ainvoke(Command(resume="!"), busy.config))
    posted = asyncio.create_task(busy.until_posted())
    await asyncio.wait([answering, posted], return_when=asyncio.FIRST_COMPLETED)
    posted.cancel()
    result = await busy.end()
    assert await answering == result
    assert result["items"] == ["!", "waited", "end"]


async def test_waiting_for_a_long_run_piles_nothing_up(
    saver: Saver, config: RunnableConfig
) -> None:
    """Who asks over and over whether a run has ended is kept once, and told when it has."""
    async with saver.running(key_of(config), "run"):
        for _ in range(5):
            asked = saver.released(key_of(config))
            assert asked is not None
            asked.cancel()
        last = saver.released(key_of(config))
        assert last is not None
        assert saver._waiting == {key_of(config): [last]}
    assert last.done()
    assert saver._waiting == {}


async def test_of_two_answers_in_the_inbox_one_is_taken(busy: Busy) -> None:
    """The other is told that it came too late, and changes nothing."""
    first = asyncio.create_task(busy.other.ainvoke(Command(resume=1), busy.config))
    await busy.until_posted(1)
    third = busy.over(Saver(busy.saver.backend))
    second = asyncio.create_task(third.ainvoke(Command(resume=2), busy.config))
    await busy.until_posted(2)
    result = await busy.end()
    assert result["items"] == [1, "waited", "end"]
    assert await first == result
    with pytest.raises(AlreadyAnsweredError):
        await second


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"0123456789abcdef" * 2: 1}, UnknownInterruptError),
        ({}, UnknownInterruptError),
    ],
)
async def test_a_wrong_answer_is_not_even_posted(
    answer: Any, error: type[Exception], busy: Busy
) -> None:
    """It is refused by whoever sends it, and the run does not see it."""
    with pytest.raises(error):
        await busy.other.ainvoke(Command(resume=answer), busy.config)
    reading = await busy.saver.backend.read(key_of(busy.config))
    assert reading is not None
    assert reading.messages == []
    assert [q.value for q in (await busy.end())["__interrupt__"]] == ["?"]


async def test_the_owner_ends_asking_if_nobody_has_answered(busy: Busy) -> None:
    """An empty inbox changes nothing."""
    result = await busy.end()
    assert [question.value for question in result["__interrupt__"]] == ["?"]
    assert (await busy.other.ainvoke(Command(resume="!"), busy.config))["items"][-1] == "end"


async def test_an_answer_that_was_left_behind_is_taken_up_by_the_next_call(
    saver: Saver, config: RunnableConfig
) -> None:
    """If the owner went without looking, None finds the answer and goes on with it."""

    async def ask(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    graph = chain(("ask", ask), saver=saver)
    (question,) = (await graph.ainvoke({}, config))["__interrupt__"]
    codec = graph.definition.codec
    message = answer_message("m", {question.id: codec.encode("left")}, "bob", 0.0)
    await saver.backend.post(key_of(config), message)
    assert (await graph.ainvoke(None, config))["items"] == ["left"]


async def test_the_first_of_two_answers_wins_when_one_was_left_behind(
    saver: Saver, config: RunnableConfig
) -> None:
    """An answer in the inbox came before the one that a call brings now."""

    async def ask(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    graph = chain(("ask", ask), saver=saver)
    (question,) = (await graph.ainvoke({}, config))["__interrupt__"]
    message = answer_message("m", {question.id: graph.definition.codec.encode(1)}, None, 0.0)
    await saver.backend.post(key_of(config), message)
    with pytest.raises(AlreadyAnsweredError):
        await graph.ainvoke(Command(resume=2), config)
    assert (await graph.ainvoke(None, config))["items"] == [1]


async def test_a_run_that_was_taken_over_is_fenced(saver: Saver, config: RunnableConfig) -> None:
    """An owner that others took for dead cannot write any more; its successor's work counts."""
    entered, leave = asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    async def work(state: Items) -> Items:
        runs.append(len(runs))
        mine = len(runs)
        if mine == 1:
            entered.set()
            await leave.wait()
        return {"items": [f"worker {mine}"]}

    graph = chain(("work", work), saver=saver)
    run = asyncio.create_task(graph.ainvoke({"items": ["in"]}, config))
    await reached(entered, run)
    (owner,) = saver._all_owners()
    taken_for_dead = dict(owner.runs)
    owner.runs.clear()
    successor = chain(("work", work), saver=Saver(saver.backend))
    assert (await successor.ainvoke(None, config))["items"] == ["in", "worker 2"]
    owner.runs.update(taken_for_dead)
    leave.set()
    with pytest.raises(FencedError, match="Another owner has taken over"):
        await run
    assert (await graph.aget_state(config)).values["items"] == ["in", "worker 2"]
    assert await saver.averify(config["configurable"]["thread_id"]) == []


PROGRAM = """
import asyncio, operator, sys
from typing import Annotated, TypedDict
from durable_graph import START, StateGraph
from durable_graph_sqlite import SqliteSaver

class Items(TypedDict, total=False):
    items: Annotated[list, operator.add]
    count: Annotated[int, operator.add]
    last: object

async def first(state):
    return {"items": ["first"]}

async def work(state):
    print("working", flush=True)
    await asyncio.Event().wait()

graph = StateGraph(Items).add_node("first", first).add_node("work", work)
graph = graph.add_edge(START, "first").add_edge("first", "work")
config = {"configurable": {"thread_id": "shared"}}
asyncio.run(graph.compile(SqliteSaver(sys.argv[1])).ainvoke({"items": ["in"]}, config))
"""


@asynccontextmanager
async def other_process(path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that runs the thread and waits in its second node."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"working\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_thread_of_another_process_is_busy_until_that_process_dies(tmp_path: Path) -> None:
    """While it lives the thread is refused; once it is killed, the next call takes over at once."""
    config: RunnableConfig = {"configurable": {"thread_id": "shared"}}
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = chain(("first", says("first")), ("work", says("work")), saver=saver)
        async with other_process(tmp_path / "threads.db") as process:
            for given in (None, {"items": ["in"]}, {"items": ["other"]}):
                with pytest.raises(ThreadBusyError):
                    await graph.ainvoke(given, config)
            assert (await graph.aget_state(config)).next == ("work",)
            process.kill()
            await process.wait()
            async with asyncio.timeout(10):
                result = await graph.ainvoke(None, config)
        assert result["items"] == ["in", "first", "work"]
        (info,) = await collect(saver.alist_threads())
        assert info.status == "finished"
