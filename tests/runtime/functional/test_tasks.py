"""`@task`: functions whose results are kept, in nodes and entrypoints alike."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from durable_graph import (
    START,
    CachePolicy,
    Command,
    InMemoryCache,
    RetryPolicy,
    StateGraph,
    entrypoint,
    get_runtime,
    interrupt,
    task,
)
from durable_graph.errors import (
    CacheWarning,
    GraphDefinitionError,
    InvalidUpdateError,
    StepOutcomeUnknownError,
)
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.functional.kit import Effects, steps_of
from tests.runtime.kit import Items, chain, collect, reached


class Flaky:
    """Fails once, then lets pass."""

    def __init__(self) -> None:
        self.left = 1

    def __call__(self) -> None:
        if self.left:
            self.left = 0
            raise OSError("not yet")


async def test_what_tasks_returned_is_kept(saver: Saver, config: RunnableConfig) -> None:
    """A flow that failed goes on with the results of the tasks that had finished."""
    effects, flaky = Effects(), Flaky()

    @task
    async def fetch(name: str) -> str:
        effects.append(name)
        return name.upper()

    @task
    def count(text: str) -> int:
        effects.append(text)
        return len(text)

    @entrypoint(saver)
    async def flow(names: list[str]) -> list[int]:
        texts = await asyncio.gather(*(fetch(name) for name in names))
        flaky()
        return [await count(text) for text in texts]

    with pytest.raises(OSError, match="not yet"):
        await flow.ainvoke(["ann", "bo"], config)
    assert await flow.ainvoke(["ann", "bo"], config) == [3, 2]
    assert effects == ["ann", "bo", "ANN", "BO"]


async def test_results_are_found_by_arguments_and_not_by_order(
    saver: Saver, config: RunnableConfig
) -> None:
    """LangGraph counts calls: there, the second run would get the results the wrong way round."""
    effects, flaky = Effects(), Flaky()

    @task
    async def double(number: int) -> int:
        effects.append(number)
        return 2 * number

    @entrypoint(saver)
    async def flow(_: Any) -> dict[int, int]:
        order = [1, 2] if flaky.left else [3, 2, 1]
        found = {number: await double(number) for number in order}
        flaky()
        return found

    with pytest.raises(OSError, match="not yet"):
        await flow.ainvoke("go", config)
    assert await flow.ainvoke("go", config) == {3: 6, 2: 4, 1: 2}
    assert effects == [1, 2, 3]


async def test_equal_calls_are_calls_of_their_own(saver: Saver, config: RunnableConfig) -> None:
    """Three throws of the same dice are three results, and stay those."""
    effects, flaky = Effects(), Flaky()

    @task
    async def throw() -> int:
        effects.append(1)
        return len(effects)

    @entrypoint(saver)
    async def flow(_: Any) -> list[int]:
        thrown = [await throw() for _ in range(3)]
        flaky()
        return thrown

    with pytest.raises(OSError, match="not yet"):
        await flow.ainvoke("go", config)
    assert await flow.ainvoke("go", config) == [1, 2, 3]


async def test_tasks_work_in_nodes_of_graphs(saver: Saver, config: RunnableConfig) -> None:
    """Sync nodes wait with `result()`, as with any future."""

    @task
    def double(number: int) -> int:
        return 2 * number

    def node(state: Items) -> Items:
        futures = [double(number) for number in range(4)]
        done, _ = concurrent.futures.wait(futures, timeout=60)
        assert len(done) == 4
        return {"items": [future.result() for future in futures]}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert result["items"] == [0, 2, 4, 6]


async def test_b2_a_retried_parent_does_not_start_a_running_task_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """The retried parent finds the very call that is still running, or what it has returned."""
    started, gate, begun = Effects(), asyncio.Event(), asyncio.Event()
    attempts: list[int] = []

    @task
    async def slow() -> str:
        started.append("slow")
        begun.set()
        await gate.wait()
        return "slow"

    @task
    async def quick() -> str:
        started.append("quick")
        return "quick"

    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)

    @entrypoint(saver, retry_policy=policy)
    async def flow(_: Any) -> list[str]:
        attempts.append(get_runtime().attempt)
        first, second = slow(), quick()
        await second
        await begun.wait()
        if len(attempts) == 1:
            raise OSError("not yet")
        gate.set()
        return [await first, await second]

    assert await flow.ainvoke("go", config) == ["slow", "quick"]
    assert (attempts, sorted(started)) == ([1, 2], ["quick", "slow"])


async def test_tasks_call_tasks(saver: Saver, config: RunnableConfig) -> None:
    """To any depth; what an unfinished one has done through others is not done again."""
    effects, flaky = Effects(), Flaky()

    @task
    async def leaf(number: int) -> int:
        effects.append(number)
        return number

    @task
    async def branch(number: int) -> int:
        found = sum(await asyncio.gather(leaf(number), leaf(number + 1)))
        flaky()
        return found

    @entrypoint(saver)
    async def tree(_: Any) -> int:
        return await branch(1) + await branch(1)

    with pytest.raises(OSError, match="not yet"):
        await tree.ainvoke("go", config)
    assert await tree.ainvoke("go", config) == 6
    # Those of the second branch are calls of their own, although they are equal.
    assert effects == [1, 2, 1, 2]


async def test_results_of_tasks_can_be_kept(saver: Saver, config: RunnableConfig) -> None:
    """For the same arguments, from another thread and flow; until they are forgotten."""
    effects, cache = Effects(), InMemoryCache()

    @task(cache_policy=CachePolicy())
    async def fetch(name: str, *, times: int = 1) -> Page:
        effects.append(name)
        return Page(name * times, ("w",))

    @entrypoint(saver, cache=cache)
    async def flow(name: str) -> str:
        return (await fetch(name, times=2)).title

    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    assert await flow.ainvoke("a", config) == "aa"
    assert await collect(flow.astream("a", other)) == [
        {"fetch": Page("aa", ("w",)), "__metadata__": {"cached": True}},
        {"flow": "aa"},
    ]
    assert [entry.cached for entry in await steps_of(saver, other)] == [True]
    assert await flow.ainvoke("b", config) == "bb"
    assert effects == ["a", "b"]
    await fetch.aclear_cache(cache)
    assert await flow.ainvoke("a", config) == "aa"
    assert effects == ["a", "b", "a"]


async def test_what_a_tasks_result_depends_on_can_be_said(
    saver: Saver, config: RunnableConfig
) -> None:
    """By `key_func`, of the arguments; what cannot be a key is refused, and says so."""
    effects, cache = Effects(), InMemoryCache()

    class Client:
        pass

    @task(cache_policy=CachePolicy(key_func=lambda client, name: name))
    async def good(client: Client, name: str) -> str:
        effects.append(name)
        return name

    @task(cache_policy=CachePolicy())
    async def bad(client: Client, name: str) -> str:
        raise AssertionError("it has no key")

    @entrypoint(saver, cache=cache)
    async def flow(name: str) -> str:
        first = await good(Client(), name)
        with pytest.raises(InvalidUpdateError, match="arguments of task 'bad' cannot be a key"):
            await bad(Client(), name)
        return first

    for _ in range(2):
        assert await flow.ainvoke("a", config) == "a"
    assert effects == ["a"]


async def test_a_broken_cache_keeps_no_task_from_running(
    saver: Saver, config: RunnableConfig
) -> None:
    """It is a convenience: the flow warns and goes on."""

    class Broken(InMemoryCache):
        async def aget(self, keys: Any) -> Any:
            raise ConnectionError("no cache")

    @task(cache_policy=CachePolicy())
    async def work() -> str:
        return "done"

    @entrypoint(saver, cache=Broken())
    async def flow(_: Any) -> str:
        return await work()

    with pytest.warns(CacheWarning, match="Task 'work' goes without its cache"):
        assert await flow.ainvoke("go", config) == "done"


async def test_so_many_tasks_run_at_once(saver: Saver, config: RunnableConfig) -> None:
    """As many as `max_concurrency` says; tasks that wait for others do not stand in their way."""
    running: list[int] = []
    most = [0]

    @task
    async def leaf(number: int) -> int:
        running.append(number)
        most[0] = max(most[0], len(running))
        await asyncio.sleep(0)
        running.remove(number)
        return number

    @task
    async def branch() -> int:
        return sum(await asyncio.gather(*(leaf(number) for number in range(10))))

    @entrypoint(saver)
    async def flow(_: Any) -> list[int]:
        return await asyncio.gather(*(branch() for _ in range(3)))

    limited: RunnableConfig = {**config, "max_concurrency": 1}
    assert await flow.ainvoke("go", limited) == [45, 45, 45]
    assert most == [1]
    wide: RunnableConfig = {"configurable": {"thread_id": "wide"}, "max_concurrency": 4}
    assert await flow.ainvoke("go", wide) == [45, 45, 45]
    assert 1 < most[0] <= 12


async def test_tasks_that_never_got_their_turn_end(saver: Saver, config: RunnableConfig) -> None:
    """A flow that fails leaves none behind, begun or not."""
    begun = Effects()

    @task
    async def hold(number: int) -> None:
        begun.append(number)
        await asyncio.get_running_loop().create_future()

    @entrypoint(saver)
    async def flow(_: Any) -> None:
        for number in range(3):
            hold(number)
        while not begun:
            await asyncio.sleep(0)
        raise ValueError("no")

    limited: RunnableConfig = {**config, "max_concurrency": 1}
    with pytest.raises(ValueError, match="no"):
        await flow.ainvoke("go", limited)
    assert begun == [0]


async def test_a_task_that_is_cancelled_at_once_leaves_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """Not even a warning that its coroutine was never awaited."""

    @task
    async def never() -> None:
        raise AssertionError("it was cancelled before it began")

    @entrypoint(saver)
    async def flow(_: Any) -> None:
        never()
        raise ValueError("no")

    for limit in (None, 1):
        with pytest.raises(ValueError, match="no"):
            await flow.ainvoke("go", {**config, "max_concurrency": limit})
    gc.collect()


async def test_a_task_that_is_not_idempotent_is_claimed(
    saver: Saver, config: RunnableConfig
) -> None:
    """By default a task whose outcome is unknown runs again; with `idempotent=False` nobody
    guesses."""
    begun = asyncio.Event()
    effects = Effects()

    @task(idempotent=False)
    async def pay(amount: int) -> str:
        effects.append(amount)
        begun.set()
        await asyncio.get_running_loop().create_future()
        return "paid"

    @entrypoint(saver)
    async def flow(amount: int) -> str:
        return await pay(amount)

    run = asyncio.create_task(flow.ainvoke(5, config))
    await reached(begun, run)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    with pytest.raises(StepOutcomeUnknownError, match="Task 'pay' of node 'flow'"):
        await flow.ainvoke(None, config)
    assert effects == [5]

    @task(name="pay", idempotent=False, reconcile=lambda claim: f"found {claim.args}")
    async def pay_again(amount: int) -> str:
        raise AssertionError("it is on record")

    graph = entrypoint(saver)(_named("flow", pay_again))
    assert await graph.ainvoke(None, config) == "found (5,)"


def _named(name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def named(amount: int) -> Any:
        return await function(amount)

    named.__name__ = name
    return named


async def test_tasks_are_tried_again(saver: Saver, config: RunnableConfig) -> None:
    """With a policy of their own, without running the flow again."""
    flaky, runs = Flaky(), []

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError))
    def work() -> str:
        flaky()
        return "done"

    @entrypoint(saver)
    async def flow(_: Any) -> str:
        runs.append(1)
        return await work()

    assert (await flow.ainvoke("go", config), runs) == ("done", [1])


async def test_a_task_can_ask(saver: Saver, config: RunnableConfig) -> None:
    """The question is the flow's; with the answer the task goes on, and others are not repeated."""
    effects = Effects()

    @task
    async def draft(topic: str) -> str:
        effects.append(topic)
        return f"about {topic}"

    @task
    async def review(text: str) -> str:
        return f"{text}: {interrupt(f'{text}?')}"

    @entrypoint(saver)
    async def flow(topic: str) -> str:
        return await review(await draft(topic))

    asked = await flow.ainvoke("cats", config)
    assert [question.value for question in asked["__interrupt__"]] == ["about cats?"]
    assert await flow.ainvoke(Command(resume="good"), config) == "about cats: good"
    assert effects == ["cats"]


