"""Commands that are no answers, by the thread's status: what the table says of inputs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from durable_graph import Command
from durable_graph.errors import EmptyInputError, InvalidUpdateError, PendingInterruptsError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.calls.program import STATUSES, Program
from tests.runtime.kit import collect, identities

COMMAND: Command[Any] = Command(update={"items": ["command"]}, goto="side")
CALLS: dict[str, Callable[..., Awaitable[Any]]] = {
    "ainvoke": lambda graph, given, config: graph.ainvoke(given, config),
    "astream": lambda graph, given, config: collect(graph.astream(given, config)),
}


async def in_status(status: str, saver: Saver, config: RunnableConfig) -> Program:
    """A program whose thread has this status; nothing has run since."""
    program = Program(saver, config)
    await STATUSES[status](program)
    program.runs.clear()
    return program


@pytest.mark.parametrize("how", CALLS)
@pytest.mark.parametrize("status", STATUSES)
async def test_an_empty_command_is_refused(
    status: str, how: str, saver: Saver, config: RunnableConfig
) -> None:
    """It says nothing, and as an input it would drop what is due: nothing runs or is written."""
    program = await in_status(status, saver, config)
    before = await identities(saver, config)
    empty: Command[Any] = Command(goto=[])
    with pytest.raises(EmptyInputError, match="The command is empty"):
        await CALLS[how](program.graph, empty, config)
    assert (await identities(saver, config), program.runs) == (before, [])


async def test_a_command_on_an_asking_thread_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """It would drop the question, as any input would."""
    program = await in_status("asking", saver, config)
    before = await identities(saver, config)
    with pytest.raises(PendingInterruptsError):
        await program.graph.ainvoke(COMMAND, config)
    with pytest.raises(InvalidUpdateError, match="The answer cannot be stored"):
        await program.graph.ainvoke(COMMAND, config, on_pending="answer")
    assert (await identities(saver, config), program.runs) == (before, [])
    assert len((await program.graph.aget_state(config)).interrupts) == 1


async def test_a_command_may_supersede_what_is_asked(saver: Saver, config: RunnableConfig) -> None:
    """The finished results are in the state, the question is gone, and it goes where it says."""
    program = await in_status("asking", saver, config)
    result = await program.graph.ainvoke(COMMAND, config, on_pending="supersede")
    assert result["items"] == ["in", "first", "side", "command", "side"]
    assert program.runs == ["side"]


async def test_an_edit_may_say_nothing(saver: Saver, config: RunnableConfig) -> None:
    """An edit by an empty command changes no value: it moves on, as with None."""
    program = await in_status("finished", saver, config)
    await program.graph.aupdate_state(config, Command(), as_node="first")
    assert (await program.graph.aget_state(config)).next == ("side", "work")
