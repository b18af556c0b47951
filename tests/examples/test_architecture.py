"""ARCHITECTURE.md is a map: what it draws is what is there."""

from __future__ import annotations

import operator
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, TypedDict, get_args

import pytest

from benchmarks.counting import counted
from durable_graph import END, START, StateGraph
from durable_graph.decisions.admission import Action, Asked, Situation, admit
from durable_graph.errors import RunError
from durable_graph.log.records import Status
from durable_graph.types import OnPending
from durable_graph_sqlite import SqliteSaver
from tests.examples.documents import ROOT, blocks, rows, section, spans

ARCHITECTURE = "ARCHITECTURE.md"
PACKAGE = ROOT / "durable_graph"
_EDGE = re.compile(r"(\S+) --> (\S+): (.+)")


def edges() -> dict[tuple[str, str], set[str]]:
    """The diagram of a thread's states: from where to where, and upon what."""
    (diagram,) = blocks(ARCHITECTURE, "mermaid")
    drawn = [_EDGE.fullmatch(line.strip()) for line in diagram.splitlines()[1:]]
    assert all(drawn)
    return {(edge[1], edge[2]): set(edge[3].split(", ")) for edge in drawn if edge is not None}


def runs(situation: Situation, asked: Asked) -> bool:
    """Whether a call can make a thread run that stands like this."""
    questions = (
        (1,) if situation == "asking" else (0,) if situation in ("new", "finished") else (0, 1)
    )
    pending: tuple[OnPending, ...] = get_args(OnPending)
    for open_questions in questions:
        for on_pending in pending:
            try:
                action = admit(
                    situation, asked, thread="t", questions=open_questions, on_pending=on_pending
                )
            except RunError:
                continue
            if action is not Action.RETURN:
                return True
    return False


def test_calls_lead_where_the_diagram_says() -> None:
    """A thread begins to run upon exactly what is written at its edge to running."""
    words: dict[str, Asked] = {"None": "nothing", "input": "input", "answer": "answer"}
    drawn = {start: upon for (start, end), upon in edges().items() if end == "running"}
    situations: list[Situation] = ["new", "crashed", *get_args(Status)]
    for situation in situations:
        if situation == "running":
            continue
        upon = {word for word, asked in words.items() if runs(situation, asked)}
        assert drawn.pop("[*]" if situation == "new" else situation) == upon, situation
    assert drawn == {}


def test_a_run_ends_where_the_diagram_says() -> None:
    """Running leads to every other status there is, and to what a dead owner leaves."""
    ends = {end for start, end in edges() if start == "running"}
    assert ends == {*get_args(Status), "crashed"} - {"running"}


def test_every_file_of_the_engine_is_on_the_map() -> None:
    """The table has each file of the engine, and no other."""
    tables = section(ARCHITECTURE, "The house").split("Files of the engine")
    named, floor = [], ""
    for row in rows(tables[1])[1:]:
        floor = next(iter(spans(row[0])), floor)
        named += [f"{floor}{name}".removeprefix("engine/") for name in spans(row[1])]
    engine = PACKAGE / "engine"
    files = {str(file.relative_to(engine)) for file in engine.rglob("[!_]*.py")}
    assert (set(named), len(named)) == (files, len(files))


def test_every_folder_is_on_a_floor() -> None:
    """The table of floors has all that the package consists of."""
    named = {
        name.rstrip("/")
        for row in rows(section(ARCHITECTURE, "The house"))[1:]
        for name in spans(row[1])
    }
    parts = {part.name for part in PACKAGE.iterdir() if part.name[0] not in "_."} - {"py.typed"}
    assert named == parts


class State(TypedDict, total=False):
    count: int
    items: Annotated[list[int], operator.add]


def graph_of(supersteps: int, at_once: int) -> StateGraph:
    """A node that comes so many times, then so many nodes at once."""

    async def step(state: State) -> State:
        return {"count": state.get("count", 0) + 1}

    async def item(state: State) -> State:
        return {"items": [1]}

    async def over(state: State) -> Any:
        again = state["count"] % supersteps
        return "step" if again else [f"item {n}" for n in range(at_once)] or END

    graph = StateGraph(State).add_node("step", step).add_edge(START, "step")
    for n in range(at_once):
        graph.add_node(f"item {n}", item)
    return graph.add_conditional_edges("step", over)


def cost_of(supersteps: int, at_once: int, calls: int, path: Path) -> Counter[str]:
    """What so many calls of it cost on one thread in SQLite."""

    async def work() -> None:
        async with SqliteSaver(path) as saver:
            graph = graph_of(supersteps, at_once).compile(saver)
            for _ in range(calls):
                await graph.ainvoke({}, {"configurable": {"thread_id": "1"}})

    return counted(work)


@pytest.fixture
def costs(tmp_path: Path) -> Any:
    """Counts what more supersteps, or more calls, add to the cost."""
    cost_of(1, 0, 1, tmp_path / "warm.db")

    def added(one: tuple[int, int, int], more: tuple[int, int, int]) -> tuple[int, int, int]:
        first = cost_of(*one, tmp_path / "one.db")
        second = cost_of(*more, tmp_path / "more.db")
        second.subtract(first)
        return second["commits"], second["hops"], second["tasks"]

    return added


def test_the_costs_are_what_the_table_says(costs: Any) -> None:
    """Durable writes, hops to SQLite's thread, and asyncio tasks, row by row of the table."""
    assert costs((10, 0, 1), (20, 0, 1)) == (10, 10, 0)  # a superstep with one task: 1, 1, none
    # An input, and the end of a run: beyond its superstep, 1 write, 1 hop and 1 to read, 1 task.
    assert costs((1, 0, 2), (1, 0, 3)) == (1 + 1, 1 + 2, 1)


@pytest.mark.parametrize("at_once", [2, 20])
def test_the_costs_of_tasks_at_once_are_what_the_table_says(costs: Any, at_once: int) -> None:
    """At most one write for each task, most of them together; a task of asyncio for each."""
    writes, hops, tasks = costs((2, 0, 1), (2, at_once, 1))
    assert 1 <= writes <= at_once
    # The last write, with the commit, is the run's own.
    assert (hops, tasks) == (writes, at_once + writes - 1)
