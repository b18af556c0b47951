"""Large results, made ready for the log in a thread: so that others have the event loop meanwhile.

Only what looks large goes there: the way there and back costs more than encoding a small value.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from durable_graph.engine.apart import apart
from durable_graph.errors import InvalidUpdateError
from durable_graph.log.pieces import is_bulky
from durable_graph.types import Send

if TYPE_CHECKING:
    from durable_graph.decisions.results import Result
    from durable_graph.engine.runs.live import LiveThread
    from durable_graph.log.records import Outcome

__all__ = ["is_large", "outcome_apart"]

_SENDS: Final = 8


def is_large(result: Result) -> bool:
    """Whether `outcome_apart` is for this, as it seems."""
    for update in result.updates:
        for value in update.values():
            if type(value) is not int and is_bulky(value):
                return True
    if not result.goto:
        return False
    arguments = [part.arg for part in result.goto if isinstance(part, Send)]
    if len(arguments) > _SENDS:  # so many are of one kind
        return is_bulky(arguments)
    return any(map(is_bulky, arguments))


async def outcome_apart(
    live: LiveThread,
    who: str,
    result: Result,
    index: int = -1,
    spoken: str | None = None,
    *,
    asked: bool = False,
) -> Outcome:
    """What somebody returned, as a result; see `LiveThread.outcome_of`.

    Raises:
        InvalidUpdateError: it cannot be stored, or was changed meanwhile.
    """
    freezer = live.freezer.apart()
    try:
        outcome = await apart(
            partial(live.outcome_of, who, result, index, spoken, asked=asked, freezer=freezer)
        )
    except RuntimeError as error:  # a dict that changes its size while it is gone through
        raise InvalidUpdateError(
            f"What {who!r} returned was changed while it was being stored ({error}). Values "
            f"of about 1 MB and more are encoded while other tasks go on: leave alone what you "
            f"have returned, or return a copy."
        ) from error
    live.freezer.take_over(freezer)
    live.bulky = True
    return outcome
