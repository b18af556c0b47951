"""What a node may return, and what becomes of an update that cannot be taken."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any, TypedDict

import pytest

from durable_graph import START, Command, Overwrite, Send, StateGraph
from durable_graph.errors import InvalidUpdateError, UnknownKeyWarning
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, fan, identities, key_of, says


class Lean(TypedDict, total=False):
    """Only what one node reads."""

    last: Any


@pytest.mark.parametrize(
    ("returned", "items", "last"),
    [
        (None, ["in"], None),
        ({}, ["in"], None),
        ({"items": ["a"]}, ["in", "a"], None),
        ({"last": 1}, ["in"], 1),
        (Command(), ["in"], None),
        (Command(update={"items": ["a"], "last": 2}), ["in", "a"], 2),
        (Command(update=[("items", ["a"]), ("last", 3)]), ["in", "a"], 3),
        ([Command(update={"items": ["a"]}), {"items": ["b"]}, Command()], ["in", "a", "b"], None),
        ({"items": Overwrite(["only"])}, ["only"], None),
        ({"items": {"__overwrite__": ["only"]}}, ["only"], None),
        ({"items": {"type": "__overwrite__", "value": ["only"]}}, ["only"], None),
        ({"items": asdict(Overwrite(["only"]))}, ["only"], None),
        ({"last": Overwrite(5)}, ["in"], 5),
    ],
)
async def test_what_a_node_may_return(
    returned: Any, items: list[str], last: Any, saver: Saver, config: RunnableConfig
) -> None:
    """A dict, None, a Command, several of these, and a value that goes past the reducer."""

    async def node(state: Items) -> Any:
        return returned

    graph = chain(("node", node), saver=saver)
    result = await graph.ainvoke({"items": ["in"]}, config)
    assert (result["items"], result.get("last")) == (items, last)
    saver.hot.take(key_of(config))
    assert (await graph.aget_state(config)).values == result


@pytest.mark.parametrize(
    ("returned", "says_what"),
    [
        (3, "Node 'node' returned int; a node returns a dict"),
        ("text", "Node 'node' returned str"),
        ([1, 2], "Node 'node' returned list"),
        ({"items": [object()]}, "Node 'node' cannot write this to 'items'"),
        ({"last": {1: open}}, "Node 'node' cannot write this to 'last'"),
        (Command(goto="no"), "A command of 'node' leads to 'no', which is no node"),
        (Command(graph="__parent__"), "for the graph '__parent__'; there is no graph around"),
    ],
)
async def test_an_update_that_cannot_be_taken_fails_the_run_at_its_last_good_step(
    returned: Any, says_what: str, saver: Saver, config: RunnableConfig
) -> None:
    """The error names node and key, the state is that of before, and the node is still due."""

    async def node(state: Items) -> Any:
        return returned

    graph = chain(("before", says("before")), ("node", node), saver=saver)
    with pytest.raises(InvalidUpdateError, match=re.escape(says_what)):
        await graph.ainvoke({}, config)
    state = await graph.aget_state(config)
    assert (state.values, state.next) == ({"items": ["before"], "count": 0}, ("node",))


@pytest.mark.filterwarnings("ignore:Not all finished results:UserWarning")
@pytest.mark.parametrize(
    ("returned", "says_what"),
    [
        ({"items": 5}, "The reducer of 'items' failed on what node 'node' wrote: TypeError"),
        (
            [Command(update={"last": 1}), Command(update={"last": 2})],
            "'node' wrote more than one value to 'last'",
        ),
    ],
)
async def test_an_update_that_does_not_fit_the_others_fails_the_run(
    returned: Any, says_what: str, saver: Saver, config: RunnableConfig
) -> None:
    """What is found out only when the superstep closes is not in the state either."""

    async def node(state: Items) -> Any:
        return returned

    graph = chain(("before", says("before")), ("node", node), saver=saver)
    with pytest.raises(InvalidUpdateError, match=re.escape(says_what)):
        await graph.ainvoke({}, config)
    assert (await graph.aget_state(config)).values == {"items": ["before"], "count": 0}
    assert (await graph.ainvoke({"items": ["next"]}, config, interrupt_before="*"))["items"] == [
        "before",
        "next",
    ]


@pytest.mark.parametrize("kind", ["reducer", "two writers"])
async def test_a_node_whose_update_was_refused_runs_again(
    kind: str, saver: Saver, config: RunnableConfig
) -> None:
    """A thread that failed goes on with None: the nodes whose results were refused run again."""
    runs: list[str] = []

    async def one(state: Items) -> Any:
        runs.append("one")
        if kind == "reducer":
            return {"items": 5 if len(runs) == 1 else ["one"]}
        return {"last": 1, "items": ["one"]}

    async def two(state: Items) -> Any:
        runs.append("two")
        return {"last": 2} if kind == "two writers" and runs.count("two") == 1 else {}

    graph = fan(("one", one), ("two", two), saver=saver)
    with pytest.raises(InvalidUpdateError):
        await graph.ainvoke({}, config)
    assert "one" in (await graph.aget_state(config)).next
    assert (await graph.ainvoke(None, config))["items"] == ["one"]


async def test_an_unknown_key_is_dropped_with_a_warning_that_names_it(
    saver: Saver, config: RunnableConfig
) -> None:
    """The warning names node and key and the key that is nearest."""

    async def node(state: Items) -> Any:
        return {"itmes": ["lost"], "items": ["kept"]}

    graph = chain(("node", node), saver=saver)
    with pytest.warns(UnknownKeyWarning, match=r"'node' wrote to 'itmes'.*Did you mean 'items'\?"):
        assert (await graph.ainvoke({}, config))["items"] == ["kept"]


@pytest.mark.filterwarnings("ignore::durable_graph.errors.UnknownKeyWarning")
async def test_an_unknown_key_does_not_hold_up_the_others(
    saver: Saver, config: RunnableConfig
) -> None:
    """What is known in the same update is taken."""

    async def node(state: Items) -> Any:
        return {"unknown": 1, "last": 2}

    assert (await chain(("node", node), saver=saver).ainvoke({}, config))["last"] == 2


async def test_an_unknown_key_of_an_input_is_dropped_with_a_warning(
    saver: Saver, config: RunnableConfig
) -> None:
    """The same goes for what a caller passes."""
    graph = chain(("node", says()), saver=saver)
    with pytest.warns(UnknownKeyWarning, match="The input has 'lsat'.*Did you mean 'last'"):
        assert await graph.ainvoke({"lsat": 1}, config) == {"items": [], "count": 0}


async def test_a_strict_graph_refuses_an_unknown_key(saver: Saver, config: RunnableConfig) -> None:
    """`compile(strict=True)` makes it an error, and the rest of the update is not taken."""

    async def node(state: Items) -> Any:
        return {"itmes": [], "items": ["kept"]}

    graph = chain(("node", node), saver=saver, strict=True)
    with pytest.raises(InvalidUpdateError, match="Did you mean 'items'"):
        await graph.ainvoke({}, config)
    assert (await graph.aget_state(config)).values["items"] == []


async def test_a_strict_graph_refuses_unknown_keys_from_wherever_they_come(
    saver: Saver, config: RunnableConfig
) -> None:
    """An input, a command, a node's command, an edit; and the thread is as it was."""

    async def node(state: Items) -> Any:
        return Command(update={"itmes": ["lost"]}) if state["items"] == ["command"] else None

    graph = chain(("node", node), saver=saver, strict=True)
    await graph.ainvoke({"items": []}, config)
    before = await identities(saver, config)
    hint = "Did you mean 'items'"
    with pytest.raises(InvalidUpdateError, match=hint):
        await graph.ainvoke({"itmes": []}, config)
    with pytest.raises(InvalidUpdateError, match=hint):
        await graph.ainvoke(Command(update={"itmes": []}, goto="node"), config)
    with pytest.raises(InvalidUpdateError, match=hint):
        await graph.aupdate_state(config, {"itmes": []}, as_node="node")
    assert await identities(saver, config) == before
    with pytest.raises(InvalidUpdateError, match=f"'node' wrote to 'itmes'.*{hint}"):
        await graph.ainvoke({"items": ["command"]}, config)


