"""Editing a thread's state from outside: as which node, at which checkpoint, what follows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph import END, START, Command, Overwrite, StateGraph, interrupt
from durable_graph.errors import InvalidUpdateError, ThreadBusyError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, collect, fan, history, identities, reached, says


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


async def test_an_edit_counts_as_the_last_node(saver: Saver, config: RunnableConfig) -> None:
    """It goes through the reducers, and what follows that node is due."""
    graph = chain(*((n, says(n)) for n in "abc"), saver=saver, interrupt_before=["b"])
    await graph.ainvoke({}, config)
    written = await graph.aupdate_state(config, {"items": ["edit"]})
    state = await graph.aget_state(config)
    assert state.config == written
    assert (state.values["items"], state.next) == (["a", "edit"], ("b",))
    assert (state.metadata or {})["source"] == "update"
    result = await graph.ainvoke(None, config, interrupt_before=[])
    assert result["items"] == ["a", "edit", "b", "c"]


@pytest.mark.parametrize(
    ("as_node", "then"),
    [
        (START, ("a",)),
        ("a", ("b",)),
        ("b", ("c",)),
        ("c", ()),
        pytest.param(END, ()),
    ],
)
async def test_an_edit_makes_due_what_follows_its_node(
    as_node: str, then: tuple[str, ...], saver: Saver, config: RunnableConfig
) -> None:
    """As START it is like an input; as END nothing is due any more."""
    graph = chain(*((n, says(n)) for n in "abc"), saver=saver, interrupt_before=["b"])
    await graph.ainvoke({}, config)
    await graph.aupdate_state(config, {"items": ["edit"]}, as_node=as_node)
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["a", "edit"], then)
    result = await graph.ainvoke(None, config, interrupt_before=[])
    assert tuple(result["items"][2:])[: len(then)] == then


async def test_an_edit_can_begin_a_thread(saver: Saver, config: RunnableConfig) -> None:
    """On a thread that does not exist it is an input that does not run yet."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.aupdate_state(config, {"items": ["edit"]})
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["edit"], ("a",))
    assert (await graph.ainvoke(None, config))["items"] == ["edit", "a"]


async def test_an_edit_runs_the_conditional_edges_of_its_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """Where they lead is decided by the edited state."""
    graph = StateGraph(Items).add_node("a", says("a")).add_edge(START, "a")
    graph.add_node("few", says("few")).add_node("many", says("many"))

    async def route(state: Items) -> str:
        return "many" if len(state["items"]) > 2 else "few"

    compiled = graph.add_conditional_edges("a", route, ["few", "many"]).compile(
        saver, interrupt_after=["a"]
    )
    await compiled.ainvoke({}, config)
    assert (await compiled.aget_state(config)).next == ("few",)
    await compiled.aupdate_state(config, {"items": ["x", "y"]}, as_node="a")
    assert (await compiled.aget_state(config)).next == ("many",)


async def test_an_edit_of_several_last_nodes_must_say_which(
    saver: Saver, config: RunnableConfig
) -> None:
    """Two nodes ran in the last superstep: the edit could be either's."""
    graph = StateGraph(Items).add_node("end", says("end"))
    for name in ("a", "b"):
        graph.add_node(name, says(name)).add_edge(START, name).add_edge(name, "end")
    compiled = graph.compile(saver, interrupt_before=["end"])
    await compiled.ainvoke({}, config)
    before = await identities(saver, config)
    with pytest.raises(InvalidUpdateError, match="Ambiguous update: a, b ran last"):
        await compiled.aupdate_state(config, {"items": ["x"]})
    assert await identities(saver, config) == before
    await compiled.aupdate_state(config, {"items": ["x"]}, as_node="a")
    assert (await compiled.aget_state(config)).next == ("end",)


