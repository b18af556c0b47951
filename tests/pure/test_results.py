"""What nodes, routers and callers hand over, read."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from durable_graph import END, START, Command, Overwrite, Send
from durable_graph.decisions.results import (
    Result,
    read_command,
    read_input,
    read_result,
    read_route,
)
from durable_graph.errors import InvalidUpdateError
from tests.pure.definitions import define

KEYS = define("ab", ((START, "a"), ("a", "b")))
SINGLE = define(schema=Annotated[list, operator.add])


@dataclass
class Record:
    a: int = 1
    b: str | None = None


class Model(BaseModel):
    a: int = 1
    b: str | None = None


class Plain:
    a: int
    b: str = "x"


@pytest.mark.parametrize(
    ("returned", "updates", "goto"),
    [
        (None, [], []),
        ({}, [{}], []),
        ({"a": 1}, [{"a": 1}], []),
        ([("a", 1), ("b", 2)], [{"a": 1, "b": 2}], []),
        ((("a", 1),), [{"a": 1}], []),
        (Record(2), [{"a": 2, "b": None}], []),
        (Model(), [{"a": 1}], []),
        (Model(b=None), [{"a": 1, "b": None}], []),
        (Plain(), [{"b": "x"}], []),
        (Command(), [], []),
        (Command(update={"a": 1}), [{"a": 1}], []),
        (Command(update=Record()), [{"a": 1, "b": None}], []),
        (Command(goto="b"), [], ["b"]),
        (Command(goto=["b", END, "a"]), [], ["b", "a"]),
        (Command(update={"a": 1}, goto=Send("b", 7)), [{"a": 1}], [Send("b", 7)]),
        ([Command(update={"a": 1}), Command(goto="a")], [{"a": 1}], ["a"]),
        ((Command(goto="a"), {"b": 1}, None), [{"b": 1}], ["a"]),
        ({"a": Overwrite(1)}, [{"a": Overwrite(1)}], []),
    ],
)
def test_what_a_node_may_return(returned: Any, updates: list[Any], goto: list[Any]) -> None:
    """Updates and destinations are found in every kind of return value."""
    assert read_result(KEYS, "n", returned) == Result(updates, goto)


@pytest.mark.parametrize(
    ("returned", "updates"),
    [
        (None, []),
        ([1], [{"__root__": [1]}]),
        ({"a": 1}, [{"__root__": {"a": 1}}]),
        ("text", [{"__root__": "text"}]),
        (Command(update=[1]), [{"__root__": [1]}]),
        (Command(goto="a"), []),
    ],
)
def test_a_single_valued_state_is_updated_as_a_whole(returned: Any, updates: list[Any]) -> None:
    """Where the state is one value, whatever a node returns is its update."""
    assert read_result(SINGLE, "n", returned).updates == updates


@pytest.mark.parametrize("returned", [1, "text", b"x", {1}, object(), [("a", 1, 2)], [1], ["ab"]])
def test_what_a_node_may_not_return(returned: Any) -> None:
    """Anything else is refused; the error names the node and the type, and says what is wanted."""
    with pytest.raises(InvalidUpdateError, match=f"'n' returned {type(returned).__name__}; a node"):
        read_result(KEYS, "n", returned)


def test_a_command_for_another_graph_is_refused() -> None:
    """There is no graph around this one that a command could be for."""
    with pytest.raises(InvalidUpdateError, match="'n' returned a command for the graph '__up__'"):
        read_result(KEYS, "n", Command(graph="__up__", update={"a": 1}))


@pytest.mark.parametrize("goto", ["nowhere", START, ["a", "nowhere"], Send("nowhere", 1), 7, [7]])
def test_a_destination_that_is_no_node_is_refused(goto: Any) -> None:
    """The error names who goes there, where, and which nodes there are."""
    with pytest.raises(InvalidUpdateError, match=r"A command of 'n' leads to .*nodes are a, b\."):
        read_result(KEYS, "n", Command(goto=goto))


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (None, []),
        ("a", ["a"]),
        (END, []),
        ([], []),
        (["a", END, "b", "a"], ["a", "b", "a"]),
        (("a", Send("b", 1)), ["a", Send("b", 1)]),
        (Send("a", None), [Send("a", None)]),
        ({"a"}, ["a"]),
    ],
)
def test_what_a_router_may_choose(chosen: Any, found: list[Any]) -> None:
    """One destination or several, names and packets; END is no destination."""
    assert read_route(KEYS, "The router", chosen) == found


@pytest.mark.parametrize("chosen", [True, 1, ["a", None], object()])
def test_what_a_router_may_not_choose(chosen: Any) -> None:
    """What is no node's name is refused, and the router is named."""
    with pytest.raises(InvalidUpdateError, match=r"The router leads to .*, which is no node"):
        read_route(KEYS, "The router", chosen)


def test_nothing_is_sent_to_the_end() -> None:
    """END runs nothing, so a packet to it can only be a mistake."""
    with pytest.raises(InvalidUpdateError, match="The router sends to END, which takes no input"):
        read_route(KEYS, "The router", [Send(END, 1)])


def test_a_command_as_input_is_read_like_a_nodes() -> None:
    """Its update and destinations count; its answer is another matter."""
    command: Command[Any] = Command(update={"a": 1}, goto=["b"], resume="yes")
    assert read_command(KEYS, command) == Result([{"a": 1}], ["b"])
    assert read_command(KEYS, Command(resume="yes")) == Result([], [])


@pytest.mark.parametrize(
    ("value", "update"),
    [
        ({"a": 1}, {"a": 1}),
        ({}, {}),
        (Record(), {"a": 1, "b": None}),
        (Model(b="x"), {"a": 1, "b": "x"}),
        (Plain(), {"b": "x"}),
    ],
)
def test_what_an_input_may_be(value: Any, update: Any) -> None:
    """A mapping of the state's keys, or an object with such fields."""
    assert read_input(KEYS, value) == update
    assert read_input(SINGLE, value) == {"__root__": value}


@pytest.mark.parametrize("value", ["text", 1, [1], [("a", 1)], Send("a", 1), {"a"}])
def test_what_an_input_may_not_be(value: Any) -> None:
    """Anything else is refused by its type."""
    with pytest.raises(InvalidUpdateError, match=f"The input must .* not {type(value).__name__}"):
        read_input(KEYS, value)
