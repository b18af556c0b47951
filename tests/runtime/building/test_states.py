"""What a state can be made of: schemas, reducers, defaults, input and output keys, private keys."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, Required, TypedDict

import pydantic
import pytest

from durable_graph import END, START, StateGraph
from durable_graph.errors import GraphDefinitionError, InvalidUpdateError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig


class Typed(TypedDict, total=False):
    items: Annotated[list[str], operator.add]
    count: int


@dataclass
class Data:
    items: Annotated[list[str], operator.add] = field(default_factory=list)
    count: int = 7


class Model(pydantic.BaseModel):
    items: Annotated[list[str], operator.add] = []
    count: int = 7


class Plain:
    items: Annotated[list[str], operator.add]
    count: int = 7

    def __init__(self, items: list[str] | None = None, count: int = 7) -> None:
        self.items = items if items is not None else []
        self.count = count


PAIRS: list[tuple[Any, Any]] = []


def joined(a: list[str], b: list[str]) -> list[str]:
    PAIRS.append((list(a), list(b)))
    return a + b


def smaller(a: int, b: int) -> int:
    PAIRS.append((a, b))
    return min(a, b)


class Joined(TypedDict, total=False):
    items: Annotated[list[str], joined]


class NoEmpty(TypedDict, total=False):
    low: Annotated[int | None, smaller]


@pytest.mark.parametrize("schema", [Data, Model, Plain])
async def test_a_node_gets_an_instance_of_a_class_schema(
    schema: type[Any], saver: Saver, config: RunnableConfig
) -> None:
    """A dataclass, a pydantic model and an annotated class reach the node as instances."""
    seen: list[Any] = []

    async def look(state: Any) -> dict[str, Any]:
        seen.append(state)
        return {"items": ["b"], "count": state.count + 1}

    graph = StateGraph(schema).add_node("look", look).add_edge(START, "look").compile(saver)
    assert await graph.ainvoke({"items": ["a"]}, config) == {"items": ["a", "b"], "count": 8}
    (state,) = seen
    assert type(state) is schema
    assert (state.items, state.count) == (["a"], 7)


async def test_a_node_of_a_typed_dict_sees_only_keys_with_a_value(
    saver: Saver, config: RunnableConfig
) -> None:
    """A key that nobody has written is absent; one with a reducer starts empty."""
    seen: list[Typed] = []

    async def look(state: Typed) -> None:
        seen.append(state)

    graph = StateGraph(Typed).add_node("look", look).add_edge(START, "look").compile(saver)
    assert await graph.ainvoke({}, config) == {"items": []}
    assert seen == [{"items": []}]


@pytest.mark.parametrize(
    "given", [Data(items=["a"], count=1), Model(items=["a"], count=1), Plain(["a"], 1)]
)
async def test_an_input_may_be_an_object_of_the_schema(
    given: Any, saver: Saver, config: RunnableConfig
) -> None:
    """An instance of the state's class is an input like the dict of its fields."""

    async def add(state: Any) -> Any:
        return type(given)(items=["b"], count=2)

    graph = StateGraph(type(given)).add_node("add", add).add_edge(START, "add").compile(saver)
    assert await graph.ainvoke(given, config) == {"items": ["a", "b"], "count": 2}


async def test_a_model_returned_as_an_update_leaves_out_unset_none_fields(
    saver: Saver, config: RunnableConfig
) -> None:
    """Of a pydantic update, a field left at a default of None is no write."""

    class Maybe(pydantic.BaseModel):
        kept: str | None = None
        other: int = 0

    async def node(state: Maybe) -> Maybe:
        return Maybe(other=1)

    graph = StateGraph(Maybe).add_node("node", node).add_edge(START, "node").compile(saver)
    assert await graph.ainvoke({"kept": "x"}, config) == {"kept": "x", "other": 1}


async def test_a_state_can_be_one_value(saver: Saver, config: RunnableConfig) -> None:
    """A type without keys is a state that is the value itself, reducer included."""
    seen: list[Any] = []

    async def add(state: list[str]) -> list[str]:
        seen.append(state)
        return ["b"]

    schema = Annotated[list[str], operator.add]
    graph = StateGraph(schema).add_node("add", add).add_edge(START, "add").compile(saver)
    assert await graph.ainvoke(["a"], config) == ["a", "b"]
    assert seen == [["a"]]
    assert (await graph.aget_state(config)).values == ["a", "b"]


