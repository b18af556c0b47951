"""Questions and answers: in sequence, in parallel, one by one, with updates beside them."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any

import pytest

from durable_graph import START, Command, Send, StateGraph, interrupt
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, fan, history, identities, says


def asks(*questions: Any, runs: list[str] | None = None) -> Any:
    """A node that asks these one after the other, and keeps the answers."""

    async def node(state: Items) -> Items:
        if runs is not None:
            runs.append("/".join(map(str, questions)))
        return {"items": [interrupt(question) for question in questions]}

    return node


@pytest.mark.parametrize(
    "answer", ["text", 0, False, None, [], {}, {"a": 1}, {"nested": [None, {"x": (1, 2)}]}, b"b"]
)
async def test_an_answer_may_be_any_value(
    answer: Any, saver: Saver, config: RunnableConfig
) -> None:
    """The node gets it as it was given, None and other empty values included."""
    graph = chain(("ask", asks("?")), saver=saver)
    asked = await graph.ainvoke({}, config)
    given = answer if answer != {} else {asked["__interrupt__"][0].id: {}}
    assert (await graph.ainvoke(Command(resume=given), config))["items"] == [answer]


async def test_questions_in_sequence_are_asked_one_by_one(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each answer takes the node one question further; it runs from its first line each time."""
    runs: list[str] = []
    graph = chain(("ask", asks("one", "two", "three", runs=runs)), saver=saver)
    result = await graph.ainvoke({}, config)
    for answer, question in enumerate(("one", "two", "three")):
        assert [asked.value for asked in result["__interrupt__"]] == [question]
        result = await graph.ainvoke(Command(resume=answer), config)
    assert result["items"] == [0, 1, 2]
    assert len(runs) == 4


async def test_the_same_question_twice_is_two_questions(
    saver: Saver, config: RunnableConfig
) -> None:
    """Equal questions of one node have ids of their own, in the order in which they are asked."""
    graph = chain(("ask", asks("again?", "again?")), saver=saver)
    first = (await graph.ainvoke({}, config))["__interrupt__"]
    second = (await graph.ainvoke(Command(resume=1), config))["__interrupt__"]
    assert first[0].id != second[0].id
    assert (await graph.ainvoke(Command(resume=2), config))["items"] == [1, 2]


async def test_questions_in_parallel_are_all_asked(saver: Saver, config: RunnableConfig) -> None:
    """Siblings do not stop one another; a map answers all at once."""
    graph = fan(("a", asks("a?")), ("b", asks("b?")), ("c", says("c")), saver=saver)
    asked = (await graph.ainvoke({}, config))["__interrupt__"]
    assert sorted(question.value for question in asked) == ["a?", "b?"]
    answers = {question.id: question.value.upper() for question in asked}
    assert (await graph.ainvoke(Command(resume=answers), config))["items"] == ["A?", "B?", "c"]


async def test_parallel_questions_can_be_answered_one_by_one(
    saver: Saver, config: RunnableConfig
) -> None:
    """A part of the answers runs their nodes only; the others' questions stay as they are."""
    runs: list[str] = []
    graph = fan(("a", asks("a?", runs=runs)), ("b", asks("b?", runs=runs)), saver=saver)
    asked = {q.value: q for q in (await graph.ainvoke({}, config))["__interrupt__"]}
    runs.clear()
    rest = await graph.ainvoke(Command(resume={asked["b?"].id: "B"}), config)
    assert (rest["__interrupt__"], runs) == ([asked["a?"]], ["b?"])
    assert rest["items"] == ["B"]
    state = await graph.aget_state(config)
    assert (state.next, state.interrupts) == (("a",), (asked["a?"],))
    assert (await graph.ainvoke(Command(resume="A"), config))["items"] == ["A", "B"]
    assert runs == ["b?", "a?"]


async def test_a_node_runs_again_only_when_all_its_questions_have_answers(
    saver: Saver, config: RunnableConfig
) -> None:
    """Of two questions asked together, the first answer is kept and nothing runs."""
    runs: list[int] = []

    async def one(question: str) -> Any:
        return interrupt(question)

    async def node(state: Items) -> Items:
        runs.append(len(runs))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(question)) for question in ("one", "two")]
        return {"items": [task.result() for task in tasks]}

    graph = chain(("node", node), saver=saver)
    first, second = (await graph.ainvoke({}, config))["__interrupt__"]
    rest = await graph.ainvoke(Command(resume={second.id: 2}), config)
    assert (rest["__interrupt__"], runs) == ([first], [0])
    assert (await graph.ainvoke(Command(resume=1), config))["items"] == [1, 2]
    assert runs == [0, 1]


async def test_packets_of_one_node_ask_on_their_own(saver: Saver, config: RunnableConfig) -> None:
    """The same node and the same question, but two tasks: two ids, two answers."""

    async def node(state: Any) -> Items:
        return {"items": [(state, interrupt("same?"))]}

    graph = StateGraph(Items).add_node("node", node)
    graph.add_conditional_edges(START, lambda s: [Send("node", n) for n in range(2)])
    compiled = graph.compile(saver)
    first, second = (await compiled.ainvoke({}, config))["__interrupt__"]
    answers = {second.id: "second", first.id: "first"}
    result = await compiled.ainvoke(Command(resume=answers), config)
    assert result["items"] == [(0, "first"), (1, "second")]


async def test_answers_survive_a_failure_after_them(saver: Saver, config: RunnableConfig) -> None:
    """A node that fails after its answer does not ask again when the thread goes on."""
    runs: list[int] = []

    async def node(state: Items) -> Items:
        answer = interrupt("?")
        runs.append(len(runs))
        if len(runs) == 1:
            raise KeyError("after the answer")
        return {"items": [answer]}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({}, config)
    with pytest.raises(KeyError):
        await graph.ainvoke(Command(resume="kept"), config)
    assert (await graph.aget_state(config)).interrupts == ()
    assert (await graph.ainvoke(None, config))["items"] == ["kept"]


