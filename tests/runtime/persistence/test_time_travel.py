"""Replay, fork and branch: going on from an earlier checkpoint leaves the old branch as it is."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import START, Command, Runtime, Send, StateGraph, interrupt
from durable_graph.errors import NothingToResumeError
from durable_graph.log.seal import open_header
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, fan, history, identities, records_of, says


class Noted:
    """Nodes that note each of their executions."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.keys: list[str] = []

    def node(self, name: str) -> Any:
        async def run(state: Items, runtime: Runtime) -> Items:
            self.runs.append(name)
            self.keys.append(runtime.idempotency_key)
            return {"items": [name]}

        return name, run


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


async def test_a_replay_runs_everything_after_the_checkpoint_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """Results recorded after it are not taken over; the end is the same."""
    noted = Noted()
    graph = chain(*map(noted.node, "abc"), saver=saver)
    first = await graph.ainvoke({}, config)
    noted.runs.clear()
    after_a = (await history(graph, config))[2]
    assert after_a.next == ("b",)
    assert await graph.ainvoke(None, after_a.config) == first
    assert noted.runs == ["b", "c"]


async def test_a_replay_makes_a_branch_and_leaves_the_old_one(
    saver: Saver, config: RunnableConfig
) -> None:
    """A fork checkpoint follows the named one; what was there stays readable and unchanged."""
    graph = chain(*((n, says(n)) for n in "abc"), saver=saver)
    await graph.ainvoke({}, config)
    old = await history(graph, config)
    before = await identities(saver, config)
    await graph.ainvoke(None, old[2].config)
    assert (await identities(saver, config))[: len(before)] == before
    new = await history(graph, config)
    assert new[3:] == old
    sources = [(s.metadata or {})["source"] for s in new[:3]]
    assert sources == ["loop", "loop", "fork"]
    assert new[2].parent_config == old[2].config
    assert [s.next for s in new[:3]] == [(), ("c",), ("b",)]


async def test_tasks_of_a_branch_are_other_tasks(saver: Saver, config: RunnableConfig) -> None:
    """Effects keyed by the task happen once for each branch, not once for all."""
    noted = Noted()
    graph = chain(*map(noted.node, "ab"), saver=saver)
    await graph.ainvoke({}, config)
    old = (await history(graph, config))[1]
    await graph.ainvoke(None, old.config)
    await graph.ainvoke(None, old.config)
    assert noted.runs == ["a", "b", "b", "b"]
    assert len(set(noted.keys)) == 4


async def test_records_of_a_branch_name_it(saver: Saver, config: RunnableConfig) -> None:
    """Each commit's header says which commit began its branch."""
    graph = chain(*((n, says(n)) for n in "ab"), saver=saver)
    await graph.ainvoke({}, config)
    old = (await history(graph, config))[1]
    await graph.ainvoke(None, old.config)
    branches: list[tuple[str, str]] = []
    for record in await records_of(saver, config):
        info = open_header(record, config["configurable"]["thread_id"]).commit
        if info is not None:
            branches.append((info.id, info.branch))
    first = branches[0][0]
    fork = branches[4][0]
    assert [branch for _, branch in branches] == [first] * 4 + [fork] * 2


async def test_the_thread_goes_on_from_its_newest_branch(
    saver: Saver, config: RunnableConfig
) -> None:
    """Without a checkpoint, the head counts: the branch that was written last."""
    graph = chain(*((n, says(n)) for n in "ab"), saver=saver)
    await graph.ainvoke({"items": ["in"]}, config)
    begin = (await history(graph, config))[-1]
    await graph.ainvoke({"items": ["other"]}, begin.config)
    assert (await graph.aget_state(config)).values["items"] == ["other", "a", "b"]
    result = await graph.ainvoke({"items": ["next"]}, config)
    assert result["items"] == ["other", "a", "b", "next", "a", "b"]


async def test_an_input_at_an_earlier_checkpoint_begins_there(
    saver: Saver, config: RunnableConfig
) -> None:
    """The input is added to the state of that checkpoint; what was due there is dropped."""
    graph = chain(*((n, says(n)) for n in "ab"), saver=saver)
    await graph.ainvoke({"items": ["in"]}, config)
    after_a = (await history(graph, config))[1]
    result = await graph.ainvoke({"items": ["other"]}, after_a.config)
    assert result["items"] == ["in", "a", "other", "a", "b"]


async def test_an_explicit_checkpoint_means_that_very_one(
    saver: Saver, config: RunnableConfig
) -> None:
    """Also after an edit of it: the edited branch is the id that the edit returned."""
    graph = chain(*((n, says(n)) for n in "ab"), saver=saver)
    await graph.ainvoke({}, config)
    old = (await history(graph, config))[1]
    edited = await graph.aupdate_state(old.config, {"items": ["edit"]})
    assert (await graph.ainvoke(None, old.config))["items"] == ["a", "b"]
    assert (await graph.ainvoke(None, edited))["items"] == ["a", "edit", "b"]


