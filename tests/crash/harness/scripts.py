"""What clients do, written so that it can be begun again at any time.

A script looks where its thread stands before it does anything, as a program has to that may have
died anywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from durable_graph import Command
from durable_graph.errors import EmptyInputError
from tests.crash.harness.client import Client

__all__ = ["SCRIPTS", "SHAPES", "Script", "finish"]


@dataclass(frozen=True, slots=True)
class Script:
    """What a client does with a thread of a graph.

    Attributes:
        graph: the graph's name.
        run: does it; harmless if done again.
        branches: how many branches the thread has in the end.
    """

    graph: str
    run: Callable[[Client], Awaitable[None]]
    branches: int = 1


async def finish(client: Client, input: Any = None) -> None:
    """Go on with the thread, or begin it, and answer what it asks until it asks no more."""
    try:
        await client.call(None)
    except EmptyInputError:
        await client.call({"log": ["input"]} if input is None else input)
    while asks := (await client.state()).interrupts:
        await client.call(Command(resume={asks[0].id: f"answer to {asks[0].value}"}))


async def _answer_all(client: Client) -> None:
    """Like `finish`, but all that is open is answered at once."""
    try:
        await client.call(None)
    except EmptyInputError:
        await client.call({"log": ["input"]})
    while asks := (await client.state()).interrupts:
        await client.call(Command(resume={ask.id: f"answer to {ask.value}" for ask in asks}))


async def _route(client: Client) -> None:
    await finish(client, {"log": ["input"], "ways": ["left", "right"]})


async def _update(client: Client) -> None:
    """Stop before a node, edit the state, go on."""
    if (await client.state()).checkpoint_id is None:
        await client.call({"log": ["input"]}, interrupt_before=["b"])
    elif (await client.state()).next == ("a",):
        await client.call(None, interrupt_before=["b"])
    if "edit" not in (await client.state()).values["log"]:
        await client.graph.aupdate_state(client.config(), {"log": ["edit"]}, as_node="a")
    await client.call(None)


async def _fork(client: Client) -> None:
    """Run to the end; then branch off an earlier checkpoint with another state, and go on there."""
    history = await client.history()
    if not any(one.metadata and one.metadata["source"] == "update" for one in history):
        await finish(client)
        origin = next(one for one in await client.history() if one.next == ("b",))
        await client.graph.aupdate_state(origin.config, {"log": ["edit"]}, as_node="a")
    await client.call(None)


async def _replay(client: Client) -> None:
    """Run to the end; then run again from an earlier checkpoint."""
    history = await client.history()
    if not any(one.metadata and one.metadata["source"] == "fork" for one in history):
        await finish(client)
        origin = next(one for one in await client.history() if one.next == ("b",))
        await client.call(None, origin.config)
    await client.call(None)


async def _again(client: Client) -> None:
    """Fail, and call again once the cause is gone."""
    if (await client.state()).checkpoint_id is None:
        with contextlib.suppress(ValueError):
            await client.call({"log": ["input"]}, client.config(broken=True))
    await client.call(None)


async def _many(client: Client) -> None:
    await finish(client, {"log": ["input"], "count": 200})


async def _watch(client: Client) -> None:
    client.subgraphs = True
    await finish(client)


SCRIPTS: dict[str, Script] = {
    "chain": Script("chain", finish),
    "loop": Script("loop", finish),
    "fan_out": Script("fan_out", finish),
    "send": Script("send", finish),
    "question": Script("question", finish),
    "questions": Script("questions", finish),
    "answers at once": Script("questions", _answer_all),
    "retry": Script("retry", finish),
    "handled": Script("handled", finish),
    "deferred": Script("deferred", finish),
    "entry": Script("entry", _route),
    "large": Script("large", finish),
    "failing": Script("failing", _again),
    "nested": Script("nested", finish),
    "nested, watched": Script("nested", _watch),
    "calling": Script("calling", finish),
    "update": Script("chain", _update),
    "fork": Script("chain", _fork, branches=2),
    "replay": Script("chain", _replay, branches=2),
}
"""Scripts by name."""

SHAPES = tuple(SCRIPTS)
"""The small ones, which can be cut off at every single call."""

SCRIPTS |= {
    "long": Script("long", finish),
    "wide": Script("wide", finish),
    "many": Script("send", _many),
}
