"""A rolling deployment: workers of an old and a new version take turns on the same threads."""

from __future__ import annotations

import operator
import random
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

import pytest

from durable_graph import START, Command, StateGraph, interrupt
from durable_graph.errors import IncompatibleGraphError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.migration import rename_key, rename_node
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import identities

THREADS: Final = 200


class Old(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class New(TypedDict, total=False):
    words: Annotated[list[str], operator.add]
    more: int


class Deployment:
    """Two workers, with a version of the graph each, and what their nodes have done."""

    def __init__(self, old: SqliteSaver, new: SqliteSaver) -> None:
        self.ran: Counter[str] = Counter()
        self.old = self._graph(Old, "log", "ask").compile(old)
        self.new = self._graph(New, "words", "inquire").compile(
            new, migrations=[rename_node("ask", "inquire"), rename_key("log", "words")]
        )

    def _graph(self, state: type[Any], key: str, ask: str) -> StateGraph[Any]:
        async def first(state: Any) -> Any:
            self.ran[state[key][0]] += 1
            return {key: ["first"]}

        async def question(state: Any) -> Any:
            return {key: [interrupt("?")]}

        async def last(state: Any) -> Any:
            return {key: ["last"]}

        built: StateGraph[Any] = StateGraph(state)
        built.add_node("first", first).add_node(ask, question).add_node("last", last)
        built.add_edge(START, "first").add_edge("first", ask).add_edge(ask, "last")
        return built


def thread(number: int) -> RunnableConfig:
    return {"configurable": {"thread_id": f"thread-{number}"}}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(2))
async def test_old_and_new_workers_take_turns_on_many_threads(seed: int, tmp_path: Path) -> None:
    """What the new version has taken over, the old one refuses and leaves as it is; before that,
    either goes on with what the other did. In the end every thread has each word once."""
    chance = random.Random(seed)
    async with SqliteSaver(tmp_path / "t.db") as one, SqliteSaver(tmp_path / "t.db") as two:
        deployed = Deployment(one, two)
        done: dict[int, int] = dict.fromkeys(range(THREADS), 0)  # begun, asked, answered
        taken: set[int] = set()
        refused = 0
        while left := [number for number in done if done[number] < 3]:
            number = chance.choice(left)
            version = chance.choice(["old", "new"])
            config = thread(number)
            if version == "old" and number in taken:
                before = await identities(one, config)
                with pytest.raises(IncompatibleGraphError, match=r"ask|log|inquire|words"):
                    await _turn(deployed.old, "log", number, done[number])
                assert await identities(one, config) == before
                refused += 1
            else:
                key, graph = ("log", deployed.old) if version == "old" else ("words", deployed.new)
                await _turn(graph, key, number, done[number])
                done[number] += 1
                if version == "new":
                    taken.add(number)
        assert refused > THREADS // 4
        assert 0 < len(taken) < THREADS
        for number in range(THREADS):
            values = (await deployed.new.aget_state(thread(number))).values
            assert values["words"] == [str(number), "first", f"answer {number}", "last"]
            assert await two.averify(f"thread-{number}") == []
        assert deployed.ran == dict.fromkeys(map(str, range(THREADS)), 1)


async def _turn(graph: CompiledGraph, key: str, number: int, done: int) -> None:
    """The next call on a thread: its input, which stops before the question; on to the question;
    the answer."""
    config = thread(number)
    if done == 0:
        await graph.ainvoke({key: [str(number)]}, config, interrupt_after=["first"])
    elif done == 1:
        assert (await graph.ainvoke(None, config))["__interrupt__"][0].value == "?"
    else:
        await graph.ainvoke(Command(resume=f"answer {number}"), config)
