"""Faults that simulated histories have found, each as the shortest story that shows it."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from durable_graph import END, START, Command, StateGraph, interrupt
from durable_graph.engine.runs.inbox import answer_message
from durable_graph.errors import (
    AlreadyAnsweredError,
    OutcomeUnknownError,
    PendingInterruptsError,
    StorageFullError,
    ThreadBusyError,
)
from durable_graph.graph import CompiledGraph
from durable_graph.log import seal
from durable_graph.log.codec import Codec
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import ThreadQuery
from durable_graph.saver import Saver
from durable_graph.state.messages import MESSAGE_TYPES
from durable_graph.testing.simulation import Faults, Simulation, Worker
from durable_graph.types import RunnableConfig
from tests.simulation.scripts import THREAD, State, asks, at, graph, play, says

QUIET = Faults(slow=0, busy=0, broken=0, lost=0, late=0, again=0)


def test_an_edit_as_the_end_makes_nothing_due() -> None:
    """`aupdate_state(as_node=END)` writes the update and makes nothing due."""

    async def scenario(simulation: Simulation) -> None:
        made = graph(simulation.worker().saver, ("first", says("first")))
        await made.aupdate_state(THREAD, {"log": ["edit"]}, END)
        assert (await made.aget_state(THREAD)).next == ()

    play(scenario)


def test_storage_that_fails_beside_other_tasks_is_told_as_it_is() -> None:
    """A failed write is raised as the storage's error, also while other tasks are running."""

    async def scenario(simulation: Simulation) -> None:
        async def spoil(state: State) -> State:
            simulation.storage.faults = Faults(broken=1.0)
            return {"log": ["spoil"]}

        saver = simulation.worker().saver
        made = graph(saver, ("spoil", spoil), ("other", says("other", 1.0)), beside=True)
        with pytest.raises(StorageFullError):
            await made.ainvoke({"log": []}, THREAD)
        await simulation.calm_down()
        await asyncio.sleep(5.0)

    play(scenario)


def test_a_run_that_was_left_and_fails_makes_no_noise() -> None:
    """What a run fails with after its watcher left it is no exception that was never retrieved."""

    async def scenario(simulation: Simulation) -> None:
        made = graph(
            simulation.worker().saver, ("first", says("first")), ("second", says("second"))
        )
        async for _ in made.astream({"log": []}, THREAD):
            simulation.storage.faults = Faults(broken=1.0)
            break
        await asyncio.sleep(5.0)
        await simulation.calm_down()
        await asyncio.sleep(5.0)

    play(scenario)


def test_an_async_run_that_fails_at_once_lets_go_of_its_thread() -> None:
    """A run that fails while its claim is being written still records that it failed."""

    async def scenario(simulation: Simulation) -> None:
        async def fail(state: State) -> State:
            raise ValueError("at once")

        made = graph(simulation.worker().saver, ("fail", fail))
        with pytest.raises(ValueError, match="at once"):
            await made.ainvoke({"log": []}, THREAD, durability="async")
        (info,) = [info async for info in made.checkpointer.alist_threads()]  # type: ignore[union-attr]
        assert info.status == "failed"

    play(scenario, faults=QUIET)


def test_an_answer_that_goes_to_the_asking_node_leaves_a_thread_that_works() -> None:
    """`Command(resume=, goto=)` to a node that waits for the answer does not wedge the thread."""

    async def scenario(simulation: Simulation) -> None:
        made = graph(simulation.worker().saver, ("ask", asks))
        await made.ainvoke({"log": []}, THREAD)
        result = await made.ainvoke(Command(resume="this", goto="ask"), THREAD)
        if "__interrupt__" in result:
            result = await made.ainvoke(Command(resume="that"), THREAD)
        assert result["log"][0] == "this"

    play(scenario)


def test_the_input_of_another_branch_is_another_input() -> None:
    """After a branch was made, an input that only the other branch took is a new one there."""

    async def scenario(simulation: Simulation) -> None:
        made = graph(simulation.worker().saver, ("ask", asks))
        await made.ainvoke({"log": ["one"]}, THREAD)
        first = (await made.aget_state(THREAD)).checkpoint_id
        await made.ainvoke({"log": ["two"]}, THREAD, on_pending="supersede")
        await made.ainvoke(None, at(first))
        with pytest.raises(PendingInterruptsError):
            await made.ainvoke({"log": ["two"]}, THREAD)

    play(scenario)


