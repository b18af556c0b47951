"""Stories about those outside a graph: answers, messages in the inbox, edits, branches."""

from __future__ import annotations

from typing import Any, Final

from durable_graph import END, START, Command, StateGraph, interrupt
from durable_graph.engine.runs.inbox import answer_message
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from tests.golden.story import Items, Story, Telling, chain, says

__all__ = ["STORIES"]


async def _editor(state: Items) -> Items:
    title = interrupt("title?")
    return {"items": [f"{title} by {interrupt({'author of': title})}"]}


async def _owner(state: Items) -> Items:
    return {"items": [interrupt("price?")], "count": 1}


def _people(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items)
    graph.add_node("editor", _editor).add_node("owner", _owner).add_node("clerk", says("clerk"))
    graph.add_node("print", says("printed", last="print"))
    for name in ("clerk", "editor", "owner"):
        graph.add_edge(START, name)
    return graph.add_edge(["clerk", "editor", "owner"], "print").compile(saver)


async def _post(story: Telling, name: str, question: str, answer: Any, by: str | None) -> None:
    """Leave an answer in the thread's inbox, as one does who does not own it."""
    await story.later()
    encoded = {question: story.graph.definition.codec.encode(answer)}
    message = answer_message(name, encoded, by, story.clock.time())
    await story.saver.backend.post(story.key, message)


# -- a thread that asks, with an answer that waits in its inbox --------------------------------


async def _tell_asking(story: Telling) -> None:
    await story.run({"items": ["draft"]}, by="ann")
    asked = await story.asked()
    await story.run(Command(resume={asked["title?"]: "A Log"}), by="bob")
    await _post(story, "waits", asked["price?"], 12.5, "eve")


async def _end_asking(story: Telling) -> Any:
    await story.run(None)
    return await story.run(Command(resume="Ann"))


# -- a thread that was answered in every way ---------------------------------------------------


async def _tell_answered(story: Telling) -> None:
    await story.run({"items": ["draft"]})
    asked = await story.asked()
    begin = (await story.history())[0].checkpoint_id
    await _post(story, "of-a-stranger", "0" * 32, "what?", None)
    await story.run(None)
    await _post(story, "taken-up", asked["price?"], 1, "eve")
    await _post(story, "too-late", asked["price?"], 2, "mallory")
    await story.run(None, by="ann")
    # An answer that edits the state as well: what else waits is carried on.
    await story.run(Command(resume={asked["title?"]: "A Log"}, update={"last": "update"}))
    await story.edit({"items": ["edited"]}, as_node="clerk", by="carl")
    await story.run(Command(resume="Ann"))
    # And the same questions once more, on a branch of their own.
    await story.run(Command(resume={asked["title?"]: "Another"}), at=begin)
    await story.run({"items": ["never mind"]}, on_pending="supersede")


async def _end_answered(story: Telling) -> Any:
    await story.run(Command(resume={(await story.asked())["title?"]: "Third"}))
    return await _end_all(story)


async def _end_all(story: Telling) -> Any:
    ended: Any = None
    while asked := await _open(story):
        ended = await story.run(Command(resume={asked[0]: "fine"}))
    return ended


async def _open(story: Telling) -> list[str]:
    now = await story.graph.aget_state(story.config())
    return [question.id for question in now.interrupts]


# -- edits and branches ------------------------------------------------------------------------


def _letters(saver: Saver, trouble: bool) -> CompiledGraph:
    return chain(saver, ("a", says("a")), ("b", says("b", last="b")), ("c", says("c")))


async def _tell_edited(story: Telling) -> None:
    await story.edit({"items": ["made by hand"]}, by="ann")
    await story.run(None)
    await story.edit({"last": "closed"}, as_node=END)
    await story.edit([("items", ["as a"]), ("count", 10)], as_node="a")


async def _go_on(story: Telling) -> Any:
    return await story.run(None)


async def _tell_forked(story: Telling) -> None:
    await story.run({"items": ["input"]})
    history = await story.history()
    by_step = {one.metadata["step"]: one.checkpoint_id for one in history if one.metadata}
    await story.run(None, at=by_step[1])
    await story.run({"items": ["another"]}, at=by_step[2], by="ann")
    edited = await story.edit({"last": "edited"}, at=by_step[1], as_node="a")
    await story.run(None, at=edited, interrupt_after=["b"])


STORIES: Final = (
    Story("asking", _people, _tell_asking, _end_asking),
    Story("answered", _people, _tell_answered, _end_answered),
    Story("edited", _letters, _tell_edited, _go_on),
    Story("forked", _letters, _tell_forked, _go_on),
)
