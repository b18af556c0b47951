"""`@entrypoint`: a function as a graph, with all that graphs have."""

from __future__ import annotations

import asyncio
import operator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from durable_graph import (
    CachePolicy,
    Command,
    InMemoryCache,
    InMemorySaver,
    InMemoryStore,
    Runtime,
    entrypoint,
    interrupt,
    task,
)
from durable_graph.errors import CacheWarning, EmptyInputError, GraphDefinitionError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.store import BaseStore
from durable_graph.types import RunnableConfig, StreamMode, StreamWriter
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import bytes_of, collect, history, reached


@dataclass
class Who:
    """A context."""

    name: str


@pytest.mark.parametrize("input", [7, "text", [1, 2], {"a": 1}, {}, [], False, (1, 2)])
async def test_the_input_is_any_value(input: Any, saver: Saver, config: RunnableConfig) -> None:
    """And so is the result, exactly."""

    @entrypoint(saver)
    async def flow(value: Any) -> Any:
        return [value]

    assert await flow.ainvoke(input, config) == [input]
    assert type((await flow.aget_state(config)).values[0]) is type(input)


async def test_synchronous_functions_too(saver: Saver, config: RunnableConfig) -> None:
    """Run in a thread, with tasks waited for by `result()`."""

    @task
    def double(number: int) -> int:
        return 2 * number

    @entrypoint(saver)
    def flow(number: int) -> int:
        return double(number).result() + 1

    assert await flow.ainvoke(3, config) == 7


def test_the_synchronous_face_has_it_all(tmp_path: Any, config: RunnableConfig) -> None:
    """`invoke`, `stream`, `get_state`, `get_state_history`."""

    @task
    def double(number: int) -> int:
        return 2 * number

    with SqliteSaver(tmp_path / "flow.db") as saver:

        @entrypoint(saver)
        def flow(number: int) -> Any:
            return [double(number).result(), interrupt("ok?")]

        assert flow.invoke(3, config)["__interrupt__"][0].value == "ok?"
        assert list(flow.stream(Command(resume="yes"), config)) == [{"flow": [6, "yes"]}]
        assert flow.get_state(config).values == [6, "yes"]
        assert next(flow.get_state_history(config)).next == ()


async def test_the_next_run_gets_what_the_last_one_returned(
    saver: Saver, config: RunnableConfig
) -> None:
    """As `previous`, which is `None` in the first run of a thread."""
    seen = []

    @entrypoint(saver)
    async def total(number: int, *, previous: int | None = None) -> int:
        seen.append(previous)
        return number + (previous or 0)

    assert [await total.ainvoke(number, config) for number in (1, 2, 3)] == [1, 3, 6]
    assert seen == [None, 1, 3]


async def test_what_is_saved_can_be_another_thing_than_the_result(
    saver: Saver, config: RunnableConfig
) -> None:
    """`entrypoint.final` says both."""

    @entrypoint(saver)
    def count(text: str, previous: list[str] | None) -> entrypoint.final[int, list[str]]:
        seen = [*(previous or []), text]
        return entrypoint.final(value=len(seen), save=seen)

    assert [await count.ainvoke(text, config) for text in "abc"] == [1, 2, 3]
    assert (await count.aget_state(config)).values == 3


async def test_none_is_a_result(saver: Saver, config: RunnableConfig) -> None:
    """It is what the next run gets, whatever was before."""
    results = [1, None, 3]

    @entrypoint(saver)
    async def flow(place: int, *, previous: Any) -> Any:
        return entrypoint.final(value=results[place], save=None) if place else results[place]

    assert [await flow.ainvoke(place, config) for place in range(3)] == results
    assert (await flow.aget_state(config)).values == 3


async def test_what_was_saved_survives_a_failure(saver: Saver, config: RunnableConfig) -> None:
    """A run that fails saves nothing; going on, it has the same `previous` as at first."""
    broken = [False]

    @entrypoint(saver)
    async def total(number: int, *, previous: int | None) -> int:
        if broken[0]:
            raise ValueError("broken")
        return number + (previous or 0)

    await total.ainvoke(1, config)
    broken[0] = True
    with pytest.raises(ValueError, match="broken"):
        await total.ainvoke(2, config)
    assert (await total.aget_state(config)).values == 1
    broken[0] = False
    assert await total.ainvoke(None, config) == 3


