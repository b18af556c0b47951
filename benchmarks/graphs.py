"""The graphs that are measured, for either library.

Nodes and routers are async throughout, which is the best case for both: a sync one costs a hop to
a thread.
"""

import asyncio
import operator
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

from benchmarks.libraries import Library

__all__ = [
    "Document",
    "Loop",
    "Spread",
    "Tokens",
    "Turn",
    "chat",
    "document",
    "loop",
    "pages",
    "question",
    "reply",
    "spread_by_edges",
    "spread_by_send",
    "step",
    "tokens",
    "where",
]

START, END = "__start__", "__end__"


class Loop(TypedDict):
    """Counts up to a limit."""

    count: int
    limit: int


async def step(state: Loop) -> dict[str, Any]:
    """One superstep."""
    return {"count": state["count"] + 1}


async def where(state: Loop) -> str:
    """Once more, or the end."""
    return "step" if state["count"] < state["limit"] else END


def loop(library: Library) -> Any:
    """One node that loops until its router has enough."""
    graph = library.state_graph(Loop)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", where, {"step": "step", END: END})
    return graph


class Spread(TypedDict):
    """Collects what many tasks return."""

    width: int
    found: Annotated[list[int], operator.add]


async def _work(state: Any) -> dict[str, Any]:
    return {"found": [1]}


def spread_by_edges(library: Library, width: int) -> Any:
    """So many nodes, each with an edge from START."""
    graph = library.state_graph(Spread)
    for number in range(width):
        graph.add_node(f"work{number}", _work)
        graph.add_edge(START, f"work{number}")
    return graph


def spread_by_send(library: Library, width: int) -> Any:
    """One node that is sent so many packets."""

    async def split(state: Spread) -> list[Any]:
        return [library.send("work", {"number": number}) for number in range(width)]

    graph = library.state_graph(Spread)
    graph.add_node("work", _work)
    graph.add_conditional_edges(START, split, ["work"])
    return graph


class Turn(TypedDict):
    """What the node of a chat reads that leaves the conversation alone."""

    turn: int


def _conversation(library: Library) -> Any:
    class Conversation(TypedDict):
        turn: int
        messages: Annotated[list[Any], library.add_messages]

    return Conversation


def question(turn: int) -> dict[str, Any]:
    """What the user says: about 300 bytes."""
    return {"role": "user", "content": _text(turn, 300)}


def reply(turn: int) -> dict[str, Any]:
    """What the model answers: about 1,500 bytes."""
    return {"role": "assistant", "content": _text(turn + 10_000, 1500)}


def chat(library: Library, *, reads: bool) -> Any:
    """A conversation: each call adds a question and an answer.

    Args:
        library: whose graph.
        reads: whether node and caller read the whole conversation, or only the turn's number.
            What is left then is the engine's own share of a turn.
    """

    async def answer(state: Any) -> dict[str, Any]:
        return {"messages": [reply(state["turn"])]}

    whole = _conversation(library)
    graph = library.state_graph(whole) if reads else library.state_graph(whole, output_schema=Turn)
    graph.add_node("answer", answer, input_schema=whole if reads else Turn)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph


class Document(TypedDict):
    """A counter beside something large."""

    count: int
    limit: int
    pages: list[dict[str, Any]]


def document(library: Library) -> Any:
    """The loop of `loop`, over a state that also holds pages which no node reads."""
    graph = library.state_graph(Document, output_schema=Loop)
    graph.add_node("step", step, input_schema=Loop)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", where, {"step": "step", END: END})
    return graph


class Tokens(TypedDict):
    """How many tokens to emit."""

    amount: int


def tokens(library: Library) -> Any:
    """One node that emits tokens, a turn of the event loop apart, as a model's would come."""

    async def emit(state: Tokens) -> dict[str, Any]:
        writer = library.get_stream_writer()
        for number in range(state["amount"]):
            writer({"token": number})
            await asyncio.sleep(0)
        return {"amount": 0}

    graph = library.state_graph(Tokens)
    graph.add_node("emit", emit)
    graph.add_edge(START, "emit")
    graph.add_edge("emit", END)
    return graph


def pages(size: int) -> list[dict[str, Any]]:
    """About so many bytes of pages, of about 2,000 bytes each."""
    return [
        {"number": number, "title": f"page {number}", "text": _text(number, 1950)}
        for number in range(max(1, size // 2000))
    ]


def _text(seed: int, length: int) -> str:
    return " ".join(_words(seed, length))[:length]


def _words(seed: int, length: int) -> Iterator[str]:
    # No two are alike, so that nothing is stored once for two: it would flatter whoever does.
    held = 0
    while held < length:
        seed = (seed * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        word = format(seed >> 24, "x")
        held += len(word) + 1
        yield word
