"""Deleting a thread: all of it, and for good."""

from __future__ import annotations

from dataclasses import replace

from durable_graph.decisions.cards import Act
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.upkeep.cards import is_trace, notes_of
from durable_graph.errors import ThreadArchivedError, ThreadBusyError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Card, Position, Removal, Thread

__all__ = ["delete", "delete_as_seen"]

_TRIES = 16


async def delete(keeper: Keeper, key: ThreadKey, by: str | None = None) -> None:
    """Delete a thread at rest; harmless if there is none.

    Args:
        keeper: where it is stored.
        key: the thread.
        by: who has it deleted. Then a card stays that says so, and who did what before; without,
            nothing stays, such a card included.

    Raises:
        ThreadBusyError: a live run owns it, or others keep changing it.
        ThreadArchivedError: it is in an archive that the saver does not have.
    """
    for _ in range(_TRIES):
        seen = await keeper.at_rest(key)
        if seen is None or (by is not None and is_trace(seen)):
            # Whoever deleted it before may have died before the end of it: what is left of it in
            # storage, or in an archive, goes now.
            trace = seen.card if seen is not None else None
            stays = replace(trace, version=trace.version + 1) if trace is not None else None
            what = Removal(everything=True, card=stays, without_log=True, version=0)
            await keeper.backend.remove(key, what)
            return
        if await delete_as_seen(keeper, seen, by):
            return
    raise ThreadBusyError(f"Others keep changing thread {key.thread!r}; delete it when it rests.")


async def delete_as_seen(keeper: Keeper, seen: Thread, by: str | None) -> bool:
    """Delete a thread, unless it has changed since; see `delete`.

    Returns:
        Whether it was.

    Raises:
        ThreadArchivedError: it is in an archive that the saver does not have: its file would stay.
    """
    where = seen.card.archived if seen.card is not None else None
    if where is not None and keeper.archiving is None:
        raise ThreadArchivedError(seen.key.thread, where)
    keeper.hot.take(seen.key)
    expected = Position.of(seen.head) if seen.head is not None else None
    trace = None if by is None else _trace(seen, Act("deleted", keeper.clock.time(), by))
    # Whoever begins to run it now, gives it more time, or brings it back from the archive, has
    # changed it.
    what = Removal(
        everything=True,
        expected=expected,
        card=trace,
        without_log=expected is None,
        version=seen.card.version if seen.card is not None else 0,
    )
    return await keeper.backend.remove(seen.key, what)


def _trace(seen: Thread, act: Act) -> Card:
    """The card that stays: what was known of the thread goes with it, who did what does not."""
    version = 1 if seen.card is None else seen.card.version + 1
    return Card(version, time=act.time, body=notes_of(seen).trace(act).encode())