async def test_errors_keep_their_type(saver: Saver, config: RunnableConfig) -> None:
    """What a task raises is what the flow catches."""

    class RefusedError(Exception):
        pass

    @task
    async def pay() -> None:
        raise RefusedError("no")

    @entrypoint(saver)
    async def flow(_: Any) -> str:
        try:
            await pay()
        except RefusedError as error:
            return str(error)
        return "paid"

    assert await flow.ainvoke("go", config) == "no"


@dataclass
class Page:
    """What a task makes and another takes."""

    title: str
    words: tuple[str, ...]


@task
async def read_page(title: str) -> Page:
    """Annotated with a type that no graph mentions."""
    return Page(title, ("a", "b"))


@task
async def count_words(page: Page) -> int:
    """Likewise."""
    return len(page.words)


async def test_types_in_annotations_of_tasks_are_stored(
    saver: Saver, config: RunnableConfig
) -> None:
    """And come back as they were, in a process that has only just begun."""
    flaky, seen = Flaky(), []

    def make() -> Any:
        @entrypoint(saver)
        async def flow(title: str) -> int:
            page = await read_page(title)
            seen.append(page)
            words = await count_words(page)
            flaky()
            return words

        return flow

    with pytest.raises(OSError, match="not yet"):
        await make().ainvoke("t", config)
    assert await make().ainvoke("t", config) == 2
    assert seen == [Page("t", ("a", "b"))] * 2


