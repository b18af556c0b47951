"""The fingerprint of a graph: the same wherever it is made, another for another graph."""

from __future__ import annotations

import functools
import operator
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any

import orjson
import pytest

from durable_graph import END, START, StateGraph
from tests.pure.definitions import idle, schema_of


class Combine:
    """A reducer that is an object, whose default repr holds an address."""

    def __call__(self, old: Any, new: Any) -> Any:
        return old


def longest(limit: int, old: Any, new: Any) -> Any:
    return old


def last(old: Any, new: Any) -> Any:
    return new


def toss(state: Any) -> str:
    return "b"


def build(**changed: Any) -> StateGraph:
    """A graph with something of everything."""
    annotations: dict[str, Any] = {
        "a": dict[str, int | None],
        "b": Annotated[list[str], operator.add],
        "c": Annotated[Any, functools.partial(longest, 3)],
        "d": Annotated[set[frozenset[str]], Combine()],
        "e": Annotated[int, lambda old, new: new],
    }
    graph = StateGraph(schema_of(**annotations | changed))
    for name in "abcde":
        graph.add_node(name, idle)
    graph.add_edge(START, "a").add_edge("a", "b").add_edge("a", "c")
    graph.add_edge(["b", "c"], "d")
    graph.add_conditional_edges("d", toss, {True: "e", "no": END, 3: "b"})
    return graph


def fingerprint(graph: StateGraph) -> str:
    return graph.compile().definition.fingerprint


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    """Neither the hash seed nor where things lie in memory matters."""
    code = "from tests.pure.test_fingerprint import *; print(fingerprint(build()))"
    found = set()
    for seed in ("0", "1", "12345"):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        found.add(ran.stdout.strip())
    assert found == {fingerprint(build())}


Change = Callable[[StateGraph], Any]


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g.add_edge("e", "a"),
        lambda g: g.add_edge("e", END),
        lambda g: g.add_edge(["d", "e"], "a"),
        lambda g: g.add_node("f", idle).add_edge("e", "f"),
        lambda g: g.add_conditional_edges("e", toss, ["b"]),
        lambda g: g.add_conditional_edges("e", idle, ["b"]),
        lambda g: g.add_conditional_edges("e", toss),
    ],
)
def test_another_structure_has_another_fingerprint(change: Change) -> None:
    """A node, an edge, a join or a branch more is another graph."""
    graph = build()
    change(graph)
    assert fingerprint(graph) != fingerprint(build())


@pytest.mark.parametrize(
    "changed",
    [
        {"a": int},
        {"b": Annotated[list[str], operator.iadd]},
        {"b": list[str]},
        {"a": Annotated[dict[str, int | None], operator.or_]},
        {"f": int},
    ],
)
def test_another_state_has_another_fingerprint(changed: Any) -> None:
    """A key, a type or a reducer more or less is another graph."""
    assert fingerprint(build(**changed)) != fingerprint(build())


def test_different_changes_have_different_fingerprints() -> None:
    """No two of these graphs are taken for one another."""
    reducers = [operator.add, operator.or_, max, Combine(), last, lambda old, new: new]
    found = {fingerprint(build(b=Annotated[list, reducer])) for reducer in reducers}
    assert len(found) == len(reducers)


def test_the_order_of_building_does_not_matter() -> None:
    """Nodes and edges in another order make the same graph."""
    one = StateGraph(schema_of(a=int, b=str))
    one.add_node("a", idle).add_node("b", idle)
    one.add_edge(START, "a").add_edge(START, "b").add_edge(["a", "b"], END)
    other = StateGraph(schema_of(b=str, a=int))
    other.add_node("b", idle).add_node("a", idle)
    other.add_edge(["b", "a"], END).add_edge(START, "b").add_edge(START, "a")
    assert fingerprint(one) == fingerprint(other)


def test_graphs_with_one_fingerprint_know_each_others_joins() -> None:
    """What a waiting join has seen is found again by any graph of the same fingerprint."""
    graphs = [
        StateGraph(schema_of(a=int))
        .add_node("a", idle)
        .add_node("b", idle)
        .add_edge(START, "a")
        .add_edge(START, "b")
        .add_edge(sources, END)
        .compile()
        .definition
        for sources in (["a", "b"], ["b", "a"])
    ]
    assert graphs[0].fingerprint == graphs[1].fingerprint
    assert graphs[0].nodes["a"].joins[0].name == graphs[1].nodes["a"].joins[0].name


def test_the_description_is_what_is_fingerprinted() -> None:
    """What is stored of a graph is JSON that a person can read, without addresses."""
    description = build().compile().definition.description
    plain = orjson.loads(description)
    assert plain["nodes"]["a"]["targets"] == ["b", "c"]
    assert plain["nodes"]["b"]["joins"] == [["b", "c", "d"]]
    assert plain["channels"]["b"] == {"type": "list[str]", "reducer": "add"}
    assert b"0x" not in description
