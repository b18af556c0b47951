"""A thread under another version of its graph: it goes on, or is refused by name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import END, START, Command, Send, StateGraph, interrupt
from durable_graph.errors import IncompatibleGraphError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import identities


def typed(**keys: Any) -> Any:
    """A state with these keys."""
    return TypedDict("State", keys, total=False)  # type: ignore[operator]


def graph(
    state: Any, *nodes: tuple[str, Callable[..., Any]], saver: Saver, **options: Any
) -> CompiledGraph:
    """These nodes, one after the other."""
    built, before = StateGraph(state), START
    for name, action in nodes:
        built.add_node(name, action).add_edge(before, name)
        before = name
    return built.compile(saver, **options)


def writes(**update: Any) -> Callable[[Any], Any]:
    async def node(state: Any) -> Any:
        return update

    return node


async def nothing(state: Any) -> None:
    return None


async def refused(
    new: CompiledGraph, given: Any, config: RunnableConfig, saver: Saver, match: str
) -> None:
    """See that a call is refused, before anything runs and without a trace."""
    before = await identities(saver, config)
    with pytest.raises(IncompatibleGraphError, match=match):
        await new.ainvoke(given, config)
    assert await identities(saver, config) == before
    await new.aget_state(config)  # it stays readable
    assert [one async for one in new.aget_state_history(config)]


# -- state ---------------------------------------------------------------------------------------


@dataclass
class Old:
    x: int = 1
    y: str = "y"


class Mood(Enum):
    FINE = 1
    SAD = 2


def called(name: str, made: Any) -> Any:
    """A class under the name that another version of it had."""
    made.__qualname__ = made.__name__ = name
    return made


FEWER = called("Mood", Enum("Mood", {"SAD": 2}))
MORE = called("Mood", Enum("Mood", {"FINE": 1, "SAD": 2, "NEW": 3}))
GROWN = called("Old", make_dataclass("Old", [("x", int), ("y", str), ("z", int)]))
WITH_DEFAULT = called(
    "Old", make_dataclass("Old", [("x", int), ("y", str), ("z", int, field(default=0))])
)
RETYPED = called("Old", make_dataclass("Old", [("x", list), ("y", str)]))
RENAMED = called("Other", make_dataclass("Other", [("x", int), ("y", str)]))

# The type before, the value that is stored, the type after, and what is said; None if it fits.
KEYS: list[tuple[str, Any, Any, Any, str | None]] = [
    ("the same", str, "text", str, None),
    ("wider", int, 1, int | None, None),
    ("an int for a float", int, 1, float, None),
    ("narrower, and the value fits", int | str, 1, int, None),
    ("narrower, and it does not", int | str, "text", int, "of type .* that is no int"),
    ("another kind", str, "text", list[str], "of type str that is no list"),
    ("a bool is no int", bool, True, int, "of type bool that is no int"),
    ("items of another kind", list[int], [1], list[str], "is no list"),
    ("no items", list[int], [], list[str], None),
    ("values of another kind", dict[str, int], {"a": 1}, dict[str, str], "is no dict"),
    ("anything goes", str, "text", Any, None),
    ("any before", Any, [1], str, "that is no str"),
    ("a literal less", Literal["a", "b"], "a", Literal["b"], "is no typing.Literal"),
    ("a literal more", Literal["a"], "a", Literal["a", "b"], None),
    ("a tuple that is longer", tuple[int], (1,), tuple[int, int], "is no tuple"),
    ("an enum's member less", Mood, Mood.FINE, FEWER, "cannot be read any more"),
    ("an enum's member more", Mood, Mood.FINE, MORE, None),
    ("a field more", Old, Old(), GROWN, "stored Old has no 'z'"),
    ("a field with a default more", Old, Old(), WITH_DEFAULT, None),
    ("a field of another type", Old, Old(), RETYPED, "that is no Old"),
    ("a class by another name", Old, Old(), RENAMED, "UnknownTypeError"),
    ("a reducer, and nothing waits", str, "text", Annotated[str, operator.add], None),
]


@pytest.mark.parametrize(
    ("before", "value", "after", "match"), [k[1:] for k in KEYS], ids=[k[0] for k in KEYS]
)
async def test_a_key_whose_type_has_changed(
    before: Any,
    value: Any,
    after: Any,
    match: str | None,
    saver: Saver,
    config: RunnableConfig,
) -> None:
    """A stored value that the new type has no place for is refused, and any other is kept."""
    nodes = (("a", writes(k=value)), ("b", nothing))
    old = graph(typed(k=before), *nodes, saver=saver)
    await old.ainvoke({}, config, interrupt_before=["b"])
    new = graph(typed(k=after), *nodes, saver=saver)
    if match is None:
        assert "k" in await new.ainvoke(None, config)
        return
    await refused_but_for_reading(new, config, saver, match)
    assert await old.ainvoke(None, config) == {"k": value}


async def refused_but_for_reading(
    new: CompiledGraph, config: RunnableConfig, saver: Saver, match: str
) -> None:
    before = await identities(saver, config)
    for given in (None, {"k": None}):  # another input goes on with the state as well
        with pytest.raises(IncompatibleGraphError, match=f"key 'k' .*{match}"):
            await new.ainvoke(given, config)
    with pytest.raises(IncompatibleGraphError, match="'k'"):
        await new.aupdate_state(config, {}, as_node="a")
    assert await identities(saver, config) == before


async def test_a_key_that_is_gone(saver: Saver, config: RunnableConfig) -> None:
    """It is refused by its name, also on a thread that has finished: a new input would lose it."""
    nodes = (("a", writes(k="kept", other=1)),)
    old = graph(typed(k=str, other=int), *nodes, saver=saver)
    await old.ainvoke({}, config)
    new = graph(typed(other=int), ("a", nothing), saver=saver)
    await refused(new, {"other": 2}, config, saver, "key 'k' has a value, and the state has no")
    assert await new.ainvoke(None, config) == {"other": 1}  # which only reads
    assert (await old.ainvoke({"other": 2}, config))["k"] == "kept"


async def test_a_key_that_is_gone_and_was_never_written(
    saver: Saver, config: RunnableConfig
) -> None:
    """Nothing of it is stored, so nothing is lost."""
    old = graph(typed(k=str, other=int), ("a", writes(other=1)), ("b", nothing), saver=saver)
    await old.ainvoke({}, config, interrupt_before=["b"])
    new = graph(typed(other=int), ("a", nothing), ("b", nothing), saver=saver)
    assert await new.ainvoke(None, config) == {"other": 1}


async def test_new_keys_nodes_and_edges_are_fine(saver: Saver, config: RunnableConfig) -> None:
    """The thread goes on where it stands, along the edges of the new version."""
    log = Annotated[list[str], operator.add]
    old = graph(typed(log=log), ("a", writes(log=["a"])), ("b", writes(log=["b"])), saver=saver)
    await old.ainvoke({}, config, interrupt_before=["b"])
    new = graph(
        typed(log=log, more=int),
        ("a", writes(log=["a"])),
        ("b", writes(log=["b2"], more=1)),
        ("c", writes(log=["c"])),
        saver=saver,
    )
    assert await new.ainvoke(None, config) == {"log": ["a", "b2", "c"], "more": 1}


# -- tasks ---------------------------------------------------------------------------------------


def fan_out(saver: Saver, *, reducer: Any = operator.add, **kept: Callable[..., Any]) -> Any:
    """Nodes side by side, over a key with a reducer."""
    built = StateGraph(typed(log=Annotated[list[str], reducer] if reducer else list[str]))
    for name, action in kept.items():
        built.add_node(name, action).add_edge(START, name)
    return built.compile(saver)


async def asks(state: Any) -> Any:
    return {"log": [interrupt("?")]}


async def test_a_node_that_asks_is_gone(saver: Saver, config: RunnableConfig) -> None:
    """Neither an answer nor going on can be had; the version that asked still takes the answer."""
    old = fan_out(saver, ask=asks, say=writes(log=["said"]))
    await old.ainvoke({}, config)
    new = fan_out(saver, say=writes(log=["said"]))
    await refused(new, Command(resume="!"), config, saver, "node 'ask' is due")
    assert (await old.ainvoke(Command(resume="!"), config))["log"] == ["!", "said"]


async def test_the_node_of_a_finished_result_is_gone(saver: Saver, config: RunnableConfig) -> None:
    """What it leads to is for its edges to say, and there are none."""
    old = fan_out(saver, ask=asks, say=writes(log=["said"]))
    await old.ainvoke({}, config)
    new = fan_out(saver, ask=asks)
    await refused(new, Command(resume="!"), config, saver, "node 'say' is due")


async def test_another_input_drops_what_is_due(saver: Saver, config: RunnableConfig) -> None:
    """Then a node that is gone is not needed: the input runs, with the finished results kept."""
    old = fan_out(saver, ask=asks, say=writes(log=["said"]))
    await old.ainvoke({}, config)
    new = fan_out(saver, write=writes(log=["written"]))
    result = await new.ainvoke({"log": ["in"]}, config, on_pending="supersede")
    assert result["log"] == ["said", "in", "written"]


async def test_a_destination_of_a_finished_result_is_gone(
    saver: Saver, config: RunnableConfig
) -> None:
    """A command or packet that is stored leads to a node; that has to be there."""

    async def jumps(state: Any) -> Command[Any]:
        return Command(goto=["target", Send("sent", 1)])

    def build(*more: str) -> Any:
        built = StateGraph(typed(log=Annotated[list[str], operator.add]))
        built.add_node("jump", jumps, destinations=more).add_node("ask", asks)
        for name in more:
            built.add_node(name, nothing)
        return built.add_edge(START, "jump").add_edge(START, "ask").compile(saver)

    await build("target", "sent").ainvoke({}, config)
    for there, gone in (("target", "sent"), ("sent", "target")):
        text = f"node '{gone}' comes after a result that is stored"
        await refused(build(there), Command(resume="!"), config, saver, text)
    assert await build("target", "sent").ainvoke(Command(resume="!"), config) == {"log": ["!"]}


async def test_the_target_of_a_packet_is_gone(saver: Saver, config: RunnableConfig) -> None:
    """A packet that is due cannot be delivered to anyone else."""

    def build(node: str) -> Any:
        built = StateGraph(typed(log=Annotated[list[str], operator.add])).add_node(node, nothing)
        built.add_conditional_edges(START, lambda s: [Send(node, 1)], [node])
        return built.compile(saver)

    await build("sent").ainvoke({}, config, interrupt_before="*")
    await refused(build("other"), None, config, saver, "node 'sent' is due")


async def test_a_result_that_waits_for_another_reducer(
    saver: Saver, config: RunnableConfig
) -> None:
    """It was written to be combined by the one before; both are named."""
    old = fan_out(saver, ask=asks, say=writes(log=["said"]))
    await old.ainvoke({}, config)
    new = fan_out(saver, reducer=operator.or_, ask=asks, say=writes(log=["said"]))
    text = "key 'log' has a result of 'say' for the reducer add, and now has or_"
    await refused(new, Command(resume="!"), config, saver, text)
    none = fan_out(saver, reducer=None, ask=asks, say=writes(log=["said"]))
    await refused(none, Command(resume="!"), config, saver, "and now has none")


async def test_everything_that_is_missing_is_named(saver: Saver, config: RunnableConfig) -> None:
    """So one look tells what a version lacks."""
    old = graph(typed(k=int, l=int), ("a", writes(k=1, l=2)), ("b", nothing), saver=saver)
    await old.ainvoke({}, config, interrupt_before=["b"])
    new = graph(typed(other=int), ("c", nothing), saver=saver)
    text = "node 'b' is due.*; key 'k' has a value.*; key 'l' has a value.*migrations="
    await refused(new, None, config, saver, text)


async def test_a_branch_is_checked_like_the_head(saver: Saver, config: RunnableConfig) -> None:
    """What is due at the named checkpoint has to be there."""
    old = graph(typed(k=int), ("a", writes(k=1)), ("b", nothing), saver=saver)
    await old.ainvoke({}, config)
    checkpoints = {one.next: one.config async for one in old.aget_state_history(config)}
    at_b = checkpoints["b",]
    new = graph(typed(k=int), ("a", nothing), saver=saver)
    await refused(new, None, at_b, saver, "node 'b' is due")
    assert await new.ainvoke({"k": 3}, at_b) == {"k": 3}


async def test_an_edit_drops_a_node_that_is_gone(saver: Saver, config: RunnableConfig) -> None:
    """A thread can be brought to an end with any version that its state fits."""
    old = graph(typed(k=int), ("a", writes(k=1)), ("b", nothing), saver=saver)
    await old.ainvoke({}, config, interrupt_before=["b"])
    new = graph(typed(k=int), ("a", nothing), saver=saver)
    await new.aupdate_state(config, {"k": 2}, as_node=END)
    state = await new.aget_state(config)
    assert (state.values, state.next) == ({"k": 2}, ())


async def test_versions_may_alternate(saver: Saver, config: RunnableConfig) -> None:
    """As in a rolling deployment: each reads what the other wrote, as long as it fits."""
    log = Annotated[list[str], operator.add]
    old = graph(typed(log=log), ("a", writes(log=["old"])), saver=saver)
    new = graph(typed(log=log, more=int), ("a", writes(log=["new"])), saver=saver)
    for turn in range(4):
        result = await (old, new)[turn % 2].ainvoke({"log": [str(turn)]}, config)
    assert result["log"] == ["0", "old", "1", "new", "2", "old", "3", "new"]
