"""Several edits at once: superstep after superstep, all of them stored or none."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import END, START, InMemorySaver, StateGraph
from durable_graph.errors import ConfigError, InvalidUpdateError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig, StateUpdate
from tests.runtime.backends import counted
from tests.runtime.kit import Items, chain, fan, history, says


async def test_each_superstep_makes_a_checkpoint(saver: Saver, config: RunnableConfig) -> None:
    """A thread that another program has lived through is told to this one, in one write."""
    graph = chain(*((n, says(n)) for n in "abc"), saver=saver)
    around = counted(saver)
    written = await graph.abulk_update_state(
        config,
        [
            [StateUpdate({"items": ["in"]}, START)],
            [StateUpdate({"items": ["A"]}, "a")],
            [StateUpdate({"items": ["B"]})],
        ],
        by="import",
    )
    assert around.appends == 1
    state = await graph.aget_state(config)
    # The last update names no node: it counts for the one before it, so that b is due.
    assert (state.config, state.next) == (written, ("b",))
    told = [(entry.values["items"], entry.next) for entry in await history(graph, config)]
    assert told == [(["in", "A", "B"], ("b",)), (["in", "A"], ("b",)), (["in"], ("a",))]
    assert (await graph.ainvoke(None, config))["items"] == ["in", "A", "B", "b", "c"]


async def test_updates_of_one_superstep_count_for_their_nodes(
    saver: Saver, config: RunnableConfig
) -> None:
    """As if these nodes had run at once: a join of them is complete."""
    graph = StateGraph(Items)
    for name in ("a", "b", "after"):
        graph.add_node(name, says(name))
    graph.add_edge(START, "a").add_edge(START, "b").add_edge(["a", "b"], "after")
    compiled = graph.compile(saver)
    updates = [StateUpdate({"items": ["A"], "last": 1}, "a"), StateUpdate({"items": ["B"]}, "b")]
    await compiled.abulk_update_state(config, [updates])
    state = await compiled.aget_state(config)
    assert (state.values, state.next) == ({"items": ["A", "B"], "last": 1, "count": 0}, ("after",))
    assert (await compiled.ainvoke(None, config))["items"] == ["A", "B", "after"]


async def test_updates_that_exclude_each_other_leave_all_as_it_was(
    saver: Saver, config: RunnableConfig
) -> None:
    """Also what the supersteps before would have written."""
    graph = fan(("a", says("a")), ("b", says("b")), saver=saver)
    await graph.ainvoke({"items": []}, config)
    before = await graph.aget_state(config)
    clash = [StateUpdate({"last": 1}, "a"), StateUpdate({"last": 2}, "b")]
    with pytest.raises(InvalidUpdateError, match="last"):
        await graph.abulk_update_state(config, [[StateUpdate({"last": 0}, "a")], clash])
    assert await graph.aget_state(config) == before


async def test_the_end_leads_nowhere(saver: Saver, config: RunnableConfig) -> None:
    """What counts for END beside a node's update makes nothing due; the node's does."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    updates = [StateUpdate({"items": ["end"]}, END), StateUpdate({"items": ["A"]}, "a")]
    await graph.abulk_update_state(config, [updates])
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["end", "A"], ("b",))


async def test_supersteps_at_a_checkpoint_are_a_branch(
    saver: Saver, config: RunnableConfig
) -> None:
    """The first of them branches off, and the others follow it."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    await graph.ainvoke({"items": []}, config)
    *_, after_a, _, _ = await history(graph, config)
    assert after_a.next == ("b",)
    steps = [[StateUpdate({"items": [1]}, "a")], [StateUpdate({"items": [2]}, "a")]]
    written = await graph.abulk_update_state(after_a.config, steps)
    state = await graph.aget_state(written)
    assert (state.values["items"], state.next) == (["a", 1, 2], ("b",))
    parents = [entry.parent_config for entry in await history(graph, config)]
    assert parents.count(after_a.config) == 2


def test_the_sync_face_has_it() -> None:
    """`bulk_update_state` does the same."""
    graph = chain(("a", says("a")), saver=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "sync"}}
    graph.bulk_update_state(config, [[StateUpdate({"items": ["x"]}, "a")]])
    assert graph.get_state(config).values["items"] == ["x"]


@pytest.mark.parametrize("given", [5, "steps", [], [[]], [5], [{"items": []}], [[{"items": []}]]])
async def test_what_is_no_list_of_supersteps_is_refused(
    given: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Before anything is written."""
    graph = chain(("a", says("a")), saver=saver)
    with pytest.raises(ConfigError, match="StateUpdate"):
        await graph.abulk_update_state(config, given)
    assert (await graph.aget_state(config)).checkpoint_id is None
