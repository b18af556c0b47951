"""What a graph says of itself: its parts, the graphs within it, its schemas; and copies of it."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, TypedDict

import pytest
from pydantic import BaseModel, ValidationError

from durable_graph import (
    END,
    START,
    CachePolicy,
    InMemoryCache,
    InMemorySaver,
    InMemoryStore,
    StateGraph,
)
from durable_graph import entrypoint as as_entrypoint
from durable_graph.errors import ConfigError, GraphDefinitionError, GraphRecursionError
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, collect, says


def where(state: Items) -> str:
    return "b"


def _builder() -> StateGraph[Items]:
    builder = StateGraph(Items)
    for name in "abc":
        builder.add_node(name, says(name), metadata={"name": name})
    builder.add_edge(START, "a").add_conditional_edges("a", where, ["b"])
    return builder.add_edge(["a", "b"], "c").add_edge("c", END)


def test_a_builder_shows_its_parts() -> None:
    """Nodes, edges, joins and routers, as they have been added so far."""
    builder = _builder()
    assert list(builder.nodes) == ["a", "b", "c"]
    assert builder.nodes["a"].metadata == {"name": "a"}
    assert builder.edges == {(START, "a"), ("c", END)}
    assert builder.waiting_edges == {(("a", "b"), "c")}
    assert {name: [*found] for name, found in builder.branches.items()} == {"a": ["where"]}
    assert builder.branches["a"]["where"].ends == {"b": "b"}


def test_what_a_builder_shows_cannot_be_changed() -> None:
    """Nodes are added with `add_node` alone."""
    builder = _builder()
    nodes: Any = builder.nodes
    with pytest.raises(TypeError):
        nodes["d"] = nodes["a"]
    builder.edges.clear()
    assert builder.edges


def test_a_graph_shows_its_parts() -> None:
    """Its nodes, the keys of its state, and the builder it comes from."""
    builder = _builder()
    graph = builder.compile()
    assert list(graph.nodes) == ["a", "b", "c"]
    assert list(graph.channels) == ["items", "count", "last"]
    assert graph.channels["items"].reducer is operator.add
    assert graph.builder is builder


def test_a_builder_can_be_checked_without_compiling() -> None:
    """With the errors of compiling."""
    builder = _builder()
    assert builder.validate() is builder
    with pytest.raises(ConfigError, match="'nowhere', which is no node"):
        builder.validate(interrupt=["nowhere"])
    with pytest.raises(GraphDefinitionError, match="no node 'nowhere'"):
        builder.add_edge("b", "nowhere").validate()


async def test_the_graphs_within_are_listed() -> None:
    """Those that are nodes, and those that a node's code names; one level deep or on all."""
    innermost = chain(("one", says("one")))
    inner = chain(("innermost", innermost))

    async def calls(state: Items) -> Items:
        result: Items = await innermost.ainvoke(state)
        return result

    graph = chain(("inner", inner), ("calls", calls), ("plain", says()))
    assert dict(graph.get_subgraphs()) == {"inner": inner, "calls": innermost}
    assert dict(graph.get_subgraphs(recurse=True)) == {
        "inner": inner,
        "inner|innermost": innermost,
        "calls": innermost,
    }
    found = await collect(graph.aget_subgraphs(namespace="inner|innermost"))
    assert found == [("inner|innermost", innermost)]


async def test_a_graph_that_calls_itself_is_listed_to_an_end() -> None:
    """A recursion in the code is none in the list."""

    async def again(state: Items) -> Items:
        result: Items = await graph.ainvoke(state)
        return result

    graph = chain(("again", again))
    assert list(graph.get_subgraphs(recurse=True)) == [("again", graph)]


class Ask(TypedDict):
    question: str
    hint: NotRequired[str]


class Reply(TypedDict):
    answers: Annotated[list[str], operator.add]


class Everything(Ask, Reply):
    pass


@dataclass
class Settings:
    model: str
    tries: int = 3


def _asking() -> Any:
    builder = StateGraph(Everything, Settings, input_schema=Ask, output_schema=Reply)
    return builder.add_node("one", lambda state: None).add_edge(START, "one").compile(name="Asks")


def test_schemas_of_what_goes_in_and_comes_out() -> None:
    """As JSON schemas; those of a context too."""
    graph = _asking()
    given = graph.get_input_jsonschema()
    assert given["title"] == "AsksInput"
    assert given["required"] == ["question"]
    assert given["properties"]["hint"]["type"] == "string"
    returned = graph.get_output_jsonschema()
    assert returned["properties"]["answers"]["items"] == {"type": "string"}
    assert graph.get_context_jsonschema()["required"] == ["model"]
    assert chain(("a", says())).get_context_jsonschema() is None


