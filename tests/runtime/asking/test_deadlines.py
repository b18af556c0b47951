"""Questions with a deadline: until then an answer counts, from then on the default holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import BaseModel, field_validator

from durable_graph import Command, InMemorySaver, interrupt
from durable_graph.engine.runs.inbox import answer_message
from durable_graph.errors import (
    AlreadyAnsweredError,
    ConfigError,
    InterruptTimeoutError,
    InvalidAnswerError,
    PendingInterruptsError,
    ResponseSchemaError,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import UNSET, GivenAnswer, Interrupt, RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import Items, chain, fan, history, identities, key_of

Node = Callable[[Items], Awaitable[Items]]
AT = 1000.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(AT)


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def saver(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Any:
    """A saver whose time is turned by hand."""
    made: Saver = InMemorySaver(clock=clock)
    if request.param == "sqlite":
        made = SqliteSaver(tmp_path / "threads.db", clock=clock)
    yield made
    await made.aclose()


def asks(question: str = "?", *, runs: list[str] | None = None, **terms: Any) -> Node:
    async def node(state: Items) -> Items:
        if runs is not None:
            runs.append(question)
        return {"items": [interrupt(question, **terms)]}

    return node


async def asked(graph: CompiledGraph, config: RunnableConfig) -> dict[Any, Interrupt]:
    """The open questions, by what they ask."""
    return {q.value: q for q in (await graph.aget_state(config)).interrupts}


async def refused(
    graph: CompiledGraph, given: Any, config: RunnableConfig, saver: Saver, **options: Any
) -> None:
    """See that an answer comes too late, and changes nothing."""
    before = await identities(saver, config)
    with pytest.raises(AlreadyAnsweredError, match=r"The deadline .* has passed"):
        await graph.ainvoke(given, config, **options)
    assert await identities(saver, config) == before


@pytest.mark.parametrize("timeout", [60, 60.0, timedelta(minutes=1)])
async def test_the_question_shows_its_deadline(
    timeout: Any, saver: Saver, config: RunnableConfig
) -> None:
    """In the result, in the state, and in the history: as Unix time."""
    graph = chain(("ask", asks(timeout=timeout, default="no")), saver=saver)
    (told,) = (await graph.ainvoke({}, config))["__interrupt__"]
    (shown,) = (await graph.aget_state(config)).interrupts
    (past,) = (await history(graph, config))[0].interrupts
    assert told == shown == past
    assert told.deadline == AT + 60


async def test_an_answer_before_the_deadline_counts(
    saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """To the last moment; and the deadline that passes afterwards changes nothing."""
    graph = chain(("ask", asks(timeout=60, default="no")), ("two", asks("2?")), saver=saver)
    await graph.ainvoke({}, config)
    await clock.advance(59.9)
    await graph.ainvoke(Command(resume="yes"), config)
    await clock.advance(3600)
    assert (await graph.ainvoke(Command(resume="2"), config))["items"] == ["yes", "2"]


@pytest.mark.parametrize("late", [0.0, 3600.0])
@pytest.mark.parametrize("call", [None, {"items": ["in"]}], ids=["None", "same input"])
async def test_after_the_deadline_the_default_holds(
    call: Any, late: float, saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """Going on, by either way, takes it; and it is on record as an answer by the deadline."""
    graph = chain(("ask", asks(timeout=60, default={"no": None})), saver=saver)
    await graph.ainvoke({"items": ["in"]}, config)
    await clock.advance(30)
    assert "__interrupt__" in await graph.ainvoke(call, config)
    await clock.advance(30 + late)
    assert (await graph.ainvoke(call, config))["items"] == ["in", {"no": None}]
    given = [q.answer for one in await history(graph, config) for q in one.interrupts]
    assert given == [GivenAnswer({"no": None}, "deadline", AT + 60 + late)]


@pytest.mark.parametrize("default", [None, False, 0, "", [], {}])
async def test_the_default_may_be_any_value(
    default: Any, saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """None and other empty values included."""
    graph = chain(("ask", asks(timeout=1, default=default)), saver=saver)
    await graph.ainvoke({}, config)
    await clock.advance(1)
    assert (await graph.ainvoke(None, config))["items"] == [default]


async def test_an_answer_after_the_deadline_is_refused(
    saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """Bare, by id, or an input taken for one: nothing is changed, and the default still comes."""
    graph = chain(("ask", asks(timeout=60, default="no")), saver=saver)
    (question,) = (await graph.ainvoke({}, config))["__interrupt__"]
    await clock.advance(60)
    await refused(graph, Command(resume="yes"), config, saver)
    await refused(graph, Command(resume={question.id: "yes"}), config, saver)
    await refused(graph, {"last": 1}, config, saver, on_pending="answer")
    assert (await graph.ainvoke(None, config))["items"] == ["no"]


async def test_another_input_does_not_drop_what_ran_out_of_time(
    saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """The default has not been acted on yet: the input is refused, unless it supersedes it."""
    graph = chain(("ask", asks(timeout=60, default="no")), saver=saver)
    await graph.ainvoke({}, config)
    await clock.advance(60)
    with pytest.raises(PendingInterruptsError, match="no answer in time, a call with None"):
        await graph.ainvoke({"count": 1}, config)
    assert (await graph.ainvoke(None, config))["items"] == ["no"]


async def test_without_a_default_the_node_is_told(
    saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """`interrupt` raises, each time the node runs; who catches it goes on."""
    graph = chain(("ask", asks("in time?", timeout=60)), saver=saver)
    await graph.ainvoke({}, config)
    await clock.advance(60)
    for _ in range(2):
        with pytest.raises(InterruptTimeoutError, match="'ask' asked 'in time\\?'"):
            await graph.ainvoke(None, config)
    given = [q.answer for one in await history(graph, config) for q in one.interrupts]
    assert given == [GivenAnswer(UNSET, "deadline", AT + 60)]

    async def catching(state: Items) -> Items:
        try:
            return {"items": [interrupt("in time?", timeout=60)]}
        except TimeoutError:
            return {"items": ["too late"]}

    mended = chain(("ask", catching), saver=saver)
    assert (await mended.ainvoke(None, config))["items"] == ["too late"]


async def test_asking_again_keeps_the_deadline(
    saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """A node that runs again, for another answer or another's failure, does not begin anew."""
    failing = [True]

    async def node(state: Items) -> Items:
        first = interrupt("first?", timeout=60, default=1)
        if failing:
            raise KeyError("once")
        return {"items": [first, interrupt("second?", timeout=60, default=2)]}

    async def both(state: Items) -> Items:
        async def ask(question: str) -> Any:
            return interrupt(question, timeout=100, default=question)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(question)) for question in ("a?", "b?")]
        return {"items": [task.result() for task in tasks]}

    graph = fan(("node", node), ("both", both), saver=saver)
    await graph.ainvoke({}, config)
    await clock.advance(10)
    await graph.ainvoke(Command(resume={(await asked(graph, config))["a?"].id: "A"}), config)
    assert {q: i.deadline for q, i in (await asked(graph, config)).items()} == {
        "first?": AT + 60,
        "b?": AT + 100,
    }
    await clock.advance(50)
    with pytest.raises(KeyError):
        await graph.ainvoke(None, config)
    failing.clear()
    await clock.advance(10)
    await graph.ainvoke(None, config)
    assert (await asked(graph, config))["second?"].deadline == AT + 130
    await clock.advance(30)
    await graph.ainvoke(None, config)
    await clock.advance(30)
    assert (await graph.ainvoke(None, config))["items"] == [1, 2, "A", "b?"] or (
        await graph.ainvoke(None, config)
    )["items"] == ["A", "b?", 1, 2]


