"""Stories about graphs that have changed: what their migrations write down."""

from __future__ import annotations

import operator
from typing import Annotated, Any, Final, TypedDict

from durable_graph import START, Command, Send, StateGraph, interrupt
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.migration import (
    Migration,
    convert_key,
    convert_question,
    convert_send,
    drop_key,
    rename_key,
    rename_node,
)
from durable_graph.saver import Saver
from tests.golden.story import Story, Telling

__all__ = ["STORIES"]


class _Before(TypedDict, total=False):
    items: Annotated[list[str], operator.add]
    number: str
    scrap: int


class _After(TypedDict, total=False):
    words: Annotated[list[str], operator.add]
    number: int


async def _ask(state: Any) -> Any:
    return {"items": [interrupt("one?"), interrupt("two?")]}


async def _packet(state: Any) -> Any:
    return {"items": [interrupt(f"packet {state}?")]}


async def _say(state: Any) -> Any:
    return {"items": ["said"], "scrap": 2}


async def _ask_now(state: Any) -> Any:
    return {"words": [interrupt(["one?"]), interrupt(["two?"])]}


async def _packet_now(state: Any) -> Any:
    return {"words": [interrupt(f"packet {state['n']}?")]}


async def _say_now(state: Any) -> Any:
    return {"words": ["said"]}


def _before(saver: Saver) -> CompiledGraph:
    graph = StateGraph(_Before).add_node("ask", _ask).add_node("packet", _packet)
    graph.add_node("say", _say).add_edge(START, "ask").add_edge(START, "say")
    return graph.add_conditional_edges(START, lambda s: [Send("packet", 7)], ["packet"]).compile(
        saver
    )


def _after(saver: Saver) -> CompiledGraph:
    graph = StateGraph(_After).add_node("inquire", _ask_now).add_node("packet", _packet_now)
    graph.add_node("say", _say_now).add_edge(START, "inquire").add_edge(START, "say")
    graph.add_conditional_edges(START, lambda s: [Send("packet", {"n": 7})], ["packet"])
    return graph.compile(
        saver,
        migrations=[
            rename_node("ask", "inquire"),
            rename_key("items", "words"),
            Migration(
                drop_key("scrap"),
                convert_key("number", int),
                convert_send("packet", lambda n: {"n": n}),
                convert_question("inquire", lambda text: [text]),
                when=lambda graph: graph.has_key("number", "str"),
            ),
        ],
    )


def _now(saver: Saver, trouble: bool) -> CompiledGraph:
    return _after(saver)


async def _tell_before(story: Telling) -> None:
    story.graph = _before(story.saver)
    await story.run({"items": ["in"], "number": "7", "scrap": 1}, by="ann")
    asked = await story.asked()
    await story.run(Command(resume={asked["one?"]: "first"}), by="bob")


async def _tell_migrated(story: Telling) -> None:
    await _tell_before(story)
    story.graph = _after(story.saver)
    now = await story.graph.aget_state(story.config())
    packet = next(question.id for question in now.interrupts if question.value == "packet 7?")
    await story.run(Command(resume={packet: "seven"}), by="eve")


async def _end(story: Telling) -> Any:
    now = await story.graph.aget_state(story.config())
    return await story.run(Command(resume={question.id: "!" for question in now.interrupts}))


STORIES: Final = (
    Story("of-an-earlier-version", _now, _tell_before, _end),
    Story("migrated", _now, _tell_migrated, _end),
)
