"""Kinds of keys: how several values go together, how long one lasts, whether it is stored."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Command, Overwrite, StateGraph, interrupt
from durable_graph.channels import (
    AnyValue,
    BaseChannel,
    BinaryOperatorAggregate,
    DeltaChannel,
    EphemeralValue,
    LastValue,
    Topic,
    UntrackedValue,
)
from durable_graph.errors import GraphDefinitionError, InvalidUpdateError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import bytes_of, history, key_of, records_of

CALLS: list[list[Any]] = []


def union(present: dict[str, int], updates: Sequence[dict[str, int]]) -> dict[str, int]:
    CALLS.append(list(updates))
    for update in updates:
        present = {**present, **update}
    return present


class Kinds(TypedDict, total=False):
    last: Annotated[int, LastValue]
    any: Annotated[int, AnyValue]
    brief: Annotated[str, EphemeralValue]
    loose: Annotated[str, EphemeralValue(str, guard=False)]
    topic: Annotated[list[str], Topic(str)]
    log: Annotated[Sequence[str], Topic(str, accumulate=True)]
    total: Annotated[int, BinaryOperatorAggregate(int, operator.add)]
    index: Annotated[dict[str, int], DeltaChannel(union)]
    client: Annotated[Any, UntrackedValue]
    spare: Annotated[Any, UntrackedValue(guard=False)]
    note: str


Seen = list[dict[str, Any]]


def steps(
    saver: Saver | None, seen: Seen, *writes: dict[str, Any], **options: Any
) -> CompiledGraph:
    """Nodes one after the other, each of which notes what it sees and writes what it is told."""
    graph, before = StateGraph(Kinds), START
    for number, write in enumerate(writes):
        graph.add_node(f"n{number}", _writer(seen, write)).add_edge(before, f"n{number}")
        before = f"n{number}"
    return graph.compile(saver, **options)


def at_once(saver: Saver | None, seen: Seen, *writes: dict[str, Any]) -> CompiledGraph:
    """Nodes that run at once, and one after them that notes what it sees."""
    graph = StateGraph(Kinds).add_node("after", _writer(seen, {}))
    for number, write in enumerate(writes):
        graph.add_node(f"n{number}", _writer([], write))
        graph.add_edge(START, f"n{number}").add_edge(f"n{number}", "after")
    return graph.compile(saver)


def _writer(seen: Seen, write: dict[str, Any]) -> Callable[[Kinds], Any]:
    async def node(state: Kinds) -> dict[str, Any]:
        seen.append(dict(state))
        return write

    return node


async def test_a_fading_value_lasts_one_superstep(saver: Saver, config: RunnableConfig) -> None:
    """Those that run next see it; then it is gone, unless it is written anew."""
    seen: Seen = []
    graph = steps(saver, seen, {"brief": "b", "any": 1}, {"brief": "c"}, {}, {"note": "end"})
    result = await graph.ainvoke({"brief": "a", "total": 1}, config)
    start = {"total": 1, "index": {}}
    assert seen == [
        {**start, "brief": "a"},
        {**start, "brief": "b", "any": 1},
        {**start, "brief": "c"},
        start,
    ]
    assert result == {**start, "note": "end"}
    shown = [one.values for one in await history(graph, config)]
    assert [values.get("brief") for values in shown] == [None, None, "c", "b", "a", None]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_what_is_read_back_is_what_was_there(
    durability: Any, saver: Saver, config: RunnableConfig
) -> None:
    """A stored thread has the values that its run ended with, and goes on with them."""
    seen: Seen = []
    graph = steps(saver, seen, {"topic": "t1", "log": "l1"}, {"topic": ["t2", "t3"], "brief": "b"})
    first = await graph.ainvoke({"log": ["l0"]}, config, durability=durability)
    assert (first["topic"], first["log"], first["brief"]) == (["t2", "t3"], ["l0", "l1"], "b")
    saver.hot.take(key_of(config))
    assert (await graph.aget_state(config)).values == first
    saver.hot.take(key_of(config))
    seen.clear()
    await graph.ainvoke({"log": "l2"}, config, durability=durability)
    assert "topic" not in seen[0]
    assert "brief" not in seen[0]
    assert seen[0]["log"] == ["l0", "l1", "l2"]
    assert (seen[1]["topic"], seen[1]["log"]) == (["t1"], ["l0", "l1", "l2", "l1"])


async def test_a_topic_has_all_that_was_written_in_a_superstep(
    saver: Saver, config: RunnableConfig
) -> None:
    """Single values and the elements of lists, of all writers, in their order."""
    seen: Seen = []
    long = [f"a long word, number {number}" for number in range(20)]
    graph = at_once(saver, seen, {"topic": "a"}, {"topic": long}, {"topic": Overwrite(["z"])}, {})
    await graph.ainvoke({"topic": [*long, "in"]}, config)
    assert seen == [{"total": 0, "index": {}, "topic": ["z"]}]
    seen.clear()
    graph = at_once(saver, seen, {"topic": [*long, "in", "b"]}, {"topic": "c"}, {"topic": ("d",)})
    await graph.ainvoke({"topic": [*long, "in"]}, config)
    assert seen[0]["topic"] == [*long, "in", "b", "c", "d"]


@pytest.mark.parametrize("key", ["any", "loose", "spare"])
async def test_the_last_of_several_values_counts(
    key: str, saver: Saver, config: RunnableConfig
) -> None:
    """In the order of the nodes, where a kind allows several."""
    seen: Seen = []
    graph = at_once(saver, seen, {key: "a"}, {key: "b"}, {"note": "x"})
    await graph.ainvoke({}, config)
    assert seen[0][key] == "b"


@pytest.mark.parametrize("key", ["last", "brief", "client"])
async def test_two_values_are_refused_where_one_is_allowed(
    key: str, saver: Saver, config: RunnableConfig
) -> None:
    """As for a key without a kind."""
    with pytest.raises(InvalidUpdateError, match=f"wrote more than one value to '{key}'"):
        await at_once(saver, [], {key: 1}, {key: 2}).ainvoke({}, config)


async def test_a_reducer_of_several_updates_gets_them_one_by_one(
    saver: Saver, config: RunnableConfig
) -> None:
    """And an ordinary one may be written as a kind."""
    CALLS.clear()
    seen: Seen = []
    writes = [{"index": {"a": 1}, "total": 2}, {"index": {"b": 2}, "total": 3}]
    result = await at_once(saver, seen, *writes).ainvoke({"index": {"z": 0}}, config)
    assert (result["index"], result["total"]) == ({"z": 0, "a": 1, "b": 2}, 5)
    assert [len(updates) for updates in CALLS] == [1, 1, 1]


class Client:
    """Has no stored form."""

    def __reduce__(self) -> Any:
        raise AssertionError("Nobody may store or copy this.")


async def test_an_untracked_value_is_shared_and_never_stored(
    saver: Saver, config: RunnableConfig
) -> None:
    """Every node of the run gets the very object, and nothing of it is in the log."""
    seen: Seen = []
    client, secret = Client(), "never to be written down"
    graph = steps(saver, seen, {"client": client, "spare": {"k": [secret]}}, {"note": "x"}, {})
    result = await graph.ainvoke({}, config)
    assert seen[1]["client"] is seen[2]["client"] is result["client"] is client
    assert result["spare"] == {"k": [secret]}
    assert seen[1]["spare"] is not seen[2]["spare"]
    for record in await records_of(saver, config):
        assert secret.encode() not in (record.body or b"")
    assert await bytes_of(saver, config) < 10_000
    assert not {"client", "spare"} & (await graph.aget_state(config)).values.keys()


async def test_an_untracked_value_ends_with_its_run(saver: Saver, config: RunnableConfig) -> None:
    """Whatever goes on with the thread lacks it: a new input, an answer, another process."""
    seen: Seen = []

    async def ask(state: Kinds) -> dict[str, Any]:
        seen.append(dict(state))
        return {"note": interrupt("?")}

    graph = StateGraph(Kinds).add_node("open", _writer(seen, {"client": Client(), "spare": 1}))
    graph.add_node("ask", ask).add_edge(START, "open").add_edge("open", "ask")
    asking = graph.compile(saver)
    await asking.ainvoke({}, config)
    assert {"client", "spare"} <= seen[1].keys()
    result = await asking.ainvoke(Command(resume="yes"), config)
    assert not {"client", "spare"} & seen[2].keys()
    assert not {"client", "spare"} & result.keys()
    saver.hot.take(key_of(config))
    for shown in await history(asking, config):
        assert not {"client", "spare"} & shown.values.keys()
        for task in shown.tasks:
            assert not {"client", "spare"} & (task.result or {}).keys()


async def test_a_value_of_another_run_is_not_taken_for_ones_own(
    saver: Saver, config: RunnableConfig
) -> None:
    """What stands in the log for one run's value means nothing in the next."""
    seen: Seen = []
    await steps(saver, [], {"client": 1, "spare": 2}).ainvoke({}, config)
    saver.hot.take(key_of(config))
    await steps(saver, seen, {"spare": 3}, {}).ainvoke({}, config)
    assert "client" not in seen[1]
    assert seen[1]["spare"] == 3


