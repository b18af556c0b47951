"""Retries: which errors, how often, how long between, and what survives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from durable_graph import START, InMemorySaver, RetryPolicy, Runtime, StateGraph
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.ports.clock import SystemChance
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import RunnableConfig, default_retry_on
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import Items, history, says


class HalfChance(SystemChance):
    def uniform(self) -> float:
        return 0.5


@pytest.fixture
def clock() -> FakeClock:
    """A clock on which every wait is over at once, and written down."""
    return FakeClock(jump=True)


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def timed(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Saver]:
    """A saver of each kind whose time is the test's."""
    made: Saver = (
        InMemorySaver(clock=clock, chance=HalfChance())
        if request.param == "memory"
        else SqliteSaver(tmp_path / "threads.db", clock=clock, chance=HalfChance())
    )
    yield made
    await made.aclose()


def failing(
    errors: Sequence[BaseException | None],
    saver: Saver | None,
    policy: RetryPolicy | Sequence[RetryPolicy] | None,
    seen: list[int],
) -> CompiledGraph:
    """A node that fails with these errors in turn, and notes which attempt it is told."""

    async def node(state: Items, runtime: Runtime) -> Items:
        seen.append(runtime.attempt)
        error = errors[len(seen) - 1] if len(seen) <= len(errors) else None
        if error is not None:
            raise error
        return {"items": ["done"]}

    graph = StateGraph(Items).add_node("before", says("before"))
    graph.add_node("node", node, retry_policy=policy)
    return graph.add_edge(START, "before").add_edge("before", "node").compile(saver)


def waits(clock: FakeClock, saver: Saver) -> list[float]:
    """The waits between attempts, without those of the saver's own heart."""
    return [seconds for seconds in clock.slept if seconds != saver.lease.interval]


STEADY = RetryPolicy(initial_interval=1.25, backoff_factor=3.0, max_attempts=5, jitter=False)