def test_an_update_beside_a_posted_answer_is_not_lost() -> None:
    """`Command(resume=, update=)` on a running thread is refused as a whole."""

    async def scenario(simulation: Simulation) -> None:
        one, two = simulation.worker(), simulation.worker()
        nodes = (("ask", asks), ("slow", says("slow", 5.0)))
        running = one.start(graph(one.saver, *nodes, beside=True).ainvoke({"log": []}, THREAD))
        await asyncio.sleep(1.0)
        command: Command[str] = Command(resume="this", update={"log": ["update"]})
        other = graph(two.saver, *nodes, beside=True)
        with pytest.raises(ThreadBusyError, match="Give the answer alone"):
            await two.run(other.ainvoke(command, THREAD))
        await asyncio.wait([running])
        result = await two.run(other.ainvoke(command, THREAD))
        assert result["log"] == ["update", "this", "slow"]

    play(scenario)


def test_a_thread_that_is_deleted_while_it_is_read_is_not_called_damaged() -> None:
    """A read beside a deletion sees the thread or no thread, and no missing large value."""

    async def scenario(simulation: Simulation) -> None:
        one, two = simulation.worker(), simulation.worker()
        made = graph(one.saver, ("large", says("x" * 10_000)))
        await one.run(made.ainvoke({"log": []}, THREAD))
        # Each call arrives after half a second, and is answered half a second later.
        simulation.storage.faults = Faults((1.0, 1.0), 0, (0, 0), 0, 0, 0, 0, 0)
        deleting = one.start(one.saver.adelete_thread("thread"))
        await asyncio.sleep(0.1)
        reading = two.start(graph(two.saver, ("large", says(""))).aget_state(THREAD))
        await asyncio.wait([reading, deleting])
        assert reading.result().values in ({}, {"log": ["x" * 10_000]})

    play(scenario)


def test_a_bare_answer_behind_a_posted_one_is_refused() -> None:
    """An answer that comes after a posted one has answered all is `AlreadyAnsweredError`."""

    async def scenario(simulation: Simulation) -> None:
        saver = simulation.worker().saver
        made = graph(saver, ("ask", asks))
        (question,) = (await made.ainvoke({"log": []}, THREAD))["__interrupt__"]
        answer = {question.id: Codec(MESSAGE_TYPES).encode("posted")}
        message = answer_message("message", answer, None, 0.0)
        await saver.backend.post(ThreadKey("", "thread"), message)
        with pytest.raises(AlreadyAnsweredError):
            await made.ainvoke(Command(resume="late"), THREAD)

    play(scenario)


def test_a_stream_that_is_closed_at_once_does_not_block_its_thread() -> None:
    """After a stream was closed before its run took a step, the thread can be run."""

    async def scenario(simulation: Simulation) -> None:
        made = graph(simulation.worker().saver, ("first", says("first")))
        stream = made.astream({"log": []}, THREAD)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        await stream.aclose()
        await asyncio.wait([waiting])
        async with asyncio.timeout(60):
            assert (await made.ainvoke({"log": []}, THREAD))["log"] == ["first"]

    play(scenario)


def test_a_claim_that_arrives_late_is_let_go_of() -> None:
    """A claim whose outcome stayed unknown and that takes effect later is released."""

    async def scenario(simulation: Simulation) -> None:
        fates = iter(["late"])
        simulation.storage.fate = lambda what: (
            next(fates, "never") if what.startswith("append") else None
        )
        simulation.storage.faults = Faults(slow=0, busy=0, broken=0, lost=0, late=0, again=0)
        worker = simulation.worker()
        made = graph(worker.saver, ("first", says("first")))
        with pytest.raises(OutcomeUnknownError):
            await worker.run(made.ainvoke({"log": []}, THREAD))
        simulation.storage.fate = lambda _: None
        await asyncio.sleep(60.0)
        heads = (await worker.saver.backend.threads(ThreadQuery())).threads
        assert [found for found in heads if found.head and found.head.status == "running"] == []

    for seed in range(20):  # in some of which the claim arrives after the run has given up
        play(scenario, seed=seed)


