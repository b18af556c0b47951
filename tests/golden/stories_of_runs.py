"""Stories about how runs go: sends, joins, retries, levels of durability, snapshots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from durable_graph import END, START, Command, RetryPolicy, Send, StateGraph, interrupt
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from tests.golden.story import Items, Story, Telling, chain, says

__all__ = ["STORIES"]


# -- sends: from the start, from a router, from a command --------------------------------------


def _spread(state: Items) -> list[str | Send]:
    return ["plan", *(Send("work", {"number": number, "of": "start"}) for number in (1, 2))]


async def _work(packet: dict[str, Any]) -> Items:
    return {"items": [f"{packet['of']} {packet['number']}"], "count": packet["number"]}


async def _plan(state: Items) -> Command[Any]:
    packets = [Send("work", {"number": number, "of": ("a", "tuple")}) for number in (3, 4)]
    return Command(update={"last": "planned"}, goto=[*packets, "note"])


async def _note(state: Items) -> list[Any]:
    return [Command(update={"items": ["note"]}), Command(update={"items": ["twice"]})]


def _sends(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items)
    graph.add_node("plan", _plan, destinations=["work", "note"])
    graph.add_node("work", _work).add_node("note", _note)
    graph.add_conditional_edges(START, _spread, ["plan", "work"])
    return graph.compile(saver)


async def _tell_sends(story: Telling) -> None:
    await story.run({"items": ["input"]})
    await story.run(Command(update={"last": "again"}, goto=[Send("work", {"number": 9, "of": 0})]))


# -- joins: one source of two is a superstep later ---------------------------------------------


def _joins(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items)
    for name in ("quick", "slow", "slower", "slowest", "together"):
        graph.add_node(name, says(name))
    graph.add_edge(START, "quick").add_edge(START, "slow")
    graph.add_edge("slow", "slower").add_edge("slower", "slowest")
    graph.add_edge(["quick", "slowest"], "together")
    return graph.compile(saver)


async def _tell_joins(story: Telling) -> None:
    await story.run({"items": []})


# -- retries: a task that fails twice beside siblings that do not ------------------------------


def _failing(times: int) -> Callable[[Items], Awaitable[Items]]:
    left = [times]

    async def node(state: Items) -> Items:
        if left[0]:
            left[0] -= 1
            raise ConnectionError(f"no answer from \ud800 ({left[0]} more)")
        return {"items": ["at last"]}

    return node


def _retries(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items)
    graph.add_node("call", _failing(2), retry_policy=RetryPolicy(initial_interval=1.0))
    graph.add_node("a", says("a")).add_node("b", says("b"))
    for name in ("a", "b", "call"):
        graph.add_edge(START, name)
    return graph.compile(saver)


async def _tell_retries(story: Telling) -> None:
    await story.run({"items": []})


# -- other levels of durability ----------------------------------------------------------------


def _three(saver: Saver, trouble: bool) -> CompiledGraph:
    return chain(saver, ("a", says("a")), ("b", says("b", last="b")), ("c", says("c")))


async def _tell_async(story: Telling) -> None:
    await story.run({"items": ["input"]}, durability="async")


async def _tell_exit(story: Telling) -> None:
    await story.run({"items": ["input"]}, durability="exit")
    await story.run({"items": ["again"]}, durability="exit")


async def _ask_twice(state: Items) -> Items:
    first = interrupt("first?")
    return {"items": [first, interrupt({"second": first})]}


def _asking(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items).add_node("ask", _ask_twice).add_node("beside", says("beside"))
    graph.add_node("a", says("a")).add_edge(START, "a")
    return graph.add_edge("a", "ask").add_edge("a", "beside").compile(saver)


async def _tell_exit_asking(story: Telling) -> None:
    await story.run({"items": ["input"]}, durability="exit")
    await story.run(Command(resume="one"), durability="exit")


async def _end_asking(story: Telling) -> Any:
    return await story.run(Command(resume="two"))


# -- snapshots: a log that is longer than its state --------------------------------------------

_ROUNDS: Final = 12
_WORDS: Final = "and so on " * 30


async def _count(state: Items) -> Items:
    return {"count": 1, "last": f"round {state.get('count', 0)} {_WORDS}"}


def _again(state: Items) -> Literal["count", "__end__"]:
    return "count" if state["count"] % _ROUNDS else END


def _rounds(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items).add_node("count", _count).add_edge(START, "count")
    return graph.add_conditional_edges("count", _again).compile(saver)


async def _tell_rounds(story: Telling) -> None:
    await story.run({"items": ["begin"]})
    history = await story.history()
    # A branch that passes the snapshot by, since it begins before it.
    await story.edit({"items": ["aside"]}, at=history[-3].checkpoint_id, as_node=END)


STORIES: Final = (
    Story("sends", _sends, _tell_sends),
    Story("joins", _joins, _tell_joins),
    Story("retries", _retries, _tell_retries),
    Story("async", _three, _tell_async),
    Story("exit", _three, _tell_exit),
    Story("exit-asking", _asking, _tell_exit_asking, _end_asking),
    Story("snapshots", _rounds, _tell_rounds),
)