async def test_it_takes_what_nodes_take(saver: Saver, config: RunnableConfig) -> None:
    """Config, runtime, store and writer; and the runtime has context, store and `previous`."""
    store = InMemoryStore()

    @task
    def in_a_task(value: Any, *, runtime: Runtime[Who], store: BaseStore) -> Any:
        return [value, runtime.context.name, type(store).__name__]

    @entrypoint(saver, store, context_schema=Who)
    async def flow(
        value: Any,
        config: RunnableConfig,
        here: Runtime[Who],
        writer: StreamWriter,
        *,
        store: BaseStore,
        previous: Any,
    ) -> Any:
        assert store is here.store
        assert previous == here.previous
        supplied: Any = in_a_task  # which its caller does not
        writer(await supplied(value))
        return [config["configurable"]["thread_id"], here.node, here.context.name]

    modes: list[StreamMode] = ["custom", "values"]
    for _ in range(2):
        events = await collect(flow.astream(1, config, stream_mode=modes, context=Who("ann")))
        assert events == [
            ("custom", [1, "ann", "InMemoryStore"]),
            ("values", [config["configurable"]["thread_id"], "flow", "ann"]),
        ]


async def test_without_a_checkpointer(config: RunnableConfig) -> None:
    """Nothing is kept, and there is nothing before."""

    @task
    async def double(number: int) -> int:
        return 2 * number

    @entrypoint()
    async def flow(number: int, *, previous: Any) -> Any:
        return [await double(number), previous]

    assert await flow.ainvoke(2) == [4, None]
    assert await flow.ainvoke(3) == [6, None]


async def test_questions_come_back_with_nothing_else(saver: Saver, config: RunnableConfig) -> None:
    """The result of the run before is not the result of this one."""

    @entrypoint(saver)
    async def flow(value: Any) -> Any:
        return {"answer": interrupt("?")} if value == "ask" else {"value": value}

    await flow.ainvoke("first", config)
    asked = await flow.ainvoke("ask", config)
    assert set(asked) == {"__interrupt__"}
    assert (await flow.aget_state(config)).next == ("flow",)
    assert await flow.ainvoke(Command(resume=1), config) == {"answer": 1}


async def test_events_are_langgraphs(saver: Saver, config: RunnableConfig) -> None:
    """No values before there are any; the question as an update and as values."""

    @entrypoint(saver)
    async def flow(value: Any) -> Any:
        return {"answer": interrupt("?")}

    modes: list[StreamMode] = ["updates", "values"]
    events = await collect(flow.astream("go", config, stream_mode=modes))
    assert [(mode, list(event)) for mode, event in events] == [
        ("updates", ["__interrupt__"]),
        ("values", ["__interrupt__"]),
    ]
    events = await collect(flow.astream(Command(resume=1), config, stream_mode=modes))
    assert events[-2:] == [("updates", {"flow": {"answer": 1}}), ("values", {"answer": 1})]


async def test_history_and_time_travel(saver: Saver, config: RunnableConfig) -> None:
    """Each run has its checkpoints; naming one runs the function from its input again."""
    runs = []

    @entrypoint(saver)
    async def total(number: int, *, previous: int | None) -> int:
        runs.append((number, previous))
        return number + (previous or 0)

    await total.ainvoke(1, config)
    await total.ainvoke(2, config)
    states = await history(total, config)
    assert [state.values for state in states if not state.next] == [3, 1]
    before = next(state for state in states if state.next == ("total",))
    assert await total.ainvoke(None, before.config) == 3
    assert runs == [(1, None), (2, 1), (2, 1)]
    (waiting,) = before.tasks
    assert (waiting.name, waiting.path) == ("total", ("__pregel_pull", "total"))


async def test_the_state_can_be_edited(saver: Saver, config: RunnableConfig) -> None:
    """What is written counts as the function's result; the next run has it as `previous`."""

    @entrypoint(saver)
    async def total(number: int, *, previous: int | None) -> int:
        return number + (previous or 0)

    await total.ainvoke(1, config)
    await total.aupdate_state(config, 100)
    assert (await total.aget_state(config)).values == 100
    assert await total.ainvoke(5, config) == 105


