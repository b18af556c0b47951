"""Namespaces name the way to a graph within others, and say whose it is."""

from __future__ import annotations

import pytest

from durable_graph.log.namespace import called_ns, kept_ns, numbered, parts, renamed, tasks_in


def test_a_called_graph_stands_behind_its_caller() -> None:
    """Node and task for each level; what a task calls besides is numbered."""
    first = called_ns("", "sub", "T1")
    inner = called_ns(numbered(first, 2), "inner", "T2")
    assert first == "sub:T1"
    assert inner == "sub:T1|2|inner:T2"
    assert numbered(inner, 0) == inner
    assert parts(inner) == ("sub:T1", "2", "inner:T2")
    assert parts("") == ()


def test_a_graph_that_keeps_its_state_has_no_ids_in_its_namespace() -> None:
    """The way to it is the same in every task of its node."""
    assert kept_ns("", "sub") == "sub"
    assert kept_ns("sub:T1|1", "inner") == "sub|1|inner"


@pytest.mark.parametrize(
    ("ns", "tasks"),
    [
        ("", []),
        ("sub:T1", [("", "T1")]),
        ("sub:T1|1", [("", "T1")]),
        ("sub:T1|inner:T2", [("", "T1"), ("sub:T1", "T2")]),
        ("sub:T1|1|inner:T2|3", [("", "T1"), ("sub:T1|1", "T2")]),
        ("sub", []),
        ("sub|1|inner:T2", [("sub|1", "T2")]),
        ("sub|inner", []),
    ],
)
def test_a_namespace_says_in_which_tasks_a_graph_is(ns: str, tasks: list[tuple[str, str]]) -> None:
    """Each with its graph, the outermost first; what keeps its state is in no task."""
    assert list(tasks_in(ns)) == tasks


def test_other_ids_leave_the_rest_as_it_is() -> None:
    """On another branch the tasks have other ids."""
    assert renamed("sub:T1|1|inner:T2|3", {"T1": "U1", "T3": "U3"}) == "sub:U1|1|inner:T2|3"