@pytest.mark.parametrize(
    ("values", "as_node", "says_what"),
    [
        ({"items": ["x"]}, "nobody", "no node 'nobody' to write as"),
        ({"items": [object()]}, "a", "cannot write this to 'items'"),
        ({"items": 5}, "a", "reducer of 'items' failed"),
        (7, "a", "'a' returned int"),
        (Command(goto="no"), "a", "leads to 'no'"),
    ],
)
async def test_an_edit_that_cannot_be_taken_changes_nothing(
    values: Any, as_node: str, says_what: str, saver: Saver, config: RunnableConfig
) -> None:
    """It is refused with what is wrong, before anything is written."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    before = await identities(saver, config)
    with pytest.raises(InvalidUpdateError, match=says_what):
        await graph.aupdate_state(config, values, as_node=as_node)
    assert await identities(saver, config) == before
    assert (await graph.aget_state(config)).next == ()


async def test_an_edit_may_replace_and_may_be_none(saver: Saver, config: RunnableConfig) -> None:
    """`Overwrite` goes past the reducer; None changes no value, and moves on."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    await graph.ainvoke({"items": ["in"]}, config)
    await graph.aupdate_state(config, {"items": Overwrite(["only"])}, as_node="a")
    await graph.aupdate_state(config, None, as_node="b")
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["only"], ())


async def test_an_edit_may_be_a_command(saver: Saver, config: RunnableConfig) -> None:
    """Its `goto` is due beside what follows the node."""
    graph = chain(("a", says("a")), ("b", says("b")), ("c", says("c")), saver=saver)
    await graph.ainvoke({}, config)
    await graph.aupdate_state(config, Command(update={"last": 1}, goto="c"), as_node="a")
    state = await graph.aget_state(config)
    assert (state.values["last"], state.next) == (1, ("b", "c"))


