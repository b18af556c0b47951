"""Graphs to be cut off: small ones of every shape, whose nodes write down what they do."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

from durable_graph import (
    END,
    START,
    Command,
    NodeError,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    interrupt,
)
from tests.crash.harness.effects import EffectFile

__all__ = ["GRAPHS", "State"]


class State(TypedDict, total=False):
    """The state of all these graphs."""

    log: Annotated[list[str], operator.add]
    count: int
    ways: list[str]
    text: str


class Part(TypedDict):
    """What a `Send` carries."""

    number: int


def node(effects: EffectFile, name: str) -> Any:
    """A node that says its name."""

    async def run(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            return {"log": [name]}

    return run


def sync_node(effects: EffectFile, name: str) -> Any:
    """A node that says its name from a thread."""

    def run(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            return {"log": [name]}

    return run


async def turns(count: int) -> None:
    """Take so many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


def asking(effects: EffectFile, name: str, *questions: str) -> Any:
    """A node that asks one thing after the other."""

    async def run(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            return {"log": [f"{name}: {interrupt(question)}" for question in questions]}

    return run


def chain(effects: EffectFile) -> StateGraph:
    """One after the other; the second in a thread."""
    return (
        StateGraph(State)
        .add_sequence(
            [("a", node(effects, "a")), ("b", sync_node(effects, "b")), ("c", node(effects, "c"))]
        )
        .add_edge(START, "a")
    )


def loop(effects: EffectFile) -> StateGraph:
    """One node, three times."""

    async def again(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            count = state.get("count", 0) + 1
            return {"log": [f"again {count}"], "count": count}

    def route(state: State) -> str:
        return "again" if state["count"] < 3 else "last"

    return (
        StateGraph(State)
        .add_node("again", again)
        .add_node("last", node(effects, "last"))
        .add_edge(START, "again")
        .add_conditional_edges("again", route)
    )


def fan_out(effects: EffectFile) -> StateGraph:
    """Three at once, one of them in a thread, and then a join."""
    return (
        StateGraph(State)
        .add_node("a", node(effects, "a"))
        .add_node("b", sync_node(effects, "b"))
        .add_node("c", node(effects, "c"))
        .add_node("join", node(effects, "join"))
        .add_edge(START, "a")
        .add_edge(START, "b")
        .add_edge(START, "c")
        .add_edge(["a", "b", "c"], "join")
    )


def send(effects: EffectFile) -> StateGraph:
    """One packet for each part, and then a node that collects."""

    async def worker(part: Part, runtime: Runtime) -> State:
        with effects.of(runtime):
            await turns(part["number"] * 7 % 50 if part["number"] > 4 else 0)
            return {"log": [f"part {part['number']}"]}

    def split(state: State) -> list[Send]:
        return [Send("worker", {"number": number}) for number in range(state.get("count", 4))]

    return (
        StateGraph(State)
        .add_node("plan", node(effects, "plan"))
        .add_node("worker", worker)
        .add_node("collect", node(effects, "collect"))
        .add_edge(START, "plan")
        .add_conditional_edges("plan", split, ["worker"])
        .add_edge("worker", "collect")
    )


def question(effects: EffectFile) -> StateGraph:
    """A question between two nodes."""
    return (
        StateGraph(State)
        .add_sequence(
            [
                ("a", node(effects, "a")),
                ("ask", asking(effects, "ask", "which?")),
                ("c", node(effects, "c")),
            ]
        )
        .add_edge(START, "a")
    )


def questions(effects: EffectFile) -> StateGraph:
    """Questions side by side, one node with two of them, and a sibling that asks nothing."""
    return (
        StateGraph(State)
        .add_node("one", asking(effects, "one", "1?"))
        .add_node("two", asking(effects, "two", "2a?", "2b?"))
        .add_node("quiet", node(effects, "quiet"))
        .add_node("join", node(effects, "join"))
        .add_edge(START, "one")
        .add_edge(START, "two")
        .add_edge(START, "quiet")
        .add_edge(["one", "two", "quiet"], "join")
    )


def retry(effects: EffectFile) -> StateGraph:
    """A node that fails twice before it works, beside one that works."""

    async def flaky(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            if runtime.attempt < 3:
                raise ConnectionError("not yet")
            return {"log": ["flaky"]}

    return (
        StateGraph(State)
        .add_node("flaky", flaky, retry_policy=RetryPolicy(max_attempts=5, jitter=False))
        .add_node("calm", node(effects, "calm"))
        .add_node("join", node(effects, "join"))
        .add_edge(START, "flaky")
        .add_edge(START, "calm")
        .add_edge(["flaky", "calm"], "join")
    )


def handled(effects: EffectFile) -> StateGraph:
    """A node that fails for good beside one that works, its handler, and where that goes."""

    async def broken(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            raise ConnectionError("never")

    async def handler(
        state: State, error: NodeError, runtime: Runtime
    ) -> Command[Literal["after"]]:
        with effects.of(runtime):
            return Command(update={"log": [f"{error.node}: {error.text}"]}, goto="after")

    policy = RetryPolicy(max_attempts=2, jitter=False)
    return (
        StateGraph(State)
        .add_node("broken", broken, retry_policy=policy, error_handler=handler)
        .add_node("calm", node(effects, "calm"))
        .add_node("after", node(effects, "after"))
        .add_edge(START, "broken")
        .add_edge(START, "calm")
    )


def deferred(effects: EffectFile) -> StateGraph:
    """Branches of unequal length, and two nodes that wait for all of them."""
    graph = StateGraph(State).add_edge(START, "a")
    for name in "abc":
        graph.add_node(name, node(effects, name))
    for name in "yz":
        graph.add_node(name, node(effects, name), defer=True).add_edge("a", name)
    return graph.add_edge("a", "b").add_edge("b", "c").add_edge("c", "z")


def entry(effects: EffectFile) -> StateGraph:
    """Where it begins depends on the input."""

    async def route(state: State) -> list[str]:
        return state["ways"]

    return (
        StateGraph(State)
        .add_node("left", node(effects, "left"))
        .add_node("right", node(effects, "right"))
        .add_node("never", node(effects, "never"))
        .add_node("end", node(effects, "end"))
        .add_conditional_edges(START, route, ["left", "right", "never"])
        .add_edge("left", "end")
        .add_edge("right", "end")
        .add_edge("never", "end")
    )


def failing(effects: EffectFile) -> StateGraph:
    """A node that fails as long as the config says so, beside one that works."""

    async def broken(state: State, runtime: Runtime, config: dict[str, Any]) -> State:
        with effects.of(runtime):
            if config["configurable"].get("broken"):
                raise ValueError("broken")
            return {"log": ["broken"]}

    return (
        StateGraph(State)
        .add_node("broken", broken)
        .add_node("calm", node(effects, "calm"))
        .add_edge(START, "broken")
        .add_edge(START, "calm")
    )


def large(effects: EffectFile) -> StateGraph:
    """A value so large that it is stored apart."""

    async def write(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            return {"log": ["write"], "text": "x" * 100_000}

    async def read(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            return {"log": [f"read {len(state['text'])}"]}

    return (
        StateGraph(State).add_sequence([("write", write), ("read", read)]).add_edge(START, "write")
    )


def nested(effects: EffectFile) -> StateGraph:
    """A graph in a graph in a graph, with a question within and a sibling beside."""
    inner = fan_out(effects).compile()
    middle = (
        StateGraph(State)
        .add_node("first", node(effects, "first"))
        .add_node("inner", inner)
        .add_node("ask", asking(effects, "ask", "which?"))
        .add_sequence([("then", sync_node(effects, "then"))])
        .add_edge(START, "first")
        .add_edge("first", "inner")
        .add_edge("first", "ask")
        .add_edge(["inner", "ask"], "then")
    )
    return (
        StateGraph(State)
        .add_node("middle", middle.compile())
        .add_node("beside", node(effects, "beside"))
        .add_node("last", node(effects, "last"))
        .add_edge(START, "middle")
        .add_edge(START, "beside")
        .add_edge(["middle", "beside"], "last")
    )


def calling(effects: EffectFile) -> StateGraph:
    """A node that calls a graph twice, and then asks; and one whose graph remembers."""
    inner = chain(effects).compile()
    kept = question(effects).compile(checkpointer=True)

    async def call(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            first = await inner.ainvoke({"log": ["one"]})
            second = await inner.ainvoke({"log": ["two"]})
            answer = interrupt(f"after {len(second['log'])}?")
            return {"log": [*first["log"], answer, *second["log"]]}

    def remember(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            return {"log": kept.invoke({"log": [f"round {state.get('count', 0)}"]})["log"]}

    async def turn(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            return {"count": state.get("count", 0) + 1}

    return (
        StateGraph(State)
        .add_sequence([("call", call), ("remember", remember), ("turn", turn)])
        .add_edge(START, "call")
        .add_conditional_edges("turn", lambda state: "remember" if state["count"] < 2 else END)
    )


def wide(effects: EffectFile) -> StateGraph:
    """Eight at once, each of which takes longer than the one before, and then a join."""
    graph = StateGraph(State).add_node("join", node(effects, "join"))
    names = [f"w{number}" for number in range(8)]

    def slow(name: str, number: int) -> Any:
        async def run(state: State, runtime: Runtime) -> State:
            with effects.of(runtime):
                await turns(200 * number)
                return {"log": [name]}

        return run

    for number, name in enumerate(names):
        graph.add_node(name, slow(name, number)).add_edge(START, name)
    return graph.add_edge(names, "join")


def long(effects: EffectFile) -> StateGraph:
    """Twelve nodes one after the other, two fan-outs of three, a question, a node in a thread."""
    graph = StateGraph(State)
    last = START
    for number in range(12):
        name = f"n{number}"
        make = sync_node if number == 1 else node
        graph.add_node(name, make(effects, name)).add_edge(last, name)
        last = name
        if number in (4, 8):
            branches = [f"{name}-{letter}" for letter in "abc"]
            for branch in branches:
                graph.add_node(branch, node(effects, branch)).add_edge(name, branch)
            last = f"{name}-join"
            graph.add_node(last, node(effects, last)).add_edge(branches, last)
    graph.add_node("ask", asking(effects, "ask", "which?")).add_edge(last, "ask")
    return graph


GRAPHS: dict[str, Callable[[EffectFile], StateGraph]] = {
    build.__name__: build
    for build in (
        chain,
        loop,
        fan_out,
        send,
        question,
        questions,
        retry,
        handled,
        deferred,
        entry,
        failing,
        large,
        nested,
        calling,
        wide,
        long,
    )
}
