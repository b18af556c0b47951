"""Changing a thread's card: read, decide, and store it in the place of the one that was read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from durable_graph.decisions.cards import Act, Notes, read_notes
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.errors import OutcomeUnknownError, ThreadBusyError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Card, Thread

__all__ = ["is_trace", "next_of", "note", "notes_of", "revise"]

# A card is refused when somebody else has changed it meanwhile. Each time there is something new
# to see, so this many refusals in a row mean that others keep changing it.
_TRIES = 16


async def revise(
    keeper: Keeper, key: ThreadKey, change: Callable[[Thread | None], Card | None]
) -> Thread | None:
    """Change a thread's card, whether or not somebody runs the thread.

    Args:
        keeper: where the thread is stored.
        key: the thread.
        change: from the thread as it is to its next card, or ``None`` if it needs none; called
            again with what there is then if somebody else was faster. What it raises comes out.

    Returns:
        The thread as it is now; ``None`` if there is none.

    Raises:
        ThreadBusyError: others keep changing the card.
        IntegrityError: the card that is there is damaged.
    """
    keeper.check_usable()
    for _ in range(_TRIES):
        seen = await keeper.backend.thread(key)
        card = change(seen)
        if card is None:
            return seen
        try:
            stored = await keeper.backend.label(key, card)
        except OutcomeUnknownError:
            # The very same card may be asked for again: then it says whether it is there.
            stored = await keeper.backend.label(key, card)
        if stored:
            return Thread(key, None, card) if seen is None else replace(seen, card=card)
    raise ThreadBusyError(f"Others keep changing the card of thread {key.thread!r}; call again.")


async def note(keeper: Keeper, key: ThreadKey, act: Act) -> None:
    """Put down what is about to be done with a thread; nothing, if there is no such thread."""

    def noted(seen: Thread | None) -> Card | None:
        if seen is None or is_trace(seen):
            return None
        return next_of(seen, notes_of(seen).after(act), act.time)

    await revise(keeper, key, noted)


def notes_of(thread: Thread) -> Notes:
    """What a thread's card says in its body.

    Raises:
        IntegrityError: it is damaged.
    """
    return Notes() if thread.card is None else read_notes(thread.card.body, thread.key.thread)


def is_trace(thread: Thread) -> bool:
    """Whether all there is of a thread is the trace of its deletion."""
    return thread.head is None and thread.card is not None and notes_of(thread).deleted


def next_of(seen: Thread | None, notes: Notes, now: float, **changes: Any) -> Card:
    """The card that may take the place of a thread's.

    Args:
        seen: the thread, if there is one.
        notes: what the next card says in its body.
        now: Unix time.
        changes: its other fields, where they change.
    """
    before = seen.card if seen is not None and seen.card is not None else Card(0)
    body = notes.encode()
    return replace(before, version=before.version + 1, time=now, body=body, **changes)
