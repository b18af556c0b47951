"""What a call brings, as its thread takes it."""

from __future__ import annotations

from typing import Any

from durable_graph.decisions.plan import without_deferred
from durable_graph.decisions.results import read_input, read_start
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.runs.live import LiveThread, Onto
from durable_graph.engine.tasks.large import is_large, outcome_apart
from durable_graph.errors import InvalidUpdateError
from durable_graph.log.codec import UnstorableValueError
from durable_graph.log.pieces import is_bulky
from durable_graph.log.records import Caller, Commit, DueTask
from durable_graph.log.seal import blob_digest
from durable_graph.types import START, Command, Overwrite

__all__ = ["input_digest", "take_input"]


async def take_input(
    live: LiveThread, onto: Onto | None = None, *, caller: Caller | None = None
) -> None:
    """Make the call's input the result of the start.

    Args:
        live: the thread.
        onto: see `LiveThread.commit`.
        caller: who calls, if the graph is within another.

    Raises:
        InvalidUpdateError: it cannot become part of the state.
    """
    result = read_start(live.definition, live.call.input)
    outcome = (
        await outcome_apart(live, START, result, index=0, asked=True)
        if is_large(result)
        else live.outcome_of(START, result, index=0, asked=True)
    )
    joins = without_deferred(live.scope.joins)
    body = Commit(delta={}, joins=joins, due=[DueTask(START)], known=[outcome], caller=caller)
    info = live.next_info("input", (), branch=onto is not None)
    live.commit(body, info, onto=onto, by=live.call.by)


def input_digest(definition: GraphDefinition, value: Any, secret: bytes) -> str | None:
    """What tells whether an input is given once more; taken before it is given any ids."""
    if isinstance(value, Command):
        return None
    codec = definition.codec
    encode = codec.encode_in_pieces if is_bulky(value) else codec.encode
    try:
        update = read_input(definition, value)
        given = {
            key: ("overwrite", item.value) if isinstance(item, Overwrite) else (item,)
            for key, item in update.items()
        }
        return blob_digest(encode(given), secret)[:32]
    except (UnstorableValueError, InvalidUpdateError):
        return None  # taking it will say what is wrong with it