def test_a_branch_at_exit_durability_is_at_its_checkpoint() -> None:
    """With durability "exit", a branch begins with the state of the named checkpoint, behind it."""

    async def scenario(simulation: Simulation) -> None:
        made = graph(
            simulation.worker().saver, ("first", says("first")), ("second", says("second"))
        )
        await made.ainvoke({"log": []}, THREAD)
        history = [snapshot async for snapshot in made.aget_state_history(THREAD)]
        (named,) = [snapshot for snapshot in history if snapshot.next == ("second",)]
        await made.ainvoke(None, named.config, durability="exit")
        fresh = graph(simulation.worker().saver, ("first", says("")), ("second", says("")))
        after = await fresh.aget_state(THREAD)
        assert after.values["log"] == ["first", "second"]
        assert after.parent_config is not None
        begun = await fresh.aget_state(after.parent_config)
        assert (begun.values, begun.parent_config) == (named.values, named.config)

    play(scenario)


def test_an_edit_before_the_start_keeps_the_input() -> None:
    """An input that was accepted and not taken in yet is in the state after an edit."""

    async def scenario(simulation: Simulation) -> None:
        one, two = simulation.worker(), simulation.worker()
        call = one.start(_routed(one).ainvoke({"log": ["input"]}, THREAD))
        while not (await two.saver.backend.threads(ThreadQuery())).threads:
            await asyncio.sleep(0)
        one.crash()
        await asyncio.sleep(30.0)
        assert not call.done()
        await two.run(_routed(two).aupdate_state(THREAD, {"log": ["edit"]}, "first"))
        assert "input" in (await _routed(two).aget_state(THREAD)).values["log"]

    play(scenario)


def _routed(worker: Worker) -> CompiledGraph:
    """A graph whose start has a route, so that taking in an input takes a second write."""
    made = StateGraph(State).add_node("first", says("first"))
    return made.add_conditional_edges(START, lambda _: "first", ["first"]).compile(worker.saver)


def test_a_checkpoint_with_a_large_question_is_not_called_damaged() -> None:
    """The history shows a checkpoint whose large question has been answered."""

    async def scenario(simulation: Simulation) -> None:
        async def ask(state: State) -> State:
            return {"log": [interrupt("x" * 10_000)]}

        made = graph(simulation.worker().saver, ("ask", ask))
        await made.ainvoke({"log": []}, THREAD)
        await made.ainvoke(Command(resume="this"), THREAD)
        shown = [snapshot.values async for snapshot in made.aget_state_history(THREAD)]
        assert shown == [{"log": ["this"]}, {"log": []}, {"log": []}]

    play(scenario)


def test_an_owner_whose_first_write_is_tried_again_is_known_to_live() -> None:
    """Who has just claimed a thread is not taken for dead, however often the claim was sent."""

    async def scenario(simulation: Simulation) -> None:
        fates = iter(["never"])
        simulation.storage.fate = lambda what: (
            next(fates, None) if what.startswith("append") else None
        )
        one, two = simulation.worker(), simulation.worker()
        running = one.start(
            graph(one.saver, ("slow", says("one", 5.0))).ainvoke({"log": []}, THREAD)
        )
        await asyncio.sleep(1.0)
        with pytest.raises(ThreadBusyError):
            await two.run(graph(two.saver, ("slow", says("two"))).ainvoke(None, THREAD))
        await asyncio.wait([running])

    play(scenario)


