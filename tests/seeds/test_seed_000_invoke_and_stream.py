"""The notes on persistence and streaming: what `invoke` and `stream` give."""

from __future__ import annotations

import types
from typing import TypedDict

from durable_graph import START, StateGraph
from durable_graph.types import RunnableConfig
from tests.seeds.notebook import SaverMaker

CONFIG: RunnableConfig = {"configurable": {"thread_id": "notes"}}


class Essay(TypedDict, total=False):
    topic: str
    outline: str
    text: str


def outline(state: Essay) -> Essay:
    return {"outline": f"on {state['topic']}"}


def write(state: Essay) -> Essay:
    return {"text": f"an essay {state['outline']}"}


def essays() -> StateGraph:
    return StateGraph(Essay).add_sequence([outline, write]).add_edge(START, "outline")


def test_invoke_returns_a_dictionary_of_the_final_output_only(make_saver: SaverMaker) -> None:
    """`invoke` blocks and returns the final state."""
    with make_saver() as saver:
        graph = essays().compile(saver)
        final = graph.invoke({"topic": "capitals"}, CONFIG)
    assert final == {
        "topic": "capitals",
        "outline": "on capitals",
        "text": "an essay on capitals",
    }


def test_stream_returns_a_generator_of_intermediate_output(make_saver: SaverMaker) -> None:
    """`stream` is a generator that yields what each step has changed."""
    with make_saver() as saver:
        graph = essays().compile(saver)
        stream = graph.stream({"topic": "capitals"}, CONFIG)
        assert isinstance(stream, types.GeneratorType)
        assert next(stream) == {"outline": {"outline": "on capitals"}}
        assert list(stream) == [{"write": {"text": "an essay on capitals"}}]


def test_every_superstep_is_a_checkpoint_with_the_values_of_its_state(
    make_saver: SaverMaker,
) -> None:
    """Not only the final values are stored, but those after every node."""
    with make_saver() as saver:
        graph = essays().compile(saver)
        graph.invoke({"topic": "capitals"}, CONFIG)
        stored = [snapshot.values for snapshot in graph.get_state_history(CONFIG)]
    assert stored == [
        {"topic": "capitals", "outline": "on capitals", "text": "an essay on capitals"},
        {"topic": "capitals", "outline": "on capitals"},
        {"topic": "capitals"},
        {},
    ]