def test_models_of_what_goes_in_and_comes_out() -> None:
    """As pydantic models, which say what an input lacks."""
    model = _asking().get_input_schema()
    assert model(question="Why?").question == "Why?"
    with pytest.raises(ValidationError):
        model(hint="none")


def test_a_state_that_is_a_model_or_one_value_has_schemas_too() -> None:
    """The model itself, and a model of the one value."""

    class Own(BaseModel):
        number: int

    graph = StateGraph(Own).add_node("a", lambda s: None).add_edge(START, "a").compile()
    assert graph.get_input_schema() is Own
    one = StateGraph(list[int]).add_node("a", lambda s: s).add_edge(START, "a").compile()
    assert one.get_output_jsonschema()["items"] == {"type": "integer"}


def test_a_type_that_json_has_nothing_for_is_named() -> None:
    """A schema cannot be made of it."""

    class Socket:
        pass

    class Open(TypedDict):
        socket: Socket

    # Annotations are looked up in the module.
    globals()["Socket"] = Socket
    graph = StateGraph(Open).add_node("a", lambda s: None).add_edge(START, "a").compile()
    with pytest.raises(ConfigError, match="Socket"):
        graph.get_input_jsonschema()


async def test_a_copy_is_compiled_otherwise(config: RunnableConfig) -> None:
    """With another saver, store, cache, name and breakpoints; the original stays as it is."""
    graph = chain(("a", says("a")), ("b", says("b")), name="first")
    store, saver = InMemoryStore(), InMemorySaver()
    other = graph.copy(
        {
            "checkpointer": saver,
            "store": store,
            "cache": InMemoryCache(),
            "name": "second",
            "interrupt_before": ["b"],
        }
    )
    assert (other.name, other.store, other.checkpointer) == ("second", store, saver)
    assert (await other.ainvoke({"items": []}, config))["items"] == ["a"]
    assert (graph.name, graph.store, graph.checkpointer) == ("first", None, None)
    assert (await graph.ainvoke({"items": []}))["items"] == ["a", "b"]
    assert (await other.copy().aget_state(config)).next == ("b",)


async def test_a_copys_cache_is_its_own() -> None:
    """What the original has kept is not known to it, and the other way round."""
    ran: list[str] = []

    async def note(state: Items) -> Items:
        ran.append(state["last"])
        return {"items": [state["last"]]}

    builder = StateGraph(Items).add_node("note", note, cache_policy=CachePolicy())
    graph = builder.add_edge(START, "note").compile(cache=InMemoryCache())
    other = graph.copy({"cache": InMemoryCache()})
    for one in (graph, graph, other, other):
        assert (await one.ainvoke({"last": "a"}))["items"] == ["a"]
    assert ran == ["a", "a"]


async def test_a_config_is_bound_by_entries_as_well() -> None:
    """Those given by name count for more than those of the config."""
    graph = chain(("a", says("a")), ("b", says("b")))
    bound = graph.with_config({"recursion_limit": 5, "tags": ["x"]}, recursion_limit=1)
    with pytest.raises(GraphRecursionError):
        await bound.ainvoke({"items": []})


@pytest.mark.parametrize(
    ("update", "error", "says_what"),
    [
        ({"nodes": {}}, ConfigError, "cannot have another 'nodes'.*graph.builder.compile"),
        ({"checkpointer": "db"}, TypeError, "The checkpointer is a saver"),
        ({"store": 3}, TypeError, "The store is one"),
        ({"interrupt_after": ["nowhere"]}, ConfigError, "'nowhere', which is no node"),
    ],
)
def test_a_copy_that_cannot_be_is_refused(
    update: dict[str, Any], error: type[Exception], says_what: str
) -> None:
    """What a copy cannot change, and what is of the wrong kind."""
    with pytest.raises(error, match=says_what):
        chain(("a", says())).copy(update)


def test_a_function_that_is_a_graph_has_no_builder() -> None:
    """It was not built."""

    @as_entrypoint()
    async def flow(value: int) -> int:
        return value

    assert flow.builder is None


@dataclass
class Defaults:
    needed: str
    plain: int = 1
    made: list[str] = field(default_factory=list)


def test_fields_with_a_default_need_not_be_given() -> None:
    """Of a dataclass, as of any class."""
    graph = StateGraph(Defaults).add_node("a", lambda s: None).add_edge(START, "a").compile()
    assert graph.get_input_jsonschema()["required"] == ["needed"]