async def test_naming_the_head_by_none_makes_a_branch(saver: Saver, config: RunnableConfig) -> None:
    """Finished results that belong to the head are not inherited when it is named."""
    runs: list[str] = []

    async def good(state: Items) -> Items:
        runs.append("good")
        return {"items": ["good"]}

    graph = fan(("ask", ask), ("good", good), saver=saver)
    await graph.ainvoke({}, config)
    head = (await graph.aget_state(config)).config
    asked = await graph.ainvoke(None, head)
    assert runs == ["good", "good"]
    assert [q.value for q in asked["__interrupt__"]] == ["?"]
    assert (await graph.aget_state(config)).parent_config == head


async def test_answering_the_head_by_its_id_is_an_ordinary_answer(
    saver: Saver, config: RunnableConfig
) -> None:
    """People pass `snapshot.config` on: no branch, no second run of what has finished."""
    runs: list[str] = []

    async def good(state: Items) -> Items:
        runs.append("good")
        return {"items": ["good"]}

    graph = fan(("ask", ask), ("good", good), saver=saver)
    await graph.ainvoke({}, config)
    head = (await graph.aget_state(config)).config
    result = await graph.ainvoke(Command(resume="!"), head)
    assert result["items"] == ["!", "good"]
    assert runs == ["good"]
    assert [(s.metadata or {})["source"] for s in await history(graph, config)] == [
        "loop",
        "loop",
        "input",
    ]


async def test_an_old_question_can_be_answered_otherwise(
    saver: Saver, config: RunnableConfig
) -> None:
    """An answer at the checkpoint where it was asked makes a branch with the other answer."""
    graph = chain(("ask", ask), ("end", says("end")), saver=saver)
    await graph.ainvoke({}, config)
    assert (await graph.ainvoke(Command(resume="yes"), config))["items"] == ["yes", "end"]
    asking = (await history(graph, config))[2]
    (question,) = asking.interrupts
    assert (await graph.ainvoke(Command(resume="no"), asking.config))["items"] == ["no", "end"]
    other = await graph.ainvoke(Command(resume={question.id: "maybe"}), asking.config)
    assert other["items"] == ["maybe", "end"]
    assert sorted(s.values["items"][0] for s in await history(graph, config) if not s.next) == [
        "maybe",
        "no",
        "yes",
    ]


async def test_a_replay_asks_again(saver: Saver, config: RunnableConfig) -> None:
    """From the checkpoint of a question, None asks it once more, under a new id."""
    graph = chain(("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    (question,) = (await graph.aget_state(config)).interrupts
    await graph.ainvoke(Command(resume="yes"), config)
    asking = (await history(graph, config))[1]
    asked = (await graph.ainvoke(None, asking.config))["__interrupt__"]
    assert [q.value for q in asked] == ["?"]
    assert asked[0].id != question.id
    assert (await graph.ainvoke(Command(resume="no"), config))["items"] == ["no"]


async def test_an_answer_where_nothing_was_asked_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """The named checkpoint has no question, so nothing is written."""
    graph = chain(("a", says("a")), ("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    begin = (await history(graph, config))[-2]
    before = await identities(saver, config)
    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(Command(resume="!"), begin.config)
    assert await identities(saver, config) == before


async def test_a_replay_of_the_end_runs_nothing(saver: Saver, config: RunnableConfig) -> None:
    """The last checkpoint has nothing due; its state is returned."""
    graph = chain(("a", says("a")), saver=saver)
    result = await graph.ainvoke({}, config)
    end = (await graph.aget_state(config)).config
    assert await graph.ainvoke(None, end) == result


async def test_a_replay_of_a_fan_out_runs_all_of_it(saver: Saver, config: RunnableConfig) -> None:
    """Packets are part of the checkpoint: they are sent again with the same arguments."""
    seen: list[Any] = []

    async def take(state: Any) -> Items:
        seen.append(state)
        return {"items": [state]}

    graph = StateGraph(Items).add_node("take", take)
    graph.add_conditional_edges(START, lambda s: [Send("take", n) for n in range(3)])
    compiled = graph.compile(saver)
    await compiled.ainvoke({}, config)
    sent = (await history(compiled, config))[1]
    assert (await compiled.ainvoke(None, sent.config))["items"] == [0, 1, 2]
    assert seen == [0, 1, 2, 0, 1, 2]


async def test_a_hundred_branches_stay_apart(saver: Saver, config: RunnableConfig) -> None:
    """Every branch off one checkpoint has its own end, and all can be read."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    await graph.ainvoke({}, config)
    root = (await history(graph, config))[1]
    ends = []
    for number in range(100):
        edited = await graph.aupdate_state(root.config, {"items": [number]})
        assert (await graph.ainvoke(None, edited))["items"] == ["a", number, "b"]
        ends.append((await graph.aget_state(config)).config)
    for number in (0, 50, 99):
        assert (await graph.aget_state(ends[number])).values["items"] == ["a", number, "b"]
    assert await saver.averify(config["configurable"]["thread_id"]) == []