def test_nothing_is_put_behind_what_is_being_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch of a checkpoint that is pruned meanwhile is refused; the thread stays readable."""
    monkeypatch.setattr(seal, "_SMALL_STATE", 0)  # a snapshot, so that there is something to prune

    async def scenario(delay: float, simulation: Simulation) -> None:
        one, two = simulation.worker(), simulation.worker()
        nodes = [(name, says(name * 300)) for name in "abcdefgh"]
        made = graph(one.saver, *nodes)
        await made.ainvoke({"log": []}, THREAD)
        history = [snapshot async for snapshot in made.aget_state_history(THREAD)]
        # Each call arrives after a quarter of a second, and is answered as much later. Whoever
        # edits reads the checkpoint before its records are removed, and writes afterwards.
        simulation.storage.faults = Faults((0.5, 0.5), 0, (0, 0), 0, 0, 0, 0, 0)
        pruning = two.start(two.saver.aprune(["thread"]))
        await asyncio.sleep(delay)
        editing = one.start(made.aupdate_state(history[-1].config, {"log": ["edit"]}, "a"))
        await asyncio.wait([pruning, editing])
        refused = [task.exception() is not None for task in (pruning, editing)]
        assert refused.count(True) <= 1
        await graph(two.saver, *nodes).aget_state(THREAD)

    for delay in (0.1, 0.6, 1.1, 1.3, 1.6, 2.1):
        play(partial(scenario, delay))


def test_a_failed_run_whose_last_events_nobody_takes_makes_no_noise() -> None:
    """A run that has failed behind the event at which its watcher left is no unheard error."""

    async def scenario(simulation: Simulation) -> None:
        nodes = (("first", says("first")), ("second", says("second")))
        made = graph(simulation.worker().saver, *nodes)
        config: RunnableConfig = {**THREAD, "recursion_limit": 1}
        async for mode, _ in made.astream({"log": []}, config, stream_mode=["values", "updates"]):
            if mode == "updates":
                await asyncio.sleep(1.0)
                break
        await asyncio.sleep(5.0)

    play(scenario)


def test_an_answer_that_an_async_run_has_taken_up_is_not_refused() -> None:
    """A run that looks into its inbox while it writes does not take the same answer twice."""

    async def also_asks(state: State) -> State:
        return await asks(state)

    async def scenario(simulation: Simulation) -> None:
        one, two = simulation.worker(), simulation.worker()
        nodes = (("ask", asks), ("also", also_asks), ("slow", says("slow", 5.0)))
        made = graph(one.saver, *nodes, beside=True)
        running = one.start(made.ainvoke({"log": []}, THREAD, durability="async"))
        await asyncio.sleep(1.0)
        other = graph(two.saver, *nodes, beside=True)
        question, _ = (await two.run(other.aget_state(THREAD))).interrupts
        await two.run(other.ainvoke(Command(resume={question.id: "this"}), THREAD))
        await asyncio.wait([running])

    for seed in range(20):  # in some of which the run looks again before its write has landed
        play(scenario, seed=seed, faults=QUIET)


def test_a_claim_that_is_cancelled_and_cannot_say_so_is_let_go_of() -> None:
    """A run that is cancelled while it claims its thread, and whose end is refused by storage."""

    async def scenario(simulation: Simulation) -> None:
        fates = iter(["fine", "busy"])
        simulation.storage.fate = lambda what: (
            next(fates, None) if what.startswith("append") else None
        )
        simulation.storage.faults = Faults((1.0, 1.0), 0, (0, 0), 0, 0, 0, 0, 0)
        worker = simulation.worker()
        made = graph(worker.saver, ("first", says("first")))
        running = worker.start(made.ainvoke({"log": []}, THREAD))
        await asyncio.sleep(1.7)  # it has read the thread, and its claim has just arrived
        running.cancel()
        await asyncio.wait([running])
        await asyncio.sleep(30.0)
        (found,) = (await worker.saver.backend.threads(ThreadQuery())).threads
        assert found.head is not None
        assert found.head.status == "stopped"

    play(scenario)


def test_an_answer_that_named_the_head_goes_where_the_thread_is_by_now() -> None:
    """The thread moved on between the answer, left for its owner, and the owner's end."""

    async def scenario(simulation: Simulation) -> None:
        one, two, three = (simulation.worker() for _ in range(3))
        runs: list[str] = []

        async def slow(state: State) -> State:
            runs.append("slow")
            if len(runs) == 1:
                await asyncio.sleep(5.0)
                raise ValueError("at first")
            return {"log": ["slow"]}

        def made(saver: Saver) -> CompiledGraph:
            return graph(saver, ("ask", asks), ("slow", slow), beside=True)

        running = one.start(made(one.saver).ainvoke({"log": []}, THREAD))
        await asyncio.sleep(1.0)
        head = await two.run(made(two.saver).aget_state(THREAD))
        answering = two.start(made(two.saver).ainvoke(Command(resume="this"), head.config))
        await asyncio.sleep(1.0)
        two.pause()
        await asyncio.wait([running])
        assert isinstance(running.exception(), ValueError)
        await three.run(made(three.saver).aupdate_state(THREAD, {"log": ["edit"]}, "slow"))
        two.resume()
        assert (await answering)["log"] == ["edit", "this"]
        assert runs == ["slow"]

    play(scenario)
