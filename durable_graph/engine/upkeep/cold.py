"""Sending a thread that rests to its saver's archive."""

from __future__ import annotations

from durable_graph.engine.history.verifying import verify
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.errors import ConfigError, ThreadBusyError, ThreadNotFoundError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Position

__all__ = ["send_to_archive"]

# How often a thread that changes meanwhile is looked at again.
_LOOKS = 8


async def send_to_archive(keeper: Keeper, key: ThreadKey, by: str | None = None) -> None:
    """Move a thread to the archive, if it is not there already.

    Args:
        keeper: where it is stored.
        key: the thread.
        by: who has this done; put down on its card.

    Raises:
        ConfigError: the saver has no archive.
        ThreadNotFoundError: there is no such thread.
        ThreadBusyError: a live run owns it, or answers wait for it.
        IntegrityError: it is damaged.
        StorageError: it could not be stored there; it is still here.
    """
    keeper.check_usable()
    if keeper.archiving is None:
        raise ConfigError(
            "This saver has no archive. Give it one, as in archive=FolderArchive('archive')."
        )
    for _ in range(_LOOKS):
        thread = await keeper.at_rest(key)
        if thread is not None and thread.card is not None and thread.card.archived is not None:
            return
        if thread is None or thread.head is None:
            raise ThreadNotFoundError(f"There is no thread {key.thread!r} with a log.")
        for damage in await verify(keeper, key):
            raise damage
        if await keeper.archiving.archive(key, Position.of(thread.head), thread.card, by):
            keeper.hot.take(key)
            return
    raise ThreadBusyError(f"Thread {key.thread!r} keeps changing; archive it when it rests.")