async def test_what_a_task_is(saver: Saver, config: RunnableConfig) -> None:
    """It has the function's name and docstring, and shows itself; it is no generator."""
    assert read_page.name == "read_page"
    assert read_page.__doc__ == "Annotated with a type that no graph mentions."
    assert repr(read_page) == "<task 'read_page'>"
    with pytest.raises(RuntimeError, match="Task 'read_page' works only inside a node"):
        read_page("t")
    with pytest.raises(GraphDefinitionError, match="has no name"):
        task(lambda: 1)

    def generate() -> Any:
        yield 1

    async def generate_async() -> Any:
        yield 1

    for function in (generate, generate_async):
        with pytest.raises(GraphDefinitionError, match="is a generator"):
            task(function)
    with pytest.raises(GraphDefinitionError, match="max_attempts"):
        task(retry_policy=RetryPolicy(max_attempts=0))(print)


async def test_tasks_are_streamed(saver: Saver, config: RunnableConfig) -> None:
    """In LangGraph's shapes: beginnings and ends as tasks, results as updates."""

    @task
    async def double(number: int, *, times: int = 1) -> int:
        return 2 * number * times

    @entrypoint(saver)
    async def flow(number: int) -> int:
        return await double(number, times=3)

    events = await collect(flow.astream(1, config, stream_mode=["tasks", "updates", "values"]))
    plain = [
        (m, {k: v for k, v in e.items() if k != "id"} if m == "tasks" else e) for m, e in events
    ]
    assert plain == [
        ("tasks", {"name": "flow", "input": 1, "triggers": ("__start__",)}),
        (
            "tasks",
            {"name": "double", "input": ((1,), {"times": 3}), "triggers": ("__pregel_push",)},
        ),
        ("updates", {"double": 6}),
        (
            "tasks",
            {"name": "double", "error": None, "result": {"__return__": 6}, "interrupts": []},
        ),
        ("updates", {"flow": 6}),
        ("tasks", {"name": "flow", "error": None, "result": {"__end__": 6}, "interrupts": []}),
        ("values", 6),
    ]


