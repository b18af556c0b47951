"""Random graphs that ask, answered by process after process: the end is that of a calm run.

Nodes ask, alone and in steps, have error handlers that ask, call graphs that ask, wait until all
else is done. In the wild run each call opens the file anew, at any durability, and answers some of
the questions, at times with an update beside it. Afterwards one of the checkpoints at which it
asked is branched from, and comes to the same end.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Command, InMemorySaver, Send, StateGraph, interrupt, step, task
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import Durability, RunnableConfig
from durable_graph_sqlite import SqliteSaver

LEVELS: list[Durability] = ["sync", "async", "exit"]
KINDS = ["say", "ask", "step", "calls", "task calls", "fails"]


class State(TypedDict, total=False):
    items: Annotated[list[Any], operator.add]
    packet: int
    beside: int


def node(rng: Random, name: str, depth: int, done: list[str]) -> Callable[[State], Any]:
    """What a node of some random kind does."""
    kind = rng.choice(KINDS[: 5 if depth < 2 else 3])
    if kind in ("calls", "task calls"):
        child = build(rng, None, name, depth + 1, done)

        async def call(state: State) -> State:
            result: Any = await child.ainvoke({"items": []})
            return {"items": result["items"]}

        async def call_in_task(state: State) -> State:
            called: State = await task(call)({})  # an update beside makes no other call of it
            return called

        return call if kind == "calls" else call_in_task

    async def effect() -> str:
        done.append(name)
        return name

    async def act(state: State) -> State:
        own = f"{name}{state.get('packet', '')}"
        if kind == "ask":
            return {"items": [own, interrupt(f"{own} one?"), interrupt(f"{own} two?")]}
        if kind == "step":
            doing, asking = step("do", effect), step("ask", lambda: interrupt(f"{own} in a step?"))
            return {"items": [await doing, await asking, interrupt(f"{own}?")]}
        return {"items": [own]}

    return act


async def fail(state: State) -> State:
    raise ValueError("fails")


def build(
    rng: Random, saver: Saver | None, path: str, depth: int, done: list[str]
) -> CompiledGraph:
    """A random graph; from equal random numbers, an equal one."""
    graph = StateGraph(State)
    names = [f"{'abc'[depth]}{number}" for number in range(rng.randint(2, 4))]
    for number, name in enumerate(names):
        does, defer = node(rng, f"{path}/{name}", depth, done), rng.random() < 0.2
        last = number == len(names) - 1
        if last and rng.random() < 0.3:  # nothing follows from an error handler by itself
            graph.add_node(name, fail, error_handler=does, defer=defer)
        else:
            graph.add_node(name, does, defer=defer)
        if number == 0 or rng.random() < 0.3:
            graph.add_edge(START, name)
        if number:
            graph.add_edge(names[number - 1], name)
    if rng.random() < 0.4:
        packets = [Send(names[0], {"packet": number}) for number in range(3)]
        graph.add_conditional_edges(START, lambda state: packets, [names[0]])
    return graph.compile(saver)


def answers(questions: Any) -> dict[str, str]:
    return {question.id: question.value.upper() for question in questions}


async def calm(seed: int) -> tuple[list[Any], list[str]]:
    done: list[str] = []
    graph = build(Random(seed), InMemorySaver(), "", 0, done)
    config: RunnableConfig = {"configurable": {"thread_id": "calm"}}
    result: Any = await graph.ainvoke({"items": ["in"]}, config)
    for _ in range(50):
        if not result.get("__interrupt__"):
            break
        result = await graph.ainvoke(Command(resume=answers(result["__interrupt__"])), config)
    return result["items"], done


@pytest.mark.parametrize("seed", range(6))
async def test_the_end_is_that_of_a_calm_run(seed: int, tmp_path: Path) -> None:
    """No answer is lost, no step is done twice, and no question asked again."""
    wild, done = Random(seed), list[str]()
    config: RunnableConfig = {"configurable": {"thread_id": "wild"}}
    given: Any = {"items": ["in"]}
    place, asked, ends = config, list[Any](), list[Any]()
    for count in range(300):
        async with SqliteSaver(tmp_path / "threads.db") as saver:
            graph = build(Random(seed), saver, "", 0, done)
            level = wild.choice(LEVELS)
            result: Any = await graph.ainvoke(given, place, durability=level)
            assert await saver.averify("wild") == []
            place, questions = config, list(result.get("__interrupt__", ()))
            snapshot = await graph.aget_state(config)
            assert [q.id for q in snapshot.interrupts] == [q.id for q in questions]
            if not questions:
                ends.append((result["items"], sorted(done)))
                if len(ends) == 2 or not asked:
                    break
                place = wild.choice(asked)
                before = (await graph.aget_state(place)).tasks
                again = answers([q for entry in before for q in entry.interrupts])
                given = Command(resume=again) if again and wild.random() < 0.6 else None
                continue
            asked.append(snapshot.config)
            some = answers(wild.sample(questions, wild.randint(1, len(questions))))
            beside: Any = {"beside": count} if wild.random() < 0.3 else None
            given = Command(resume=some, update=beside)
    items, effects = await calm(seed)
    assert ends[0] == (items, sorted(effects))
    assert [end for end, _ in ends] == [items] * len(ends)  # the branch does its steps itself