async def test_a_reducer_of_an_abstract_type_starts_with_the_concrete_one(
    saver: Saver, config: RunnableConfig
) -> None:
    """`Sequence` starts as an empty list, and `int` as zero."""

    class Abstract(TypedDict, total=False):
        several: Annotated[Sequence[str], operator.add]
        total: Annotated[int, operator.add]

    async def node(state: Abstract) -> Abstract:
        assert state == {"several": [], "total": 0}
        return {"several": ["a"], "total": 2}

    graph = StateGraph(Abstract).add_node("node", node).add_edge(START, "node").compile(saver)
    assert await graph.ainvoke({}, config) == {"several": ["a"], "total": 2}


async def test_a_reducer_of_a_type_without_an_empty_value_takes_the_first_write_as_it_is(
    saver: Saver, config: RunnableConfig
) -> None:
    """Where there is nothing to begin with, the first write does not go through the reducer."""

    PAIRS.clear()

    async def node(state: NoEmpty) -> NoEmpty:
        return {"low": 3}

    graph = StateGraph(NoEmpty).add_node("node", node).add_edge(START, "node").compile(saver)
    assert await graph.ainvoke({"low": 5}, config) == {"low": 3}
    assert PAIRS == [(5, 3)]


async def test_required_and_not_required_are_looked_through(
    saver: Saver, config: RunnableConfig
) -> None:
    """`Required` and `NotRequired` around a type do not hide its reducer."""

    class Both(TypedDict, total=False):
        items: Required[Annotated[list[str], operator.add]]
        more: NotRequired[Annotated[list[str], operator.add]]

    async def node(state: Both) -> dict[str, Any]:
        return {"items": ["b"], "more": ["c"]}

    graph = StateGraph(Both).add_node("node", node).add_edge(START, "node").compile(saver)
    assert await graph.ainvoke({"items": ["a"]}, config) == {"items": ["a", "b"], "more": ["c"]}


async def test_input_and_output_schemas_cut_what_goes_in_and_comes_out(
    saver: Saver, config: RunnableConfig
) -> None:
    """An input's keys are those of the input schema, a result's those of the output schema."""

    class Question(TypedDict):
        question: str

    class Answer(TypedDict):
        answer: str

    class Whole(Question, Answer):
        working: str

    async def think(state: Whole) -> dict[str, str]:
        return {"working": state["question"].upper()}

    async def speak(state: Whole) -> dict[str, str]:
        return {"answer": state["working"] + "!"}

    graph = (
        StateGraph(Whole, input_schema=Question, output_schema=Answer)
        .add_sequence([think, speak])
        .add_edge(START, "think")
        .add_edge("speak", END)
        .compile(saver)
    )
    assert await graph.ainvoke({"question": "why"}, config) == {"answer": "WHY!"}
    shown = (await graph.aget_state(config)).values
    assert shown == {"question": "why", "working": "WHY", "answer": "WHY!"}