async def test_results_from_the_log_are_not_streamed_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """What is shown has happened just now."""
    flaky = Flaky()

    @task
    async def double(number: int) -> int:
        return 2 * number

    @entrypoint(saver)
    async def flow(number: int) -> int:
        found = await double(number)
        flaky()
        return found

    with pytest.raises(OSError, match="not yet"):
        await flow.ainvoke(1, config)
    assert await collect(flow.astream(None, config)) == [{"flow": 2}]


async def test_cursors_of_updates_grow(saver: Saver, config: RunnableConfig) -> None:
    """Each event of a result says where in the log it stands."""

    @task
    async def double(number: int) -> int:
        return 2 * number

    @entrypoint(saver)
    async def flow(number: int) -> int:
        return sum(await asyncio.gather(*(double(n) for n in range(number))))

    parts = await collect(flow.astream(5, config, stream_mode=["updates"], version="v2"))
    cursors = [tuple(map(int, str(part["cursor"]).split("."))) for part in parts]
    assert len(cursors) == 6
    assert cursors == sorted(set(cursors))


async def test_a_task_writes_one_entry(saver: Saver, config: RunnableConfig) -> None:
    """Its result; no claim, unless it is not idempotent."""

    @task
    async def double(number: int) -> int:
        return 2 * number

    graph = StateGraph(Items)

    async def node(state: Items) -> Items:
        return {"items": [await double(4)]}

    graph.add_node("node", node).add_edge(START, "node")
    await graph.compile(saver).ainvoke({"items": []}, config)
    assert [(e.kind, e.name, e.state) for e in await steps_of(saver, config)] == [
        ("task", "double", "done")
    ]