async def test_kinds_work_without_a_checkpointer() -> None:
    """What is not stored lasts as long as the run, too."""
    seen: Seen = []
    client = Client()
    graph = steps(None, seen, {"client": client, "brief": "b", "topic": "t"}, {}, {})
    await graph.ainvoke({})
    assert (seen[1]["client"], seen[1]["brief"], seen[1]["topic"]) == (client, "b", ["t"])
    assert seen[2] == {"total": 0, "index": {}, "client": client}


async def test_an_edit_is_a_superstep_of_its_own(saver: Saver, config: RunnableConfig) -> None:
    """What lasts one superstep does not outlast an edit, but what the edit writes is there."""
    seen: Seen = []
    graph = steps(saver, seen, {"brief": "b", "topic": "t"}, {}, interrupt_after=["n0"])
    await graph.ainvoke({}, config)
    await graph.aupdate_state(config, {"brief": "edited"}, as_node="n0")
    await graph.ainvoke(None, config)
    assert seen[1] == {"total": 0, "index": {}, "brief": "edited"}


async def test_a_kind_in_one_schema_is_the_kind_in_all(
    saver: Saver, config: RunnableConfig
) -> None:
    """A schema that only names the key does not change what it is."""

    class Lean(TypedDict, total=False):
        brief: str

    seen: Seen = []

    async def lean(state: Lean) -> None:
        seen.append(dict(state))

    graph = StateGraph(Kinds).add_node("lean", lean, input_schema=Lean).add_edge(START, "lean")
    result = (
        await graph.add_node("end", _writer([], {}))
        .add_edge("lean", "end")
        .compile(saver)
        .ainvoke({"brief": "a"}, config)
    )
    assert seen == [{"brief": "a"}]
    assert "brief" not in result