async def test_an_answer_to_another_question_is_not_taken(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node that asks something else when it runs again does not get the earlier answer."""
    runs: list[int] = []

    async def node(state: Items) -> Items:
        runs.append(len(runs))
        return {"items": [interrupt("first?" if len(runs) == 1 else "other?")]}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({}, config)
    asked = await graph.ainvoke(Command(resume="for the first"), config)
    assert [question.value for question in asked["__interrupt__"]] == ["other?"]
    assert (await graph.ainvoke(Command(resume="for the other"), config))["items"] == [
        "for the other"
    ]


async def test_an_answer_may_come_with_an_update(saver: Saver, config: RunnableConfig) -> None:
    """The update is in the state before the node runs again, which keeps its question's answer."""
    seen: list[Any] = []

    async def node(state: Items) -> Items:
        seen.append(list(state["items"]))
        return {"items": [interrupt("?")]}

    graph = chain(("node", node), ("end", says("end")), saver=saver)
    await graph.ainvoke({"items": ["in"]}, config)
    result = await graph.ainvoke(Command(resume="!", update={"items": ["beside"]}), config)
    assert result["items"] == ["in", "beside", "!", "end"]
    assert seen == [["in"], ["in", "beside"]]


async def test_an_answer_may_come_with_a_goto(saver: Saver, config: RunnableConfig) -> None:
    """The named node runs beside the one that was answered."""
    graph = StateGraph(Items).add_node("ask", asks("?")).add_edge(START, "ask")
    graph.add_node("more", says("more"))
    with pytest.warns(UserWarning, match="No edge leads to 'more'"):
        compiled = graph.compile(saver)
    await compiled.ainvoke({}, config)
    result = await compiled.ainvoke(Command(resume="!", goto="more"), config)
    assert result["items"] == ["!", "more"]


async def test_none_on_an_asking_thread_returns_the_question_and_runs_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """The same question under the same id, and nothing is written."""
    runs: list[str] = []
    graph = chain(("ask", asks("?", runs=runs)), saver=saver)
    first = await graph.ainvoke({"items": ["in"]}, config)
    before = await identities(saver, config)
    assert await graph.ainvoke(None, config) == first
    assert await graph.ainvoke({"items": ["in"]}, config) == first
    assert runs == ["?"]
    assert await identities(saver, config) == before


async def test_an_asking_loop_makes_a_conversation(saver: Saver, config: RunnableConfig) -> None:
    """The same node asks the same in each turn; each time it is another question."""

    async def node(state: Items) -> Any:
        answer = interrupt("next?")
        return Command(update={"items": [answer]}, goto="node" if answer != "stop" else [])

    graph = chain(("node", node), saver=saver)
    ids = set()
    result = await graph.ainvoke({}, config)
    for answer in ("one", "two", "stop"):
        ids.add(result["__interrupt__"][0].id)
        result = await graph.ainvoke(Command(resume=answer), config)
    assert (result["items"], len(ids)) == (["one", "two", "stop"], 3)


async def test_an_interrupted_result_without_keys_has_the_question_only(
    saver: Saver, config: RunnableConfig
) -> None:
    """A single-valued state has no place for a key, so the question is returned instead of it."""

    async def node(state: list[str]) -> list[str]:
        return [interrupt("?")]

    graph = StateGraph(Annotated[list[str], operator.add]).add_node("node", node)
    compiled = graph.add_edge(START, "node").compile(saver)
    asked = await compiled.ainvoke(["in"], config)
    assert [*asked] == ["__interrupt__"]
    assert await compiled.ainvoke(Command(resume="!"), config) == ["in", "!"]


async def test_the_record_keeps_who_answered(saver: Saver, config: RunnableConfig) -> None:
    """`by=` stands in the answer's record."""
    graph = chain(("ask", asks("?")), saver=saver)
    await graph.ainvoke({}, config)
    await graph.ainvoke(Command(resume="!"), config, by="alice")
    assert any(b'"alice"' in header for _, header, _ in await identities(saver, config))


async def test_superseding_drops_the_question_and_takes_the_input(
    saver: Saver, config: RunnableConfig
) -> None:
    """`on_pending="supersede"`: the asking task is gone; finished siblings are in the state."""
    graph = fan(("ask", asks("?")), ("b", says("b")), saver=saver)
    await graph.ainvoke({"items": ["1"]}, config)
    again = await graph.ainvoke({"items": ["2"]}, config, on_pending="supersede")
    assert again["items"] == ["1", "b", "2", "b"]
    assert len(again["__interrupt__"]) == 1
    steps = [s.next for s in await history(graph, config)]
    assert steps[0] == ("ask", "b")


async def test_an_input_can_be_taken_for_the_answer(saver: Saver, config: RunnableConfig) -> None:
    """`on_pending="answer"`: a chat client that knows nothing of questions just sends on."""
    graph = chain(("ask", asks("?")), saver=saver)
    await graph.ainvoke({}, config)
    given = {"role": "user", "content": "yes"}
    assert (await graph.ainvoke(given, config, on_pending="answer"))["items"] == [given]


@pytest.mark.parametrize("on_pending", ["reject", "answer", "supersede"])
async def test_on_pending_is_of_no_effect_where_nothing_is_asked(
    on_pending: Any, saver: Saver, config: RunnableConfig
) -> None:
    """An input on a new or finished thread is an input."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({"items": ["1"]}, config, on_pending=on_pending)
    result = await graph.ainvoke({"items": ["2"]}, config, on_pending=on_pending)
    assert result["items"] == ["1", "a", "2", "a"]