async def test_a_failed_node_is_tried_again_with_growing_waits(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """The wait before attempt n + 1 is the first wait times the factor to the n - 1."""
    seen: list[int] = []
    graph = failing([ConnectionError()] * 3, timed, STEADY, seen)
    assert (await graph.ainvoke({}, config))["items"] == ["before", "done"]
    assert (seen, waits(clock, timed)) == ([1, 2, 3, 4], [1.25, 3.75, 11.25])


async def test_no_wait_is_longer_than_the_policy_says(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """`max_interval` bounds the growth."""
    seen: list[int] = []
    policy = STEADY._replace(max_interval=3.0)
    await failing([ConnectionError()] * 3, timed, policy, seen).ainvoke({}, config)
    assert waits(clock, timed) == [1.25, 3.0, 3.0]


async def test_jitter_adds_up_to_a_second_of_chance(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """With jitter on, the saver's chance is added to each wait."""
    seen: list[int] = []
    policy = STEADY._replace(jitter=True)
    await failing([ConnectionError()] * 2, timed, policy, seen).ainvoke({}, config)
    assert waits(clock, timed) == [1.75, 4.25]


async def test_after_the_last_attempt_the_error_is_raised_as_it_is(
    timed: Saver, config: RunnableConfig
) -> None:
    """The node's own error comes out, with a note that says where it comes from."""
    seen: list[int] = []
    error = ConnectionError("gone")
    graph = failing([error] * 9, timed, STEADY._replace(max_attempts=2), seen)
    with pytest.raises(ConnectionError, match="gone") as caught:
        await graph.ainvoke({}, config)
    assert caught.value is error
    assert seen == [1, 2]
    assert any("node 'node'" in note and "attempt 2" in note for note in error.__notes__)
    state = await graph.aget_state(config)
    assert state.next == ("node",)
    assert state.tasks[0].error == "ConnectionError: gone"


@pytest.mark.parametrize("policy", [None, RetryPolicy(max_attempts=1)])
async def test_without_a_policy_there_is_one_attempt(
    policy: RetryPolicy | None, timed: Saver, config: RunnableConfig
) -> None:
    """Nothing is tried again that nobody asked to try again."""
    seen: list[int] = []
    with pytest.raises(ConnectionError):
        await failing([ConnectionError()], timed, policy, seen).ainvoke({}, config)
    assert seen == [1]


@pytest.mark.parametrize(
    ("retry_on", "error", "again"),
    [
        (KeyError, KeyError(), True),
        (LookupError, KeyError(), True),
        (KeyError, ValueError(), False),
        ((KeyError, OSError), TimeoutError(), True),
        ([KeyError, OSError], ValueError(), False),
        (lambda error: "again" in str(error), ValueError("again"), True),
        (lambda error: "again" in str(error), ValueError("no"), False),
    ],
)
async def test_a_policy_says_which_errors_it_is_for(
    retry_on: Any, error: Exception, again: bool, timed: Saver, config: RunnableConfig
) -> None:
    """A class, several classes, or a function that is asked."""
    seen: list[int] = []
    graph = failing([error], timed, STEADY._replace(retry_on=retry_on), seen)
    if again:
        await graph.ainvoke({}, config)
    else:
        with pytest.raises(type(error)):
            await graph.ainvoke({}, config)
    assert seen == ([1, 2] if again else [1])


async def test_of_several_policies_the_first_that_matches_decides(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """Each error finds its own policy; the attempts are counted together."""
    seen: list[int] = []
    policies = [
        STEADY._replace(retry_on=KeyError, initial_interval=1.0),
        STEADY._replace(retry_on=LookupError, initial_interval=10.0, max_attempts=3),
        STEADY._replace(retry_on=Exception, max_attempts=1),
    ]
    graph = failing([KeyError(), IndexError(), IndexError()], timed, policies, seen)
    with pytest.raises(IndexError):
        await graph.ainvoke({}, config)
    assert (seen, waits(clock, timed)) == ([1, 2, 3], [1.0, 30.0])


class Answer:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


class HttpError(Exception):
    def __init__(self, status: int) -> None:
        self.response = Answer(status)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionResetError(), True),
        (HttpError(503), True),
        (HttpError(404), False),
        (Exception(), True),
        (ValueError(), False),
        (RuntimeError(), False),
        (KeyError(), False),
        (FileNotFoundError(), False),
        (ZeroDivisionError(), False),
    ],
)
def test_the_default_tries_again_what_looks_passing(error: Exception, again: bool) -> None:
    """Connection trouble, server errors and the unknown, not mistakes of the program."""
    assert default_retry_on(error) is again


async def test_a_retried_node_gets_a_fresh_input(timed: Saver, config: RunnableConfig) -> None:
    """What the failed attempt did to its input is gone."""
    seen: list[Any] = []

    async def node(state: Items) -> None:
        seen.append(list(state["items"]))
        state["items"].append("spoilt")
        if len(seen) == 1:
            raise ConnectionError

    graph = StateGraph(Items).add_node("node", node, retry_policy=STEADY).add_edge(START, "node")
    await graph.compile(timed).ainvoke({"items": ["in"]}, config)
    assert seen == [["in"], ["in"]]


async def test_siblings_go_on_while_a_node_waits_for_its_next_attempt(
    tmp_path: Path, config: RunnableConfig
) -> None:
    """A wait is one task's own; siblings finish, and their results are stored meanwhile."""
    clock = FakeClock()
    saver = InMemorySaver(clock=clock)
    seen: list[int] = []
    graph = StateGraph(Items).add_node("good", says("good")).add_edge(START, "good")

    async def node(state: Items, runtime: Runtime) -> Items:
        seen.append(runtime.attempt)
        if runtime.attempt == 1:
            raise ConnectionError
        return {"items": ["late"]}

    compiled = graph.add_node("node", node, retry_policy=STEADY).add_edge(START, "node")
    run = asyncio.create_task(compiled.compile(saver).ainvoke({}, config))
    await clock.until_sleeping()
    state = await compiled.compile(saver).aget_state(config)
    assert (state.values["items"], state.next) == (["good"], ("node",))
    assert {task.name: task.error for task in state.tasks} == {
        "good": None,
        "node": "ConnectionError: ",
    }
    await clock.advance(1.2)
    assert seen == [1]
    await clock.advance(0.1)
    assert (await run)["items"] == ["good", "late"]


async def test_attempts_and_the_wait_survive_a_restart(
    tmp_path: Path, config: RunnableConfig
) -> None:
    """A thread that stopped while a node waited goes on with the next attempt, after the rest."""
    path, seen = tmp_path / "threads.db", list[int]()
    errors = [ConnectionError(), ConnectionError()]
    first = FakeClock()
    saver = SqliteSaver(path, clock=first)
    run = asyncio.create_task(failing(errors, saver, STEADY, seen).ainvoke({}, config))
    await until_slept(first, 1.25)
    await first.advance(0.25)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await saver.aclose()

    second = FakeClock(first.time())
    saver = SqliteSaver(path, clock=second)
    run = asyncio.create_task(failing(errors, saver, STEADY, seen).ainvoke(None, config))
    await until_slept(second, 1.0)
    assert seen == [1]
    await second.advance(1.0)
    await until_slept(second, 3.75)
    await second.advance(3.75)
    assert (await run)["items"] == ["before", "done"]
    assert seen == [1, 2, 3]
    await saver.aclose()


async def until_slept(clock: FakeClock, seconds: float) -> None:
    """Wait until somebody sleeps for so long."""
    async with asyncio.timeout(20):
        while seconds not in clock.slept:
            await asyncio.sleep(0)


async def test_the_count_of_attempts_begins_anew_when_a_failed_thread_is_gone_on_with(
    timed: Saver, config: RunnableConfig
) -> None:
    """A thread that has failed for good gets as many attempts again from the next call."""
    seen: list[int] = []
    graph = failing([ConnectionError()] * 3, timed, STEADY._replace(max_attempts=2), seen)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({}, config)
    assert (await graph.ainvoke(None, config))["items"] == ["before", "done"]
    assert seen == [1, 2, 1, 2]


async def test_retries_leave_no_checkpoints(timed: Saver, config: RunnableConfig) -> None:
    """A superstep that took four attempts is one checkpoint."""
    graph = failing([ConnectionError()] * 3, timed, STEADY, [])
    await graph.ainvoke({}, config)
    assert [s.next for s in await history(graph, config)] == [
        (),
        ("node",),
        ("before",),
        ("__start__",),
    ]


async def test_retries_work_without_a_checkpointer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is not stored tries again as well."""
    seen: list[int] = []
    policy = RetryPolicy(initial_interval=0.0, jitter=False)
    graph = failing([ConnectionError()], None, policy, seen)
    assert (await graph.ainvoke({}))["items"] == ["before", "done"]
    assert seen == [1, 2]


async def test_only_exceptions_are_tried_again(timed: Saver, config: RunnableConfig) -> None:
    """What is no `Exception`, such as `SystemExit`, ends the run at once."""

    class Stop(BaseException):
        pass

    seen: list[int] = []
    greedy: Callable[[Exception], bool] = lambda error: True  # noqa: E731
    graph = failing([Stop()], timed, STEADY._replace(retry_on=greedy), seen)
    with pytest.raises(Stop):
        await graph.ainvoke({}, config)
    assert seen == [1]


async def test_waits_stop_growing_however_often_a_node_fails(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """Even after so many attempts that the wait cannot be calculated any more."""
    seen: list[int] = []
    policy = RetryPolicy(backoff_factor=2**500, max_interval=3, max_attempts=9, jitter=False)
    graph = failing([ConnectionError()] * 6, timed, policy, seen)
    await graph.ainvoke({}, config)
    assert seen == [1, 2, 3, 4, 5, 6, 7]


async def test_a_changed_policy_or_clock_does_no_harm_to_a_wait(
    tmp_path: Path, config: RunnableConfig
) -> None:
    """What was waited for is on record; nothing makes it longer, and attempts are still counted."""
    for number, hours in enumerate((-1000, 0, 1000)):
        at: RunnableConfig = {"configurable": {"thread_id": str(number)}}
        path, seen = tmp_path / f"{number}.db", list[int]()
        errors = [ConnectionError()] * 9
        first = FakeClock()
        saver = SqliteSaver(path, clock=first)
        run = asyncio.create_task(failing(errors, saver, STEADY, seen).ainvoke({}, at))
        await until_slept(first, 1.25)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await saver.aclose()

        second = FakeClock(first.time() + 3600 * hours, jump=True)
        saver = SqliteSaver(path, clock=second)
        stricter = STEADY._replace(max_attempts=2, initial_interval=1000.0)
        with pytest.raises(ConnectionError):
            await failing(errors, saver, stricter, seen).ainvoke(None, at)
        assert seen == [1, 2]
        waited = [wait for wait in waits(second, saver) if wait]
        assert waited == {-1000: [1.25], 1000: []}.get(hours, waited)
        assert all(wait <= 1.25 for wait in waited)
        await saver.aclose()
