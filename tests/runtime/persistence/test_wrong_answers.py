"""A wrong, late, duplicate or unknown answer is refused, and changes no byte of the thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from durable_graph import Command, interrupt
from durable_graph.errors import (
    AlreadyAnsweredError,
    AmbiguousAnswerError,
    InvalidUpdateError,
    NothingToResumeError,
    PendingInterruptsError,
    UnknownInterruptError,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import Interrupt, RunnableConfig
from tests.runtime.kit import Items, chain, collect, fan, identities, says

NOBODYS = "0123456789abcdef" * 2


def asks(*questions: Any) -> Any:
    async def node(state: Items) -> Items:
        return {"items": [interrupt(question) for question in questions]}

    return node


async def refused(
    graph: CompiledGraph, given: Any, config: RunnableConfig, error: type[Exception], saver: Saver
) -> str:
    """See that a call is refused and leaves the thread as it is; returns the message."""
    records = await identities(saver, config)
    state = await graph.aget_state(config)
    threads = await collect(saver.alist_threads())
    with pytest.raises(error) as caught:
        await graph.ainvoke(given, config)
    assert await identities(saver, config) == records
    assert await graph.aget_state(config) == state
    assert await collect(saver.alist_threads()) == threads
    return str(caught.value)


async def two_questions(graph: CompiledGraph, config: RunnableConfig) -> list[Interrupt]:
    return list((await graph.ainvoke({}, config))["__interrupt__"])


async def test_one_answer_to_two_questions_is_ambiguous(
    saver: Saver, config: RunnableConfig
) -> None:
    """The message lists the ids to choose from."""
    graph = fan(("a", asks("a?")), ("b", asks("b?")), saver=saver)
    questions = await two_questions(graph, config)
    for answer in ("yes", ["yes", "no"], {"a": 1}, None):
        text = await refused(graph, Command(resume=answer), config, AmbiguousAnswerError, saver)
        assert all(question.id in text for question in questions)


WRONG: list[tuple[str, Callable[[str], Any], type[Exception]]] = [
    ("an id nobody asked", lambda known: {NOBODYS: 1}, UnknownInterruptError),
    ("one right, one wrong", lambda known: {known: 1, NOBODYS: 1}, UnknownInterruptError),
    ("an empty map", lambda known: {}, UnknownInterruptError),
    ("what cannot be stored", lambda known: {known: object()}, InvalidUpdateError),
    ("one that can and one that cannot", lambda known: [1, object()], InvalidUpdateError),
]


@pytest.mark.parametrize(
    ("answer", "error"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
async def test_a_wrong_answer_is_refused(
    answer: Callable[[str], Any], error: type[Exception], saver: Saver, config: RunnableConfig
) -> None:
    """The question stays open, and a right answer is taken afterwards."""
    graph = chain(("ask", asks("?")), saver=saver)
    (question,) = (await graph.ainvoke({}, config))["__interrupt__"]
    await refused(graph, Command(resume=answer(question.id)), config, error, saver)
    assert (await graph.ainvoke(Command(resume="right"), config))["items"] == ["right"]


async def test_a_late_answer_does_not_answer_the_next_question(
    saver: Saver, config: RunnableConfig
) -> None:
    """The id of an answered question of the same task is known, and refused as answered."""
    graph = chain(("ask", asks("one", "two")), saver=saver)
    (one,) = (await graph.ainvoke({}, config))["__interrupt__"]
    (two,) = (await graph.ainvoke(Command(resume={one.id: 1}), config))["__interrupt__"]
    await refused(graph, Command(resume={one.id: "late"}), config, AlreadyAnsweredError, saver)
    both: Command[Any] = Command(resume={two.id: 2, one.id: "late"})
    await refused(graph, both, config, AlreadyAnsweredError, saver)
    assert (await graph.ainvoke(Command(resume={two.id: 2}), config))["items"] == [1, 2]


async def test_an_answer_to_a_question_of_an_earlier_step_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """Another node asks now; the earlier node's id does not fit."""
    graph = chain(("a", asks("?")), ("b", asks("?")), saver=saver)
    (first,) = (await graph.ainvoke({}, config))["__interrupt__"]
    await graph.ainvoke(Command(resume=1), config)
    await refused(graph, Command(resume={first.id: "late"}), config, UnknownInterruptError, saver)


async def test_an_answer_to_another_threads_question_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """Ids belong to their thread."""
    graph = chain(("ask", asks("?")), saver=saver)
    await graph.ainvoke({}, config)
    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    (question,) = (await graph.ainvoke({}, other))["__interrupt__"]
    await refused(graph, Command(resume={question.id: 1}), config, UnknownInterruptError, saver)


async def test_an_answer_where_nothing_is_asked_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """A finished thread, and a thread that does not exist."""
    graph = chain(("a", says("a")), saver=saver)
    await refused(graph, Command(resume=1), config, NothingToResumeError, saver)
    await graph.ainvoke({}, config)
    for answer in (1, None, {NOBODYS: 1}, {}):
        await refused(graph, Command(resume=answer), config, NothingToResumeError, saver)


async def test_the_same_answer_twice_is_refused_the_second_time(
    saver: Saver, config: RunnableConfig
) -> None:
    """A duplicate that comes after the thread has finished finds nothing asked."""
    graph = chain(("ask", asks("?")), saver=saver)
    (question,) = (await graph.ainvoke({}, config))["__interrupt__"]
    answer: Command[Any] = Command(resume={question.id: "yes"})
    assert (await graph.ainvoke(answer, config))["items"] == ["yes"]
    await refused(graph, answer, config, NothingToResumeError, saver)


async def test_a_new_input_on_an_asking_thread_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """It would drop the question; the message says how to answer or to drop it on purpose."""
    graph = fan(("a", asks("a?")), ("b", asks("b?")), saver=saver)
    await graph.ainvoke({"items": ["in"]}, config)
    inputs: list[Any] = [{"items": ["new"]}, {}, Command(update={"last": 1}), Command(goto="a")]
    for given in inputs:
        text = await refused(graph, given, config, PendingInterruptsError, saver)
        assert "asks 2 questions" in text
        assert "on_pending" in text


async def test_an_answer_with_an_update_that_cannot_be_taken_changes_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """Answer and update are one: with a wrong update, the answer is not taken either."""
    graph = chain(("ask", asks("?")), saver=saver)
    await graph.ainvoke({}, config)
    commands: list[Command[Any]] = [
        Command(resume=1, update={"items": [object()]}),
        Command(resume=1, goto="no"),
        Command(resume=1, update=7),
    ]
    for command in commands:
        await refused(graph, command, config, InvalidUpdateError, saver)
    assert (await graph.ainvoke(Command(resume="right"), config))["items"] == ["right"]


async def test_a_question_that_cannot_be_stored_fails_its_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """Nothing is asked; the error names the node."""
    graph = chain(("ask", asks(object())), saver=saver)
    with pytest.raises(InvalidUpdateError, match="The question of node 'ask' cannot be stored"):
        await graph.ainvoke({}, config)
    state = await graph.aget_state(config)
    assert (state.interrupts, state.next) == ((), ("ask",))
