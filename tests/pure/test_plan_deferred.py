"""Laws of deferred nodes: they run when nothing else is left to run, and none is forgotten."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from durable_graph import START, StateGraph
from durable_graph.decisions.plan import Plan, deferred_in, plan, plan_goto, without_deferred
from durable_graph.definition.graph import GraphDefinition
from durable_graph.log.records import DueTask, Outcome, Packet
from tests.pure.definitions import Free, idle

NAMES = "abcdefgh"


def define(edges: Iterable[tuple[str, str]], deferred: Iterable[str]) -> GraphDefinition:
    """A graph of idle nodes, all of which are reached from the start."""
    graph, late = StateGraph(Free), set(deferred)
    for name in NAMES:
        graph.add_node(name, idle, defer=name in late)
        graph.add_edge(START, name)
    for start, end in edges:
        graph.add_edge(start, end)
    return graph.compile().definition


DEFINITION = define([("a", "b"), ("a", "g"), ("b", "c"), ("g", "h"), ("h", "h")], "gh")


def due(*nodes: str) -> list[DueTask]:
    return [DueTask(node) for node in nodes]


def ran(*nodes: str) -> list[tuple[str, Outcome]]:
    return [(node, Outcome(place)) for place, node in enumerate(nodes)]


def test_a_deferred_node_waits_while_something_else_is_due() -> None:
    """It is put off, and kept; what waits longer is not due twice."""
    made = plan(DEFINITION, {}, ran("a"))
    assert made == Plan(due("b"), {":g": ()})
    assert plan(DEFINITION, made.joins, ran("b")) == Plan(due("c"), {":g": ()})
    assert plan(DEFINITION, made.joins, ran("a")) == Plan(due("b"), {":g": ()})


def test_it_is_due_once_nothing_else_is() -> None:
    """And then it waits no more; it may be put off behind itself."""
    assert plan(DEFINITION, {":g": ()}, ran("c")) == Plan(due("g"), {})
    assert plan(DEFINITION, {}, ran("h")) == Plan(due("h"), {})


def test_all_that_wait_run_at_once() -> None:
    """One does not wait for the other."""
    assert plan(DEFINITION, {":h": (), ":g": ()}, ran("c")) == Plan(due("g", "h"), {})


def test_as_long_as_others_stay_due_it_waits() -> None:
    """Those that an edit leaves waiting for an answer."""
    assert plan(DEFINITION, {":g": ()}, ran("c"), busy=True) == Plan([], {":g": ()})


def test_a_send_is_not_put_off_and_is_waited_for() -> None:
    """It is a task of its own, also one to a deferred node."""
    sent = Outcome(0, sends=(Packet("g", b"1"),))
    assert plan(DEFINITION, {":h": ()}, [("c", sent)]) == Plan([DueTask("g", b"1")], {":h": ()})


def test_a_command_puts_off_as_an_edge_does() -> None:
    """What a caller's command goes to, beside what is deferred."""
    made = plan_goto(DEFINITION, {}, Outcome(0, goto=("g", "c")))
    assert made == Plan(due("c"), {":g": ()})
    assert plan_goto(DEFINITION, {}, Outcome(0, goto=("g",))) == Plan(due("g"), {})
    assert plan_goto(DEFINITION, {}, Outcome(0, goto=("g",)), busy=True).due == []


def test_what_waits_can_be_told_from_joins() -> None:
    """No join is named like a deferred node."""
    waiting = {":h": (), "a+b:c": ("a",), ":g": ()}
    assert deferred_in(waiting) == ["g", "h"]
    assert without_deferred(waiting) == {"a+b:c": ("a",)}


def test_a_node_that_is_deferred_no_more_still_runs() -> None:
    """It was put off by an earlier version of the graph."""
    plain = define([("a", "b")], "")
    assert plan(plain, {":g": ()}, ran("b")) == Plan(due("g"), {})


graphs = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda e: e[0] < e[1]),
    unique=True,
    max_size=14,
)


@given(graphs, st.sets(st.sampled_from(NAMES)))
def test_every_run_comes_to_its_end_with_nothing_waiting(
    edges: list[tuple[str, str]], deferred: set[str]
) -> None:
    """In a graph without loops, each superstep has something due until all is done.

    A node that is reached runs; one that is deferred runs only when no other node is due with it
    that is not deferred as well, and all that could be put off has been by then.
    """
    definition = define(edges, deferred)
    made = plan(definition, {}, [(START, Outcome(0))])
    executed: set[str] = set()
    for _ in range(100):
        now = [entry.node for entry in made.due]
        if not now:
            break
        late = deferred.intersection(now)
        assert not late or late == set(now)
        assert not late or not deferred_in(made.joins)
        executed.update(now)
        made = plan(definition, made.joins, ran(*now))
    assert made == Plan([], {})
    assert executed == set(NAMES)


@given(graphs, st.sets(st.sampled_from(NAMES)))
def test_defer_changes_when_and_not_whether(
    edges: list[tuple[str, str]], deferred: set[str]
) -> None:
    """The nodes that run are those that would run if none were deferred."""

    def nodes_of(definition: GraphDefinition) -> set[str]:
        made, executed = plan_goto(definition, {}, Outcome(0, goto=("a",))), set[str]()
        while made.due:
            now = [entry.node for entry in made.due]
            executed.update(now)
            made = plan(definition, made.joins, ran(*now))
        return executed

    assert nodes_of(define(edges, deferred)) == nodes_of(define(edges, ""))