async def test_an_edit_keeps_the_questions_of_what_is_still_due(
    saver: Saver, config: RunnableConfig
) -> None:
    """On an asking thread the question survives with its id, and its answer goes on as usual."""
    graph = chain(("a", says("a")), ("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    (question,) = (await graph.aget_state(config)).interrupts
    await graph.aupdate_state(config, {"items": ["edit"]}, as_node="a")
    state = await graph.aget_state(config)
    assert (state.interrupts, state.next) == ((question,), ("ask",))
    assert (await graph.ainvoke(None, config))["__interrupt__"] == [question]
    result = await graph.ainvoke(Command(resume={question.id: "!"}), config)
    assert result["items"] == ["a", "edit", "!"]


async def test_an_edit_of_an_asking_thread_keeps_finished_results(
    saver: Saver, config: RunnableConfig
) -> None:
    """A sibling of the asking node that had finished does not run again, and is in the state."""
    runs: list[str] = []

    async def good(state: Items) -> Items:
        runs.append("good")
        return {"items": ["good"]}

    graph = StateGraph(Items).add_node("a", says("a")).add_edge(START, "a")
    graph.add_node("ask", ask).add_node("good", good).add_edge("a", "ask").add_edge("a", "good")
    compiled = graph.compile(saver)
    await compiled.ainvoke({}, config)
    await compiled.aupdate_state(config, {"items": ["edit"]}, as_node="good")
    state = await compiled.aget_state(config)
    assert state.values["items"] == ["a", "good", "edit"]
    assert runs == ["good"]


@pytest.mark.parametrize("leads", ["by an edge", "by a join with the asking node"])
async def test_what_finished_siblings_lead_to_is_due_after_an_edit(
    leads: str, saver: Saver, config: RunnableConfig
) -> None:
    """A result that an edit puts into the state leads where it would have led by itself."""
    graph = StateGraph(Items).add_node("ask", ask).add_node("done", says("done"))
    graph.add_node("other", says("other")).add_node("after", says("after"))
    for name in ("ask", "done", "other"):
        graph.add_edge(START, name)
    graph.add_edge("done" if leads == "by an edge" else ["ask", "done"], "after")
    compiled = graph.compile(saver)
    await compiled.ainvoke({}, config)
    await compiled.aupdate_state(config, {"items": ["edit"]}, as_node="other")
    result = await compiled.ainvoke(Command(resume="!"), config)
    assert sorted(result["items"]) == ["!", "after", "done", "edit", "other"]


async def test_an_edit_never_drops_a_question_silently(
    saver: Saver, config: RunnableConfig
) -> None:
    """A question that nobody was told is gone stays open, whatever the edit counts as."""
    graph = StateGraph(Items).add_node("a", says("a")).add_node("ask", ask).add_node("b", says("b"))
    graph.add_edge(START, "a").add_edge("a", "ask").add_edge(START, "b")
    compiled = graph.compile(saver)
    await compiled.ainvoke({}, config)
    (question,) = (await compiled.aget_state(config)).interrupts
    await compiled.aupdate_state(config, {"items": ["edit"]}, as_node="b")
    assert (await compiled.aget_state(config)).interrupts == (question,)


async def test_an_edit_as_the_end_drops_what_was_due(saver: Saver, config: RunnableConfig) -> None:
    """With END somebody says that the thread is done, questions included."""
    graph = chain(("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    await graph.aupdate_state(config, None, as_node=END)
    state = await graph.aget_state(config)
    assert (state.next, state.interrupts) == ((), ())
    assert (await graph.ainvoke({"items": ["next"]}, config))["__interrupt__"]


@pytest.mark.parametrize("named", ["in the config", "as an argument"])
async def test_an_edit_of_an_earlier_checkpoint_makes_a_branch(
    named: str, saver: Saver, config: RunnableConfig
) -> None:
    """The new checkpoint's parent is the named one, and it is the thread's head from now on."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    await graph.ainvoke({}, config)
    old = (await history(graph, config))[1]
    if named == "in the config":
        written = await graph.aupdate_state(old.config, {"items": ["edit"]})
    else:
        written = await graph.aupdate_state(
            config, {"items": ["edit"]}, checkpoint_id=old.checkpoint_id
        )
    state = await graph.aget_state(config)
    assert (state.config, state.parent_config) == (written, old.config)
    assert (state.values["items"], state.next) == (["a", "edit"], ("b",))
    assert (await graph.ainvoke(None, config))["items"] == ["a", "edit", "b"]
    assert (await graph.aget_state(old.config)).values["items"] == ["a"]


async def test_an_edit_names_its_author(saver: Saver, config: RunnableConfig) -> None:
    """`by=` is kept with the record."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config, by="asker")
    await graph.aupdate_state(config, {"last": 1}, as_node="a", by="editor")
    headers = [header for _, header, _ in await identities(saver, config)]
    assert b'"asker"' in headers[0]
    assert b'"editor"' in headers[-1]


async def test_a_thread_that_is_being_run_cannot_be_edited(
    saver: Saver, config: RunnableConfig
) -> None:
    """The edit is refused, and the run does not notice."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def node(state: Items) -> Items:
        entered.set()
        await leave.wait()
        return {"items": ["node"]}

    graph = chain(("node", node), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(entered, run)
    with pytest.raises(ThreadBusyError):
        await graph.aupdate_state(config, {"items": ["edit"]})
    leave.set()
    assert (await run)["items"] == ["node"]


async def test_an_edit_of_a_failed_thread_can_take_the_failed_nodes_place(
    saver: Saver, config: RunnableConfig
) -> None:
    """As the node that failed, the edit is its result; it does not run again."""

    async def bad(state: Items) -> None:
        raise KeyError("bad")

    graph = chain(("bad", bad), ("end", says("end")), saver=saver)
    with pytest.raises(KeyError):
        await graph.ainvoke({}, config)
    await graph.aupdate_state(config, {"items": ["by hand"]}, as_node="bad")
    assert (await graph.ainvoke(None, config))["items"] == ["by hand", "end"]


async def test_edits_can_follow_one_another(saver: Saver, config: RunnableConfig) -> None:
    """Each is a checkpoint of its own, whose node is the last one."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    await graph.aupdate_state(config, {"items": ["1"]}, as_node=START)
    await graph.aupdate_state(config, {"items": ["2"]}, as_node="a")
    await graph.aupdate_state(config, {"items": ["3"]})
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["1", "2", "3"], ("b",))
    assert [(s.metadata or {})["step"] for s in await history(graph, config)] == [1, 0, -1]


async def test_an_edit_in_the_middle_of_a_fan_out_keeps_what_is_done(
    saver: Saver, config: RunnableConfig
) -> None:
    """After a failure in a fan-out, finished siblings stay finished across an edit."""
    runs: list[str] = []

    async def good(state: Items) -> Items:
        runs.append("good")
        return {"items": ["good"]}

    async def bad(state: Items) -> Items:
        runs.append("bad")
        raise KeyError("bad")

    graph = fan(("a", good), ("b", bad), saver=saver)
    with pytest.raises(KeyError):
        await graph.ainvoke({}, {**config, "max_concurrency": 1})
    await graph.aupdate_state(config, {"items": ["by hand"]}, as_node="b")
    state = await graph.aget_state(config)
    assert state.values["items"] == ["good", "by hand"]
    assert runs == ["good", "bad"]
    assert (await collect(saver.alist_threads()))[0].status == "finished"