async def test_it_goes_on_after_a_cancellation(saver: Saver, config: RunnableConfig) -> None:
    """With the same input, which is not repeated as a new one."""
    begun, held = asyncio.Event(), [True]

    @entrypoint(saver)
    async def flow(value: str) -> str:
        if held[0]:
            begun.set()
            await asyncio.get_running_loop().create_future()
        return value.upper()

    run = asyncio.create_task(flow.ainvoke("go", config))
    await reached(begun, run)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    held[0] = False
    assert await flow.ainvoke("go", config) == "GO"
    inputs = [s for s in await history(flow, config) if (s.metadata or {})["source"] == "input"]
    assert len(inputs) == 1


@dataclass
class Question:
    """An input type."""

    text: str


@dataclass
class Reply:
    """A result type."""

    text: str
    parts: tuple[int, ...]


async def test_types_in_its_annotations_are_stored(saver: Saver, config: RunnableConfig) -> None:
    """Input, result and what is saved come back as they were."""

    @entrypoint(saver)
    async def flow(
        question: Question, *, previous: Question | None
    ) -> entrypoint.final[Reply, Question]:
        last = previous.text if previous else "nothing"
        return entrypoint.final(value=Reply(f"{question.text} {last}", (1, 2)), save=question)

    assert await flow.ainvoke(Question("a"), config) == Reply("a nothing", (1, 2))
    assert await flow.ainvoke(Question("b"), config) == Reply("b a", (1, 2))
    assert (await flow.aget_state(config)).values == Reply("b a", (1, 2))


async def test_large_inputs_and_results_are_stored_once(
    saver: Saver, config: RunnableConfig
) -> None:
    """A result that is saved as well, or returned again, is one value in the thread."""

    @entrypoint(saver)
    async def flow(value: dict[str, str]) -> dict[str, str]:
        return value

    for _ in range(3):
        await flow.ainvoke({"text": "x" * 50_000}, config)
    assert await bytes_of(saver, config) < 60_000


async def test_results_can_be_kept(saver: Saver, config: RunnableConfig) -> None:
    """The same input, on whatever thread: the function is not run, and what it saved is there."""
    runs: list[str] = []

    @entrypoint(saver, cache=InMemoryCache(), cache_policy=CachePolicy())
    async def flow(text: str, *, previous: int | None) -> entrypoint.final[str, int]:
        runs.append(text)
        return entrypoint.final(value=text.upper(), save=(previous or 0) + 1)

    assert await flow.ainvoke("a", config) == "A"
    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    events = await collect(flow.astream("a", other))
    assert events == [{"flow": "A", "__metadata__": {"cached": True}}]
    assert await flow.ainvoke("b", other) == "B"
    assert runs == ["a", "b"]
    with pytest.warns(CacheWarning, match="no cache"):
        entrypoint(cache_policy=CachePolicy())
    with pytest.raises(TypeError, match="InMemoryCache"):
        entrypoint(cache={})  # type: ignore[arg-type]


def test_what_is_no_entrypoint_is_refused() -> None:
    """At the definition, and with a word on what to do."""

    def nothing() -> None:
        pass

    def needs(value: Any, other: Any) -> None:
        pass

    def generate(value: Any) -> Any:
        yield value

    with pytest.raises(GraphDefinitionError, match="takes no input"):
        entrypoint()(nothing)  # type: ignore[arg-type]
    with pytest.raises(GraphDefinitionError, match="'other'"):
        entrypoint()(needs)
    with pytest.raises(GraphDefinitionError, match="is a generator"):
        entrypoint()(generate)
    with pytest.raises(TypeError, match=r"Write @entrypoint\(\)"):
        entrypoint(nothing)  # type: ignore[arg-type]


async def test_none_is_no_input(saver: Saver, config: RunnableConfig) -> None:
    """It means to go on, as everywhere."""

    @entrypoint(saver)
    async def flow(value: Any) -> Any:
        return value

    with pytest.raises(EmptyInputError):
        await flow.ainvoke(None, config)


async def test_it_is_a_compiled_graph() -> None:
    """With the function's name and docstring; a reducer in an annotation is no business of it."""

    @entrypoint(InMemorySaver())
    async def flow(value: Annotated[list[int], operator.add]) -> Annotated[int, "a number"]:
        """Adds up."""
        return sum(value)

    assert isinstance(flow, CompiledGraph)
    assert (flow.name, flow.__doc__) == ("flow", "Adds up.")
    assert await flow.ainvoke([1, 2], {"configurable": {"thread_id": "1"}}) == 3
