"""What nodes go by, given for each or for all, and what is refused where it is given."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from durable_graph import (
    START,
    NodeError,
    NodeTimeoutError,
    RetryPolicy,
    Send,
    StateGraph,
    TimeoutPolicy,
)
from durable_graph.errors import GraphDefinitionError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, says

AGAIN = RetryPolicy(initial_interval=0.0, jitter=False, max_attempts=3, retry_on=ValueError)


async def broken(state: Items) -> Items:
    raise ValueError("boom")


async def note(state: Items, error: NodeError) -> Items:
    return {"items": [error.node]}


@pytest.mark.parametrize(
    ("timeout", "message"),
    [
        (0, "above 0"),
        (-1.0, "above 0"),
        (float("nan"), "above 0"),
        (float("inf"), "above 0"),
        (timedelta(0), "above 0"),
        ("1", "a number of seconds or a TimeoutPolicy, not '1'"),
        (True, "a number of seconds or a TimeoutPolicy, not True"),
    ],
)
def test_a_timeout_that_cannot_be_is_refused(timeout: Any, message: str) -> None:
    """Where the node is added, naming it."""
    with pytest.raises(GraphDefinitionError, match=f"node 'a'.*{message}"):
        StateGraph(Items).add_node("a", says("a"), timeout=timeout)


@pytest.mark.parametrize(
    "made",
    [
        lambda: TimeoutPolicy(run_timeout=0),
        lambda: TimeoutPolicy(idle_timeout=timedelta(seconds=-1)),
        lambda: TimeoutPolicy(1, refresh_on="never"),  # type: ignore[arg-type]
        lambda: Send("a", 1, timeout=-1),
    ],
)
def test_a_policy_that_cannot_be_is_no_policy(made: Any) -> None:
    """It is refused by itself."""
    with pytest.raises(ValueError):
        made()


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("note", "must be a function"),
        (lambda state, error, other: None, "a parameter 'other' that nothing supplies"),
    ],
)
def test_a_handler_that_cannot_be_called_is_refused(handler: Any, message: str) -> None:
    """Where the node is added; what can be asked for by name includes the error."""
    with pytest.raises(GraphDefinitionError, match=f"error handler of node 'a'.*{message}"):
        StateGraph(Items).add_node("a", says("a"), error_handler=handler)


def test_only_handlers_are_given_errors() -> None:
    """A node that asks for one is told that nothing supplies it."""
    with pytest.raises(GraphDefinitionError, match="'error' that nothing supplies"):
        StateGraph(Items).add_node("a", lambda state, *, error: None)


def test_a_parameter_named_error_in_front_is_a_nodes_state() -> None:
    """Names only say what is supplied where something is supplied under them."""
    StateGraph(Items).add_node("a", lambda error: None).add_edge(START, "a").compile()


async def test_defaults_count_for_all_nodes_that_say_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """Also those that were added before; what a node says itself comes first."""
    seen: list[str] = []

    def bad(name: str) -> Any:
        async def node(state: Items) -> Items:
            seen.append(name)
            raise ValueError

        return node

    graph = StateGraph(Items).add_node("a", bad("a"))
    graph.set_node_defaults(retry_policy=AGAIN, error_handler=note)
    graph.add_node("b", bad("b"), retry_policy=AGAIN._replace(max_attempts=2))
    graph.add_node("c", bad("c"), retry_policy=())
    graph.add_node("d", bad("d"), error_handler=lambda state, error: {"items": ["own"]})
    for name in "abcd":
        graph.add_edge(START, name)
    result = await graph.compile(saver).ainvoke({}, config)
    assert result["items"] == ["a", "b", "c", "own"]
    assert {name: seen.count(name) for name in "abcd"} == {"a": 3, "b": 2, "c": 1, "d": 3}


async def test_default_retries_count_for_handlers_too(saver: Saver, config: RunnableConfig) -> None:
    """A node's own policy does not: it is for the node's errors."""
    seen: list[int] = []

    def flaky(state: Items, error: NodeError) -> Items:
        seen.append(1)
        if len(seen) < 3:
            raise ValueError
        return {"items": [f"handled {error.text}"]}

    graph = StateGraph(Items).set_node_defaults(retry_policy=AGAIN)
    graph.add_node("a", broken, retry_policy=(), error_handler=flaky).add_edge(START, "a")
    result = await graph.compile(saver).ainvoke({}, config)
    assert (result["items"], len(seen)) == (["handled ValueError: boom"], 3)

    seen.clear()
    graph = StateGraph(Items).add_edge(START, "a")
    graph.add_node("a", broken, retry_policy=AGAIN, error_handler=flaky)
    with pytest.raises(ValueError):
        await graph.compile().ainvoke({})
    assert len(seen) == 1


async def test_a_default_timeout_can_be_lifted_for_a_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """With a policy that has no limits; nodes and handlers that say nothing have the default."""
    graph = StateGraph(Items).set_node_defaults(timeout=0.01)
    graph.add_node("a", says("a"), timeout=TimeoutPolicy()).add_edge(START, "a")
    nodes = graph.add_node("b", broken, error_handler=note).add_edge("a", "b").compile().definition
    assert nodes.nodes["a"].timeout is None
    assert nodes.nodes["b"].timeout == TimeoutPolicy(0.01)
    handler = nodes.nodes["b"].handler
    assert handler is not None
    assert handler.timeout == TimeoutPolicy(0.01)


def test_a_second_call_replaces_what_it_names() -> None:
    """And leaves the rest."""
    graph = StateGraph(Items).set_node_defaults(timeout=1, retry_policy=AGAIN)
    graph.set_node_defaults(timeout=2).add_node("a", says("a")).add_edge(START, "a")
    node = graph.compile().definition.nodes["a"]
    assert (node.timeout, node.retry) == (TimeoutPolicy(2.0), (AGAIN,))


def test_defaults_are_checked_as_they_are_given() -> None:
    """Not when the graph is compiled."""
    with pytest.raises(GraphDefinitionError, match="nodes by default"):
        StateGraph(Items).set_node_defaults(timeout=-1)
    with pytest.raises(GraphDefinitionError, match="nodes by default"):
        StateGraph(Items).set_node_defaults(retry_policy=3)  # type: ignore[arg-type]


def test_a_timeout_error_says_what_to_do() -> None:
    """Which limit it was, and how to change it."""
    error = NodeTimeoutError("a", 3.5, kind="idle", idle_timeout=3)
    assert "'a' has shown no progress for 3 s" in str(error)
    assert "idle_timeout" in str(error)
    assert not isinstance(error, OSError)
