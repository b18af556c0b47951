"""What the results of a superstep make due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph import END, START
from durable_graph.decisions.plan import Plan, plan
from durable_graph.definition.graph import GraphDefinition
from durable_graph.log.records import DueTask, Outcome, Packet
from tests.pure.definitions import define

Joins = Mapping[str, tuple[str, ...]]

EDGES: list[tuple[str | Sequence[str], str]] = [
    (START, "a"),
    ("a", "d"),
    ("a", "c"),
    ("b", "d"),
    ("c", END),
    (["b", "c"], "e"),
    (["c", "b", "d"], "f"),
    (["e", "f"], END),
    ("g", "g"),
    (START, "g"),
    ("f", "b"),
]


@pytest.fixture(scope="module")
def definition() -> GraphDefinition:
    return define("abcdefg", EDGES)


def due(*nodes: str) -> list[DueTask]:
    return [DueTask(node) for node in nodes]


def planned(
    definition: GraphDefinition, *ran: str, joins: Joins | None = None, **more: Outcome
) -> Plan:
    outcomes = [(node, more.get(node, Outcome(place))) for place, node in enumerate(ran)]
    return plan(definition, joins or {}, outcomes)


@pytest.mark.parametrize(
    ("ran", "next_"),
    [
        (("a",), ("c", "d")),
        (("a", "b"), ("c", "d")),
        (("b", "a"), ("c", "d")),
        (("g",), ("g",)),
        (("a", "g"), ("c", "d", "g")),
        (("e",), ()),
        (("__start__",), ("a", "g")),
    ],
)
def test_edges_make_their_targets_due(
    definition: GraphDefinition, ran: Sequence[str], next_: Sequence[str]
) -> None:
    """Each node that an edge leads to is due once, and nodes stand in the order of their names."""
    assert planned(definition, *ran).due == due(*next_)


def test_end_is_never_due(definition: GraphDefinition) -> None:
    """An edge or a join to END makes nothing due."""
    assert planned(definition, "c").due == []
    assert planned(definition, "e", "f").due == due("b")


@pytest.mark.parametrize(
    ("ran", "seen", "next_", "left"),
    [
        (("b",), {}, ("d",), {"b+c:e": ("b",), "b+c+d:f": ("b",)}),
        (("c",), {"b+c:e": ("b",)}, ("e",), {"b+c+d:f": ("c",)}),
        (("c", "b"), {}, ("d", "e"), {"b+c+d:f": ("c", "b")}),
        (("b",), {"b+c:e": ("b",)}, ("d",), {"b+c:e": ("b",), "b+c+d:f": ("b",)}),
        (("d",), {"b+c+d:f": ("b", "c"), "b+c:e": ("b",)}, ("f",), {"b+c:e": ("b",)}),
        (("d", "b", "c"), {}, ("d", "e", "f"), {}),
        (("a",), {"b+c:e": ("b",)}, ("c", "d"), {"b+c:e": ("b",)}),
    ],
)
def test_a_join_waits_for_all_its_sources(
    definition: GraphDefinition, ran: Sequence[str], seen: Joins, next_: Sequence[str], left: Joins
) -> None:
    """It remembers who has run, each once, fires when nobody is missing, and begins again."""
    made = planned(definition, *ran, joins=seen)
    assert made.due == due(*next_)
    assert made.joins == left


def test_planning_changes_nothing_it_was_given(definition: GraphDefinition) -> None:
    """The waiting joins of the position before stay what they were."""
    waiting: Joins = {"b+c:e": ("b",)}
    plan(definition, waiting, [("c", Outcome(0))])
    assert waiting == {"b+c:e": ("b",)}


def test_commands_and_routers_add_to_the_edges(definition: GraphDefinition) -> None:
    """Where a result goes is due besides what its node's edges lead to, each node once."""
    made = planned(definition, "a", a=Outcome(0, goto=("b", "d", "b")))
    assert made.due == due("b", "c", "d")


def test_sends_come_last_and_in_the_order_they_were_made(definition: GraphDefinition) -> None:
    """Sends are due each for itself: by task, and within a task in its own order."""
    one = Outcome(0, sends=(Packet("w", b"2"), Packet("a", b"1"), Packet("w", b"2")))
    two = Outcome(1, goto=("e",), sends=(Packet("a", b"0"),))
    made = planned(definition, "b", "c", b=one, c=two)
    sends = [DueTask("w", b"2"), DueTask("a", b"1"), DueTask("w", b"2"), DueTask("a", b"0")]
    assert made.due == [*due("d", "e"), *sends]


def test_a_node_can_be_due_by_edge_and_by_send(definition: GraphDefinition) -> None:
    """A send is a task of its own, beside the one that an edge leads to."""
    made = planned(definition, "g", g=Outcome(0, sends=(Packet("g", b"1"),)))
    assert made.due == [DueTask("g"), DueTask("g", b"1")]


def test_nothing_ran_nothing_is_due(definition: GraphDefinition) -> None:
    """Without results nothing follows, and joins go on waiting."""
    assert plan(definition, {"b+c:e": ("b",)}, []) == Plan([], {"b+c:e": ("b",)})


@given(st.lists(st.sampled_from("abcdefg"), unique=True), st.data())
def test_the_order_of_results_does_not_matter_to_edges(ran: list[str], data: st.DataObject) -> None:
    """Which nodes are due, and which joins fire or wait for whom, depends only on who ran."""
    made, other = (
        plan(_DEFINITION, {}, [(node, Outcome(0)) for node in order])
        for order in (ran, data.draw(st.permutations(ran)))
    )
    assert made.due == other.due
    assert {name: set(seen) for name, seen in made.joins.items()} == {
        name: set(seen) for name, seen in other.joins.items()
    }


def test_a_node_that_ran_twice_at_once_counts_once(definition: GraphDefinition) -> None:
    """A superstep is one moment: an edge and a send to one source do not begin a second round."""
    made = planned(definition, "b", "c", "b")
    assert DueTask("e") in made.due
    assert "b+c:e" not in made.joins


@given(st.lists(st.sampled_from("bcd"), max_size=12))
def test_a_join_fires_once_for_each_full_round(ran: list[str]) -> None:
    """Over any sequence of supersteps, a join fires whenever its sources have all run again."""
    waiting: Joins = {}
    missing = {"b", "c", "d"}
    for node in ran:
        made = plan(_DEFINITION, waiting, [(node, Outcome(0))])
        missing.discard(node)
        assert (DueTask("f") in made.due) is (not missing)
        missing = missing or {"b", "c", "d"}
        waiting = made.joins


_DEFINITION = define("abcdefg", EDGES)
