"""Scenario 19: many answers to one question, from one process and from several."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import TypedDict

import pytest

from durable_graph import START, Command, StateGraph, interrupt
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.crash.harness.contention import Contender, answer_often, contend
from tests.crash.harness.counts import rounds
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.oracle import check_effects
from tests.crash.harness.places import file_in
from tests.crash.harness.processes import Worker, working
from tests.crash.harness.trial import in_parallel

INPUT = {"log": ["input"]}
REFUSALS = {
    "AlreadyAnsweredError",
    "UnknownInterruptError",
    "NothingToResumeError",
    "ThreadBusyError",
}


@pytest.mark.parametrize("processes", [1, 5])
def test_of_many_answers_to_one_question_exactly_one_is_taken(
    processes: int, tmp_path: Path
) -> None:
    """Fifty answer at once: one is taken, the others are told so and change nothing."""

    def one(seed: int, random: random.Random) -> None:
        folder = tmp_path / str(seed)
        folder.mkdir()
        effects = EffectFile(folder / "effects")
        who = Contender(file_in(folder), effects.path, "asking")
        with Worker(contend, who, INPUT) as worker:
            kind, asked = worker.end()
            assert kind == "ended"
        question = asked["__interrupt__"][0].id if seed % 2 else None
        names = [f"answer {number}" for number in range(50)]
        answers = [names[first::processes] for first in range(processes)]
        with working(*(Worker(answer_often, who, own, question) for own in answers)) as workers:
            for worker in workers:
                worker.until("ready")
            for worker in random.sample(workers, processes):
                worker.tell("go")
            ends = [worker.end() for worker in workers]
        fates = {
            name: fate
            for own, (ended, own_fates) in zip(answers, ends, strict=True)
            for name, fate in zip(own, own_fates, strict=True)
            if ended == "ended"
        }
        assert len(fates) == 50, ends
        taken = [name for name, fate in fates.items() if fate == "taken"]
        assert len(taken) == 1, fates
        assert set(fates.values()) - {"taken"} <= REFUSALS, fates
        with Worker(contend, who, None) as worker:
            _, state = worker.end()
        assert state["log"] == ["input", f"first: {taken[0]}", "held", "last"]
        check_effects(effects.read(), [])

    in_parallel(rounds(8 if processes == 1 else 25, 200), one)


def test_an_answer_to_a_run_of_another_process_goes_through_its_inbox(tmp_path: Path) -> None:
    """The owner takes the answer up; both callers get the state that it has led to."""
    who = Contender(file_in(tmp_path), tmp_path / "effects", "both")
    owner = Contender(who.place, who.effects, "both", held=True)
    with Worker(contend, owner, INPUT) as a:
        a.until("stored")
        with Worker(contend, who, Command(resume="this one")) as b:
            b.until("waiting")
            a.tell("go on")
            state = {"log": ["input", "first: this one", "held", "last"]}
            assert a.end() == ("ended", state)
            assert b.end() == ("ended", state)
    check_effects(EffectFile(who.effects).read(), [])


def test_of_two_answers_in_an_inbox_the_first_is_taken(tmp_path: Path) -> None:
    """Whoever answers a question that has an answer waiting is told that it was too late."""
    who = Contender(file_in(tmp_path), tmp_path / "effects", "both")
    owner = Contender(who.place, who.effects, "both", held=True)
    with Worker(contend, owner, INPUT) as a:
        a.until("stored")
        with Worker(contend, who, Command(resume="the first")) as b:
            b.until("waiting")
            with Worker(contend, who, Command(resume="the second")) as c:
                c.until("waiting")
                a.tell("go on")
                state = {"log": ["input", "first: the first", "held", "last"]}
                assert a.end() == ("ended", state)
                assert b.end() == ("ended", state)
                assert c.end()[:2] == ("failed", "AlreadyAnsweredError")


def test_an_answer_whose_owner_is_killed_is_not_lost(tmp_path: Path) -> None:
    """Whoever waits for an owner that dies takes the thread over, with its answer."""
    who = Contender(file_in(tmp_path), tmp_path / "effects", "both", lease=0.4)
    owner = Contender(who.place, who.effects, "both", held=True, lease=100_000.0)
    with Worker(contend, owner, INPUT) as a:
        a.until("stored")
        with Worker(contend, who, Command(resume="this one")) as b:
            b.until("waiting")
            a.kill()
            state = {"log": ["input", "first: this one", "held", "last"]}
            assert b.end() == ("ended", state)


class State(TypedDict, total=False):
    answer: str
    slow: str


async def test_an_answer_to_a_run_of_the_same_process_goes_through_its_inbox(
    saver: Saver, config: RunnableConfig
) -> None:
    """It makes no difference which process a run belongs to: its questions can be answered."""
    gate = asyncio.Event()

    async def ask(state: State) -> State:
        return {"answer": interrupt("which?")}

    async def slow(state: State) -> State:
        await gate.wait()
        return {"slow": "done"}

    graph = (
        StateGraph(State)
        .add_node("ask", ask)
        .add_node("slow", slow)
        .add_edge(START, "ask")
        .add_edge(START, "slow")
        .compile(saver)
    )
    stream = graph.astream({}, config, stream_mode="updates")
    assert "__interrupt__" in await anext(stream)
    answering = asyncio.ensure_future(graph.ainvoke(Command(resume="this one"), config))
    rest = asyncio.ensure_future(_all(stream))
    while not (answering.done() or await _has_message(saver, config)):
        await asyncio.sleep(0)
    gate.set()
    await rest
    assert await answering == {"answer": "this one", "slow": "done"}


async def _all(stream: object) -> list[object]:
    return [part async for part in stream]  # type: ignore[attr-defined]


async def _has_message(saver: Saver, config: RunnableConfig) -> bool:
    from durable_graph.ports.backend import ThreadKey

    reading = await saver.backend.read(ThreadKey.of(config["configurable"]["thread_id"]))
    return reading is not None and bool(reading.messages)
