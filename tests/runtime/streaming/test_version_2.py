"""Version "v2": one kind of value for each thing, with states of the type that their schema is."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import add
from typing import Annotated, Any, TypedDict

import pydantic
import pytest

from durable_graph import START, InMemorySaver, StateGraph, interrupt
from durable_graph.errors import ConfigError
from durable_graph.saver import Saver
from durable_graph.types import GraphOutput, RunnableConfig
from tests.runtime.kit import Items, chain, collect, says


class Model(pydantic.BaseModel):
    n: int
    xs: Annotated[list[int], add] = []


@dataclass
class Data:
    n: int
    xs: Annotated[list[int], add] = field(default_factory=list)


class Dict(TypedDict):
    n: int
    xs: Annotated[list[int], add]


class Short(pydantic.BaseModel):
    xs: list[int] = []


async def one(state: Any) -> Any:
    return {"xs": [1]}


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        (Model, lambda *xs: Model(n=0, xs=[*xs])),
        (Data, lambda *xs: Data(0, [*xs])),
        (Dict, lambda *xs: {"n": 0, "xs": [*xs]}),
    ],
)
async def test_states_are_of_their_schemas_type(
    schema: Any, made: Any, saver: Saver, config: RunnableConfig
) -> None:
    """In "values", "checkpoints" and "debug", and in what a call returns."""
    graph = StateGraph(schema).add_node(one).add_edge(START, "one").compile(saver)
    modes: Any = ["values", "checkpoints", "debug"]
    parts = await collect(graph.astream({"n": 0}, config, stream_mode=modes, version="v2"))
    by_type = {part["type"]: part["data"] for part in parts}  # the last of each
    assert by_type["values"] == made(1)
    assert type(by_type["values"]) is type(made())
    assert by_type["checkpoints"]["values"] == made(1)
    assert by_type["debug"]["payload"]["values"] == made(1)
    first = next(part["data"]["values"] for part in parts if part["type"] == "checkpoints")
    assert first == {"xs": []}  # before the input is taken in, there is no `n` to make one with
    output = await graph.ainvoke({"n": 0}, config, version="v2")
    assert output == GraphOutput(made(1, 1), ())
    assert (await graph.ainvoke({"n": 0}, config)) == {"n": 0, "xs": [1, 1, 1]}


async def test_an_output_schema_says_what_a_state_is_shown_as(
    saver: Saver, config: RunnableConfig
) -> None:
    """Its keys and its type, in the stream as in the result."""
    graph = StateGraph(Model, output_schema=Short).add_node("one", one).add_edge(START, "one")
    compiled = graph.compile(saver)
    parts = await collect(compiled.astream({"n": 0}, config, stream_mode="values", version="v2"))
    assert [part["data"] for part in parts] == [Short(xs=[]), Short(xs=[1])]
    assert (await compiled.ainvoke({"n": 0}, config, version="v2")).value == Short(xs=[1, 1])


async def test_questions_stand_beside_the_value(saver: Saver, config: RunnableConfig) -> None:
    """Also of a state that has no place for them."""

    async def ask(state: Model) -> None:
        interrupt("?")

    graph = StateGraph(Model).add_node(ask).add_edge(START, "ask").compile(saver)
    output = await graph.ainvoke({"n": 1}, config, version="v2")
    assert output.value == Model(n=1)
    assert [question.value for question in output.interrupts] == ["?"]
    (part,) = await collect(graph.astream(None, config, stream_mode="values", version="v2"))
    assert (part["data"], part["interrupts"]) == (Model(n=1), output.interrupts)


async def test_an_invocation_in_another_mode_returns_parts(
    saver: Saver, config: RunnableConfig
) -> None:
    """A list of what a stream would have given."""
    graph = chain(("a", says("a")), saver=saver)
    (part,) = await graph.ainvoke({}, config, stream_mode="updates", version="v2")
    assert (part["type"], part["data"]) == ("updates", {"a": {"items": ["a"]}})


async def test_an_error_is_the_exception_in_v1_and_its_text_in_v2(
    saver: Saver, config: RunnableConfig
) -> None:
    """A text is what the log has, so that it is the same for who reads later."""

    async def fail(state: Items) -> None:
        raise KeyError("broken")

    graph, seen = chain(("fail", fail), saver=saver), []
    for version in ("v1", "v2"):
        stream: Any = graph.astream({"last": 1}, config, stream_mode="tasks", version=version)
        seen.append(await anext(stream))
        seen.append(await anext(stream))
        with pytest.raises(KeyError):
            await anext(stream)
    assert isinstance(seen[1]["error"], KeyError)
    assert seen[3]["data"]["error"] == "KeyError: 'broken'"


async def test_events_are_printed_on_request(
    saver: Saver, config: RunnableConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside what is asked for, which stays the same; of a call without a stream as well."""
    graph = chain(("a", says("a")), saver=saver)
    stream = graph.astream({}, config, stream_mode="updates", print_mode=["values", "updates"])
    assert await collect(stream) == [{"a": {"items": ["a"]}}]
    assert capsys.readouterr().out.splitlines() == [
        "[updates] {'a': {'items': ['a']}}",
        "[values] {'items': ['a'], 'count': 0}",
    ]
    result = await graph.ainvoke({}, config, print_mode="updates")
    assert result["items"] == ["a", "a"]
    assert capsys.readouterr().out == "[updates] {'a': {'items': ['a']}}\n"
    with pytest.raises(ConfigError, match="There is no stream mode 'all'"):
        await graph.ainvoke({}, config, print_mode="all")  # type: ignore[arg-type]


def test_the_synchronous_face_takes_a_version(config: RunnableConfig) -> None:
    """In `invoke` as in `stream`."""
    graph = chain(("a", says("a")), saver=InMemorySaver())
    assert graph.invoke({}, config, version="v2").value == {"items": ["a"], "count": 0}
    with pytest.raises(ConfigError, match="version is 'v1' or 'v2'"):
        graph.invoke({}, config, version="v3")  # type: ignore[arg-type]