async def test_what_is_asked_again_keeps_the_deadline(
    saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """An answer that only the node could refuse wins no time, whatever the node says by now."""

    class Even(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def is_even(cls, n: int) -> int:
            if n % 2:
                raise ValueError("not even")
            return n

    def graph(timeout: int) -> CompiledGraph:
        async def node(state: Items) -> Items:
            terms: Any = {"timeout": timeout, "default": {"n": 8}}
            return {"items": [interrupt("?", response_schema=Even, **terms).n]}

        return chain(("ask", node), saver=saver)

    await graph(60).ainvoke({}, config)
    await clock.advance(30)
    elsewhere = graph(600)  # which has not seen the node ask, and so knows only the schema
    with pytest.raises(InvalidAnswerError, match="not even"):
        await elsewhere.ainvoke(Command(resume={"n": 3}), config)
    assert (await asked(elsewhere, config))["?"].deadline == AT + 60
    await clock.advance(30)
    assert (await elsewhere.ainvoke(None, config))["items"] == [8]


async def test_one_of_several_runs_out_of_time(
    saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """Its node goes on with the default; the others' questions stay open."""
    runs: list[str] = []
    graph = fan(
        ("a", asks("a?", runs=runs, timeout=60, default="A")),
        ("b", asks("b?", runs=runs, timeout=120, default="B")),
        ("c", asks("c?", runs=runs)),
        saver=saver,
    )
    await graph.ainvoke({}, config)
    runs.clear()
    await clock.advance(60)
    await graph.ainvoke(None, config)
    assert (runs, list(await asked(graph, config))) == (["a?"], ["b?", "c?"])
    await clock.advance(60)
    # A bare answer is for the one question that can still be answered; the rest is over.
    assert (await graph.ainvoke(Command(resume="C"), config))["items"] == ["A", "B", "C"]


async def test_a_run_that_goes_on_takes_the_default_at_the_end_of_the_superstep(
    saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """The deadline passes while a sibling is at work: nobody has to call again."""
    go = asyncio.Event()

    async def slow(state: Items) -> Items:
        await go.wait()
        return {"items": ["slow"]}

    graph = fan(("ask", asks(timeout=60, default="no")), ("slow", slow), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until_asked(graph, config, run)
    await clock.advance(60)
    go.set()
    assert (await run)["items"] == ["no", "slow"]


async def test_no_time_at_all(saver: Saver, config: RunnableConfig) -> None:
    """A timeout of nothing is over as the question is asked: the default holds at once."""
    graph = chain(("ask", asks(timeout=0, default="no")), saver=saver)
    assert (await graph.ainvoke({}, config))["items"] == ["no"]


async def until_asked(graph: CompiledGraph, config: RunnableConfig, run: asyncio.Task[Any]) -> str:
    for _ in range(10_000):
        if found := (await graph.aget_state(config)).interrupts:
            return found[0].id
        if run.done():
            await run
        await asyncio.sleep(0)
    raise AssertionError("Nothing was asked.")


@pytest.mark.parametrize(
    ("left", "verdict", "answer"),
    [(59.0, "", "yes"), (60.0, "late", "no")],
    ids=["in time", "late"],
)
async def test_what_was_left_counts_by_when_it_was_left(
    left: float,
    verdict: str,
    answer: str,
    saver: Saver,
    config: RunnableConfig,
    clock: FakeClock,
) -> None:
    """An answer that waits for a busy owner was given when it was left, not when it was seen."""
    go = asyncio.Event()

    async def slow(state: Items) -> None:
        await go.wait()

    graph = fan(("ask", asks(timeout=60, default="no")), ("slow", slow), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    name = await until_asked(graph, config, run)
    message = answer_message("m", {name: b'"yes"'}, None, AT + left)
    await saver.backend.post(key_of(config), message)
    await clock.advance(100)
    go.set()
    assert (await run)["items"] == [answer]
    assert (await saver.backend.post(key_of(config), message)).verdict == verdict


async def test_an_answer_to_a_running_thread_after_the_deadline_is_refused(
    saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """It does not even get into the inbox."""
    go = asyncio.Event()

    async def slow(state: Items) -> None:
        await go.wait()

    graph = fan(("ask", asks(timeout=60, default="no")), ("slow", slow), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until_asked(graph, config, run)
    await clock.advance(60)
    with pytest.raises(AlreadyAnsweredError, match="deadline"):
        await graph.ainvoke(Command(resume="yes"), config)
    go.set()
    assert (await run)["items"] == ["no"]


async def test_a_branch_keeps_the_deadline(
    saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """Answering an earlier checkpoint is possible until the deadline; asking anew always is."""
    graph = chain(("ask", asks(timeout=60, default="no")), saver=saver)
    await graph.ainvoke({}, config)
    asking = (await history(graph, config))[0].config
    await graph.ainvoke(Command(resume="yes"), config)
    await clock.advance(30)
    assert (await graph.ainvoke(Command(resume="else"), asking))["items"] == ["else"]
    await clock.advance(30)
    await refused(graph, Command(resume="late"), asking, saver)
    (question,) = (await graph.ainvoke(None, asking))["__interrupt__"]
    assert question.deadline == AT + 120
    assert (await graph.ainvoke(Command(resume="anew"), config))["items"] == ["anew"]


async def test_the_default_is_an_answer_of_its_schema(
    saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """One that does not fit is a mistake of the node's; one that does is made into its type."""
    schema = {"type": "integer"}
    graph = chain(("ask", asks(timeout=1, default="no", response_schema=schema)), saver=saver)
    with pytest.raises(ResponseSchemaError, match="default of node 'ask'"):
        await graph.ainvoke({}, config)
    typed = asks(timeout=1, default=(1, 2), response_schema=tuple[int, int])
    mended = chain(("ask", typed), saver=saver)
    await mended.ainvoke(None, config)
    await clock.advance(1)
    assert (await mended.ainvoke(None, config))["items"] == [(1, 2)]


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "60", True, timedelta(-1)])
async def test_a_timeout_is_a_length_of_time(
    timeout: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Anything else is refused where the question is asked."""
    with pytest.raises(ValueError, match="A timeout is some seconds"):
        await chain(("ask", asks(timeout=timeout)), saver=saver).ainvoke({}, config)


async def test_a_default_needs_a_timeout(saver: Saver, config: RunnableConfig) -> None:
    """There is no moment from which it would hold."""
    with pytest.raises(ValueError, match="give timeout="):
        await chain(("ask", asks(default="no")), saver=saver).ainvoke({}, config)


async def test_nobody_answers_by_the_name_of_the_deadline(
    saver: Saver, config: RunnableConfig
) -> None:
    """So the record can be trusted to tell a person from the clock."""
    with pytest.raises(ConfigError, match="'deadline'"):
        await chain(("ask", asks()), saver=saver).ainvoke({}, config, by="deadline")


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_deadlines_hold_in_every_durability(
    durability: Any, saver: Saver, config: RunnableConfig, clock: FakeClock
) -> None:
    """What is stored at the run's end has the terms of its questions."""
    graph = chain(
        ("ask", asks(timeout=60, default="no")), ("next", asks("next?", timeout=60)), saver=saver
    )
    await graph.ainvoke({}, config, durability=durability)
    await clock.advance(60)
    await graph.ainvoke(None, config, durability=durability)
    assert (await asked(graph, config))["next?"].deadline == AT + 120
    await clock.advance(60)
    with pytest.raises(InterruptTimeoutError):
        await graph.ainvoke(None, config, durability=durability)
