"""Stories about questions with terms: what answers must look like, and until when they count."""

from __future__ import annotations

from typing import Any, Final

from durable_graph import START, Command, StateGraph, interrupt
from durable_graph.engine.runs.inbox import answer_message
from durable_graph.errors import InterruptTimeoutError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from tests.golden.story import Items, Story, Telling

__all__ = ["STORIES"]

_PRICE: Final = {"type": "number", "minimum": 0}
_WORDS: Final = {"type": "string", "maxLength": 9}


async def _price(state: Items) -> Items:
    return {"items": [interrupt("price?", response_schema=_PRICE, timeout=60, default=9.5)]}


async def _words(state: Items) -> Items:
    return {"items": [interrupt("words?", response_schema=_WORDS)]}


async def _sign(state: Items) -> Items:
    try:
        return {"items": [interrupt("sign?", timeout=30)]}
    except InterruptTimeoutError:
        return {"items": ["unsigned"]}


def _terms(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items)
    for name, node in (("price", _price), ("words", _words), ("sign", _sign)):
        graph.add_node(name, node).add_edge(START, name)
    return graph.compile(saver)


async def _post(story: Telling, name: str, question: str, answer: Any) -> None:
    encoded = {question: story.graph.definition.codec.encode(answer)}
    message = answer_message(name, encoded, "eve", story.clock.time())
    await story.saver.backend.post(story.key, message)


async def _tell_open(story: Telling) -> None:
    await story.run({"items": ["offer"]}, by="ann")
    asked = await story.asked()
    await _post(story, "does-not-fit", asked["words?"], 12)
    await story.run(None)


async def _tell_over(story: Telling) -> None:
    await story.run({"items": ["offer"]}, by="ann")
    asked = await story.asked()
    await story.clock.sleep(40.0)
    await _post(story, "too-late", asked["sign?"], "Eve")
    await story.run(None)
    await story.clock.sleep(40.0)
    await story.run(Command(resume={asked["words?"]: "fine"}), by="bob")


async def _end_open(story: Telling) -> Any:
    # Another day: by now the price is what it is said to be, and nobody has signed.
    return await story.run(Command(resume="fine"), by="bob")


STORIES: Final = (
    Story("terms-open", _terms, _tell_open, _end_open),
    Story("terms-over", _terms, _tell_over),
)
