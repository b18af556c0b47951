"""A conversation that can go on for ever: each turn a question and its answer, both numbered."""

from __future__ import annotations

import operator
from typing import Annotated, TypedDict

from durable_graph import END, START, StateGraph
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver

__all__ = ["asked", "conversation", "said_in"]


class Turns(TypedDict, total=False):
    """What has been said."""

    said: Annotated[list[str], operator.add]


def _answer(state: Turns) -> Turns:
    return {"said": [f"answer {len(state['said']) // 2}"]}


def conversation(saver: Saver) -> CompiledGraph:
    """The graph; its input is a question."""
    builder = StateGraph(Turns).add_node("answer", _answer)
    return builder.add_edge(START, "answer").add_edge("answer", END).compile(saver)


def asked(turn: int) -> Turns:
    """The input of a turn, counted from 0."""
    return {"said": [f"ask {turn}"]}


def said_in(turns: int) -> list[str]:
    """All that is said in so many turns."""
    return [f"{what} {turn}" for turn in range(turns) for what in ("ask", "answer")]
