"""`crash_sweep` lets sound graphs pass, and says of others which crash can be seen, and in what."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from durable_graph import (
    START,
    InMemorySaver,
    RetryPolicy,
    Runtime,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.testing import CrashSweepError, EffectLog, crash_sweep
from durable_graph_sqlite import SqliteSaver
from tests.testing.graphs import SOUND, WRONG, Log, order


def sqlite(folder: Path) -> Saver:
    """No power is cut here, so nothing has to wait for the disk."""
    return SqliteSaver(folder / "threads.db", synchronous="normal")


def keyed(runtime: Any) -> str:
    """The proper key."""
    key: str = runtime.idempotency_key
    return key


@pytest.mark.parametrize("make_saver", [None, sqlite], ids=["memory", "sqlite"])
@pytest.mark.parametrize("name", SOUND)
async def test_a_sound_graph_passes(
    name: str, make_saver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is crashed before and after each call, nobody can tell, and nobody complains."""
    build, given = SOUND[name]
    service = EffectLog("payments")
    swept = await crash_sweep(
        build(service, keyed).compile,
        given,
        answers=["yes", "yes again"],
        effects=service,
        make_saver=make_saver,
    )
    writes = [point for point in swept.points if "append" in point.what]
    assert len(swept.points) > len(writes) >= 6
    assert {point.when for point in swept.points} == {"before", "after"}
    assert {point.call for point in swept.points} == set(range(1, len(swept.points) // 2 + 1))
    assert caplog.records == []


async def test_a_function_as_a_graph_passes() -> None:
    """What `make_graph` returns may be an entrypoint as well."""
    service = EffectLog()

    @task
    async def charge(number: int, runtime: Runtime) -> str:
        service.add(f"charge {number}", key=runtime.idempotency_key)
        return f"charged {number}"

    def make(saver: Saver) -> CompiledGraph:
        @entrypoint(saver)
        async def flow(number: int) -> list[str]:
            charged = [await charge(one) for one in range(number)]
            return [*charged, interrupt("Enough?")]

        return flow

    await crash_sweep(make, 2, answers=["yes"], effects=service)
    service.check(["charge 0", "charge 1"])


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_it_holds_at_every_durability(durability: Any) -> None:
    """What a run loses by its durability is done again under the same key, if it has that yet."""
    service = EffectLog()
    build, given = SOUND["chat"]
    swept = await crash_sweep(build(service, keyed).compile, given, durability=durability)
    assert [message["content"] for message in swept.values["messages"]] == [
        "Hi",
        "Hello",
        "Goodbye",
    ]


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_graph_is_caught(name: str) -> None:
    """The error says what differs, after which crashes, and how to see the first alone."""
    bind, given, finding = WRONG[name]
    service = EffectLog("service")
    with pytest.raises(CrashSweepError) as caught:
        await crash_sweep(bind(service), given, answers=["yes"], effects=service)
    text = str(caught.value)
    assert re.search(finding, text), text
    where = caught.value.findings
    assert any(re.search(finding.rpartition("\n")[2], line) for line in where)
    if "Without any crash" not in finding:
        first = next(points[0] for points in where.values() if points)
        assert f'only=({first.call}, "{first.when}")' in text
        assert f"{first.when} storage call {first.call} ({first.what})" in text


async def test_a_crash_is_seen_again_alone() -> None:
    """`only` crashes at the one point that the error has named."""
    service = EffectLog()
    graph = order(service, lambda runtime: None)
    with pytest.raises(CrashSweepError) as caught:
        await crash_sweep(graph.compile, {}, answers=["yes"], effects=service)
    (points,) = caught.value.findings.values()
    (point,) = points
    assert (point.when, point.what) == ("before", "append: step 2, of pay")
    assert len(caught.value.points) > 10
    with pytest.raises(CrashSweepError) as again:
        await crash_sweep(
            graph.compile,
            {},
            answers=["yes"],
            effects=service,
            only=(point.call, point.when),
        )
    assert again.value.findings == caught.value.findings
    assert again.value.points == [point]
    passed = await crash_sweep(
        graph.compile, {}, answers=["yes"], effects=service, only=(point.call, "after")
    )
    assert len(passed.points) == 1


async def test_questions_without_an_answer_stay_open() -> None:
    """They are what the run ends with, and a crash must not change them."""
    service = EffectLog()
    swept = await crash_sweep(order(service, keyed).compile, {"log": ["ordered"]}, effects=service)
    assert swept.values == {"log": ["ordered"]}
    assert service.calls == ()


async def test_a_run_that_stops_is_not_pushed_on() -> None:
    """Whoever goes on after a crash leaves a thread alone that has come to its breakpoint."""
    service = EffectLog()
    graph = order(service, keyed)
    swept = await crash_sweep(
        graph.compile, {}, answers=["yes"], effects=service, interrupt_before=["tell"]
    )
    assert swept.values == {"log": ["paid"], "approved": "yes"}
    service.check(["charge"])


async def test_answers_may_come_from_a_function() -> None:
    """It is given the question."""
    service, asked = EffectLog(), set()

    def answer(question: Any) -> str:
        asked.add(question.value)
        return "of course"

    swept = await crash_sweep(order(service, keyed).compile, {}, answers=answer, effects=service)
    assert swept.values == {"log": ["paid", "told of course"], "approved": "of course"}
    assert asked == {"Pay?"}


async def test_a_graph_that_plays_dice_is_refused() -> None:
    """If two undisturbed runs differ, there is nothing to compare with."""
    runs = iter(range(1000))

    def dice(state: Log) -> Log:
        return {"log": [f"rolled {next(runs)}"]}

    graph = StateGraph(Log).add_node(dice).add_edge(START, "dice")
    with pytest.raises(ValueError, match=r"Two undisturbed runs differ.*rolled 1.*rolled 0"):
        await crash_sweep(graph.compile, {})
    swept = await crash_sweep(graph.compile, {}, compare_by=lambda state: len(state["log"]))
    assert swept.values == 1


async def test_the_savers_have_to_be_used() -> None:
    """A graph on a saver of its own would not be crashed at all."""
    graph = StateGraph(Log).add_node("a", lambda state: {}).add_edge(START, "a")
    with pytest.raises(ValueError, match="with the saver it is given"):
        await crash_sweep(lambda saver: graph.compile(InMemorySaver()), {})


async def test_a_long_run_is_not_swept_by_accident() -> None:
    """The error says how long it is."""
    build, given = SOUND["chat"]
    with pytest.raises(ValueError, match=r"makes (\d+) storage calls.*limit=\1"):
        await crash_sweep(build(EffectLog(), keyed).compile, given, limit=3)


async def test_a_point_that_is_not_there_is_told() -> None:
    """Else a sweep of nothing would pass."""
    build, given = SOUND["chat"]
    with pytest.raises(ValueError, match=r"there is no \(999, 'after'\)"):
        await crash_sweep(build(EffectLog(), keyed).compile, given, only=(999, "after"))


async def test_an_error_without_a_crash_is_raised_as_it_is() -> None:
    """It is not the crashes' fault."""

    def fails(state: Log) -> Log:
        raise LookupError("nothing there")

    graph = StateGraph(Log).add_node(fails).add_edge(START, "fails")
    with pytest.raises(LookupError, match="nothing there"):
        await crash_sweep(graph.compile, {})


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_node_has_the_time_it_may_take(is_async: bool) -> None:
    """A sweep waits in real time: else every node with a timeout would be given up at once."""

    async def slow(state: Log) -> Log:
        await asyncio.sleep(0.01)
        return {"log": ["slow"]}

    def blocking(state: Log) -> Log:
        threading.Event().wait(0.01)
        return {"log": ["slow"]}

    graph = StateGraph(Log).add_node("node", slow if is_async else blocking, timeout=30)
    swept = await crash_sweep(graph.add_edge(START, "node").compile, {})
    assert swept.values == {"log": ["slow"]}


async def test_a_retry_is_gone_through_again() -> None:
    """A node that fails once, and its process with it, ends like one that only fails."""

    def make(saver: Saver) -> CompiledGraph[Log]:
        async def flaky(state: Log, runtime: Runtime) -> Log:
            if runtime.attempt == 1:
                raise ConnectionError
            return {"log": ["second"]}

        policy = RetryPolicy(initial_interval=0.001, jitter=False)
        builder = StateGraph(Log).add_node("flaky", flaky, retry_policy=policy)
        return builder.add_edge(START, "flaky").compile(saver)

    assert (await crash_sweep(make, {})).values == {"log": ["second"]}


async def test_a_dead_threads_effects_do_not_count() -> None:
    """A thread cannot be killed, but what it does after its process's death has no effect."""
    service = EffectLog()
    began, go, late = threading.Event(), threading.Event(), threading.Event()
    lives = 0

    def slow(state: Log) -> Log:
        dies = lives == 5
        began.set()
        if dies:
            go.wait(10)
            try:
                service.add("slow")
            finally:
                late.set()
        else:
            late.wait(10)
            service.add("slow")
        return {"log": ["slow"]}

    async def quick(state: Log) -> Log:
        await asyncio.to_thread(began.wait, 10)
        return {"log": ["quick"]}

    graph = StateGraph(Log).add_node(slow).add_node(quick)
    graph.add_edge(START, "slow").add_edge(START, "quick")

    def make(saver: Saver) -> CompiledGraph[Log]:
        nonlocal lives
        lives += 1  # each undisturbed run has two, so that the fifth is the one that dies
        began.clear()
        if lives < 5:
            late.set()
        elif lives == 5:
            late.clear()
        else:
            go.set()
        return graph.compile(saver)

    # It dies when the quick one's result is stored, while the slow one is still at work.
    swept = await crash_sweep(make, {}, effects=service, only=(4, "after"))
    assert swept.points[0].what == "append: a task's result"
    assert swept.values == {"log": ["quick", "slow"]}
    assert late.is_set()
    assert service.happened == ["slow"]
    assert lives == 7