@pytest.mark.filterwarnings("error")
async def test_an_edit_with_an_unknown_key_warns(saver: Saver, config: RunnableConfig) -> None:
    """As a node's update does."""
    graph = chain(("node", says()), saver=saver)
    await graph.ainvoke({}, config)
    with pytest.warns(UnknownKeyWarning, match="Did you mean 'items'"):
        await graph.aupdate_state(config, {"itmes": [1], "last": 2}, as_node="node")
    assert (await graph.aget_state(config)).values == {"items": [], "count": 0, "last": 2}


@pytest.mark.parametrize("by", ["router", "command"])
async def test_a_strict_graph_refuses_a_packet_that_its_node_does_not_know(
    by: str, saver: Saver, config: RunnableConfig
) -> None:
    """A node that says what it reads is sent just that; one that reads the state, anything."""
    packet: dict[str, Any] = {"lsat": 1}

    async def begin(state: Items) -> Any:
        return Command(goto=Send("typed", packet)) if by == "command" else None

    async def typed(state: Lean) -> None: ...

    async def free(state: Items) -> None: ...

    graph = StateGraph(Items).add_node("begin", begin, destinations=("typed",))
    graph.add_node("typed", typed).add_node("free", free).add_edge(START, "begin")
    graph.add_conditional_edges(
        "begin",
        lambda state: [Send("free", {"item": 1}), *([Send("typed", packet)] * (by == "router"))],
        ["typed", "free"],
    )
    strict = graph.compile(saver, strict=True)
    with pytest.raises(InvalidUpdateError, match=r"sends 'lsat' to 'typed'.*Did you mean 'last'"):
        await strict.ainvoke({}, config)
    packet["last"] = packet.pop("lsat")
    await strict.ainvoke(None, config)
    packet["lsat"] = 1
    await graph.compile().ainvoke({})


@pytest.mark.parametrize("given", [3, "text", ["a"]])
async def test_an_input_that_is_no_mapping_is_refused_before_the_thread_exists(
    given: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Nothing is written for an input that cannot become part of the state."""
    graph = chain(("node", says()), saver=saver)
    with pytest.raises(InvalidUpdateError, match="The input must be a mapping"):
        await graph.ainvoke(given, config)
    assert (await graph.aget_state(config)).created_at is None


async def test_two_overwrites_in_one_superstep_are_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """Only one of them could hold."""

    async def replace(state: Items) -> Any:
        return {"items": Overwrite(["x"])}

    with pytest.raises(InvalidUpdateError, match="'a', 'b' replaced 'items' more than once"):
        await fan(("a", replace), ("b", replace), saver=saver).ainvoke({}, config)


async def test_an_overwrite_wins_over_the_other_updates_of_its_superstep(
    saver: Saver, config: RunnableConfig
) -> None:
    """What siblings append in the same superstep is dropped."""

    async def replace(state: Items) -> Any:
        return {"items": Overwrite(["x"])}

    graph = fan(("a", says("a")), ("b", replace), ("c", says("c")), saver=saver)
    assert (await graph.ainvoke({"items": ["in"]}, config))["items"] == ["x"]
