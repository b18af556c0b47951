"""What a call does, by the thread's status: each cell of the table is a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from durable_graph import Command
from durable_graph.errors import (
    EmptyInputError,
    NothingToResumeError,
    PendingInterruptsError,
    ThreadBusyError,
)
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.calls.program import FIRST_INPUT, STATUSES, Program
from tests.runtime.kit import collect, identities, reached

OTHER_INPUT: dict[str, Any] = {"items": ["other"]}
ALL = ["in", "first", "side", "work", "end"]
# Statuses of a run that was cut off, with the nodes that had finished.
CUT_OFF = {
    "crashed": ["first", "side"],
    "failed": ["first", "side"],
    "stopped: cancelled": ["first", "side"],
    "stopped: breakpoint": ["first"],
    "stopped: recursion limit": ["first"],
}
REST = {name: [n for n in ("side", "work") if n not in done] for name, done in CUT_OFF.items()}


async def in_status(status: str, saver: Saver, config: RunnableConfig) -> Program:
    """A program whose thread has this status, in good mood from now on."""
    program = Program(saver, config)
    await STATUSES[status](program)
    program.mood = "well" if status != "asking" else "ask"
    program.runs.clear()
    return program


async def changes_nothing(
    program: Program, given: Any, error: type[Exception] | None, **options: Any
) -> Any:
    """Make a call that must not run or write anything; returns what it returns."""
    before = await identities(program.saver, program.config)
    threads = await collect(program.saver.alist_threads())
    result = None
    if error is None:
        result = await program.graph.ainvoke(given, program.config, **options)
    else:
        with pytest.raises(error):
            await program.graph.ainvoke(given, program.config, **options)
    assert program.runs == []
    assert await identities(program.saver, program.config) == before
    assert await collect(program.saver.alist_threads()) == threads
    return result


# -- the column None ----------------------------------------------------------------------------


async def test_none_on_a_new_thread_is_refused(saver: Saver, config: RunnableConfig) -> None:
    """There is nothing to go on with, and no thread appears."""
    await changes_nothing(await in_status("new", saver, config), None, EmptyInputError)


async def test_none_on_a_finished_thread_returns_its_state(
    saver: Saver, config: RunnableConfig
) -> None:
    """Nothing runs, nothing is written."""
    program = await in_status("finished", saver, config)
    assert (await changes_nothing(program, None, None))["items"] == ALL


@pytest.mark.parametrize("given", [None, FIRST_INPUT], ids=["None", "same input"])
@pytest.mark.parametrize("status", CUT_OFF)
async def test_none_and_the_same_input_go_on_with_a_run_that_was_cut_off(
    status: str, given: Any, saver: Saver, config: RunnableConfig
) -> None:
    """What has finished does not run again, what has not does, and the input counts once."""
    program = await in_status(status, saver, config)
    result = await program.graph.ainvoke(given, config)
    assert (result["items"], sorted(program.runs)) == (ALL, sorted([*REST[status], "end"]))
    (info,) = await collect(saver.alist_threads())
    assert info.status == "finished"


@pytest.mark.parametrize("given", [None, FIRST_INPUT], ids=["None", "same input"])
async def test_none_and_the_same_input_on_an_asking_thread_return_the_question(
    given: Any, saver: Saver, config: RunnableConfig
) -> None:
    """The same question under the same id; nothing runs, nothing is written."""
    program = await in_status("asking", saver, config)
    (question,) = (await program.graph.aget_state(config)).interrupts
    result = await changes_nothing(program, given, None)
    assert result == {
        "items": ["in", "first", "side"],
        "count": 0,
        "__interrupt__": [question],
    }


# -- the columns of inputs ----------------------------------------------------------------------


@pytest.mark.parametrize("given", [FIRST_INPUT, OTHER_INPUT, {}])
async def test_an_input_on_a_new_thread_runs(
    given: dict[str, Any], saver: Saver, config: RunnableConfig
) -> None:
    """From the entry to the end."""
    program = await in_status("new", saver, config)
    result = await program.graph.ainvoke(given, config)
    assert result["items"] == [*given.get("items", []), *ALL[1:]]


@pytest.mark.parametrize("given", [FIRST_INPUT, OTHER_INPUT])
async def test_any_input_on_a_finished_thread_is_a_new_run(
    given: dict[str, Any], saver: Saver, config: RunnableConfig
) -> None:
    """Also the same once more: that run has come to its end."""
    program = await in_status("finished", saver, config)
    result = await program.graph.ainvoke(given, config)
    assert result["items"] == [*ALL, *given["items"], *ALL[1:]]
    assert sorted(program.runs) == sorted(ALL[1:])


@pytest.mark.parametrize("status", CUT_OFF)
async def test_another_input_takes_in_what_has_finished_and_drops_the_rest(
    status: str, saver: Saver, config: RunnableConfig
) -> None:
    """The finished results are in the state, the unfinished tasks do not run, the input does."""
    program = await in_status(status, saver, config)
    result = await program.graph.ainvoke(OTHER_INPUT, config)
    assert result["items"] == ["in", *CUT_OFF[status], "other", *ALL[1:]]
    assert sorted(program.runs) == sorted(ALL[1:])


async def test_another_input_on_an_asking_thread_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """Unless somebody says what becomes of the question."""
    program = await in_status("asking", saver, config)
    await changes_nothing(program, OTHER_INPUT, PendingInterruptsError)
    await changes_nothing(program, OTHER_INPUT, PendingInterruptsError, on_pending="reject")


async def test_another_input_on_an_asking_thread_may_be_the_answer(
    saver: Saver, config: RunnableConfig
) -> None:
    """`on_pending="answer"`: it is what `interrupt` returns."""
    program = await in_status("asking", saver, config)
    result = await program.graph.ainvoke(OTHER_INPUT, config, on_pending="answer")
    assert result["items"] == ["in", "first", "side", OTHER_INPUT, "end"]
    assert program.runs == ["work", "end"]


async def test_another_input_on_an_asking_thread_may_supersede_the_question(
    saver: Saver, config: RunnableConfig
) -> None:
    """`on_pending="supersede"`: as for a run that was cut off."""
    program = await in_status("asking", saver, config)
    program.mood = "well"
    result = await program.graph.ainvoke(OTHER_INPUT, config, on_pending="supersede")
    assert result["items"] == ["in", "first", "side", "other", *ALL[1:]]


@pytest.mark.parametrize("status", [name for name in STATUSES if name != "asking"])
async def test_a_command_with_an_update_is_an_input_of_its_own_kind(
    status: str, saver: Saver, config: RunnableConfig
) -> None:
    """It takes in what has finished, drops the rest, and goes where it says."""
    program = await in_status(status, saver, config)
    command: Command[Any] = Command(update={"items": ["command"]}, goto="side")
    result = await program.graph.ainvoke(command, config)
    before = {"new": [], "finished": ALL}.get(status) or (
        ["in", *CUT_OFF[status]] if status in CUT_OFF else []
    )
    assert result["items"] == [*before, "command", "side"]
    assert program.runs == ["side"]


async def test_the_same_command_twice_is_two_commands(saver: Saver, config: RunnableConfig) -> None:
    """A command is never taken for the input of the unfinished run."""
    program = await in_status("new", saver, config)
    command: Command[Any] = Command(update={"items": ["c"]}, goto="work")
    program.mood = "fail"
    with pytest.raises(KeyError):
        await program.graph.ainvoke(command, config)
    program.mood = "well"
    assert (await program.graph.ainvoke(command, config))["items"] == ["c", "c", "work"]


# -- the column Command(resume=...) -------------------------------------------------------------


@pytest.mark.parametrize("status", [name for name in STATUSES if name != "asking"])
async def test_an_answer_where_nothing_is_asked_is_refused(
    status: str, saver: Saver, config: RunnableConfig
) -> None:
    """In every status but one, and nothing is changed."""
    program = await in_status(status, saver, config)
    await changes_nothing(program, Command(resume="!"), NothingToResumeError)


async def test_an_answer_on_an_asking_thread_goes_on(saver: Saver, config: RunnableConfig) -> None:
    """The node that asked runs again with it, and nothing else that had finished."""
    program = await in_status("asking", saver, config)
    result = await program.graph.ainvoke(Command(resume="!"), config)
    assert (result["items"], program.runs) == (["in", "first", "side", "!", "end"], ["work", "end"])


# -- the row of running threads -----------------------------------------------------------------


async def running(saver: Saver, config: RunnableConfig) -> tuple[Program, asyncio.Task[Any]]:
    program = Program(saver, config)
    run = program.start()
    await reached(program.entered, run)
    await program.until_side_is_stored()
    return program, run


@pytest.mark.parametrize("given", [None, FIRST_INPUT, OTHER_INPUT, Command(goto="side")])
@pytest.mark.parametrize("by", ["this saver", "another saver"])
async def test_a_running_thread_is_busy(
    given: Any, by: str, saver: Saver, config: RunnableConfig
) -> None:
    """Whoever calls, with whatever input; the run goes on undisturbed."""
    program, run = await running(saver, config)
    caller = program if by == "this saver" else Program(Saver(saver.backend), config)
    before = await identities(saver, config)
    with pytest.raises(ThreadBusyError):
        await caller.graph.ainvoke(given, config)
    assert await identities(saver, config) == before
    program.leave.set()
    assert (await run)["items"] == ALL
    assert program.runs.count("work") == 1


@pytest.mark.parametrize("by", [pytest.param("this saver"), "another saver"])
async def test_an_answer_on_a_running_thread_that_asks_nothing_is_refused(
    by: str, saver: Saver, config: RunnableConfig
) -> None:
    """There is no question it could be for."""
    program, run = await running(saver, config)
    caller = program if by == "this saver" else Program(Saver(saver.backend), config)
    with pytest.raises(NothingToResumeError):
        await caller.graph.ainvoke(Command(resume="!"), config)
    program.leave.set()
    assert (await run)["items"] == ALL


@pytest.mark.parametrize("call", ["update_state", "delete"])
@pytest.mark.parametrize("by", ["this saver", "another saver"])
async def test_a_running_thread_is_neither_edited_nor_deleted(
    call: str, by: str, saver: Saver, config: RunnableConfig
) -> None:
    """Both are refused while its owner is alive."""
    program, run = await running(saver, config)
    caller = program if by == "this saver" else Program(Saver(saver.backend), config)
    changing: Awaitable[Any] = (
        caller.graph.aupdate_state(config, {"items": ["edit"]}, as_node="first")
        if call == "update_state"
        else caller.saver.adelete_thread(config["configurable"]["thread_id"])
    )
    with pytest.raises(ThreadBusyError):
        await changing
    program.leave.set()
    assert (await run)["items"] == ALL


# -- a named checkpoint -------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, OTHER_INPUT], ids=["None", "input"])
@pytest.mark.parametrize("status", [name for name in STATUSES if name != "new"])
async def test_a_named_checkpoint_makes_a_branch_in_every_status(
    status: str, given: Any, saver: Saver, config: RunnableConfig
) -> None:
    """From the checkpoint before ``first`` everything runs, whatever became of the thread."""
    program = await in_status(status, saver, config)
    program.mood = "well"
    begin = [s async for s in program.graph.aget_state_history(config)][-2]
    assert begin.next == ("first",)
    result = await program.graph.ainvoke(given, begin.config)
    start = ["in"] if given is None else ["in", "other"]
    assert result["items"] == [*start, *ALL[1:]]
    assert sorted(program.runs) == sorted(ALL[1:])
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_a_named_checkpoint_makes_no_branch_of_a_running_thread(
    saver: Saver, config: RunnableConfig
) -> None:
    """One run at a time, branches included."""
    program, run = await running(saver, config)
    begin = [s async for s in program.graph.aget_state_history(config)][-2]
    caller = Program(Saver(saver.backend), config)
    answer: Command[Any] = Command(resume=1)
    for given in (None, OTHER_INPUT, answer):
        with pytest.raises(ThreadBusyError):
            await caller.graph.ainvoke(given, begin.config)
    program.leave.set()
    assert (await run)["items"] == ALL


def test_the_table_knows_every_status() -> None:
    """The statuses of the head, and the two that are found out by looking."""
    kinds = {name.partition(":")[0] for name in STATUSES} | {"running"}
    assert kinds == {"new", "finished", "crashed", "failed", "asking", "stopped", "running"}