async def test_an_input_cannot_write_what_its_schema_does_not_have(
    saver: Saver, config: RunnableConfig
) -> None:
    """Keys of the state, and private ones, are the nodes' alone: such an item is left out."""

    class Question(TypedDict):
        question: str

    class Whole(Question):
        approved: bool

    class Private(TypedDict):
        secret: str

    async def node(state: Any) -> None: ...

    builder = StateGraph(Whole, input_schema=Question).add_node("a", node, input_schema=Private)
    graph = builder.add_edge(START, "a").compile(saver)
    given: Any = {"question": "why", "approved": True, "secret": "guessed"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        await graph.ainvoke(given, config)
    assert (await graph.aget_state(config)).values == {"question": "why"}


async def test_a_private_key_is_seen_by_nodes_that_declare_it_only(
    saver: Saver, config: RunnableConfig
) -> None:
    """A key of a node's own input schema passes from writer to reader and is no output."""

    class Private(TypedDict):
        secret: str

    seen: list[Any] = []

    async def write(state: Typed) -> dict[str, str]:
        return {"secret": "s"}

    async def read(state: Private) -> Typed:
        seen.append(state)
        return {"items": [state["secret"]]}

    async def other(state: Typed) -> None:
        seen.append(state)

    graph = (
        StateGraph(Typed)
        .add_node("write", write)
        .add_node("read", read, input_schema=Private)
        .add_node("other", other)
        .add_edge(START, "write")
        .add_edge("write", "read")
        .add_edge("read", "other")
        .compile(saver)
    )
    assert await graph.ainvoke({}, config) == {"items": ["s"]}
    assert seen == [{"secret": "s"}, {"items": ["s"]}]


class Narrow(TypedDict):
    count: int


async def test_a_node_reads_what_its_first_parameter_is_annotated_with(
    saver: Saver, config: RunnableConfig
) -> None:
    """A parameter annotated with another schema gets that schema's keys."""
    seen: list[Any] = []

    async def narrow(state: Narrow) -> None:
        seen.append(state)

    graph = StateGraph(Typed).add_node("narrow", narrow).add_edge(START, "narrow").compile(saver)
    await graph.ainvoke({"items": ["a"], "count": 3}, config)
    assert seen == [{"count": 3}]


async def test_a_reducer_runs_once_for_each_update_in_the_order_of_the_tasks(
    saver: Saver, config: RunnableConfig
) -> None:
    """Updates of one superstep are combined by name of node, whoever finishes first."""
    PAIRS.clear()

    async def b(state: Joined) -> Joined:
        return {"items": ["b"]}

    async def a(state: Joined) -> Joined:
        return {"items": ["a"]}

    graph = StateGraph(Joined).add_node(b).add_node(a)
    compiled = graph.add_edge(START, "b").add_edge(START, "a").compile(saver)
    assert await compiled.ainvoke({"items": ["in"]}, config) == {"items": ["in", "a", "b"]}
    assert PAIRS == [([], ["in"]), (["in"], ["a"]), (["in", "a"], ["b"])]


async def test_two_writes_without_a_reducer_are_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """Two nodes that write a plain key in one superstep stop the run before anything is stored."""

    async def one(state: Typed) -> Typed:
        return {"count": 1}

    async def two(state: Typed) -> Typed:
        return {"count": 2}

    graph = StateGraph(Typed).add_node(one).add_node(two)
    compiled = graph.add_edge(START, "one").add_edge(START, "two").compile(saver)
    with pytest.raises(InvalidUpdateError, match=r"'one', 'two' wrote more than one value to 'co"):
        await compiled.ainvoke({"items": ["in"]}, config)
    assert (await compiled.aget_state(config)).values == {"items": ["in"]}


async def test_a_lambda_in_an_annotation_is_one_reducer(
    saver: Saver, config: RunnableConfig
) -> None:
    """A lambda works as a reducer in a module with postponed annotations, too."""

    class WithLambda(TypedDict, total=False):
        items: Annotated[list[str], lambda a, b: [*a, *b]]

    async def node(state: WithLambda) -> WithLambda:
        return {"items": ["b"]}

    graph = StateGraph(WithLambda).add_node("node", node).add_edge(START, "node").compile(saver)
    assert await graph.ainvoke({"items": ["a"]}, config) == {"items": ["a", "b"]}


async def test_schemas_that_disagree_about_a_reducer_are_a_mistake() -> None:
    """One key has one reducer, in whatever schemas it occurs."""

    class Other(TypedDict, total=False):
        items: Annotated[list[str], lambda a, b: a]

    async def node(state: Any) -> None: ...

    graph = StateGraph(Typed).add_node("node", node, input_schema=Other).add_edge(START, "node")
    with pytest.raises(GraphDefinitionError, match="'items' has two different reducers"):
        graph.compile()


def test_a_reducer_must_take_two_values() -> None:
    """A function with another arity in the annotation is refused by name of key."""

    class Wrong(TypedDict):
        key: Annotated[list[str], lambda a: a]

    with pytest.raises(GraphDefinitionError, match="reducer of 'key' must take"):
        StateGraph(Wrong).add_node("n", lambda s: None).add_edge(START, "n").compile()


@pytest.mark.parametrize("node_input", [{"count": "not a number"}, {"count": None}])
async def test_what_breaks_a_model_is_refused_before_it_is_stored(
    node_input: dict[str, Any], saver: Saver, config: RunnableConfig
) -> None:
    """A write that does not fit the pydantic field names node and key, and is not in the state."""

    async def node(state: Model) -> dict[str, Any]:
        return node_input

    graph = StateGraph(Model).add_node("node", node).add_edge(START, "node").compile(saver)
    with pytest.raises(InvalidUpdateError, match="'node' wrote an invalid value to 'count'"):
        await graph.ainvoke({"items": ["a"]}, config)
    assert (await graph.aget_state(config)).values == {"items": ["a"]}


async def test_what_breaks_a_model_by_its_reducer_is_refused_before_it_is_stored(
    saver: Saver, config: RunnableConfig
) -> None:
    """Else every later node of the thread would fail to read its state."""

    class Numbers(pydantic.BaseModel):
        numbers: Annotated[list[int], operator.add] = []

    async def node(state: Numbers) -> dict[str, Any]:
        return {"numbers": ["one"]}

    graph = StateGraph(Numbers).add_node("node", node).add_edge(START, "node").compile(saver)
    with pytest.raises(InvalidUpdateError, match="'numbers'"):
        await graph.ainvoke({"numbers": [0]}, config)
    assert (await graph.aget_state(config)).values == {"numbers": [0]}