def test_two_kinds_of_one_key_are_a_mistake() -> None:
    """Schemas that share a key must agree on what it is."""

    class Other(TypedDict, total=False):
        brief: Annotated[str, AnyValue]

    async def node(state: Any) -> None: ...

    graph = StateGraph(Kinds).add_node("n", node, input_schema=Other).add_edge(START, "n")
    with pytest.raises(GraphDefinitionError, match="'brief' is of two different kinds"):
        graph.compile()


def negative(number: int) -> int:
    return -number


class Strange(BaseChannel):
    """A kind that somebody made up."""


@pytest.mark.parametrize(
    ("kind", "says_what"),
    [
        (DeltaChannel, "DeltaChannel at 'key' needs a reducer"),
        (BinaryOperatorAggregate, "BinaryOperatorAggregate at 'key' needs a reducer"),
        (BinaryOperatorAggregate(int), "BinaryOperatorAggregate at 'key' needs a reducer"),
        (
            BinaryOperatorAggregate(int, negative),  # type: ignore[arg-type]
            "reducer of 'key' must take",
        ),
        (Strange, "no kind of key that is known here"),
    ],
)
def test_a_kind_that_cannot_be_is_refused(kind: Any, says_what: str) -> None:
    """While the graph is compiled, and by the key's name."""
    schema = TypedDict("schema", {"key": Annotated[int, kind]})  # noqa: UP013 - text would hide it
    graph = StateGraph(schema).add_node("n", lambda state: None).add_edge(START, "n")
    with pytest.raises(GraphDefinitionError, match=says_what):
        graph.compile()
