"""Wrapping the secrets of threads with the current key, where nobody writes to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from durable_graph.encryption.backend import EncryptedBackend
from durable_graph.encryption.rotation import left_as_it_was
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.errors import ConfigError, IntegrityError, ThreadBusyError
from durable_graph.log.records import Mark, ThreadKey
from durable_graph.log.seal import Draft, seal
from durable_graph.ports.backend import Append, Head, Outcome, Position, ThreadQuery

__all__ = ["rotate_keys"]

_PAGE = 100
# How often a thread that changes while it is looked at is looked at again.
_TRIES = 10


async def rotate_keys(keeper: Keeper, thread_ids: Iterable[str] | None) -> list[str]:
    """See `Saver.arotate_keys`."""
    backend = keeper.backend
    if not isinstance(backend, EncryptedBackend):
        raise ConfigError(
            "This saver does not encrypt, so it has no keys. Give it encryption=Encryption(...)."
        )
    if isinstance(thread_ids, str):
        raise ConfigError(f"thread_ids are several: [{thread_ids!r}], not {thread_ids!r}.")
    if thread_ids is None:
        keys = [key async for key in _all(keeper)]
    else:
        keys = [keeper.key(thread_id) for thread_id in thread_ids]
    older: list[str] = []
    failed: list[tuple[str, IntegrityError]] = []
    for key in keys:
        # What cannot be read of one is nothing to the others.
        try:
            if not await _rotate(keeper, backend, key):
                older.append(key.thread)
        except IntegrityError as error:
            failed.append((repr(key.thread), error))
    if len(failed) == 1 and not older:
        raise failed[0][1]
    if failed:
        others = f"All others were looked at, and {len(older)} of them have an older key still."
        raise left_as_it_was(failed, "threads", others)
    return older


async def _all(keeper: Keeper) -> AsyncIterator[ThreadKey]:
    query: ThreadQuery | None = ThreadQuery(keeper.tenant, limit=_PAGE)
    while query is not None:
        page = await keeper.backend.threads(query)
        for thread in page.threads:
            yield thread.key
        query = ThreadQuery(keeper.tenant, limit=_PAGE, after=page.next) if page.next else None


async def _rotate(keeper: Keeper, backend: EncryptedBackend, key: ThreadKey) -> bool:
    """Whether a thread needs no older key any more."""
    for _ in range(_TRIES):
        try:
            seen = await keeper.at_rest(key)
        except ThreadBusyError:
            thread = await backend.thread(key)
            return thread is None or thread.head is None or backend.is_current(thread.head)
        if seen is None or seen.head is None:
            return seen is None or seen.card is None or seen.card.archived is None
        if backend.is_current(seen.head):
            return True
        append = _marked(await backend.opened(seen.head))
        (outcome,) = await backend.append([append])
        if outcome is Outcome.APPLIED:
            keeper.hot.take(key)
            return True
        # Somebody has written to it meanwhile.
    return False


def _marked(head: Head) -> Append:
    """A turn in the thread's life that changes no state, and no place in a list."""
    after, records = seal(
        head,
        [Draft(Mark("key rotated"), head.updated, head.run)],
        key=head.key,
        secret=head.secret,
        epoch=head.epoch,
        status=head.status,
        owner=head.owner,
        input=head.input,
        reason=head.reason,
        now=head.updated,
    )
    return Append(Position.of(head), after, records, {}, {})
